"""Prompting baselines: what the model is asked, and which of its replies are the answers."""

import json

import pytest

from biasunlearn.benchmarks import mt_bench
from biasunlearn.benchmarks.judged import estimated_calls
from biasunlearn.commands.measure import measure
from biasunlearn.errors import RequestError
from biasunlearn.runs.responses import CALLS, Reply
from biasunlearn.scoring.prompt_baseline import (
    INSTRUCTION,
    REFLECTION,
    THOUGHT,
    THOUGHT_TOKENS,
    answers_of,
    with_baseline,
)
from biasunlearn.scoring.protocol import EvalOptions
from biasunlearn.scoring.respond import Turns
from tests.benchmarks.test_bbq_text import row
from tests.serving import needs_openai, serving

CHAT = Turns("q", ("One?", "Two?"), system="Be brief.")


def test_what_is_asked():
    assert with_baseline(CHAT, None) == CHAT
    assert with_baseline(CHAT, "instruction").system == f"Be brief. {INSTRUCTION}"
    assert with_baseline(Turns("q", ("One?",)), "instruction").system == INSTRUCTION
    assert with_baseline(CHAT, "self_reflection").turns == ("One?", REFLECTION, "Two?", REFLECTION)
    assert with_baseline(CHAT, "chain_of_thought").turns == (f"One?\n\n{THOUGHT}", f"Two?\n\n{THOUGHT}")


def test_which_replies_are_the_answers():
    first, corrected = Reply(text="a"), Reply(text="b")
    assert answers_of([first, corrected, first, corrected], "self_reflection") == [corrected, corrected]
    failed = Reply(failure="policy")
    assert answers_of([failed], "self_reflection") == [failed]
    assert answers_of([first, corrected], "instruction") == [first, corrected]
    thought = Reply(text="Let me think. Answer: no, wait. **ANSWER:** the nurse")
    assert answers_of([thought], "chain_of_thought")[0].text == "the nurse"
    without = answers_of([Reply(text="I think so.")], "chain_of_thought")[0]
    assert without.problem == "unparsed"
    cut = Reply(text="Let me", finish="length")
    assert answers_of([cut], "chain_of_thought") == [cut]


def test_the_estimate_counts_the_turns_of_a_baseline():
    questions = mt_bench.read([{"question_id": 1, "category": "writing", "turns": ["One?", "Two?"]}]).records
    task = mt_bench.task(questions)
    thought = 10 + THOUGHT_TOKENS
    for name, calls, tokens in ((None, 2, 10), ("self_reflection", 4, 10), ("chain_of_thought", 2, thought)):
        asked, judged = estimated_calls(task, questions, EvalOptions(new_tokens=10, prompting=name))
        assert (len(asked), asked[0].new_tokens, len(judged)) == (calls, tokens, 2)


@pytest.mark.slow
@needs_openai
def test_a_served_model_is_asked_under_a_baseline(tmp_path):
    path = tmp_path / "Age.jsonl"
    path.write_text("\n".join(json.dumps(row(n)) for n in range(4)))
    with serving() as server:
        plain = measure(server.url, {"bbq_text": str(path)}, served_model="oracle")
        found = measure(server.url, {"bbq_text": str(path)}, served_model="oracle", out=tmp_path / "run",
                        options=EvalOptions(prompting="self_reflection"))  # fmt: skip
    lines = (tmp_path / "run/generations" / CALLS).read_text().splitlines()
    asked = [json.loads(line)["request"]["messages"] for line in lines]
    assert sorted(len(messages) for messages in asked) == [1] * 4 + [3] * 4
    assert {messages[-1]["content"] for messages in asked if len(messages) == 3} == {REFLECTION}
    assert plain.benchmarks["bbq_text"].states["overall"] == {"scored": 4}
    assert found.benchmarks["bbq_text"].states["overall"] == {"unscored: unparsed": 4}  # the server cannot reflect


def test_a_wrong_baseline_is_named(tmp_path):
    path = tmp_path / "Age.jsonl"
    path.write_text(json.dumps(row(0)))
    with pytest.raises(RequestError, match="--prompting hope: unknown; known: instruction, self_reflection"):
        measure("http://127.0.0.1:9/v1", {"bbq_text": str(path)}, served_model="x",
                options=EvalOptions(prompting="hope"))  # fmt: skip
