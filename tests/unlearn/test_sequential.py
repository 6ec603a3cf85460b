"""Sequential evaluations: the prediction by hand, how much is read, and that nothing but the reading changes."""

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from biasunlearn.benchmarks.stereoset import score_triplets
from biasunlearn.config import DebiasConfig
from biasunlearn.models.load import Loaded
from biasunlearn.report.training import _evaluated
from biasunlearn.runs.run_files import MetricsRow
from biasunlearn.stats.stereoset import Comparison, comparisons
from biasunlearn.unlearn import sequential
from biasunlearn.unlearn.checkpoint import Checkpointer
from biasunlearn.unlearn.decision import Decision
from biasunlearn.unlearn.evaluation import Evaluation, StopScores, stop_scores
from biasunlearn.unlearn.sequential import SequentialEvaluator, predict
from biasunlearn.unlearn.trainer import train
from tests import tiny, variants
from tests.unlearn.test_trainer import CLUSTERS, SETS, Killed, config, fresh, kill_at, real_evaluation, same, weights_of

SIZE = 400
TERMS = 20


def rows(share: float, *, bias_type: str = "x", size: int = SIZE, seed: int = 0) -> list[Comparison]:
    """Comparisons with this share of stereotyped answers, the terms alternating."""
    order = np.random.default_rng(seed).permutation(size)
    return [
        Comparison(bias_type, f"t{n % TERMS}", float(order[n] < share * size), 1.0, 0.0, f"{bias_type}{n}")
        for n in range(size)
    ]


class Model:
    """A model with known answers; notes how many items were asked for."""

    def __init__(self, answers: Sequence[Comparison]):
        self._answers = {one.cluster: one for one in answers}
        self.asked: list[str] = []

    def __call__(self, clusters: Sequence[str]) -> list[Comparison]:
        self.asked += clusters
        return [self._answers[name] for name in clusters]


def evaluate(
    base: Sequence[Comparison], now: Sequence[Comparison], *, step: int = 25, **changes: Any
) -> tuple[StopScores, int]:
    """The scores of a sequential evaluation, and the number of items read."""
    settings, model = DebiasConfig(**changes), Model(now)
    first = Decision(dict.fromkeys((one.bias_type for one in base), 1.0))
    evaluator = SequentialEvaluator(base, model, partial(stop_scores, seed=0))
    found, answers = evaluator.evaluate(
        step, first, (), lambda scores: Evaluation(step, scores, lms_before=100.0), settings
    )
    assert found.evaluated == len(model.asked) == len(set(model.asked))
    assert len(answers) == len(base)
    return found, len(model.asked)


# --- the prediction ------------------------------------------------------------------------------------------------


def test_the_prediction_by_hand() -> None:
    """Of the four items that were stereotyped two are scored, one has changed; of the others two, none has.

    Predictions 1/2 and 0; SS (1 + 0 + 1/2 + 1/2) / 8 = 25 %. Residuals 1/2, -1/2, 0, 0: s^2 = (1/2 + PRIOR) / 2 = 1/2.
    Error 100 sqrt(1/2 (4/64 + (4/8)^2 / 4)) = 25 points; the variance lacks 100^2 * 1/2 * 4/64 = 312.5.
    """
    last = [Comparison("x", "t", float(n < 4), None, 0.0, str(n)) for n in range(8)]
    scored = {n: Comparison("x", "t", float(n == 0), None, 0.0, str(n)) for n in (0, 1, 4, 5)}
    found = predict(last, scored, ["x"] * 8)
    assert [one.stereotyped for one in found.rows] == [1, 0, 0.5, 0.5, 0, 0, 0, 0]
    assert found.errors["x"] == pytest.approx(25) and found.missing["x"] == pytest.approx(312.5)
    assert found.lms_error == 0.0


def test_what_is_scored_is_not_predicted() -> None:
    now = rows(0.5, seed=1)
    found = predict(rows(0.6), dict(enumerate(now)), ["x"] * SIZE)
    assert list(found.rows) == now
    assert found.errors["x"] == found.missing["x"] == found.lms_error == 0.0


