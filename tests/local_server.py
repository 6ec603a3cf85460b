"""Starts a real server in a process of its own on a free port of this machine."""

import os
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

HALF_SECONDS = 600
"""How long a server may take until it answers."""


@contextmanager
def started(words: Sequence[str]) -> Iterator[str]:
    """A server that takes --host and --port and answers at /health; the address of its API."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [*words, "--host", "127.0.0.1", "--port", str(port)], env={**os.environ, "HF_HUB_OFFLINE": "1"},
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        for _ in range(HALF_SECONDS):
            assert process.poll() is None, f"{words[0]} has ended"
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5)
                break
            except OSError:
                time.sleep(0.5)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.terminate()
        process.wait(timeout=60)
