"""BiasUnlearnTrainer beside the loop of `debias`, on the same pairs: losses, swap weights, weights, SS.

    PYTHONPATH=. python perf/trainer_and_loop.py MODEL --train train_pairs.jsonl --unrelated dev.json

Compared with the loop are the Trainer with the whole step in one batch, with four accumulated batches, with two
processes (gloo, on the CPU), and resumed from a checkpoint at half of the steps. The last row is the control: the
Trainer with another seed.
"""

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import peft
import torch

from biasunlearn.config import DebiasConfig
from biasunlearn.models.adapters import trainable, with_lora
from biasunlearn.models.load import Loaded, load
from biasunlearn.scoring.triplets import score_sentences
from biasunlearn.stats.stereoset import Comparison, comparisons
from biasunlearn.unlearn.checkpoint import Checkpointer
from biasunlearn.unlearn.evaluation import BaseAnswers, base_pairs, stop_scores
from biasunlearn.unlearn.prepare import TrainingData, training_data
from biasunlearn.unlearn.trainer import train

LOSSES = ("loss_forget", "loss_retain", "loss_kl", "loss_invariance", "log_ratio")
BATCH, STOP_ITEMS = 16, 10
"""Pairs of a step; pairs of each bias type that are evaluated."""


@dataclass
class Course:
    """What a training did."""

    rows: list[dict[str, Any]]
    weights: dict[str, torch.Tensor]
    ss: dict[str, float]
    """By bias type, of the final weights on the stop split."""

    @property
    def losses(self) -> list[float]:
        return [row[name] for row in self.rows if LOSSES[0] in row for name in LOSSES]

    @property
    def swaps(self) -> list[dict[str, float]]:
        return [dict(row["decision"]["swap_weights"]) for row in self.rows if "decision" in row]


def main() -> None:
    given = arguments()
    if given.variant:  # one of two processes
        course = by_trainer(given, given.variant, BATCH // 2, 1)
        if torch.distributed.get_rank() == 0:
            torch.save(vars(course), given.variant / "course.pt")
        return
    with tempfile.TemporaryDirectory() as folder:
        loop = by_loop(given)
        swaps = ", ".join(f"{name} {weight:+.2f}" for name, weight in loop.swaps[-1].items())
        print(f"{given.steps} steps, {len(loop.swaps)} evaluations; last swap weights {swaps}")
        print("| training | loss | swap weight | weight | SS of the final weights |\n|---|---|---|---|---|")
        print(f"| loop of `debias` | | | | {shown(loop.ss)} |", flush=True)
        for name, course in variants(given, Path(folder)):
            loss, swap, weight = differences(loop, course)
            print(f"| {name} | {loss:.1e} | {swap:.1e} | {weight:.1e} | {shown(course.ss)} |", flush=True)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--train", required=True)
    parser.add_argument("--unrelated", required=True)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--every", type=int, default=5, help="steps between two evaluations")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--variant", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def variants(given: argparse.Namespace, folder: Path) -> Iterator[tuple[str, Course]]:
    yield "Trainer, one batch of 16 pairs", by_trainer(given, folder / "whole", BATCH, 1)
    yield "Trainer, 4 accumulated batches of 4", by_trainer(given, folder / "parts", BATCH // 4, 4)
    yield "Trainer, 2 processes of 8", in_two_processes(folder / "two")
    yield f"Trainer, resumed at step {given.steps // 2}", by_trainer(
        given, folder / "resumed", BATCH, 1, resume=folder / f"whole/checkpoint-{given.steps // 2}"
    )
    other = argparse.Namespace(**{**vars(given), "seed": given.seed + 1})
    yield "control: Trainer, another seed", by_trainer(other, folder / "other", BATCH, 1)


def differences(one: Course, other: Course) -> tuple[float, float, float]:
    """The largest differences of a loss, of a swap weight and of a trained weight."""
    swaps = zip(one.swaps, other.swaps, strict=True)
    return (
        max(abs(a - b) for a, b in zip(one.losses, other.losses, strict=True)),
        max(abs(a[name] - b[name]) for a, b in swaps for name in a),
        max(float((a - b).abs().max()) for a, b in zip(one.weights.values(), other.weights.values(), strict=True)),
    )


def shown(ss: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.2f}" for name, value in ss.items())


def recipe(given: argparse.Namespace) -> DebiasConfig:
    """The default recipe with few steps and no early stop."""
    return DebiasConfig(
        seed=given.seed, max_steps=given.steps, warmup=5, evaluate_every=given.every, first_evaluation=given.every,
        stop_items=STOP_ITEMS, confirm=99, forget_batch=BATCH,
    )  # fmt: skip


def compared(loaded: Loaded, model: Any, pairs: Any) -> list[Comparison]:
    return comparisons(score_sentences(loaded.in_training(model), pairs))


def course_of(rows: list[dict[str, Any]], loaded: Loaded, model: Any, data: TrainingData) -> Course:
    weights = {name: value.detach().clone() for name, value in trainable(model).items()}
    return Course(rows, weights, stop_scores(compared(loaded, model, data.stop), seed=0).ss)


def by_loop(given: argparse.Namespace) -> Course:
    config, loaded = recipe(given), load(given.model)
    data = training_data(given.train, None, given.unrelated, config)
    base = BaseAnswers(
        compared(loaded, loaded.model, data.stop),
        compared(loaded, loaded.model, base_pairs(data.train, data.stop, config.stop_items)),
    )
    model, checkpointer = with_lora(loaded.model, config), Checkpointer(None)
    train(
        model, loaded.tokenizer, data.sets,
        lambda: stop_scores(compared(loaded, model, data.stop), seed=config.seed, base=base), config, checkpointer,
    )  # fmt: skip
    return course_of(checkpointer.rows, loaded, model, data)


def by_trainer(given: argparse.Namespace, out: Path, batch: int, parts: int, resume: Path | None = None) -> Course:
    from biasunlearn.unlearn.hf_trainer import BiasUnlearnConfig, BiasUnlearnTrainer

    config, loaded = recipe(given), load(given.model)
    data = training_data(given.train, None, given.unrelated, config)
    args = BiasUnlearnConfig(
        output_dir=str(out), max_steps=given.steps, eval_steps=given.every, warmup_steps=5, seed=given.seed,
        per_device_train_batch_size=batch, gradient_accumulation_steps=parts, learning_rate=config.learning_rate,
        save_steps=given.steps // 2, stop_items=STOP_ITEMS, confirm=99, report_to="none", disable_tqdm=True,
        use_cpu=True,
    )  # fmt: skip
    lora = peft.LoraConfig(r=config.lora_rank, lora_alpha=config.lora_alpha, target_modules="all-linear",
                           task_type="CAUSAL_LM")  # fmt: skip
    trainer = BiasUnlearnTrainer(
        loaded.model, args, train_dataset=data, processing_class=loaded.tokenizer, peft_config=lora
    )
    trainer.train(resume_from_checkpoint=None if resume is None else str(resume))
    assert trainer.bias.training is not None
    return course_of(trainer.bias.training.rows, loaded, trainer.model, data)


def in_two_processes(out: Path) -> Course:
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    out.mkdir()
    subprocess.run([*launcher, __file__, *sys.argv[1:], "--variant", str(out)], check=True)
    return Course(**torch.load(out / "course.pt", weights_only=True))


if __name__ == "__main__":
    main()
