"""Commands in processes of their own, forked from one that has imported everything (tests/warm.py)."""

import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]


class Warm:
    """The forking process, spoken to in lines. A command's output is in the files stdout and stderr of its folder."""

    def __init__(self, name: str, lock: Path) -> None:
        """Connects to the process of that name; starts it first unless another worker of the test session has.

        Args:
            lock: a file that the workers of the session share, so that only one of them starts the process.
        """
        self.server: subprocess.Popen[str] | None = None
        self.socket = socket.socket(socket.AF_UNIX)
        with lock.open("a") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            try:
                self.socket.connect("\0" + name)
            except ConnectionRefusedError:
                self._start_server(name)
                self.socket.connect("\0" + name)
        self.answers = self.socket.makefile(encoding="utf-8")

    def _start_server(self, name: str) -> None:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1"}
        command = [sys.executable, "-m", "tests.warm", name]
        # In a session of its own: a Ctrl-C that ends one worker does not end what the other one waits for.
        server = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, env=environment, cwd=ROOT,
            start_new_session=True,
        )  # fmt: skip
        assert server.stdout is not None and server.stdout.readline() == "ready\n"
        self.server = server

    def ask(self, **request: Any) -> dict[str, Any]:
        self.socket.sendall(json.dumps(request).encode() + b"\n")
        return dict(json.loads(self.answers.readline()))

    def start(
        self,
        cwd: Path,
        arguments: list[str],
        *,
        script: Path | None = None,
        environment: dict[str, str] | None = None,
        **faults: Any,
    ) -> int:
        """Starts the command line, or a script instead, and returns its process id."""
        cwd.mkdir(parents=True, exist_ok=True)
        request = {"start": arguments, "cwd": str(cwd), "faults": faults, "environment": environment or {}}
        return int(self.ask(**request, script=script and str(script))["pid"])

    def wait(self, pid: int) -> int:
        answer = self.ask(wait=pid)
        self.seconds = float(answer["seconds"])
        return int(answer["status"])

    def run(self, cwd: Path, arguments: list[str], **more: Any) -> int:
        """The exit code; -9 where it was killed. `seconds` says how much processor time it took."""
        return self.wait(self.start(cwd, arguments, **more))

    def killed(self, cwd: Path, arguments: list[str], at: float, **faults: Any) -> int:
        """Kills it once it has used `at` seconds of processor time: so it does as much on a busy machine."""
        pid = self.start(cwd, arguments, **faults)
        while (fields := _stat(pid))[0] != "Z":
            if int(fields[11]) + int(fields[12]) >= at * os.sysconf("SC_CLK_TCK"):
                os.kill(pid, signal.SIGKILL)
                break
            time.sleep(0.001)
        return self.wait(pid)

    def run_ranks(
        self, folders: list[Path], arguments: list[str], *, first_waits: float = 0, **environment: str
    ) -> list[int]:
        """One process a folder, with the environment that torchrun gives its processes; their exit codes.

        The first one starts last, `first_waits` seconds after the others: who ends first must not depend on luck.

        Real launchers are tested in tests/models/test_distributed.py; they import everything once a process.
        """
        with socket.socket() as held:
            held.bind(("127.0.0.1", 0))
            port = held.getsockname()[1]
        of_all = {"WORLD_SIZE": str(len(folders)), "LOCAL_WORLD_SIZE": str(len(folders)), "MASTER_ADDR": "127.0.0.1"}
        pids: list[int] = []
        for rank, folder in reversed(list(enumerate(folders))):
            if rank == 0:
                time.sleep(first_waits)
            own = {"MASTER_PORT": str(port), "RANK": str(rank), "LOCAL_RANK": str(rank), **environment}
            pids.insert(0, self.start(folder, arguments, environment={**of_all, **own}))
        codes: dict[int, int] = {}
        while len(codes) < len(pids):
            for pid in pids:
                if pid not in codes and _stat(pid)[0] == "Z":
                    codes[pid] = self.wait(pid)
                    if codes[pid]:  # the others would wait for it
                        for other in set(pids) - set(codes):
                            os.kill(other, signal.SIGKILL)
            time.sleep(0.01)
        return [codes[pid] for pid in pids]

    def close(self) -> None:
        """Leaves the process, which ends with all that it has started when the last worker leaves it."""
        self.answers.close()
        self.socket.close()


def _stat(pid: int) -> list[str]:
    """What Linux says of a process behind its name: state, parent and so on (man 5 proc)."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
