"""Starts servers as processes of their own, and ends them."""

import contextlib
import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import pytest

needs_openai = pytest.mark.skipif(
    find_spec("openai") is None, reason="openai is not installed (extra: judge)"
)


@dataclass(frozen=True)
class Server:
    """A server of tests/judged_server.py."""

    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def counts(self) -> dict[str, int]:
        """How often each request was made."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/counts", timeout=10) as response:
            found: dict[str, int] = json.load(response)
        return found


@contextlib.contextmanager
def serving(faults: str = "", delay: float = 0.0) -> Iterator[Server]:
    """The server of tests/judged_server.py with these faults, until the end of the block."""
    script = Path(__file__).with_name("judged_server.py")
    process = subprocess.Popen(
        [sys.executable, str(script), faults, str(delay)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        yield Server(int(process.stdout.readline()))
    finally:
        process.terminate()
        process.wait(timeout=10)
