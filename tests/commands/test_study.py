"""`study objective`: both models are debiased and measured further, finished parts stay, tables say what failed."""

import io
import json
from pathlib import Path

import pytest
from pydantic import ValidationError
from rich.console import Console

from biasunlearn.cli import main
from biasunlearn.commands.study_objective import first_fair, tokens_until
from biasunlearn.report.objective_study import objective_page
from biasunlearn.report.tables.objective_study import objective_tables
from biasunlearn.report.terminal.table import printed
from biasunlearn.runs.objective_study import ObjectiveStudy
from biasunlearn.runs.run_files import MetricsRow
from tests import tiny
from tests.report.made_results import objective_study
from tests.test_cli import write_pairs

SMALL = ("max_steps=2", "swap_noise=0", "first_evaluation=1", "evaluate_every=1", "forget_batch=4", "unrelated_batch=2",
         "guard_batch=1", "context_batch=1", "lora_rank=2", "stop_items=4")  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    masked = tiny.masked()  # one tokenizer for both: its trainer numbers tokens of equal frequency differently
    tiny.save(tiny.causal("bert-decoder", masked.tokenizer), folder / "causal")
    tiny.save(masked, folder / "masked")
    write_pairs(folder / "train.jsonl", bias_types=("age", "work"))
    write_pairs(folder / "report.jsonl", bias_types=("old", "new"))
    (folder / "text.txt").write_text("The river rose in spring. Boats lay at the old bridge.\n" * 3)
    return folder


def command(place: Path, causal: str, masked: str, out: str = "out") -> list[str]:
    return ["study", "objective", str(place / causal), str(place / masked), "--train", str(place / "train.jsonl"),
            "--report", str(place / "report.jsonl"), "--benchmark", f"perplexity={place / 'text.txt'}",
            "--out", str(place / out), "--relearn-steps", "0", "1", "--layers", "2", "--replacements", "0", "--quiet",
            *(part for value in SMALL for part in ("--set", value))]  # fmt: skip


@pytest.mark.slow
def test_both_models_are_debiased_and_measured_further(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*command(place, "causal", "masked"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    stored = ObjectiveStudy.model_validate(json.loads((place / "out/objective.json").read_text()))
    assert stored.to_dict() == found
    for kind in ("causal", "masked"):
        side = found["sides"][kind]
        results = json.loads((place / f"out/{kind}/seed-0/results.json").read_text())
        assert results["protocol"]["masked"] is side["masked"] is (kind == "masked")
        assert bool(results["benchmarks"]["perplexity"].get("pseudo")) is (kind == "masked")
        assert side["before"]["ss"]["value"] == results["before"]["stereoset"]["overall"]["ss"]["value"]
        assert [one["step"] for one in side["relearned"]] == [0, 1]
        assert side["hidden"]["layer"] == 2 and side["hidden"]["probes"] and side["hidden"]["before"]["between"]
        rows = [json.loads(line) for line in (place / f"out/{kind}/seed-0/metrics.jsonl").read_text().splitlines()]
        assert side["runs"][0]["tokens"] == sum(row.get("tokens", 0) for row in rows)
    causal, masked = (found["sides"][kind]["runs"][0]["tokens"] for kind in ("causal", "masked"))
    assert masked > 2 * causal > 0  # it reads a sentence once for each token
    assert [one["of"] for one in found["transfers"]] == ["causal", "masked"]
    assert all("model, and the adapter's base is a" in one["left_out"] for one in found["transfers"])
    written = [path.stat().st_mtime_ns for path in sorted((place / "out").glob("*/*/results.json"))]
    assert main(command(place, "causal", "masked")) == 0
    assert [path.stat().st_mtime_ns for path in sorted((place / "out").glob("*/*/results.json"))] == written
    shown = capsys.readouterr().out
    assert "pseudo-perplexity" in shown and "Further training on stereotypes" in shown
    assert (place / "out/report.html").read_text().count("<table") == 5


def test_models_in_the_wrong_places_are_refused(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(command(place, "masked", "causal", "wrong")) == 2
    assert "a masked model in the place of the causal one; give CAUSAL, then MASKED" in capsys.readouterr().err
    assert not (place / "wrong/causal/seed-0/results.json").exists()


def test_the_first_fair_evaluation_and_the_tokens_until_then() -> None:
    rows = [
        MetricsRow(step=0, ss={"a": 61.0, "b": 52.0}), MetricsRow(step=1, tokens=10.0),
        MetricsRow(step=2, tokens=20.0, ss={"a": 54.0, "b": 47.0}), MetricsRow(step=3, tokens=40.0),
    ]  # fmt: skip
    assert first_fair(rows, 5) == 2 and tokens_until(rows, 2) == 30.0
    assert first_fair(rows, 3) is None
    assert tokens_until(rows, 3) == 70.0 and tokens_until(rows, 0) == 0.0


def test_tables_and_page_say_what_was_not_reached_and_left_out() -> None:
    study = objective_study()
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(printed(objective_tables(study)))
    text, page = console.export_text(), objective_page(study)
    for shown in (text, page):
        assert "not reached" in shown and "share of the effect kept: 0.25" in shown
        assert "left out" in shown
    assert "<i>m" not in page and "&lt;i&gt;m" in page
    with pytest.raises(ValidationError):
        ObjectiveStudy.model_validate({**study.to_dict(), "sides": {"both": study.to_dict()["sides"]["causal"]}})
