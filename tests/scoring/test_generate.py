"""Continuations against a plain loop written here: one row, no padding, no cache, the whole forward at every step."""

import hashlib
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model

from biasunlearn.errors import RequestError
from biasunlearn.models.batches import start_token
from biasunlearn.scoring.generate import (
    CACHE,
    ENDED,
    Asked,
    _append,
    _continuation,
    _read,
    drawn_token,
    generate,
    weights_hash,
)
from biasunlearn.scoring.protocol import Continuation, Sampling
from tests import tiny

PROMPTS = ["The nurse said that", "It rains. ", "My neighbour is a poet, and my", "A doctor came"]
FEW = Sampling(continuations=2, new_tokens=6, temperature=0.8, top_p=0.9, seed=3)


def plain(loaded, prompt, number, sampling):
    """Token ids by the definition of nucleus sampling, from the same numbers."""
    name = hashlib.sha256(f"{sampling.seed} {number} {prompt}".encode()).digest()
    lots = np.random.default_rng(list(name)).random(sampling.new_tokens)
    start = start_token(loaded.tokenizer)
    ids = [] if start is None else [start]
    ids += loaded.tokenizer.encode(prompt.rstrip(), add_special_tokens=False)
    new = []
    for lot in lots:
        with torch.no_grad():
            logits = loaded.model(torch.tensor([ids + new])).logits[0, -1].double()
        probabilities = (logits / sampling.temperature).softmax(-1).tolist()
        likeliest = sorted(range(len(probabilities)), key=lambda token: -probabilities[token])
        inside, mass = set(), 0.0
        for token in likeliest:
            inside.add(token)
            mass += probabilities[token]
            if mass >= sampling.top_p:
                break
        reached = 0.0
        for token in range(len(probabilities)):
            reached += probabilities[token] if token in inside else 0.0
            if reached > lot * mass:
                break
        new.append(token)
    return new


@pytest.mark.slow
@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_batched_continuations_are_those_of_one_row_at_a_time(family):
    loaded = tiny.causal(family)
    loaded.model.generation_config.eos_token_id = [10**6]  # never: the plain loop knows no end
    together = generate(loaded, PROMPTS, FEW)
    for prompt, found in zip(PROMPTS, together, strict=True):
        for number, continuation in enumerate(found):
            ids = plain(loaded, prompt, number, FEW)
            assert (continuation.tokens, continuation.ended) == (len(ids), False)
            alone = loaded.tokenizer.decode(ids, skip_special_tokens=True)
            assert continuation.text.strip() == alone.strip() or family == "bert-decoder"
    shuffled = generate(replace(loaded, batch_tokens=1), PROMPTS[::-1], FEW)
    assert shuffled[::-1] == together
    assert len({c.text for found in together for c in found}) > len(PROMPTS)  # negative control: draws do differ


def test_a_number_falls_on_its_token():
    probabilities = torch.tensor([[0.3, 0.0, 0.5, 0.2]]).repeat(1000, 1)
    numbers = (torch.arange(1000) + 0.5) / 1000
    drawn = drawn_token(probabilities.log(), numbers)
    assert torch.bincount(drawn, minlength=4).tolist() == [300, 0, 500, 200]
    ends = torch.tensor([0.0, 1.0 - 1e-12], dtype=torch.float64)
    assert drawn_token(probabilities[:2].log(), ends).tolist() == [0, 3]


@pytest.mark.parametrize("build", [tiny.byte_level, tiny.metaspace, tiny.word_piece])
def test_the_text_continues_the_prompt_and_its_space_is_kept(build):
    tokenizer, prompt, rest = build(), "the nurse said", " that he was tired"
    ids = tokenizer.encode(prompt, add_special_tokens=False)
    whole = tokenizer.encode(prompt + rest, add_special_tokens=False)
    found = _continuation(tokenizer, Asked(prompt, tuple(ids), 0, ""), whole[len(ids) :])
    assert (found.text, found.tokens, found.ended) == (rest, len(whole) - len(ids), False)
    nothing = _continuation(tokenizer, Asked(prompt, tuple(ids), 0, ""), [*tokenizer.encode(" "), ENDED][-1:])
    assert (nothing.text, nothing.tokens, nothing.ended) == ("", 0, True)


def test_marks_that_some_take_for_line_ends_survive_the_store(tmp_path):
    odd = {"key": Continuation(" a\u2028b\x85c\nd", 4, False)}
    _append(tmp_path, odd)
    assert _read(tmp_path) == odd


