"""The chat template as protocol: what is scored stands where the assistant speaks, and nothing else is changed."""

import json

import pytest
import torch

from biasunlearn.cli import main
from biasunlearn.data.records import Passage
from biasunlearn.errors import RequestError
from biasunlearn.scoring.chat import USER_TURN, protocol, with_chat_template
from biasunlearn.scoring.embed import embed
from biasunlearn.scoring.generate import generate
from biasunlearn.scoring.log_prob import score
from biasunlearn.scoring.protocol import Sampling
from tests import tiny

TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}<{{ m['role'] }}>\n{{ m['content'] | trim }}{{ eos_token }}\n{% endfor %}"
)
HEAD = f"<s><user>\n{USER_TURN}</s>\n<assistant>\n"
PASSAGES = [Passage("", "The nurse is loud."), Passage("It rains.", " A doctor came"), Passage("", "It rains.")]


def chatting(family="gpt2", template=TEMPLATE):
    loaded = tiny.causal(family)
    loaded.tokenizer.chat_template = template
    return loaded


def plain(loaded, passage):
    """log p(text | head + prefix), token by token as the whole string is tokenised."""
    ids = loaded.tokenizer(HEAD + passage.prefix + passage.text, add_special_tokens=False)
    ids, given = ids["input_ids"], len(loaded.tokenizer(HEAD + passage.prefix, add_special_tokens=False)["input_ids"])
    with torch.no_grad():
        log_p = loaded.model(torch.tensor([ids])).logits[0].double().log_softmax(-1)
    return sum(float(log_p[place - 1, ids[place]]) for place in range(given, len(ids))), len(ids) - given


@pytest.mark.parametrize("family", ["gpt2", "qwen3"])
def test_a_passage_is_scored_where_the_assistant_speaks(family):
    loaded = chatting(family)
    loaded.tokenizer.bos_token = "<s>"
    asked = with_chat_template(loaded)
    assert asked.chat == HEAD and asked.with_model(loaded.model).chat == HEAD
    for passage, found in zip(PASSAGES, score(asked, PASSAGES), strict=True):
        log_prob, tokens = plain(loaded, passage)
        assert (found.log_prob, found.tokens) == (pytest.approx(log_prob, abs=1e-4), tokens)
    raw = score(loaded, PASSAGES)
    assert all(abs(a.log_prob - b.log_prob) > 0.01 for a, b in zip(raw, score(asked, PASSAGES), strict=True))


def test_start_tokens_stand_once():
    """The template has its own: another one in front would be a text that the model never saw."""
    asked, rows = with_chat_template(chatting()), []
    handle = asked.model.register_forward_pre_hook(
        lambda _m, _a, given: rows.extend(given["input_ids"].tolist()), with_kwargs=True
    )
    score(asked, PASSAGES[:1])
    handle.remove()
    bos, eos = asked.tokenizer.bos_token_id, asked.tokenizer.eos_token_id
    assert rows[0][0] == bos and rows[0].count(bos) == 1 and rows[0].count(eos) == 1  # the user's turn ends once


def test_prompts_are_continued_and_sentences_embedded_there_too():
    loaded = chatting()
    asked = with_chat_template(loaded)
    few = Sampling(continuations=4, new_tokens=5)
    assert generate(asked, ["The nurse"], few) != generate(loaded, ["The nurse"], few)
    ids = loaded.tokenizer(HEAD + "It rains.", add_special_tokens=False)["input_ids"]
    own = len(loaded.tokenizer("It rains.", add_special_tokens=False)["input_ids"])
    with torch.no_grad():
        hidden = loaded.model(torch.tensor([ids]), output_hidden_states=True).hidden_states[-1][0, -own:]
    found = embed(asked, ["It rains."])
    assert found["mean"][0] == pytest.approx(hidden.mean(0).numpy(), abs=1e-4)
    assert found["last"][0] == pytest.approx(hidden[-1].numpy(), abs=1e-4)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (tiny.gpt2, "no chat template; leave the option out"),
        (tiny.masked, "a masked model has none"),
        (lambda: chatting(template="{{ raise_exception('roles must alternate') }}"), "fails: roles must alternate"),
        (lambda: chatting(template="{{ messages[0]['content'] }}"), "does not contain the assistant"),
    ],
)
def test_models_without_a_usable_template_are_refused(build, message):
    with pytest.raises(RequestError, match=message):
        with_chat_template(build())


@pytest.mark.slow
def test_the_protocol_is_stored(tmp_path, capsys):
    model = tiny.save(chatting(), tmp_path / "model")
    (tmp_path / "p.jsonl").write_text('{"stereotype": "a nurse", "anti_stereotype": "a poet"}')
    command = ["measure", model, "--benchmark", f"stereoset={tmp_path / 'p.jsonl'}", "--out"]
    assert main([*command, str(tmp_path / "raw")]) == 0
    assert main([*command, str(tmp_path / "chat"), "--chat-template"]) == 0
    raw, chat = (json.loads((tmp_path / out / "results.json").read_text()) for out in ("raw", "chat"))
    assert raw["protocol"]["text"] == "raw" and chat["protocol"]["text"] == "chat template"
    assert chat["protocol"]["user_turn"] == USER_TURN and chat["protocol"]["before_text"] == HEAD
    assert len(chat["protocol"]["template_sha256"]) == 64
    margins = [r["benchmarks"]["stereoset"]["overall"]["mean_margin"] for r in (raw, chat)]
    assert margins[0] != margins[1]
    plain_model = tiny.save(tiny.gpt2(), tmp_path / "plain")
    capsys.readouterr()
    assert main(["measure", plain_model, *command[2:], str(tmp_path / "no"), "--chat-template"]) == 2
    assert "has no chat template" in capsys.readouterr().err
    assert protocol(tiny.gpt2()) == {"text": "raw"}
