"""BiasUnlearnTrainer against the loop: the same losses, swaps and weights; accumulation, resume, misuse, callback."""

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
import transformers
from torch import Tensor

from biasunlearn.config import DebiasConfig, config_from
from biasunlearn.data.records import Passage
from biasunlearn.errors import RequestError
from biasunlearn.models.adapters import trainable, with_lora
from biasunlearn.models.batches import TokenRow
from biasunlearn.models.load import Loaded
from biasunlearn.scoring.triplets import score_sentences
from biasunlearn.stats.stereoset import comparisons
from biasunlearn.unlearn.checkpoint import Checkpointer
from biasunlearn.unlearn.evaluation import stop_scores
from biasunlearn.unlearn.hf_trainer import BiasCallback, BiasUnlearnConfig, BiasUnlearnTrainer, RoleCollator
from biasunlearn.unlearn.hf_trainer.batches import step_batch
from biasunlearn.unlearn.prepare import TrainingData
from biasunlearn.unlearn.trainer import train
from tests import tiny
from tests.unlearn.test_trainer import CLUSTERS, SETS, config

SHARED = {
    "retain_batch": 4, "unrelated_batch": 4, "beta": 0.1, "forget_weight": 0.4, "retain_weight": 0.4, "kl_weight": 0.2,
    "invariance_weight": 1.0, "context_batch": 4, "guard_batch": 0,
    "batch_pairs": "independent", "batch_allocation": "even", "average": 0.9, "swap": "hard", "margin": 1e-6,
    "confirm": 99, "lms_floor": 1.5, "collapse_lms": 1000.0, "collapse_ratio": 1000.0,
}  # fmt: skip
"""Settings of both trainers. With `hard` the sets of a bias type are exchanged as soon as its SS falls below 50."""

STEPS, RATE = 6, 1e-2
CONTEXTS = tuple(
    tuple(Passage("", f"The {who} is {what}.") for who in whos)
    for what, whos in (("tired", ("nurse", "poet")), ("quiet", ("doctor", "town", "nurse")), ("kind", ("poet", "town")),
                       ("loud and kind", ("neighbour", "nurse")), ("a poet", ("town", "doctor")))
)  # fmt: skip
ALL_SETS = replace(SETS, contexts=CONTEXTS)
DATA = TrainingData(ALL_SETS, tuple(CLUSTERS), tuple(CLUSTERS))


def loop_config(**changes: Any) -> DebiasConfig:
    same = {"forget_batch": 4, "max_steps": STEPS, "learning_rate": RATE, "schedule": "cosine", "warmup": 3}
    return config(**{**SHARED, **same, **changes})


def arguments(folder: Path, **changes: Any) -> BiasUnlearnConfig:
    pinned = {
        "output_dir": str(folder), "per_device_train_batch_size": 4, "max_steps": STEPS, "learning_rate": RATE,
        "seed": 0, "lr_scheduler_type": "cosine", "warmup_steps": 3, "eval_steps": 2, "logging_steps": 1,
        "report_to": "none", "disable_tqdm": True, "save_strategy": "no", "use_cpu": True,
    }  # fmt: skip
    return BiasUnlearnConfig(**{**pinned, **SHARED, **changes})


def base() -> Loaded:
    """A model of one layer."""
    return tiny.gpt2(n_layer=1)


def adapted() -> tuple[Any, Any]:
    loaded = base()
    return with_lora(loaded.model, config()), loaded.tokenizer


def trainer(folder: Path, collator: Any = None, **changes: Any) -> BiasUnlearnTrainer:
    model, tokenizer = adapted()
    return BiasUnlearnTrainer(
        model, arguments(folder, **changes), collator, train_dataset=DATA, processing_class=tokenizer
    )


def trained(folder: Path, collator: Any = None, **changes: Any) -> BiasUnlearnTrainer:
    made = trainer(folder, collator, **changes)
    made.train()
    return made


def looped(**changes: Any) -> tuple[Any, Checkpointer]:
    (model, tokenizer), checkpointer = adapted(), Checkpointer(None)
    loaded = base().with_model(model)
    train(
        model, tokenizer, ALL_SETS, lambda: stop_scores(comparisons(score_sentences(loaded, CLUSTERS)), seed=0),
        loop_config(**changes), checkpointer,
    )  # fmt: skip
    return model, checkpointer