def test_an_end_token_ends_and_nothing_written_is_empty():
    loaded = tiny.gpt2()
    loaded.model.generation_config.eos_token_id = list(range(tiny.VOCABULARY))
    for found in generate(loaded, PROMPTS, FEW):
        assert all((c.text, c.tokens, c.ended) == ("", 0, True) for c in found)
    loaded.model.generation_config.eos_token_id = list(range(0, tiny.VOCABULARY, 3))
    found = [c for group in generate(loaded, PROMPTS, Sampling(continuations=6, new_tokens=6)) for c in group]
    assert {c.ended for c in found} == {True, False}
    assert all(c.tokens == 6 for c in found if not c.ended) and any(0 < c.tokens < 6 for c in found if c.ended)


def test_settings_that_a_model_brings_along_do_not_count_and_are_put_back():
    loaded = tiny.gpt2()
    plain_ones = generate(loaded, PROMPTS, FEW)
    own = loaded.model.generation_config
    own.repetition_penalty, own.temperature, own.top_k, own.do_sample = 7.0, 0.1, 1, True
    own.suppress_tokens = list(range(200))
    assert generate(loaded, PROMPTS, FEW) == plain_ones
    assert loaded.model.generation_config is own


def forwards(model):
    """Counts how often the model is read."""
    calls = []
    model.register_forward_pre_hook(lambda *_: calls.append(1))
    return calls


def test_what_is_stored_is_not_drawn_again(tmp_path):
    loaded = tiny.gpt2()
    calls = forwards(loaded.model)
    first = generate(loaded, PROMPTS, FEW, cache=tmp_path)
    drawn = len(calls)
    assert generate(loaded, PROMPTS, FEW, cache=tmp_path) == first and len(calls) == drawn
    stored = (tmp_path / CACHE).read_text().splitlines()
    assert len(stored) == 2 * len(PROMPTS) and set(json.loads(stored[0])) == {"key", "text", "tokens", "ended"}

    (tmp_path / CACHE).write_text("\n".join([*stored[:-2], stored[-1][:20]]))  # cut short by an interruption
    assert generate(loaded, PROMPTS, FEW, cache=tmp_path) == first and len(calls) > drawn
    more = Sampling(continuations=3, new_tokens=6, temperature=0.8, top_p=0.9, seed=3)
    assert [found[:2] for found in generate(loaded, PROMPTS, more, cache=tmp_path)] == first
    other = Sampling(continuations=2, new_tokens=6, temperature=0.8, top_p=0.9, seed=4)
    assert generate(loaded, PROMPTS, other, cache=tmp_path) != first

    with torch.no_grad():  # the same folder, another state of the model
        loaded.model.transformer.h[0].mlp.c_fc.weight[0, 0] += 3.0
    before = len(calls)
    generate(loaded, PROMPTS, FEW, cache=tmp_path)
    assert len(calls) > before


def test_every_change_of_a_model_shows_in_its_hash():
    loaded = tiny.gpt2()
    seen = {weights_hash(loaded.model)}
    assert weights_hash(tiny.gpt2().model) in seen  # the same weights, loaded again
    model = get_peft_model(loaded.model, LoraConfig(r=2, target_modules=["c_attn"], fan_in_fan_out=True))
    seen.add(weights_hash(model))
    tiny.perturb(model)
    seen.add(weights_hash(model))
    with model.disable_adapter():
        seen.add(weights_hash(model))
    for module in model.modules():
        if hasattr(module, "scale_layer"):
            module.scale_layer(0.5)
    seen.add(weights_hash(model))
    seen.add(weights_hash(model.bfloat16()))
    assert len(seen) == 6


def test_an_adapter_writes_its_own_texts_and_a_half_precision_model_writes_too():
    loaded = tiny.gpt2()
    base = generate(loaded, PROMPTS, FEW)
    model = get_peft_model(loaded.model, LoraConfig(r=2, target_modules=["c_attn"], fan_in_fan_out=True))
    tiny.perturb(model, spread=0.5)
    adapted = loaded.with_model(model.eval())
    assert generate(adapted, PROMPTS, FEW) != base
    with model.disable_adapter():
        assert generate(adapted, PROMPTS, FEW) == base
    assert len(generate(tiny.gpt2().with_model(tiny.gpt2().model.bfloat16()), PROMPTS, FEW)) == len(PROMPTS)


def test_who_cannot_write_is_refused():
    with pytest.raises(RequestError, match="a masked model generates no text"):
        generate(tiny.masked(), PROMPTS, FEW)
    with pytest.raises(RequestError, match="the model takes 10"):
        generate(tiny.gpt2(n_positions=16), ["It rains, and it rains, and it rains."], FEW)


def test_progress_counts_what_was_stored(tmp_path):
    loaded, told = tiny.gpt2(), []
    generate(loaded, PROMPTS[:2], FEW, cache=tmp_path)
    counted = replace(loaded, batch_tokens=1, progress=lambda done, of: told.append((done, of)))
    generate(counted, PROMPTS, FEW, cache=tmp_path)
    assert told[0] == (5, 8) and told[-1] == (8, 8)
