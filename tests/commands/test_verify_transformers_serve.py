"""`verify` against `transformers serve`, a real server: the debiased model is accepted, the base is caught."""

import os
import socket
import subprocess
import time
import urllib.request

import pytest

from biasunlearn.commands.merge import merge
from biasunlearn.commands.verify import verify
from biasunlearn.models.spec import ModelSpec
from tests.commands.test_verify import make_run
from tests.scoring.test_transformers_serve import COMMAND, needs_serving


@pytest.mark.slow
@needs_serving
def test_transformers_serve_with_the_base_passed_off_as_debiased(tmp_path):
    make_run(tmp_path)
    (tmp_path / "merged").mkdir()
    merge(ModelSpec(str(tmp_path / "model")), tmp_path / "run/adapter", tmp_path / "merged")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = [str(COMMAND), "serve", "--host", "127.0.0.1", "--port", str(port), "--device", "cpu"]
    process = subprocess.Popen(words, env={**os.environ, "HF_HUB_OFFLINE": "1"}, stdout=subprocess.DEVNULL)
    try:
        for _ in range(240):
            assert process.poll() is None, "transformers serve has ended"
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2)
                break
            except OSError:
                time.sleep(0.5)
        url = f"http://127.0.0.1:{port}/v1"
        right = verify(tmp_path / "run", endpoint=url, model=str(tmp_path / "merged"))
        wrong = verify(tmp_path / "run", endpoint=url, model=str(tmp_path / "model"))
    finally:
        process.terminate()
        process.wait(timeout=20)
    assert (right.how, right.verdict, wrong.verdict) == ("continuations", "applied", "not applied"), (right, wrong)
    assert right.controls_met == right.controls > 0