SAVED: dict[str, Any] = {"save_strategy": "steps", "save_steps": 3}
LOSSES = ("loss_forget", "loss_retain", "loss_kl", "loss_invariance", "log_ratio")


def losses(rows: list[dict[str, Any]]) -> list[float]:
    return [row[name] for row in rows if "loss_forget" in row for name in LOSSES]


def swaps(rows: list[dict[str, Any]]) -> list[Any]:
    return [(row["step"], row["ss"], dict(row["decision"]["swap_weights"])) for row in rows if "decision" in row]


def difference(one: Any, other: Any) -> float:
    pairs = zip(trainable(one).values(), trainable(other).values(), strict=True)
    return max(float((a - b).detach().abs().max()) for a, b in pairs)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> BiasUnlearnTrainer:
    """A run with the whole step in one batch, and checkpoints."""
    return trained(tmp_path_factory.mktemp("whole"), **SAVED)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["biasunlearn", "dpo"])
def test_losses_swaps_and_weights_are_those_of_the_loop(
    whole: BiasUnlearnTrainer, tmp_path: Path, method: str
) -> None:
    changes = {"method": method, "batch_pairs": "matched" if method == "dpo" else "independent"}
    model, checkpointer = looped(**changes)
    found = whole if method == "biasunlearn" else trained(tmp_path, **changes)
    rows = found.bias.training.rows
    assert losses(rows) == pytest.approx(losses(checkpointer.rows), abs=1e-5)
    assert len(losses(rows)) == len(LOSSES) * STEPS
    assert swaps(rows) == swaps(checkpointer.rows)
    assert any(weight < 0 for _, _, weights in swaps(rows) for weight in weights.values())  # sets were exchanged
    assert [row["lr"] for row in rows[1:]] == pytest.approx([row["lr"] for row in checkpointer.rows[1:]])
    assert difference(model, found.model) < 1e-5
    assert found.outcome.reason == f"reached {STEPS} steps"


@pytest.mark.slow
def test_a_wrong_role_changes_the_trajectory(whole: BiasUnlearnTrainer, tmp_path: Path) -> None:
    _, tokenizer = adapted()
    plain = RoleCollator(tokenizer)

    def exchanged(rows: Any) -> dict[str, Tensor]:
        first = {**rows[0], "role": 1}
        return plain([first, *rows[1:]])

    right = losses(whole.bias.training.rows)
    wrong = losses(trained(tmp_path, exchanged, max_steps=2).bias.training.rows)
    assert max(abs(a - b) for a, b in zip(right, wrong, strict=False)) > 0.01


