"""A process that has imported everything and forks a new one for each command: kills without waiting for imports.

All processes of a test session share one. They connect to its socket and send one JSON object a line, which it answers
with one. {"start": [arguments of biasunlearn], "cwd", "environment", "script", "faults"} runs the command line (or a
script, with these arguments) in a child and answers with its process id; {"wait": pid} answers with how it ended, once
it has. It runs no command itself, so that no thread of a training stands in the way of the forks. It ends when nobody
is connected any more. tests/warm_client.py starts it and speaks to it.
"""

import contextlib
import ctypes
import gc
import json
import os
import resource
import runpy
import select
import shutil
import signal
import socket
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

NO_MOUNT = 77
"""Exit code where this machine lets nobody mount a file system of their own."""

POLL = 0.005
"""Seconds between two looks at the children that somebody waits for."""

_WRITES = os.O_WRONLY | os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_TRUNC


def main(name: str) -> None:
    """Serves at the socket of that name (of Linux's abstract kind: no file) until the last connection is closed."""
    gc.disable()
    _import_all()
    gc.freeze()  # else the collector of every child would look through all that was imported, and so copy its memory
    gc.set_threshold(10_000, 20, 10)
    gc.enable()
    server = socket.socket(socket.AF_UNIX)
    server.bind("\0" + name)
    server.listen()
    print("ready", flush=True)
    connections = [server.accept()[0]]
    received: dict[socket.socket, bytes] = {}
    awaited: dict[int, socket.socket] = {}
    while connections:
        for one in select.select([server, *connections], [], [], POLL if awaited else None)[0]:
            if one is server:
                connections.append(server.accept()[0])
                continue
            received[one] = received.get(one, b"") + (more := one.recv(1 << 16))
            if not more:  # its process has ended
                connections.remove(one)
                awaited = {pid: waiting for pid, waiting in awaited.items() if waiting is not one}
                one.close()
            elif received[one].endswith(b"\n"):  # there is no second request before the answer to the first
                request = json.loads(received.pop(one))
                if "wait" in request:
                    awaited[request["wait"]] = one
                else:
                    _answer(one, pid=_fork(request, [server, *connections]))
        for pid, waiting in list(awaited.items()):
            ended, status, used = os.wait4(pid, os.WNOHANG)
            if ended:
                _answer(waiting, status=os.waitstatus_to_exitcode(status), seconds=used.ru_utime + used.ru_stime)
                del awaited[pid]
    os.killpg(0, signal.SIGKILL)  # itself and the commands that still run: tests/warm_client.py made the group


def _answer(connection: socket.socket, **content: Any) -> None:
    with contextlib.suppress(OSError):  # it may have ended in the meantime
        connection.sendall(json.dumps(content).encode() + b"\n")


def _fork(request: dict[str, Any], sockets: list[socket.socket]) -> int:
    """Starts the command in a child, which leaves the connections to its parent."""
    from biasunlearn import cli

    pid = os.fork()
    if pid == 0:
        code = 3
        try:
            for one in sockets:
                one.close()
            code = _run(_script(request["script"]) if request["script"] else cli.main, request)
        finally:  # whatever happens, a child never goes on as a second server
            os._exit(code)
    return pid


def _import_all() -> None:
    """Everything that a command imports on its way, and what the libraries set up at a first model."""
    import importlib
    import pkgutil

    import biasunlearn

    ours = [module.name for module in pkgutil.walk_packages(biasunlearn.__path__, "biasunlearn.")]
    for name in (
        "torch", "torch.utils.serialization.config", "transformers", "transformers.models.gpt2.modeling_gpt2", "peft",
        "accelerate", "pandas", "pyarrow.parquet", "rich.console", "rich.table", "scipy.stats", "scipy.optimize",
        "pydantic.type_adapter", "pydantic.dataclasses",
        *(name for name in ours if not name.endswith(("__main__", "inspect_tasks"))),
    ):  # fmt: skip
        importlib.import_module(name)
    import torch

    torch.set_num_threads(1)
    from biasunlearn.cli.app import build
    from biasunlearn.cli.parse import parse
    from biasunlearn.config import DebiasConfig
    from biasunlearn.models.adapters import with_lora
    from biasunlearn.runs.schema import Record
    from tests import tiny

    with_lora(tiny.gpt2().model, DebiasConfig())
    _build_types(Record)
    for command in (["measure", "m", "--out", "o"], ["debias", "m", "--train", "t", "--report", "r", "--out", "o"]):
        parse(build(), command)


def _build_types(kind: type[Any]) -> None:
    """The validators of all types of stored results, which are otherwise built at first use, in every child again."""
    for one in kind.__subclasses__():
        one.model_rebuild()
        _build_types(one)


def _script(path: str) -> Callable[[list[str]], int]:
    """The script as a command: run as `python path` would run it."""

    def command(arguments: list[str]) -> int:
        sys.argv, sys.path[0] = [path, *arguments], str(Path(path).parent)
        try:
            runpy.run_path(path, run_name="__main__")
        except SystemExit as end:
            if isinstance(end.code, str):
                print(end.code, file=sys.stderr)
            return end.code if isinstance(end.code, int) else int(end.code is not None)
        except BaseException:
            traceback.print_exc()
            return 1
        return 0

    return command


