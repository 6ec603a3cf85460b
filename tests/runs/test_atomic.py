"""Whole files and folders, locks that die with their process, and scores that are kept as they come."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from biasunlearn.errors import RequestError, WriteError
from biasunlearn.runs.atomic import append, tidy, whole_file, whole_folder, writing
from biasunlearn.runs.folder import IDENTITY, RunFolder, finished, new_run
from biasunlearn.runs.identity import identity
from biasunlearn.runs.lock import LOCK, acquire_lock, releasing_locks
from biasunlearn.runs.score_cache import ScoreCache


def listed(folder: Path) -> set[str]:
    return {entry.name for entry in folder.iterdir()}


# --- whole or not at all ---------------------------------------------------------------------------------------------


def test_a_file_is_the_old_one_until_it_is_the_new_one(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    for content in ("old", "new"):
        with whole_file(path) as temporary:
            temporary.write_text(content)
            assert not path.exists() or path.read_text() == "old"
        assert path.read_text() == content and listed(tmp_path) == {"a.txt"}
    with pytest.raises(KeyError), whole_file(path) as temporary:
        temporary.write_text("half")
        raise KeyError
    assert path.read_text() == "new" and listed(tmp_path) == {"a.txt"}


def test_the_file_that_stood_there_may_be_put_aside(tmp_path: Path) -> None:
    path, aside = tmp_path / "a.txt", tmp_path / "a-before.txt"
    for content in ("1", "2", "3"):
        with whole_file(path, aside=aside) as temporary:
            temporary.write_text(content)
    assert (path.read_text(), aside.read_text()) == ("3", "2")


def test_a_folder_is_the_old_one_until_it_is_the_new_one(tmp_path: Path) -> None:
    path = tmp_path / "a"
    for content in ("old", "new"):
        with whole_folder(path) as temporary:
            (temporary / "deep").mkdir()
            (temporary / "deep/x").write_text(content)
            (temporary / content).touch()
        assert (path / "deep/x").read_text() == content
        assert listed(path) == {"deep", content} and listed(tmp_path) == {"a"}
    with pytest.raises(KeyError), whole_folder(path) as temporary:
        (temporary / "half").touch()
        raise KeyError
    assert listed(path) == {"deep", "new"} and listed(tmp_path) == {"a"}


def test_tidy_takes_the_parts_and_brings_back_what_was_moved_aside(tmp_path: Path) -> None:
    for name in (".adapter.old", ".model.old", "model", ".adapter.12.part", "deep"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x").write_text(name)
    for name in (".checkpoint.pt.7.part", ".hidden", "notes.part", ".mine.part", "checkpoint.pt"):
        (tmp_path / name).write_text(name)
    tidy(tmp_path)
    assert listed(tmp_path) == {"adapter", "model", "deep", ".hidden", "notes.part", ".mine.part", "checkpoint.pt"}
    assert (tmp_path / "adapter/x").read_text() == ".adapter.old"  # there was no other one
    assert (tmp_path / "model/x").read_text() == "model"  # there was a newer one


class Wrapped(Exception):
    """As a library raises it, that has its own errors."""


@pytest.mark.parametrize("how", ["raised", "raised after it", "raised from it", "quoted"])
def test_what_the_system_refuses_is_one_line_however_deep_it_was_said(how: str, tmp_path: Path) -> None:
    full = OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(WriteError) as caught, writing(tmp_path / "a.txt"):
        if how == "raised":
            raise full
        if how == "quoted":
            raise Wrapped("Error while serializing: I/O error: No space left on device (os error 28)")
        try:
            raise full
        except OSError as error:
            if how == "raised from it":
                raise Wrapped("unexpected pos 576 vs 534") from error
            raise Wrapped("unexpected pos 576 vs 534")  # noqa: B904 - a library that does not say what it came after
    message = str(caught.value)
    assert message.startswith(f"{tmp_path}/a.txt: cannot be written: No space left on device; what was saved before")
    assert "\n" not in message


def test_other_errors_pass_as_they_are(tmp_path: Path) -> None:
    for error in (KeyError("x"), RequestError("wrong"), WriteError("full"), KeyboardInterrupt()):
        with pytest.raises(type(error)) as caught, writing(tmp_path / "a.txt"):
            raise error
        assert caught.value is error


def test_processes_that_are_not_the_first_write_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    with whole_file(tmp_path / "a") as temporary:
        temporary.write_text("x")
    append(tmp_path / "b", "x")
    cache = ScoreCache(tmp_path / "scored.jsonl", "request")
    cache.job("a").store("0", [1.0])
    assert new_run(tmp_path / "run").path == tmp_path / "run"
    assert listed(tmp_path) == set()


# --- one folder, one process -----------------------------------------------------------------------------------------

OTHER = """
import sys
from pathlib import Path
from biasunlearn.errors import RequestError
from biasunlearn.runs.lock import acquire_lock
try:
    acquire_lock(Path(sys.argv[1]))
except RequestError as error:
    sys.exit(str(error))