@pytest.mark.slow
@pytest.mark.parametrize("parts", [2, pytest.param(4, marks=pytest.mark.exhaustive)])
def test_accumulated_batches_are_one_large_batch(whole: BiasUnlearnTrainer, tmp_path: Path, parts: int) -> None:
    found = trained(tmp_path, per_device_train_batch_size=4 // parts, gradient_accumulation_steps=parts)
    assert losses(found.bias.training.rows) == pytest.approx(losses(whole.bias.training.rows), abs=1e-5)
    assert swaps(found.bias.training.rows) == swaps(whole.bias.training.rows)
    assert difference(whole.model, found.model) < 1e-5
    logs = [[row["loss"] for row in one.state.log_history if "loss" in row] for one in (whole, found)]
    assert logs[0] == pytest.approx(logs[1], abs=1e-5)


@pytest.mark.slow
def test_without_shares_accumulated_batches_are_another_mean(whole: BiasUnlearnTrainer, tmp_path: Path) -> None:
    """The control: the KL term is a mean over tokens, of which the batches have different numbers."""
    _, tokenizer = adapted()
    plain = RoleCollator(tokenizer)
    equal = lambda rows: plain([{**row, "share": 0.5} for row in rows])  # noqa: E731
    changes = {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 2, "max_steps": 4}
    found = losses(trained(tmp_path, equal, **changes).bias.training.rows)
    assert max(abs(a - b) for a, b in zip(losses(whole.bias.training.rows), found, strict=False)) > 1e-5


@pytest.mark.slow
def test_two_processes_are_one_large_batch(whole: BiasUnlearnTrainer, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.unlearn.trainer_ranks", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1200)
    assert done.returncode == 0, done.stderr[-3000:]
    for rank in (0, 1):
        found = torch.load(tmp_path / f"rank{rank}.pt", weights_only=True)
        assert losses(found["rows"]) == pytest.approx(losses(whole.bias.training.rows), abs=1e-5)
        assert swaps(found["rows"]) == swaps(whole.bias.training.rows)
        pairs = zip(found["weights"].values(), trainable(whole.model).values(), strict=True)
        assert max(float((one - other).detach().abs().max()) for one, other in pairs) < 1e-4


@pytest.mark.slow
def test_a_resumed_run_is_the_uninterrupted_one(whole: BiasUnlearnTrainer, tmp_path: Path) -> None:
    checkpoint = shutil.copytree(Path(whole.args.output_dir) / "checkpoint-3", tmp_path / "checkpoint-3")
    resumed = trainer(tmp_path / "resumed", **SAVED)
    resumed.train(resume_from_checkpoint=str(checkpoint))
    assert losses(resumed.bias.training.rows) == pytest.approx(losses(whole.bias.training.rows), abs=1e-5)
    assert swaps(resumed.bias.training.rows) == swaps(whole.bias.training.rows)
    assert difference(whole.model, resumed.model) < 1e-5
    assert resumed.bias.history == whole.bias.history
    assert resumed.outcome == whole.outcome
    (checkpoint / "biasunlearn_state.pt").unlink()
    with pytest.raises(RequestError, match="checkpoint-3: has no biasunlearn_state.pt"):
        resumed.train(resume_from_checkpoint=str(checkpoint))


@pytest.mark.slow
def test_scores_and_losses_are_in_the_logs_and_the_adapter_loads_with_peft(tmp_path: Path) -> None:
    found = trained(tmp_path, metric_for_best_model="ss_distance")
    history = found.state.log_history
    assert {"loss", "loss_forget", "loss_kl", "swap_weight_gender"} <= history[1].keys()
    evaluated = [row for row in history if "eval_ss_gender" in row]
    assert [row["step"] for row in evaluated] == [0, 2, 4, 6]
    assert found.args.greater_is_better is False and found.state.best_metric is not None
    best = min(row["eval_ss_distance"] for row in evaluated[1:])
    assert found.state.best_metric == pytest.approx(best)
    found.save_model(str(tmp_path / "adapter"))
    again = peft.PeftModel.from_pretrained(base().model, tmp_path / "adapter", is_trainable=True)
    assert difference(found.model, again) == 0
    after = found.evaluate(PAIRS, metric_key_prefix="test")
    assert after["test_ss_distance"] == pytest.approx(best, abs=found.recipe.margin)  # the best weights


def test_padding_on_either_side_gives_the_same_sentences() -> None:
    rows = [
        {"input_ids": [5, 6, 7, 8], "first_target": 2, "role": 0, "pair": 0, "weight": 0.5},
        {"input_ids": [5, 6, 9], "first_target": 2, "role": 1, "pair": 0, "weight": 0.5},
        {"input_ids": [1, 2, 3, 4, 5], "first_target": 1, "role": 2},
    ]
    for side in ("left", "right"):
        tokenizer = tiny.byte_level()
        tokenizer.padding_side = side
        batch = RoleCollator(tokenizer)(rows)
        assert batch["attention_mask"].sum(1).tolist() == [4, 3, 5]
        assert bool(batch["attention_mask"][1, 0]) == (side == "right")
        found, shares = step_batch(batch, paired=True)
        assert found.forget == (TokenRow((5, 6, 7, 8), 2),) and found.retain == (TokenRow((5, 6, 9), 2),)
        assert found.unrelated == (TokenRow((1, 2, 3, 4, 5), 1),)
        assert found.forget_weights == (0.5,) and shares == (1.0, 1.0, 1.0, 1.0)


ROW = {"input_ids": [5, 6, 7], "first_target": 1, "role": 0}


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"input_ids": [5, 6], "first_target": 1}, "row 2 has no column 'role'"),
        ({**ROW, "role": 4}, "row 2 has role 4; must be one of 0 forget, 1 retain, 2 unrelated, 3 context"),
        ({**ROW, "first_target": 3}, "row 2: first_target 3 of 3 tokens"),
        ({**ROW, "first_target": 0}, "row 2: first_target 0 of 3 tokens"),
    ],
)
def test_a_wrong_row_is_named(row: dict[str, Any], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        RoleCollator(tiny.byte_level())([ROW, row])


@pytest.mark.slow
def test_a_collator_that_loses_columns_or_partners_is_refused(tmp_path: Path) -> None:
    plain = RoleCollator(tiny.byte_level())

    def without_role(rows: Any) -> dict[str, Tensor]:
        return {name: column for name, column in plain(rows).items() if name != "role"}

    with pytest.raises(RequestError, match="data_collator: the batch has no 'role'"):
        trained(tmp_path, without_role)
    with pytest.raises(RequestError, match="a pair is not complete"):
        trained(tmp_path, lambda rows: plain(rows[1:]), method="dpo", batch_pairs="matched")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"max_steps": -1}, "max_steps: must be given"),
        ({"method": "leace"}, "method: 'leace' is not trained on pairs"),
        ({"swap": "sometimes"}, "swap: 'sometimes'; must be one of"),
        ({"dataloader_num_workers": 2}, "dataloader_num_workers: must be 0"),
        ({"ddp_find_unused_parameters": True}, "ddp_find_unused_parameters: must be false"),
        ({"gradient_checkpointing": True}, "gradient_checkpointing: has no effect"),
        ({"npo_ratio": "batch_mean", "gradient_accumulation_steps": 2}, "npo_ratio: batch_mean is computed from a"),
    ],
)
def test_settings_that_cannot_be_combined_are_one_line(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(RequestError, match=message) as refused:
        arguments(tmp_path, **changes)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("name", ["FSDP", "DEEPSPEED"])
def test_a_launcher_that_asks_for_a_split_model_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(f"ACCELERATE_USE_{name}", "true")
    with pytest.raises(RequestError, match="deepspeed, fsdp: not supported here"):
        arguments(tmp_path)


def test_misuse_of_the_model_is_one_line(tmp_path: Path) -> None:
    model, tokenizer = adapted()
    bare, masked = tiny.gpt2().model, tiny.masked()
    given: dict[str, Any] = {"args": arguments(tmp_path), "train_dataset": DATA, "processing_class": tokenizer}
    lora = peft.LoraConfig(r=2, target_modules=["nothing"])
    for changes, message in (
        ({"model": None}, "model: must be given"),
        ({"model": bare}, "peft_config: without an adapter there is no reference model"),
        ({"model": masked.model}, "model: a BertForMaskedLM; must be a causal"),
        ({"model": model, "peft_config": lora}, "peft_config: the model has an adapter already"),
        ({"model": bare, "peft_config": lora}, "peft_config: Target modules"),
        ({"model": model, "ref_model": bare}, "ref_model: the reference is the model with its adapter off"),
        ({"model": model, "processing_class": None}, "processing_class: give the tokenizer"),
        ({"model": model, "compute_metrics": len}, "compute_metrics: cannot be combined"),
        ({"model": model, "train_dataset": None}, "train_dataset: there are no pairs"),
        ({"model": model, "args": transformers.TrainingArguments(str(tmp_path))}, "args: must be a BiasUnlearnConfig"),
    ):
        with pytest.raises(RequestError, match=message) as refused:
            BiasUnlearnTrainer(**{**given, **changes})
        assert "\n" not in str(refused.value)


PAIRS = [
    {"bias_type": c.bias_type, "target": c.target, "context": c.context, "stereotype": c.stereotype.text,
     "anti_stereotype": c.anti_stereotype.text, "unrelated": c.unrelated and c.unrelated.text}
    for c in CLUSTERS
]  # fmt: skip


def test_pairs_are_split_by_term_or_evaluated_on_those_given(tmp_path: Path) -> None:
    model, tokenizer = adapted()
    held_out = BiasUnlearnTrainer(model, arguments(tmp_path), train_dataset=PAIRS, processing_class=tokenizer)
    terms = [{c.target for c in part} for part in (held_out.data.train, held_out.data.stop)]
    assert terms[0] and terms[1] and len(held_out.data.train) + len(held_out.data.stop) == len(PAIRS)
    model, _ = adapted()
    texts = list(tiny.TEXTS)
    given = BiasUnlearnTrainer(
        model, arguments(tmp_path), None, PAIRS, PAIRS[:9], tokenizer, unrelated_dataset=texts
    )
    assert (len(given.data.train), len(given.data.stop)) == (10, 9)
    with pytest.raises(RequestError, match="eval_dataset: has no pair of bias type 'race'"):
        BiasUnlearnTrainer(adapted()[0], arguments(tmp_path), None, PAIRS, PAIRS[:5], tokenizer)


def test_all_weights_are_trained_against_a_second_model(tmp_path: Path) -> None:
    loaded = base()
    found = BiasUnlearnTrainer(
        loaded.model, arguments(tmp_path, max_steps=2),
        train_dataset=TrainingData(SETS, DATA.train, DATA.stop), processing_class=loaded.tokenizer,
        ref_model=base().model,
    )  # fmt: skip
    found.train()
    first, second = (row for row in found.bias.training.rows if "loss_kl" in row)
    assert first["loss_kl"] == pytest.approx(0, abs=1e-6) and first["log_ratio"] == pytest.approx(0, abs=1e-4)
    assert second["loss_kl"] > 1e-3


class Texts(torch.utils.data.Dataset[dict[str, Any]]):
    """A task that has nothing to do with bias."""

    def __init__(self, tokenizer: Any):
        self._rows = [tokenizer(text)["input_ids"] for text in tiny.TEXTS]

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, number: int) -> dict[str, Any]:
        return {"input_ids": self._rows[number], "labels": self._rows[number]}


