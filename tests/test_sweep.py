"""The sweep: a knee by hand, a study that goes on, and the report split that only the chosen point meets."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import tiny
from test_cli import write_pairs

from biasunlearn.cli import main
from biasunlearn.config import DebiasConfig
from biasunlearn.errors import RequestError
from biasunlearn.sweeping import SPACE, _holds, _watch, knee, sweep

optuna = pytest.importorskip("optuna")


def test_the_knee_by_hand() -> None:
    # Ends (1, 5) and (9, 1). Scaled: (2, 2) is (1/8, 1/4): 1 - 0.125 - 0.25 = 0.625 below the line; (5, 1.5) 0.375.
    place, reason = knee([(9.0, 1.0), (2.0, 2.0), (5.0, 1.5), (1.0, 5.0)])
    assert place == 1 and "by 0.62" in reason


def test_fronts_without_a_knee() -> None:
    assert knee([(3.0, 0.1), (2.0, 0.5)])[0] == 1
    assert knee([(4.0, 0.0)])[0] == 0
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
    with pytest.raises(optuna.TrialPruned, match="at look 2: 4.1"):
        trial(1.0, 4.1)
    finished.pop()
    assert trial(1.0, 99.0) == [1.0, 99.0]  # too few to compare with


def test_the_space_holds_the_default_recipe() -> None:
    """So the first trial is the recipe itself."""
    assert all(_holds(key, getattr(DebiasConfig(), key)) for key in SPACE)


def test_a_sweep_goes_on_and_scores_the_report_split_once_for_the_chosen_point(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny.save(tiny.gpt2(), tmp_path / "model")
    write_pairs(tmp_path / "train.jsonl")
    write_pairs(tmp_path / "report.jsonl", bias_types=("old", "new"))
    small = ("max_steps=2", "first_check=1", "check_every=1", "forget_batch=4", "unrelated_batch=2")
    command = ["sweep", str(tmp_path / "model"), "--train", str(tmp_path / "train.jsonl"), "--report",
               str(tmp_path / "report.jsonl"), "--out", str(tmp_path / "out"), "--json",
               *(part for value in small for part in ("--set", value))]  # fmt: skip
    assert main([*command, "--trials", "2", "--search-only"]) == 0
    first = json.loads(capsys.readouterr().out)
    assert first["complete"] == 2 and "chosen" not in first
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"study.journal", "sweep.json"}  # no run, no report
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
