"""The sweep: a knee by hand, a study that goes on, and the report split that only the chosen point meets."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from biasunlearn.benchmarks.stereoset import score_triplets
from biasunlearn.cli import main
from biasunlearn.commands.sweep import SPACE, _draw, _holds, _study, _watch, knee, sweep
from biasunlearn.config import DebiasConfig
from biasunlearn.data.readers import read_triplets
from biasunlearn.errors import RequestError
from biasunlearn.report.charts.pareto import TrialPoint, outside, trial_axes
from biasunlearn.report.sweep import sweep_page
from biasunlearn.runs.identity import identity
from biasunlearn.runs.series import Sweep
from biasunlearn.unlearn.learning_rate import LARGEST_RATE
from tests import tiny
from tests.report.test_run import HOSTILE, executed, read
from tests.test_cli import write_pairs

optuna = pytest.importorskip("optuna")


def test_the_knee_by_hand() -> None:
    # Ends (1, 5) and (9, 1). Scaled: (2, 2) is (1/8, 1/4): 1 - 0.125 - 0.25 = 0.625 below the line; (5, 1.5) 0.375.
    place, reason = knee([(9.0, 1.0), (2.0, 2.0), (5.0, 1.5), (1.0, 5.0)])
    assert place == 1 and "by 0.62" in reason


def test_fronts_without_a_knee() -> None:
    assert knee([(3.0, 0.1), (2.0, 0.5)])[0] == 1
    assert knee([(4.0, 0.0)])[0] == 0
    # What gains LMS is not paid for in bias: the first one costs nothing, and the others are only farther off.
    assert knee([(2.0, -2.9), (0.8, -2.0), (1.6, -2.5)]) == (1, "the smallest bias, and it costs no LMS")
    # (9, -5) gains and is farther off than (5, 0); between the ends (1, 4) and (5, 0) lies (2, 1) below the line.
    assert knee([(9.0, -5.0), (5.0, 0.0), (2.0, 1.0), (1.0, 4.0)])[0] == 2
    place, reason = knee([(4.0, 0.0)] * 3)
    assert place == 0 and "all equal" in reason
    place, reason = knee([(1.0, 5.0), (5.0, 4.5), (9.0, 1.0)])  # bent the other way
    assert place == 0 and "no point lies below" in reason


def test_a_trial_is_given_up_where_the_median_of_the_finished_was_nearer() -> None:
    finished = [SimpleNamespace(user_attrs={"course": [9.0, far]}) for far in (2.0, 3.0, 5.0, 6.0)]  # median 4
    study = SimpleNamespace(get_trials=lambda **_: finished)

    def trial(*course: float) -> list[float]:
        noted: dict[str, list[float]] = {}
        watch = _watch(optuna, SimpleNamespace(set_user_attr=noted.__setitem__), study)
        for far in course:
            watch(far, (far, 0.0))
        assert noted["last"] == [course[-1], 0.0]
        return noted["course"]

    assert trial(20.0, 4.0, 50.0) == [20.0, 4.0, 50.0]  # the first look is too early, nobody else had a third
    with pytest.raises(optuna.TrialPruned, match="at evaluation 2: 4.1"):
        trial(1.0, 4.1)
    finished.pop()
    assert trial(1.0, 99.0) == [1.0, 99.0]  # too few to compare with


def test_the_space_holds_the_default_recipe() -> None:
    """So the first trial is the recipe itself, with the learning rate of a small model."""
    recipe = DebiasConfig(learning_rate=LARGEST_RATE)
    assert all(_holds(key, getattr(recipe, key)) for key in SPACE)


@pytest.mark.slow
def test_a_sweep_goes_on_and_scores_the_report_split_once_for_the_chosen_point(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def noting(loaded, clusters, **options):
        asked.extend(cluster.stereotype.text for cluster in clusters)
        return score_triplets(loaded, clusters, **options)

    monkeypatch.setattr("biasunlearn.benchmarks.stereoset.score_triplets", noting)
    tiny.save(tiny.gpt2(), tmp_path / "model")
    write_pairs(tmp_path / "train.jsonl")
    write_pairs(tmp_path / "report.jsonl", bias_types=("old", "new"))
    small = ("max_steps=2", "swap_noise=0",
             "first_evaluation=1", "evaluate_every=1", "forget_batch=4", "unrelated_batch=2")
    command = ["sweep", str(tmp_path / "model"), "--train", str(tmp_path / "train.jsonl"), "--report",
               str(tmp_path / "report.jsonl"), "--out", str(tmp_path / "out"), "--json",
               *(part for value in small for part in ("--set", value))]  # fmt: skip
    assert main([*command, "--trials", "2", "--search-only"]) == 0
    first = json.loads(capsys.readouterr().out)
    assert first["complete"] == 2 and "chosen" not in first
    written = {path.name for path in (tmp_path / "out").iterdir()}
    assert written == {"study.journal", "sweep.json", "report.html"}  # no run: the report split is not scored
    report = {row.stereotype.text for row in read_triplets(tmp_path / "report.jsonl").triplets}
    assert asked and not report & set(asked)
    monkeypatch.undo()
    recipe = first["request"]["recipe"]
    assert first["trials"][0]["params"] == {key: recipe[key] for key in SPACE}

    assert main([*command, "--trials", "3"]) == 0
    second = json.loads(capsys.readouterr().out)
    assert second["complete"] + second["pruned"] == 3 and second["trials"][:2] == first["trials"]
    (run,) = second["chosen"]
    assert run["run"].endswith(f"trial-{second['knee']['trial']}/seed-0") and 0 <= run["ss"]["value"] <= 100
    stored = json.loads((Path(run["run"]) / "results.json").read_text())
    chosen = second["front"][second["knee"]["place"]]["params"]
    assert {key: stored["config"][key] for key in SPACE} == chosen

    assert main([*command, "--trials", "3", "--set", "average=0"]) == 2
    assert "holds a study of another request" in capsys.readouterr().err


def test_wrong_requests(tmp_path: Path) -> None:
    paths = {"train": "t", "report": "r", "out": tmp_path / "out"}
    with pytest.raises(RequestError, match="at least one trial"):
        sweep("m", **paths, trials=0)
    with pytest.raises(RequestError, match="a sweep trains adapters"):
        sweep("m", **paths, config=DebiasConfig(lora_rank=0))
    with pytest.raises(RequestError, match="would choose the settings on the report split"):
        sweep("m", **paths, config=DebiasConfig(stop_on="report"))


def test_the_recipe_comes_again_where_the_first_trial_was_interrupted(tmp_path: Path) -> None:
    recipe = DebiasConfig(learning_rate=LARGEST_RATE)
    request = {"recipe": {key: getattr(recipe, key) for key in SPACE}, "identity": identity({})}
    study = _study(optuna, tmp_path, None, request)
    study.tell(study.ask(), state=optuna.trial.TrialState.FAIL)  # as Ctrl-C leaves it
    again = _study(optuna, tmp_path, None, request)
    first, second = again.ask(), _study(optuna, tmp_path, None, request).ask()  # another machine, meanwhile
    assert {key: _draw(first, key) for key in SPACE} == request["recipe"]
    assert {key: _draw(second, key) for key in SPACE} != request["recipe"]


def point(trial: int, bias: float, lost: float, **params: float) -> dict[str, object]:
    return {"trial": trial, "bias": bias, "lms_lost": lost, "params": {"beta": 0.1, **params}}


def content(name: str = "m") -> dict[str, object]:
    """A study of five trials, as sweep.json has it: three on the front, one beaten, one given up."""
    front = [point(3, 1.0, 5.0), point(1, 2.0, 1.0), point(4, 6.0, 0.0)]
    return {
        "request": {"model": name, "recipe": {"beta": 0.2, name: name}, "seeds": [0], "splits": {name: name}},
        "complete": 4, "pruned": 1, "front": front, "trials": [point(0, 3.0, 90.0, beta=0.2), *front],
        "given_up": [{**point(2, 30.0, 2.0), "look": 3}], "knee": {"place": 1, "trial": 1, "reason": name},
        "importance": {"bias": {"beta": 0.75, name: 0.25}, "lms_lost": {}},
        "chosen": [{"seed": 0, "ss": {"value": 51.5, "low": 48.0, "high": 55.0}, "lms": None, "run": name}],
    }  # fmt: skip


def made(name: str = "m", **more: object) -> Sweep:
    return Sweep.model_validate({**content(name), **more})


def test_the_page_shows_every_trial_its_front_and_its_knee() -> None:
    page = sweep_page(made())
    reader, said = read(page), " ".join(read(page).text)
    assert "1, the knee" in said and "0, the recipe" in said and "pruned at evaluation 3" in said
    assert "75 %" in said and "51.5" in said and "Outside the axes and drawn on their edge: 2." in said
    assert sum(value == "pruned" for _, key, value in reader.attributes if key == "class") == 2  # and in the key
    assert "trial 0, dominated: 3.00 from 50, 90.00 LMS lost" in said
    assert "1.00 points of LMS lost" in said and "Over-debiased" not in said
    ss = {"value": 46.9, "low": 44.5, "high": 49.5}
    below = {"seed": 7, "ss": ss, "lms": None, "run": "r", "over_debiased": True}
    knee = {"place": 0, "trial": 3, "reason": ""}
    gained = made(front=[point(3, 1.0, -2.0)], knee=knee, chosen=[below])
    said = " ".join(read(sweep_page(gained)).text)
    assert "2.00 points of LMS gained" in said and "lies below 50 with seed 7" in said
    empty = made(front=[], trials=[], given_up=[], knee=None, importance={}, chosen=[])
    assert "No trial has been completed yet" in " ".join(read(sweep_page(empty)).text)


def test_the_picture_reaches_behind_the_front_by_hand() -> None:
    front = [TrialPoint(0, 1.0, 5.0), TrialPoint(1, 6.0, 0.0)]  # six tenths of 5 behind 6 and 5
    across, down = trial_axes(front)
    assert (across.low, across.high, down.low, down.high) == (0, 9, 0, 8)
    assert outside([TrialPoint(2, 9.5, 1.0), TrialPoint(3, 1.0, 8.5), TrialPoint(4, 9.0, 8.0)], front) == 2


def test_hostile_names_stay_text_on_the_page() -> None:
    reader = read(sweep_page(made(HOSTILE)))
    assert not {"img", "iframe", "form"} & set(reader.tags) and len(executed(reader)) == 1
    assert not [key for _, key, _ in reader.attributes if key.startswith("on")]