print("held", flush=True)
sys.stdin.read()
"""


def other(folder: Path) -> "subprocess.Popen[str]":
    """Another process that holds a folder until it is killed or its stdin closes."""
    command = [sys.executable, "-c", OTHER, str(folder)]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True)


def test_a_folder_is_one_process_s_until_it_lets_go_or_dies(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with releasing_locks():
        new_run(folder)
        assert listed(folder) == {LOCK}
        acquire_lock(folder)  # it may take again what it has
        out, error = other(folder).communicate()
        assert not out and f"run: process {os.getpid()} on" in error
        (folder / "config.yaml").touch()
    assert listed(folder) == {"config.yaml"}
    with other(folder) as first:
        assert first.stdout is not None and first.stdout.readline() == "held\n"
        for _ in range(2):
            with pytest.raises(RequestError, match=f"process {first.pid} .* is writing here; wait"), releasing_locks():
                new_run(folder, resume=True)
        assert listed(folder) == {LOCK, "config.yaml"}  # being refused does not free it
        first.kill()
    with releasing_locks():
        new_run(folder, resume=True)  # what a dead process held is free
        assert listed(folder) == {LOCK, "config.yaml"}
    assert listed(folder) == {"config.yaml"}


def test_a_request_that_is_refused_leaves_no_empty_folder(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    for name in ("new", "mine"):
        with pytest.raises(RequestError), releasing_locks():
            new_run(tmp_path / name)
            raise RequestError("no such model")
    assert listed(tmp_path) == {"mine"}


def test_what_can_be_resumed(tmp_path: Path) -> None:
    def begin(name: str, *, resume: bool) -> None:
        with releasing_locks():
            new_run(tmp_path / name, resume=resume)

    with pytest.raises(RequestError, match="nothing to resume here"):
        begin("none", resume=True)
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/cat.jpg").touch()
    with pytest.raises(RequestError, match="nothing to resume here"):
        begin("photos", resume=True)
    (tmp_path / "early").mkdir()
    (tmp_path / "early/.config.yaml.12.part").touch()
    begin("early", resume=True)  # killed before there was anything: to go on is to begin
    for name in ("config.yaml", "scored.jsonl"):
        (tmp_path / f"with-{name}").mkdir()
        (tmp_path / f"with-{name}" / name).touch()
        begin(f"with-{name}", resume=True)
        with pytest.raises(RequestError, match="unfinished run; add --resume"):
            begin(f"with-{name}", resume=False)


def test_a_finished_run_is_known_by_its_very_request(tmp_path: Path) -> None:
    run, request = RunFolder(tmp_path / "run"), {"measure": {"model": "m", "rate": 1e-05}}
    known = identity(request)
    assert finished(run.path, known) is None
    run.path.mkdir()
    run.write_yaml("config.yaml", {**request, IDENTITY: known})
    assert finished(run.path, known) is None
    run.write_json("results.json", {"schema": 1, "benchmarks": {}})
    for name in ("checkpoint.pt", "checkpoint-before.pt", "scored.jsonl", ".x.1.part"):
        (run.path / name).touch()
    for other in ({**known, "version": "0.0.1"}, identity({"measure": {"model": "n", "rate": 1e-05}})):
        with pytest.raises(RequestError, match="another request"):
            finished(run.path, other)
    assert "checkpoint.pt" in listed(run.path)
    with releasing_locks():
        assert finished(run.path, known).to_dict() == {"schema": 1, "benchmarks": {}}
    assert listed(run.path) == {"config.yaml", "results.json"}


# --- scores as they come ---------------------------------------------------------------------------------------------

FOUND = [-1.1, 1 / 3, float("-inf"), 5e-324]


def kept(path: Path, request: Any = "request") -> dict[str, Any]:
    return ScoreCache(path, request).job("a").known


def test_what_is_kept_comes_back_bit_for_bit_to_the_same_job(tmp_path: Path) -> None:
    path = tmp_path / "scored.jsonl"
    cache = ScoreCache(path, {"model": "m"})
    assert not path.exists()  # nothing found, nothing written
    job = cache.job("a")
    job.store("0", FOUND)
    cache.job("a").store("0", [2.0])  # the second job of the same identity is another one
    job.store("1", [True])
    again = ScoreCache(path, {"model": "m"})
    assert again.job("a").known == {"0": FOUND, "1": [True]}
    assert again.job("a").known == {"0": [2.0]}
    assert again.job("a").known == {}
    assert ScoreCache(path, {"model": "m"}).job("b").known == {}
    with pytest.raises(RequestError, match="scores of another request"):
        ScoreCache(path, {"model": "n"})


def test_a_file_cut_anywhere_keeps_every_whole_line(tmp_path: Path) -> None:
    path = tmp_path / "scored.jsonl"
    job = ScoreCache(path, "request").job("a")
    for part in range(3):
        job.store(str(part), [part / 3])
    whole = path.read_bytes()
    ends = [position + 1 for position, byte in enumerate(whole) if byte == ord("\n")]
    for length in range(len(whole) + 1):
        path.write_bytes(whole[:length])
        lines = sum(end <= length for end in ends)
        assert kept(path) == {str(part): [part / 3] for part in range(max(0, lines - 1))}
        job = ScoreCache(path, "request").job("a")
        job.store("9", [0.5])  # and goes on behind the last whole line
        assert kept(path)["9"] == [0.5] and len(kept(path)) == max(0, lines - 1) + 1
        assert all(json.loads(line) for line in path.read_text().splitlines())


def test_what_stands_behind_a_damaged_line_is_found_anew(tmp_path: Path) -> None:
    path = tmp_path / "scored.jsonl"
    job = ScoreCache(path, "request").job("a")
    for part in range(3):
        job.store(str(part), [1.0])
    lines = path.read_bytes().splitlines(keepends=True)
    for damage in (b"\0" * 20 + b"\n", b"3\n", b"[1, 2]\n"):
        path.write_bytes(b"".join([*lines[:2], damage, *lines[3:]]))
        assert kept(path) == {"0": [1.0]}
