"""A short run of the fuzzer with fixed seeds, and proof that it would find a fault."""

import time
from pathlib import Path

import pytest

from biasunlearn.cli import main
from biasunlearn.data import readers, rows
from tests.fuzz import running
from tests.fuzz.inputs import sound
from tests.fuzz.running import Case, fuzz, run, special_paths

INPUTS = 80


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "input").mkdir()
    return tmp_path / "input"


@pytest.mark.slow
@pytest.mark.damaged_results
def test_mutated_inputs_are_refused_in_one_line_or_accepted_rightly(place: Path) -> None:
    summary, number = list(fuzz(5, INPUTS, None, place))[-1]
    assert summary.faults == [] and number == INPUTS
    assert summary.verdicts["refused"] > INPUTS / 2 and summary.verdicts["accepted"] > INPUTS / 20


@pytest.mark.damaged_results
@pytest.mark.parametrize("number", range(len(sound())))
def test_every_sound_input_is_accepted(number: int, place: Path) -> None:
    kind, name, files = sound()[number]
    verdict, printed, _ = run(Case(kind, name, "none", files, must_refuse=False, accepted="sound"), place)
    assert (verdict, printed) == ("accepted", "")


def test_what_is_no_regular_file_is_refused_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path in special_paths(tmp_path):
        begun = time.process_time()
        for words in (["validate", str(path)], ["validate", "--as", "bbq", str(path)]):
            assert main(words) == 2, path
            error = capsys.readouterr().err
            assert error.count("\n") == 1 and "Traceback" not in error
        assert time.process_time() - begun < 5


@pytest.mark.slow
def test_a_fault_would_be_found(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative controls: a reader that breaks, one that hangs, and one that takes anything."""
    content = {"pairs.csv": b"stereotype,anti_stereotype\nHe ran.,\n"}
    case = Case("pairs", "pairs.csv", "an empty field", content, must_refuse=True, accepted="")
    assert run(case, place)[0] == "refused"
    monkeypatch.setattr(readers, "text_of", lambda row, name: str(row[name]) or "nothing")
    assert run(case, place)[0] == "wrongly accepted"
    monkeypatch.setattr(readers, "text_of", lambda row, name: row["no such column"])
    assert run(case, place)[0] == "broke"
    monkeypatch.setattr(running, "LONGEST", 0.1)
    monkeypatch.setattr(readers, "text_of", lambda row, name: time.sleep(5))
    assert run(case, place)[0] == "hang"


def test_an_id_may_be_a_whole_number_that_a_table_can_hold() -> None:
    """The fuzzer found that an id of 400 digits ended with a traceback."""
    assert rows.identifier({"id": 2**62}) == str(2**62) and rows.identifier({"id": -3.0}) == "-3"
    for value in (10**400, 1e300, True, 2.5):
        with pytest.raises(rows.BadRow):
            rows.identifier({"id": value})
