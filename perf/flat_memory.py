"""Does a long run need more and more memory, or a checkpoint cost more and more? Trains a tiny model and prints both.

Every step draws a batch, every tenth looks at the stop split and writes a checkpoint, so that 2,000 steps are 200 looks
and 200 saves: as many as a very long run has. The model is small, so that a leak of a few kilobytes a step would show.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path
from typing import Any

PAIRS = 40
TYPES = ("age", "work")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--every", type=int, default=200, help="steps between two lines")
    parser.add_argument("--check-every", type=int, default=10)
    parser.add_argument("--full", action="store_true", help="train all weights instead of an adapter")
    arguments = parser.parse_args()
    import torch

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        _train(Path(folder), arguments)


def _train(folder: Path, arguments: argparse.Namespace) -> None:
    from biasunlearn.benchmarks.stereoset import score_triplets
    from biasunlearn.config import DebiasConfig
    from biasunlearn.models.adapters import with_lora
    from biasunlearn.models.load import Loaded
    from biasunlearn.stats.stereoset import comparisons
    from biasunlearn.unlearn.checkpoint import Checkpointer
    from biasunlearn.unlearn.evaluation import StopScores, stop_scores
    from biasunlearn.unlearn.sets import training_sets
    from biasunlearn.unlearn.trainer import train

    clusters = _clusters()
    config = DebiasConfig(
        max_steps=arguments.steps, evaluate_every=arguments.check_every, first_evaluation=arguments.check_every,
        forget_batch=4, unrelated_batch=2, learning_rate=1e-4, lora_dropout=0.1 if not arguments.full else 0.0,
        lora_rank=0 if arguments.full else 4, margin=1e-6, confirm=10**6, collapse_lms=1e6, collapse_ratio=1e6,
    )  # fmt: skip
    loaded = _model(clusters)
    if not arguments.full:
        loaded = Loaded(with_lora(loaded.model, config), loaded.tokenizer, masked=False)
    sets = training_sets(clusters, [c.unrelated.text for c in clusters], adversarial_share=0.25, seed=0)
    keep, saving = Checkpointer(folder / "checkpoint.pt"), _Clock()
    keep.save = saving.around(keep.save)  # type: ignore[method-assign]

    def look() -> StopScores:
        return stop_scores(comparisons(score_triplets(loaded, clusters[:20])), seed=0)

    def show(row: dict[str, Any]) -> None:
        if row["step"] % arguments.every:
            return
        size = (folder / "checkpoint.pt").stat().st_size
        print(
            f"{row['step']:>6}{_memory() / 2**20:>14.1f} MiB{size:>14,} B{1000 * saving.mean():>12.1f} ms", flush=True
        )

    print(f"{'step':>6}{'memory':>18}{'checkpoint':>16}{'a save':>15}")
    outcome = train(loaded.model, loaded.tokenizer, sets, look, config, keep, on_step=show)
    print(f"{outcome.reason}; metrics.jsonl: {len(keep.rows)} rows, {(folder / 'metrics.jsonl').stat().st_size:,} B")


class _Clock:
    """Processor seconds of the calls since the last question."""

    def __init__(self) -> None:
        self._seconds: list[float] = []

    def around(self, work: Any) -> Any:
        def timed(*args: Any) -> None:
            begun = time.process_time()
            work(*args)
            self._seconds.append(time.process_time() - begun)

        return timed

    def mean(self) -> float:
        seconds, self._seconds = self._seconds, []
        return sum(seconds) / max(1, len(seconds))


def _memory() -> int:
    """Resident bytes of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def _clusters() -> list[Any]:
    from biasunlearn.data.records import Sentence, Triplet

    def sentence(number: int, bias_type: str, word: str) -> Sentence:
        return Sentence(f"{bias_type}-{number}-{word}", f"The {bias_type} person number {number} is {word}.")

    return [
        Triplet(
            f"{bias_type}-{number}", bias_type, "intrasentence", f"The {bias_type} person number {number} is BLANK.",
            sentence(number, bias_type, "slow"), sentence(number, bias_type, "quick"),
            sentence(number, bias_type, "table"), target=str(number),
        )
        for number in range(PAIRS) for bias_type in TYPES
    ]  # fmt: skip


def _model(clusters: list[Any]) -> Any:
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

    from biasunlearn.models.load import Loaded

    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=400, special_tokens=["<s>"], show_progress=False)
    core.train_from_iterator([c.stereotype.text for c in clusters], trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, bos_token="<s>", eos_token="<s>")
    torch.manual_seed(0)
    shape = GPT2Config(vocab_size=400, n_positions=64, n_embd=32, n_layer=1, n_head=2, bos_token_id=0, eos_token_id=0)
    return Loaded(GPT2LMHeadModel(shape).eval(), tokenizer, masked=False)


if __name__ == "__main__":
    main()
