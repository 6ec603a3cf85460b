"""--overwrite: only a finished run of ours gives way, and no failure loses it."""

import shutil
from pathlib import Path

import pytest

from biasunlearn.errors import RequestError
from biasunlearn.runs.replacement import replacing
from tests.made_runs import debiased, items

BASE, FAIR = {"age": 84, "work": 84}, {"age": 60, "work": 60}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    debiased(tmp_path / "run", items(BASE), items(FAIR))
    return tmp_path / "run"


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


@pytest.mark.damaged_results
def test_the_new_run_takes_the_place_of_the_old_one(run: Path) -> None:
    with replacing(run, overwrite=True):
        assert not run.exists()
        run.mkdir()
        (run / "results.json").write_text("{}")
    assert names(run.parent) == ["run"] and names(run) == ["results.json"]


def test_a_refused_run_leaves_the_old_one_in_place(run: Path) -> None:
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    with pytest.raises(RequestError, match="no"), replacing(run, overwrite=True):
        run.mkdir()
        (run / ".lock").touch()
        raise RequestError("no")
    assert names(run.parent) == ["run"]
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


def test_an_interrupted_run_can_be_resumed_and_the_old_one_is_beside_it(run: Path) -> None:
    with pytest.raises(KeyboardInterrupt), replacing(run, overwrite=True):
        run.mkdir()
        (run / "config.yaml").touch()
        raise KeyboardInterrupt
    assert names(run.parent) == ["run", "run-replaced"]
    assert names(run) == ["config.yaml"] and "results.json" in names(run.parent / "run-replaced")
    shutil.rmtree(run)
    debiased(run, items(BASE), items(FAIR))
    with pytest.raises(KeyboardInterrupt), replacing(run, overwrite=True):
        run.mkdir()
        (run / "config.yaml").touch()
        raise KeyboardInterrupt
    assert names(run.parent) == ["run", "run-replaced", "run-replaced-2"]


def test_nothing_happens_without_the_option_and_without_a_folder(run: Path) -> None:
    with replacing(run, overwrite=False):
        assert run.exists()
    with replacing(run.parent / "new", overwrite=True):
        (run.parent / "new").mkdir()
    assert names(run.parent) == ["new", "run"]


@pytest.mark.damaged_results
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda run: (run / "notes.txt").touch(), "notes.txt: no part of a run; move it"),
        (lambda run: ((run / "mine").mkdir(), (run / "mine/thesis.tex").touch()), "thesis.tex: no part of a run"),
        (lambda run: (run / "results.json").unlink(), "holds no finished run"),
        (lambda run: (run / "results.json").write_text('{"a": 1}'), "results.json: schema: is missing"),
        (lambda run: (run / "link").symlink_to("/etc/hosts"), "a symbolic link"),
    ],
)
def test_what_is_not_ours_is_refused(run: Path, change, message: str) -> None:
    change(run)
    before = sorted(run.rglob("*"))
    with pytest.raises(RequestError, match=message), replacing(run, overwrite=True):
        raise AssertionError("not reached")
    assert sorted(run.rglob("*")) == before


def test_a_folder_of_the_user_is_refused(tmp_path: Path) -> None:
    (tmp_path / "letters").mkdir()
    with pytest.raises(RequestError, match="letters: holds no finished run; choose another --out"):
        with replacing(tmp_path / "letters", overwrite=True):
            pass


def test_resume_and_overwrite_exclude_each_other(run: Path) -> None:
    with pytest.raises(RequestError, match="cannot be combined with --resume"):
        with replacing(run, overwrite=True, resume=True):
            pass
