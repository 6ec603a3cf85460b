"""Where a run may be written, and links in the run folders of strangers: a user's files are never touched."""

import os
from pathlib import Path

import pytest

from biasunlearn.errors import RequestError
from biasunlearn.runs.folder import RunFolder, new_run
from biasunlearn.runs.lock import LOCK, acquire_lock, releasing_locks
from biasunlearn.runs.places import check_out, refuse_links

FILES = (".lock", "metrics.jsonl", "scored.jsonl", "reference.bin", "checkpoint.pt", "config.yaml", "results.json",
         "adapter/adapter_model.safetensors", "generations/generations.jsonl", ".x.old")  # fmt: skip


pytestmark = pytest.mark.damaged_results


@pytest.fixture
def precious(tmp_path: Path) -> Path:
    path = tmp_path / "precious.txt"
    path.write_text("everything that I have written")
    return path


@pytest.mark.parametrize("kind", ["symbolic link", "hard link"])
@pytest.mark.parametrize("name", FILES)
def test_a_link_in_a_run_folder_does_not_let_a_resumed_run_empty_its_target(
    name: str, kind: str, precious: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    (run / name).parent.mkdir(parents=True)
    if name != "config.yaml":
        (run / "config.yaml").write_text("measure: {}\n")
    if kind == "symbolic link":
        (run / name).symlink_to(precious)
    else:
        os.link(precious, run / name)
    for resume in (True, False):
        with pytest.raises(RequestError, match=f"{name}: .*link"), releasing_locks():
            new_run(run, resume=resume)
    assert precious.read_text() == "everything that I have written"


@pytest.mark.parametrize("kind", ["symbolic link", "hard link", "pipe"])
def test_the_lock_itself_follows_no_link(kind: str, precious: Path, tmp_path: Path) -> None:
    """Between the check of the folder and the lock, somebody may put one there."""
    run = tmp_path / "run"
    run.mkdir()
    if kind == "symbolic link":
        (run / LOCK).symlink_to(precious)
    elif kind == "hard link":
        os.link(precious, run / LOCK)
    else:
        os.mkfifo(run / LOCK)
    with pytest.raises(RequestError, match=LOCK), releasing_locks():
        acquire_lock(run)
    assert precious.read_text() == "everything that I have written"


def test_a_run_folder_with_a_link_is_not_read(precious: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "results.json").symlink_to(precious)
    with pytest.raises(RequestError, match="a symbolic link") as caught:
        RunFolder(run).read_results()
    assert "everything" not in str(caught.value)


def test_a_folder_without_links_and_one_behind_a_link_are_fine(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "disk" / "a").touch()
    (tmp_path / "runs").symlink_to(tmp_path / "disk")  # the user's own choice of a disk
    refuse_links(tmp_path / "runs")
    with releasing_locks():
        new_run(tmp_path / "runs" / "mine")
    os.link(tmp_path / "disk" / "a", tmp_path / "disk" / "b")
    refuse_links(tmp_path / "disk")  # a backup of hard links may be read


@pytest.mark.parametrize("out", ["", " ", "x" * 300, "runs/" + "é" * 200, "a\0b", "/".join(["y" * 200] * 30)])
def test_a_place_that_cannot_be_written_is_one_line(out: str) -> None:
    with pytest.raises(RequestError) as caught:
        check_out(out)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 200


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "a.txt").touch()
    with pytest.raises(RequestError, match="a file; --out needs a folder"):
        check_out(tmp_path / "a.txt")


@pytest.mark.parametrize("out", ["model", "model/run", "model/../model/x", "elsewhere/../model"])
def test_a_run_in_the_folder_of_a_model_is_refused(out: str, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model/config.json").write_text("{}")
    with pytest.raises(RequestError, match="the folder of a model"):
        check_out(tmp_path / out, tmp_path / "model")
    check_out(tmp_path / "model-run", tmp_path / "model")
