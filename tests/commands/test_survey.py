"""A survey: every method on the same sets, runs that are not run twice, the base measured once, and its page."""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from biasunlearn.cli import main
from biasunlearn.commands.debias import DebiasJob, run_debias
from biasunlearn.commands.run_context import Callbacks
from biasunlearn.commands.survey import METHODS, _row, scores_of, survey
from biasunlearn.config import DebiasConfig
from biasunlearn.errors import RequestError
from biasunlearn.models.spec import ModelSpec
from biasunlearn.report.survey import survey_page
from biasunlearn.report.tables.survey import SurveyLine, headline_table, survey_remarks
from biasunlearn.runs.results import Results
from biasunlearn.runs.score_cache import ScoreCache
from biasunlearn.runs.series import Survey
from biasunlearn.scoring.protocol import EvalPlan
from tests import tiny
from tests.benchmarks.test_bbq_text import row as bbq_row
from tests.report.test_run import HOSTILE, executed, read
from tests.test_cli import write_pairs

pytestmark = pytest.mark.slow

SMALL = ("max_steps=2", "swap_noise=0", "first_evaluation=2", "forget_batch=4", "unrelated_batch=2", "lora_rank=2")


def command(place: Path, *more: str) -> list[str]:
    return ["survey", str(place / "model"), "--train", str(place / "train.jsonl"), "--report",
            str(place / "report.jsonl"), "--out", str(place / "out"),
            "--replacements", "1", *(part for value in SMALL for part in ("--set", value)), *more]  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("survey")
    tiny.save(tiny.gpt2(), folder / "model")
    write_pairs(folder / "train.jsonl")
    write_pairs(folder / "report.jsonl", bias_types=("old", "new"))
    (folder / "text.txt").write_text("".join(f"he reads book {number} at home .\n" for number in range(30)))
    return folder