def _run(command: Callable[[list[str]], int], request: dict[str, Any]) -> int:
    os.chdir(request["cwd"])
    os.environ.update(request["environment"])
    for stream, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644), stream)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # under nohup it would be ignored
    faults = request["faults"]
    if "tokens" in faults:  # small batches: more pieces of work to be killed in between
        from biasunlearn.scoring import log_prob

        log_prob.LOGITS_AT_ONCE = 290 * faults["tokens"]
        log_prob.TOKENS_ON_CPU = faults["tokens"]
    if "log" in faults:
        _log_what_is_scored(faults["log"])
    if "kill_after_keep" in faults:
        _kill_after_keep(faults["kill_after_keep"])
    if "disk" in faults and not _mount(faults["disk"]):
        return NO_MOUNT
    if "largest" in faults:
        resource.setrlimit(resource.RLIMIT_FSIZE, (faults["largest"],) * 2)
    if "states" in faults or "stop_at" in faults:
        _watch(Path("run").resolve(), faults)
    code = command(request["start"])
    if "disk" in faults:  # nobody else sees this disk
        shutil.copytree(faults["disk"]["at"], "seen")
    sys.stdout.flush()
    sys.stderr.flush()
    return code


def _log_what_is_scored(path: str) -> None:
    """One line of JSON per forward of the scoring door: the token ids of its rows."""
    from biasunlearn.scoring import log_prob

    original = log_prob._sums

    def logged(loaded: Any, rows: Any, lines: Any, *, packs: bool) -> Any:
        found = original(loaded, rows, lines, packs=packs)
        with open(path, "a") as log:
            log.write(json.dumps([rows[number].ids for line in lines for number in line.rows]) + "\n")
        return found

    log_prob._sums = logged


def _kill_after_keep(times: int) -> None:
    from biasunlearn.runs.score_cache import ScoreCache

    original, kept = ScoreCache.store, iter(range(1, times + 1))

    def store(self: ScoreCache, job: str, part: str, value: Any) -> None:
        original(self, job, part, value)
        if next(kept) == times:
            os.kill(os.getpid(), signal.SIGKILL)

    ScoreCache.store = store


def _mount(disk: dict[str, Any]) -> bool:
    """A file system of this process alone: {"at", "size"} a small one, {"at", "read_only"} what is there, read-only."""
    libc = ctypes.CDLL(None, use_errno=True)
    new_mounts, new_user = 0x20000, 0x10000000
    read_only, remount, bind, recursive, private = 1, 32, 4096, 16384, 1 << 18
    if libc.unshare(new_mounts if os.geteuid() == 0 else new_mounts | new_user):
        return False
    at = str(disk["at"]).encode()
    if libc.mount(b"none", b"/", None, recursive | private, None):
        return False
    if disk.get("read_only"):
        return not libc.mount(at, at, None, bind, None) and not libc.mount(
            b"none", at, None, remount | bind | read_only, None
        )
    return not libc.mount(b"none", at, b"tmpfs", 0, f"size={disk['size']}".encode())


def _watch(folder: Path, faults: dict[str, Any]) -> None:
    """Looks at the run folder before every call that changes it: the states in which a kill can leave it.

    "states": a folder to put a copy of every state into that differs from the one before it, and the same with the
    file that is being synced cut short, as a kill in the middle of its writing leaves it. "stop_at": the process stops
    (SIGSTOP) before the call that would make that name.
    """
    seen: set[int] = set()
    looking = False
    folders_cut: set[tuple[str, ...]] = set()  # one file cut short says as much about a folder as each of them

    def look(call: str, *paths: Any) -> None:
        nonlocal looking
        inside = [Path(os.fsdecode(p)) for p in paths if isinstance(p, (str, bytes, os.PathLike))]
        if looking or not any(folder in path.absolute().parents for path in inside):
            return
        looking = True
        try:
            if call == "os.rename" and inside[-1].name == faults.get("stop_at"):
                os.kill(os.getpid(), signal.SIGSTOP)
            if "states" in faults:
                _copy(folder, Path(faults["states"]), seen)
                cut = inside[0].absolute().relative_to(folder)
                if call == "fsync" and cut.parts[:-1] not in folders_cut:
                    _copy(folder, Path(faults["states"]), seen, cut=cut)
                    folders_cut.update([cut.parts[:-1]] if len(cut.parts) > 1 else [])
        finally:
            looking = False

    def audit(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open" and arguments[2] & _WRITES:
            look(event, arguments[0])
        elif event in ("os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.truncate"):
            look(event, *arguments[:2])

    original = os.fsync

    def fsync(descriptor: int) -> None:
        look("fsync", os.readlink(f"/proc/self/fd/{descriptor}"))
        original(descriptor)

    os.fsync = fsync
    sys.addaudithook(audit)


def _copy(folder: Path, states: Path, seen: set[int], cut: Path | None = None) -> None:
    """Copies the folder to states/NUMBER/run unless one of the same content is there."""
    files = {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}
    name = str(cut)
    if cut is not None and name in files:
        whole = files[name]
        # What is appended to grows by its last line; any other file may stand there with any part of its content.
        appended = not any(part.endswith(".part") for part in cut.parts)
        files[name] = whole[:-7] if appended else whole[: len(whole) // 2]
    folders = sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_dir())
    key = hash((*files.items(), *folders))
    if key in seen or not folder.exists():
        return
    seen.add(key)
    target = states / f"{len(seen):03d}" / "run"
    target.mkdir(parents=True)
    for part in folders:
        (target / part).mkdir()
    for part, content in files.items():
        (target / part).write_bytes(content)


if __name__ == "__main__":
    main(sys.argv[1])
