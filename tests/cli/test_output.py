"""Who prints: of several processes under a launcher the first one, and a failure by whichever process has it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from biasunlearn.cli import main, output
from biasunlearn.cli.options import Output
from biasunlearn.runs.results import Results
from tests import made_runs


@pytest.fixture
def run(tmp_path: Path) -> str:
    before, after = made_runs.items({"age": 84, "work": 96}), made_runs.items({"age": 60, "work": 60})
    made_runs.debiased(tmp_path / "run", before, after)
    return str(tmp_path / "run")


@pytest.fixture
def requests(run: str, tmp_path: Path) -> list[list[str]]:
    """Requests that print: tables, lines, JSON, help, and errors on stderr."""
    (tmp_path / "s.txt").write_text("He is a strong man.\nIt rained.\n")
    words = ["counterfactual", "--sentences", str(tmp_path / "s.txt"), "--terms", "gender", "--out"]
    return [
        ["compare", f"{run}:before", run],
        ["compare", f"{run}:before", run, "--json"],
        ["report", run, "--out", str(tmp_path / "page.html")],
        [*words, str(tmp_path / "p.jsonl")],
        ["completion", "bash"],
        ["--help"],
        ["gate", "--help"],
        ["--version"],
        ["compare", run],
        ["meassure"],
        ["gate", run, "--policy", str(tmp_path / "none.yaml")],
    ]


@pytest.mark.slow
def test_the_second_process_prints_nothing(
    requests: list[list[str]], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    codes = []
    for words in requests:
        (tmp_path / "p.jsonl").unlink(missing_ok=True)
        codes.append(main(words))
        printed = capsys.readouterr()
        assert printed.out or printed.err, words  # the first one does print
    monkeypatch.setenv("RANK", "1")
    assert codes.count(2) == 3  # wrong requests are those of the next test but one
    for words in (words for words, code in zip(requests, codes, strict=True) if code != 2):
        (tmp_path / "p.jsonl").unlink(missing_ok=True)
        assert main(words) in (0, 1), words
        assert capsys.readouterr() == ("", ""), words


def test_it_is_silent_as_a_process_of_its_own() -> None:
    words = [sys.executable, "-m", "biasunlearn", "gate", "--help"]
    for rank, silent in (("0", False), ("1", True)):
        done = subprocess.run(words, capture_output=True, text=True, env=os.environ | {"RANK": rank})
        assert done.returncode == 0 and (done.stdout == "") == silent and done.stderr == ""


def test_a_wrong_request_is_printed_by_the_first_process_of_each_machine_before_the_others_end(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    printed_before_the_end: list[str] = []

    def ended_by_the_launcher(seconds: float) -> None:
        assert seconds == output.PATIENCE
        printed_before_the_end.append(capsys.readouterr().err)

    monkeypatch.setattr("time.sleep", ended_by_the_launcher)
    monkeypatch.setenv("RANK", "4")
    monkeypatch.setenv("LOCAL_RANK", "0")
    output.wrong_request("no\nfile")
    assert capsys.readouterr().err == "biasunlearn: no file\n" and not printed_before_the_end
    monkeypatch.setenv("LOCAL_RANK", "1")
    output.wrong_request("no\nfile")
    assert printed_before_the_end == [""]
    assert capsys.readouterr().err == "biasunlearn: process 4: no file\n"  # wrong only here: nobody has ended it


def test_a_failure_is_printed_by_the_process_that_has_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("out of memory")

    monkeypatch.setattr("biasunlearn.commands.compare.compare", broken)
    for rank, who in (("0", ""), ("1", "process 1: ")):
        monkeypatch.setenv("RANK", rank)
        assert main(["compare", "a", "b"]) == 3
        message = f"biasunlearn: {who}it broke: RuntimeError: out of memory (--traceback shows where)\n"
        assert capsys.readouterr() == ("", message)
    assert main(["compare", "a", "b", "--traceback"]) == 3
    printed = capsys.readouterr().err
    assert "in broken" in printed and printed.splitlines()[-1].startswith("biasunlearn: process 1: it broke")


def test_an_interruption_is_one_line_and_exit_code_130(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("biasunlearn.commands.compare.compare", interrupted)
    assert main(["compare", "a", "b"]) == 130
    assert capsys.readouterr() == ("", "biasunlearn: interrupted\n")


def test_json_is_the_result_and_nothing_else_on_stdout(
    run: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compare", f"{run}:before", run, "--out", str(tmp_path / "c"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads((tmp_path / "c/compare.json").read_text())


def test_a_result_may_be_an_object(capsys: pytest.CaptureFixture[str]) -> None:
    class Result:
        def to_dict(self) -> dict[str, int]:
            return {"n": 3}

    def line(found: Result) -> str:
        return f"n = {found.to_dict()['n']}"

    output.show(Result(), Output(json=True), line, where="stored in x")
    assert json.loads(capsys.readouterr().out) == {"n": 3}
    output.show(Result(), Output(), line, where="stored in x")
    assert capsys.readouterr().out == "n = 3\nstored in x\n"


def test_skipped_rows_are_listed_up_to_twenty(capsys: pytest.CaptureFixture[str]) -> None:
    skipped = [f"f:{line}: empty" for line in range(1, 24)]
    entry = {"n": 1, "tokens": 9, "per_token": 2.0, "per_byte": 2.0, "skipped_rows": skipped}
    results = Results.model_validate({"schema": 2, "benchmarks": {"perplexity": entry}})
    output.show_results(results, Output(), None, lambda _: "table")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "table" and lines[1] == "skipped f:1: empty" and lines[20] == "skipped f:20: empty"
    assert lines[21:] == ["... and 3 more, all in results.json"]


def test_the_end_of_training_names_the_step_whose_adapter_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    for best, kept in ((120, ""), (100, "; the adapter is that of step 100")):
        stopped = {"step": 120, "best_step": best, "reason": "all bias types within 2 of 50"}
        results = Results.model_validate({"schema": 2, "benchmarks": {}, "stopped": stopped})
        output.show_results(results, Output(), "runs/mine", lambda _: "table")
        assert capsys.readouterr().out.splitlines()[1:] == [
            f"stopped at step 120: all bias types within 2 of 50{kept}",
            "stored in runs/mine (report.html, results.json, items.parquet)",
        ]