def test_methods_stand_in_one_table_and_are_run_once(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    chosen = ("--methods", "dpo", "inlp", "dropout", "--seeds", "0", "1", "--text", str(place / "text.txt"),
              "--benchmark", f"perplexity={place / 'text.txt'}")  # fmt: skip
    assert main(command(place, *chosen, "--json")) == 0
    first = json.loads(capsys.readouterr().out)
    assert first == json.loads((place / "out/survey.json").read_text())
    assert first["refused"] == {} and set(first["methods"]) == {"dpo", "inlp", "dropout"}
    runs = sorted((place / "out").glob("*/seed-*/results.json"))
    assert len(runs) == 6
    results = [json.loads(path.read_text()) for path in runs]
    assert {one["config"]["max_steps"] for one in results} == {2}
    assert len({json.dumps(one["before"], sort_keys=True) for one in results}) == 1
    texts = {one["method"]: one["data"]["unrelated"]["path"] for one in results}
    assert texts["dropout"] == str(place / "text.txt") and texts["dpo"] != texts["dropout"]

    for name, row in first["methods"].items():
        own = [one for one in results if one["method"] == name]
        ss = [one["benchmarks"]["stereoset"]["overall"]["ss"] for one in own]
        assert row["scores"]["ss"]["seeds"] == [one["value"] for one in ss]
        assert row["scores"]["ss"]["low"] == min(one["low"] for one in ss)
        assert row["scores"]["perplexity"]["value"] == pytest.approx(
            sum(one["benchmarks"]["perplexity"]["per_token"] for one in own) / 2
        )
        assert row["cost"]["seconds"] > 0 and row["cost"]["memory"] > 2**20
    far = {name: row["scores"]["distance"]["value"] for name, row in first["methods"].items()}
    far["base model"] = first["base"]["distance"]["value"]
    assert all(far[one["nearer"]] < far[one["farther"]] for one in first["nearer"])
    decided = {one["farther"] for one in first["nearer"]} & set(first["methods"])
    assert decided or list(first["methods"]) == ["dpo", "inlp", "dropout"]  # as requested where no test decides

    written = [path.stat().st_mtime_ns for path in runs]
    assert main(command(place, *chosen)) == 0
    assert [path.stat().st_mtime_ns for path in runs] == written
    shown = capsys.readouterr().out
    assert "mean |SS - 50|" in shown and "inlp" in shown
    page = (place / "out/report.html").read_text()
    assert "3 methods under one budget, 2 seeds" in page and "inlp" in page
    assert "word seen" not in page  # every pair has both of its attribute words in training


@pytest.mark.exhaustive  # by day: tests/commands/test_shared_queue.py, with the lock of a real process
def test_two_processes_share_a_survey_though_both_are_killed_once(place: Path, tmp_path: Path) -> None:
    chosen = ("--methods", "dpo", "npo", "sft", "--seeds", "0", "1", "--quiet")
    alone, shared = tmp_path / "alone", tmp_path / "shared"
    assert main(command(place, *chosen, "--out", str(alone), "--overwrite")) == 0

    def start() -> "subprocess.Popen[str]":
        command_line = [sys.executable, "-m", "biasunlearn", *command(place, *chosen, "--out", str(shared))]
        return subprocess.Popen(command_line, stderr=subprocess.PIPE, text=True)

    first, second = start(), start()
    for number, one in ((1, first), (2, second)):  # each is killed when one more run has begun
        while len([*shared.glob("*/seed-*/scored.jsonl"), *shared.glob("*/seed-*/results.json")]) < number:
            time.sleep(0.05)
        one.kill()
        one.wait()
    both = start(), start()
    assert [one.wait() for one in both] == [0, 0]
    said = "".join(one.stderr.read() for one in both if one.stderr)
    assert "left out" not in said
    assert sorted(path.parent for path in shared.glob("*/seed-*/results.json")) == [
        shared / method / f"seed-{seed}" for method in ("dpo", "npo", "sft") for seed in (0, 1)
    ]
    expected, found = (json.loads((out / "survey.json").read_text()) for out in (alone, shared))
    for one in (expected, found):
        for row in one["methods"].values():
            del row["cost"]
    assert found["methods"] == expected["methods"] and found["base"] == expected["base"] and found["refused"] == {}


def test_prompting_baselines_stand_beside_trained_methods(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "Age.jsonl"
    path.write_text("\n".join(json.dumps(bbq_row(n)) for n in range(8)))
    asked = command(place, "--methods", "dpo", "--seeds", "0", "--baselines", "instruction", "chain_of_thought",
                    "--limit-prompts", "4")  # fmt: skip
    asked[asked.index("--out") + 1] = str(tmp_path / "out")
    assert main(asked) == 2
    assert "prompting needs a judged benchmark; add --responses" in capsys.readouterr().err
    assert main([*asked, "--responses", f"bbq_text={path}", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert set(found["prompting"]) == {"instruction", "chain_of_thought"}
    shown = {"bbq_text bfs", "bbq_text bias_amb", "bbq_text accuracy_disambig", "bbq_text refused", "bbq_text scored"}
    assert set(found["prompting"]["instruction"]) == shown
    assert found["prompting"]["instruction"]["bbq_text scored"]["value"] == 0  # random words are never scored
    trained = found["methods"]["dpo"]["scores"]
    assert found["base"]["bbq_text scored"]["value"] == trained["bbq_text scored"]["value"] == 0
    stored = Results.model_validate(json.loads((tmp_path / "out/prompting/instruction/results.json").read_text()))
    assert list(stored.benchmarks.entries) == ["bbq_text"] and stored.before is None
    assert "prompt: chain of thought" in (tmp_path / "out/report.html").read_text()


def test_shared_scores_of_the_base_model_change_no_number(place: Path, tmp_path: Path) -> None:
    """The second run takes the first one's scores of the base model, and its further results are identical."""
    job = DebiasJob(
        model=ModelSpec(str(place / "model")),
        train=str(place / "train.jsonl"),
        unrelated=None,
        plan=EvalPlan({"stereoset": str(place / "report.jsonl")}),
        config=DebiasConfig(
            max_steps=2, swap_noise=0.0, first_evaluation=2, forget_batch=4, unrelated_batch=2, lora_rank=2
        ),
    )
    shared = ScoreCache()

    def run(name: str, base_scores: ScoreCache | None = None) -> Results:
        return run_debias(job, tmp_path / name, resume=False, callbacks=Callbacks(), base_scores=base_scores)

    run("first", shared.restarted())
    again, alone = run("second", shared.restarted()), run("alone")
    for key in ("before", "benchmarks", "stopped"):
        assert getattr(again, key) == getattr(alone, key)
    assert len(shared._values) > 0
    metrics = [(tmp_path / name / "metrics.jsonl").read_text() for name in ("second", "alone")]
    assert metrics[0] == metrics[1]


def test_a_method_that_cannot_run_is_left_out_with_its_reason(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from biasunlearn.unlearn import methods

    def missing(task: Any) -> Any:
        raise RequestError("method: leace needs a package")

    monkeypatch.setitem(methods.METHODS, "leace", missing)
    paths = {"train": str(place / "train.jsonl"), "report": str(place / "report.jsonl"), "out": tmp_path / "out"}
    found = survey(str(place / "model"), **paths, methods=("leace", "inlp"), seeds=(0,), changes=SMALL)
    assert list(found.methods) == ["inlp"] and found.refused == {"leace": "method: leace needs a package"}
    assert "leace is left out: method: leace needs a package" in survey_remarks(found)
    assert "leace is left out" in survey_page(found)
    with pytest.raises(RequestError, match="needs a package"):
        survey(str(place / "model"), **{**paths, "out": tmp_path / "none"}, methods=("leace",), seeds=(0,))


def test_wrong_requests(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for more, said in (
        (("--methods", "half"), "--methods half: unknown; known: biasunlearn"),
        (("--set", "method=dpo"), "use --methods and --seeds"),
        (("--set", "seed=3"), "use --methods and --seeds"),
    ):
        assert main(command(place, *more)) == 2
        assert said in capsys.readouterr().err


def surveyed(name: str = "gender") -> Survey:
    """survey.json of two methods, one of which kept the base and had no LMS, and one that could not run."""

    def scores(far: float, lms: float | None) -> dict[str, Any]:
        value = {"value": far, "low": far - 1, "high": far + 1, "seeds": [far, far]}
        able = None if lms is None else {"value": lms, "low": lms - 1, "high": lms + 1}
        ss = {"value": 50 + far, "low": 49 + far, "high": 51 + far}
        return {f"ss {name}": ss, "ss": ss, "distance": value, "lms": able, "icat": able, f"{name} share": None,
                "perplexity": {"value": 240.0}}  # fmt: skip

    def row(far: float, lms: float | None, unchanged: int, cost: Any) -> dict[str, Any]:
        return {"scores": scores(far, lms), "unchanged": unchanged, "collapsed": unchanged, "cost": cost, "runs": []}

    spent = {"seconds": 95.0, "processor_seconds": 90.0, "memory": 838_000_000}
    return Survey.model_validate({
        "model": name, "methods": {"dpo": row(2.0, 88.0, 0, spent), "npo": row(9.0, None, 2, None)},
        "base": scores(9.0, 87.0), "front": ["dpo"],
        "nearer": [{"nearer": "dpo", "farther": "npo", "p_holm": 0.01}],
        "prompting": {name: {f"{name} share": {"value": 12.0, "low": 10.0, "high": 14.0}}},
        "refused": {"inlp": name}, "seeds": [0, 1], "changes": [name],
        "environment": {"command": name},
    })  # fmt: skip


def test_the_page_says_what_is_near_what_was_kept_and_what_it_cost() -> None:
    said = " ".join(read(survey_page(surveyed())).text)
    assert "prompt: gender" in said and "12.0" in said and "Prompting baselines" in said
    assert "dpo is nearest to 50, on average 2.0 points away" in said and "tests distinguish it from npo" in said
    undecided = " ".join(read(survey_page(surveyed().with_values(nearer=[]))).text)
    assert "No test distinguishes the distances from 50 of dpo, npo (2.0 to 9.0 points" in undecided
    assert "is nearest" not in undecided
    assert "npo kept the base model with 2 of 2 seeds" in said and "inlp is left out: gender" in said
    assert "npo collapsed with 2 of 2 seeds; its last checkpoint before" in said and "dpo collapsed" not in said
    assert "799" in said and "95" in said and "240.0" in said


def test_hostile_names_stay_text_on_the_page() -> None:
    reader = read(survey_page(surveyed(HOSTILE)))
    assert not {"img", "iframe", "form"} & set(reader.tags) and len(executed(reader)) == 1
    assert not [key for _, key, _ in reader.attributes if key.startswith("on")]


def test_a_row_says_that_nothing_changed() -> None:
    score = {"value": 60.0, "low": 50.0, "high": 70.0}

    def entries(ss: float) -> dict[str, Any]:
        far = {**score, "if_fair": 3.0}
        seen = {"both": {"n": 5, "ss": score}, "one": {"n": 4, "ss": {**score, "value": ss - 1}}, "neither": {"n": 0}}
        overall = {"n": 9, "ss": {**score, "value": ss}, "ss_distance": far, "lms": None, "icat": None,
                   "unseen_wording": seen}  # fmt: skip
        scores = {"n": 9, "overall": overall, "bias_types": {"age": {"n": 9, "ss": score}}}
        return {"stereoset": scores, "perplexity": {"per_token": 9.0, "per_byte": 1.5, "tokens": 9}}

    def run(seed: int, ss: float) -> Results:
        stopped = {"step": 2, "reason": "", "best_step": 0}
        return Results.model_validate({"schema": 2, "before": entries(60.0), "benchmarks": entries(ss),
                                       "collapsed": False, "stopped": stopped, "config": {"seed": seed}})  # fmt: skip

    row = _row([run(0, 60.0 + 1e-9), run(1, 58.0)])
    assert row.unchanged == 1 and row.cost is None
    assert row.scores["ss"] is not None and row.scores["ss"].value == pytest.approx(59.0)
    assert row.scores["lms"] is None
    one_seen = row.scores["ss_one_seen"]
    assert one_seen is not None and one_seen.value == pytest.approx(58.0)  # 59 and 57
    assert row.scores["ss_none_seen"] is None

    base = SurveyLine("0", "base model", scores_of(run(0, 60.0).before))
    table = headline_table([base, SurveyLine("a", "npo", row.scores, row)])
    names = [column.label for column in table.columns]
    assert "SS, one word seen" in names and "SS, no word seen" not in names and table.notes


def test_every_method_of_the_configuration_is_surveyed() -> None:
    assert len(METHODS) == len(set(METHODS)) == 32
