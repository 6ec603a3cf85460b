"""The client against `transformers serve`, a real server with a real small model, in a process of its own."""

import sys
from contextlib import AbstractContextManager
from importlib.util import find_spec
from pathlib import Path

import pytest

from biasunlearn.runs.responses import CallStore
from biasunlearn.scoring.chat_model import ChatRequest, Message
from biasunlearn.scoring.endpoint import CallLimits, endpoint
from biasunlearn.scoring.local_chat import LocalChat
from tests import tiny
from tests.local_server import started
from tests.scoring.test_judge import TEMPLATE

COMMAND = Path(sys.executable).with_name("transformers")
needs_serving = pytest.mark.skipif(
    not COMMAND.exists() or not all(find_spec(name) for name in ("openai", "fastapi", "uvicorn")),
    reason="transformers serve cannot be started (extras: judge, serving)",
)


def served_by_transformers(*model: str) -> AbstractContextManager[str]:
    """`transformers serve` with a model or with none; the address of its API."""
    return started([str(COMMAND), "serve", *model, "--device", "cpu"])


@pytest.mark.exhaustive
@needs_serving
def test_a_served_model_replies_as_the_same_model_here(tmp_path):
    loaded = tiny.gpt2(n_positions=512)
    loaded.tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<|im_end|>"]})
    loaded.tokenizer.chat_template = TEMPLATE
    loaded.model.resize_token_embeddings(len(loaded.tokenizer))
    folder = tiny.save(loaded, tmp_path / "model")
    with served_by_transformers(folder) as url:
        asked = [ChatRequest((Message("user", f"The nurse said {n}"),), 8) for n in range(3)]
        store = CallStore(tmp_path / "calls")
        given = f"{url}#{folder}"
        served = endpoint(given, store, CallLimits(concurrency=2, timeout=60), "--judge").answer(asked)
    here = LocalChat(loaded, "here").answer(asked)
    assert [one.failure for one in served] == [None] * 3
    assert [one.text.strip() for one in served] == [one.text for one in here]
    assert endpoint(given, CallStore(tmp_path / "calls"), CallLimits(), "--judge").answer(asked) == served