def test_the_error_of_the_prediction_covers_the_whole_stop_split() -> None:
    """In 200 random parts of a fifth: 95 % within 1.96 errors, and without the last answers the error is larger."""
    rng, base = np.random.default_rng(0), rows(0.6)
    changed = rng.random(SIZE) < 0.1
    now = [Comparison("x", b.target, abs(b.stereotyped - c), 1.0, 0.0, b.cluster) for b, c in zip(base, changed)]  # noqa: B905
    truth = 100 * np.mean([one.stereotyped for one in now])
    inside, errors = 0, []
    for _ in range(200):
        part = {int(n): now[n] for n in rng.choice(SIZE, SIZE // 5, replace=False)}
        found = predict(base, part, ["x"] * SIZE)
        ss = 100 * np.mean([one.stereotyped for one in found.rows])
        errors.append(found.errors["x"])
        inside += bool(abs(ss - truth) <= 1.96 * errors[-1])
    assert 0.91 <= inside / 200 <= 0.99
    unpaired = predict([Comparison("x", "t", 1.0, 1.0, 0.0) for _ in base], part, ["x"] * SIZE)
    assert unpaired.errors["x"] > 1.4 * np.mean(errors)


def test_blocks_contain_every_item_once_and_the_terms_in_their_proportions() -> None:
    terms = ["a"] * 300 + ["b"] * 100
    blocks = sequential._blocks(["x"] * 400, terms, np.random.default_rng(3))["x"]
    assert [len(block) for block in blocks] == [80, 60, 60, 80, 120]
    assert sorted(number for block in blocks for number in block) == list(range(400))
    assert all(abs(sum(number >= 300 for number in block) - len(block) / 4) <= 2 for block in blocks)


# --- how much is read ----------------------------------------------------------------------------------------------


def test_far_from_the_goal_a_part_is_enough_and_near_a_threshold_all_is_read() -> None:
    base = rows(0.75)
    found, read = evaluate(base, rows(0.74))
    assert read < SIZE / 2
    assert found.bias_types["x"].ss == pytest.approx(74, abs=6)
    near = rows(0.52)
    found, read = evaluate(base, near)  # 2 points from 50: the margin itself
    assert read == SIZE
    assert found.bias_types == stop_scores(near, seed=0).bias_types


def test_a_bias_type_that_is_clear_is_read_no_further() -> None:
    """y is 2 points from 50, where its goal is not clear; but x is far, so that only the direction of y counts."""
    base = rows(0.75) + rows(0.70, bias_type="y")
    model = Model(rows(0.74) + rows(0.545, bias_type="y"))
    evaluator = SequentialEvaluator(base, model, partial(stop_scores, seed=0))
    before = Decision({"x": 1.0, "y": 1.0})
    evaluator.evaluate(25, before, (), lambda scores: Evaluation(25, scores, lms_before=100.0), DebiasConfig())
    asked = [sum(name.startswith(bias_type) for name in model.asked) for bias_type in "xy"]
    assert asked[0] == SIZE // 5 < asked[1]


def test_training_only_ends_on_the_whole_stop_split() -> None:
    base, now = rows(0.6), rows(0.5, seed=0)
    _, continuing = evaluate(base, now, confirm=2)
    _, ending = evaluate(base, now, confirm=1)
    assert continuing < SIZE == ending


def test_the_order_depends_on_the_seed_and_the_step_alone() -> None:
    base, now = rows(0.75), rows(0.74)
    one, other = evaluate(base, now), evaluate(base, now, step=50)
    assert one == evaluate(base, now)
    assert one[0].ss != other[0].ss


# --- in the training loop ------------------------------------------------------------------------------------------

LONG = {"max_steps": 8, "swap": "pi", "swap_noise": 1.0}


def run(settings: DebiasConfig, keep: Checkpointer, **others: Any) -> tuple[Loaded, Any]:
    loaded = fresh(settings)
    triplets = {one.id: one for one in CLUSTERS}

    def compare(names: Sequence[str]) -> list[Comparison]:
        return comparisons(score_triplets(loaded, [triplets[name] for name in names]))

    evaluator = SequentialEvaluator(compare(list(triplets)), compare, partial(stop_scores, seed=0))
    return loaded, train(loaded.model, loaded.tokenizer, SETS, evaluator, settings, keep, **others)


@pytest.mark.slow
def test_an_evaluation_that_reads_all_is_the_full_one() -> None:
    """Five items of a bias type are all in the first block."""
    settings, sequentially, fully = config(), Checkpointer(None), Checkpointer(None)
    loaded, outcome = run(settings, sequentially)
    other = fresh(settings)
    assert outcome == train(other.model, other.tokenizer, SETS, real_evaluation(other), settings, fully)
    assert same(weights_of(loaded.model), weights_of(other.model))
    found = [{name: value for name, value in row.items() if name != "evaluated_items"} for row in sequentially.rows]
    assert found == fully.rows
    assert sequentially.rows[2]["evaluated_items"] == len(CLUSTERS)


@pytest.mark.slow
def test_a_killed_run_with_parts_of_the_stop_split_resumes_as_if_nothing_had_happened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sequential, "FEWEST", 1)
    monkeypatch.setattr(sequential, "PRIOR", 0.0)
    settings, keep, path = config(**LONG), Checkpointer(None), tmp_path / "checkpoint.pt"
    loaded, outcome = run(settings, keep)
    read = [row["evaluated_items"] for row in keep.rows if "evaluated_items" in row]
    assert min(read) < len(CLUSTERS)  # the control: parts were read
    with pytest.raises(Killed):
        run(settings, Checkpointer(path), on_step=kill_at(5))
    torch.manual_seed(12345)
    resumed = Checkpointer(path, resume=True)
    again, other = run(settings, resumed)
    assert (other, resumed.rows) == (outcome, keep.rows)
    assert same(weights_of(again.model), weights_of(loaded.model))


def test_scores_say_how_many_items_were_read() -> None:
    assert StopScores({}, None, evaluated=7).to_dict() == {"ss": {}, "lms": None, "evaluated_items": 7}
    assert "evaluated_items" not in StopScores({}, None).to_dict()


def test_the_page_says_how_many_items_were_scored() -> None:
    rows = [MetricsRow(step=step, ss={"x": 50.0}, evaluated_items=n) for step, n in ((0, None), (25, 1200), (50, 520))]
    assert "scored 520 to 1,200 items" in " ".join(_evaluated(rows))
    assert _evaluated(rows[:1]) == []  # full evaluations need no words


@pytest.mark.slow
def test_the_command_evaluates_in_parts_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sequential, "FEWEST", 2)
    monkeypatch.setattr(sequential, "PRIOR", 0.0)
    tiny.save(tiny.gpt2(), tmp_path / "model")
    variants.write_pairs(tmp_path / "train.jsonl")
    variants.write_pairs(tmp_path / "report.jsonl", ("old", "new"))
    sequentially = ("--set", "evaluation=sequential", "--quiet")
    run = Path(variants.debias(tmp_path, "run", str(tmp_path / "model"), *sequentially))
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    read = [row["evaluated_items"] for row in rows if "ss" in row and row["step"]]
    stop = json.loads((run / "results.json").read_text())["data"]["splits"]["stop"]["pairs"]
    assert len(read) == 2 and all(0 < one < stop for one in read)
