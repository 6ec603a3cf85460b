"""The client against a real server in a process of its own, without faults and with all of them."""

import json
from collections import Counter

import pytest

from biasunlearn.errors import RequestError
from biasunlearn.runs.responses import CALLS, CallStore
from biasunlearn.scoring.chat_model import ChatRequest, Message
from biasunlearn.scoring.endpoint import CallLimits, check_address, endpoint
from tests.judged_server import fault_of
from tests.serving import needs_openai, serving

QUICK = CallLimits(concurrency=16, timeout=2.0, retries=1)


def requests(count: int) -> list[ChatRequest]:
    return [
        ChatRequest((Message("system", "Answer."), Message("user", f'Choose "one {n}" or "other".')), 16)
        for n in range(count)
    ]


@pytest.mark.slow
@needs_openai
def test_replies_come_back_in_order_and_are_not_asked_again(tmp_path):
    with serving() as server:
        found = endpoint(server.url, CallStore(tmp_path), QUICK, "--judge").answer(requests(30))
        assert [reply.text for reply in found] == [f"one {n}" for n in range(30)]
        assert found[0].finish == "stop" and (found[0].tokens_in, found[0].tokens_out) == (7, 3)
        assert list(server.counts().values()) == [1] * 30
        again = endpoint(server.url, CallStore(tmp_path), QUICK, "--judge").answer(requests(31))
        assert [reply.text for reply in again[:30]] == [reply.text for reply in found]
        assert sum(server.counts().values()) == 31
    # The server is gone: what is stored is read without a network.
    replayed = endpoint(f"{server.url}#oracle", CallStore(tmp_path), QUICK, "--judge").answer(requests(31))
    assert replayed == again


@pytest.mark.slow
@needs_openai
def test_a_line_that_was_cut_off_is_asked_again(tmp_path):
    with serving() as server:
        endpoint(server.url, CallStore(tmp_path), QUICK, "--judge").answer(requests(3))
        path = tmp_path / CALLS
        path.write_bytes(path.read_bytes()[:-20])
        assert CallStore(tmp_path).made == 2
        found = endpoint(server.url, CallStore(tmp_path), QUICK, "--judge").answer(requests(3))
        assert [reply.text for reply in found] == ["one 0", "one 1", "one 2"]
        assert sorted(server.counts().values()) == [1, 1, 2]


@pytest.mark.slow
@needs_openai
@pytest.mark.parametrize("calls", [300, pytest.param(1000, marks=pytest.mark.exhaustive)])
def test_calls_through_every_fault(tmp_path, calls):
    faults = ["limit", "cut", "malformed", "slow", "policy", "truncated", "nonsense", "broken"]
    with serving(" ".join(faults)) as server:
        asked = requests(calls)
        found = endpoint(server.url, CallStore(tmp_path), QUICK, "--judge").answer(asked)
        counts = server.counts()
    assert len(found) == calls
    assert 0.95 * calls < len(counts) <= calls  # a call may meet its time limit before the server has read it
    problems = Counter(reply.problem for reply in found)
    assert set(problems) == {None, "transport", "policy", "truncated"}
    assert all(0.02 < problems[fault] / calls < 0.06 for fault in ("policy", "truncated"))
    assert all(reply.detail for reply in found if reply.problem == "transport")
    assert all(not reply.text for reply in found if reply.failure)  # no default text, so no default score
    right = [reply.text in (f"one {n}", "Well, it depends.") for n, reply in enumerate(found) if not reply.problem]
    assert all(right) and len(right) > 0.8 * calls
    lines = [json.loads(line) for line in (tmp_path / CALLS).read_text().splitlines()]
    assert len({line["key"] for line in lines}) == calls
    assert max(reply.attempts for reply in found) > 1


@pytest.mark.slow
@needs_openai
def test_the_key_is_read_from_the_environment_and_never_stored(tmp_path, monkeypatch):
    with serving() as server:
        monkeypatch.setenv("BIASUNLEARN_API_KEY", "wrong")
        with pytest.raises(RequestError, match="no such key.*check the key"):
            endpoint(f"{server.url}#oracle", CallStore(tmp_path), QUICK, "--judge").answer(requests(1))
        monkeypatch.setenv("BIASUNLEARN_API_KEY", "secret-4711")
        endpoint(f"{server.url}#oracle", CallStore(tmp_path), QUICK, "--judge").answer(requests(2))
    assert all("secret-4711" not in path.read_text() for path in tmp_path.iterdir())
    with pytest.raises(RequestError, match="holds a name, a password or a query"):
        check_address("http://me:secret@host/v1", "--judge")


@pytest.mark.slow
@needs_openai
def test_the_budget_is_checked_before_any_call(tmp_path):
    with serving() as server:
        limits = CallLimits(budget=5, concurrency=2)
        few = endpoint(server.url, CallStore(tmp_path), limits, "--judge")
        few.answer(requests(4))
        with pytest.raises(RequestError, match="--budget 5: 2 more calls are needed and 4 were made"):
            few.answer(requests(6))
        assert sum(server.counts().values()) == 4


@needs_openai
def test_a_server_that_is_not_there_ends_the_run(tmp_path):
    gone = endpoint("http://127.0.0.1:9/v1#x", CallStore(tmp_path), CallLimits(concurrency=1, retries=0), "--judge")
    with pytest.raises(RequestError, match="5 calls in a row failed .*--resume"):
        gone.answer(requests(20))


def test_the_faults_of_the_server_are_spread():
    kinds = Counter(fault_of(str(n).encode(), ["a", "b"]) for n in range(2000))
    assert 180 < kinds["a"] < 320 and 180 < kinds["b"] < 320 and kinds[""] > 1400