@pytest.mark.slow
@pytest.mark.parametrize("stop", [False, True])
def test_the_callback_watches_a_plain_trainer_and_changes_nothing(tmp_path: Path, stop: bool) -> None:
    def run(watched: bool) -> tuple[transformers.Trainer, BiasCallback]:
        loaded = tiny.gpt2(n_layer=1, resid_pdrop=0.1)
        plain = transformers.TrainingArguments(
            str(tmp_path / f"{watched}"), per_device_train_batch_size=1, max_steps=4, logging_steps=1, report_to="none",
            use_cpu=True, disable_tqdm=True, save_strategy="no",
        )  # fmt: skip
        made = transformers.Trainer(loaded.model, plain, train_dataset=Texts(loaded.tokenizer))
        easy = DebiasConfig(margin=50.0, confirm=1, swap_noise=0.0, lms_floor=100.0, collapse_lms=100.0)
        callback = BiasCallback(PAIRS, loaded.tokenizer, every=2, stop=stop, recipe=easy)
        if watched:
            callback.attach(made)
        made.train()
        return made, callback

    alone, _ = run(False)
    found, callback = run(True)
    steps = [0, 2] if stop else [0, 2, 4]
    assert [row["step"] for row in callback.history] == steps
    assert [row["step"] for row in found.state.log_history if "bias_ss_gender" in row] == steps
    assert found.state.global_step == steps[-1]
    if not stop:
        one, other = (dict(made.model.named_parameters()) for made in (alone, found))
        assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("method", ["biasunlearn", "npo", "ipo", "equalize"])
def test_arguments_that_are_not_given_are_those_of_the_recipe(tmp_path: Path, method: str) -> None:
    found = BiasUnlearnConfig(str(tmp_path), method=method, seed=0, use_cpu=True).recipe()
    assert found == config_from({"method": method})
    changed = BiasUnlearnConfig(str(tmp_path), method=method, seed=0, use_cpu=True, beta=0.3).recipe()
    assert changed == config_from({"method": method, "beta": 0.3})


def test_the_rate_of_the_size_is_not_written_into_the_caller_s_arguments(tmp_path: Path) -> None:
    """They may serve for a model of another size."""
    given, (model, tokenizer) = arguments(tmp_path, learning_rate=None), adapted()
    made = BiasUnlearnTrainer(model, given, train_dataset=DATA, processing_class=tokenizer)
    assert given.learning_rate == 0.0 and made.args.learning_rate == made.recipe.learning_rate == 1e-3
