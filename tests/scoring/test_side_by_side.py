"""What the playground shows is what the models say: probabilities by hand, groups swapped, nothing unescaped."""

import math
from pathlib import Path

import pytest
import torch

from biasunlearn.commands.playground import as_html, compared, describe
from biasunlearn.config import DebiasConfig
from biasunlearn.errors import RequestError
from biasunlearn.models.adapters import with_lora
from biasunlearn.runs.folder import SCHEMA, RunFolder
from biasunlearn.scoring.side_by_side import LONGEST, Seen, side_by_side, swapped, term_list
from tests import made_runs, tiny

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def loaded():
    """A tiny model that has learned its few sentences, so that words follow, with an adapter that does something."""
    loaded = tiny.gpt2(initializer_range=0.02)
    tokenizer, model = loaded.tokenizer, loaded.model
    rows = [[tokenizer.bos_token_id, *tokenizer(text)["input_ids"]] for text in tiny.TEXTS]
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    for _ in range(40):
        for row in rows:
            model(torch.tensor([row]), labels=torch.tensor([row])).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    adapted = with_lora(model, DebiasConfig())
    tiny.perturb(adapted, spread=0.1)
    return loaded.with_model(adapted)


def by_hand(loaded, before, text):
    """p(text | before), token by token."""
    ids = [loaded.tokenizer.bos_token_id, *loaded.tokenizer(before + text)["input_ids"]]
    own = len(loaded.tokenizer(before)["input_ids"]) + 1
    with torch.no_grad():
        log_p = loaded.model(torch.tensor([ids])).logits[0].log_softmax(-1)
    return math.exp(sum(float(log_p[place - 1, ids[place]]) for place in range(own, len(ids))))


def test_next_words_have_the_probability_of_their_tokens(loaded):
    seen = side_by_side(loaded, "default", "The nurse  said that ")
    assert seen.prompt == "The nurse said that" and 1 <= len(seen.words) <= 16
    for word, base, debiased in seen.words[:3]:
        assert debiased == pytest.approx(by_hand(loaded, seen.prompt, f" {word}"), rel=1e-3)
        with loaded.model.disable_adapter():
            assert base == pytest.approx(by_hand(loaded, seen.prompt, f" {word}"), rel=1e-3)
    assert {"she", "he"} & {word for word, *_ in seen.words}
    assert any(abs(base - debiased) > 1e-4 for _, base, debiased in seen.words)
    assert set(seen.completions) == {"base", "debiased"}


def test_in_a_blank_the_rest_of_the_sentence_counts(loaded):
    seen = side_by_side(loaded, "default", "The nurse said that BLANK was tired.")
    assert sum(base for _, base, _ in seen.words) == pytest.approx(1)
    assert sum(debiased for *_, debiased in seen.words) == pytest.approx(1)
    first, second = seen.words[:2]
    ratio = [by_hand(loaded, "The nurse said that", f" {word} was tired.") for word in (first[0], second[0])]
    assert first[2] / second[2] == pytest.approx(ratio[0] / ratio[1], rel=1e-3)
    assert not seen.completions
    assert side_by_side(loaded, "default", "BLANK rains.").words  # at the start of a sentence


def test_groups_and_names_are_swapped():
    gender = term_list("gender")
    assert swapped("The nurse said he was tired", gender) == ("The nurse said she was tired", "")
    assert swapped("John said that his BLANK", gender) == ("Mary said that her BLANK", "")
    other, reason = swapped("It rains.", gender)
    assert other is None and reason


def test_what_is_shown_is_escaped_and_what_is_wrong_is_said(loaded):
    seen = Seen("<script>alert(1)</script>", (("<b>x", 0.5, 0.25),), {"base": "<i>", "debiased": "&"})
    html = as_html(seen, "As written")
    assert "<script>" not in html and "<b>x" not in html and "<i>" not in html and "&amp;" in html
    assert "50.0 %" in html and "25.0 %" in html
    marked = as_html(seen, "Swapped", instead_of="<script>alert(2)</script>")
    assert "<mark>&lt;script&gt;alert(1)&lt;/script&gt;</mark>" in marked and "<script>" not in marked
    for prompt, message in (("  ", "write the beginning"), ("a BLANK b BLANK", "more than one BLANK"),
                            ("x" * (LONGEST + 1), "characters")):  # fmt: skip
        with pytest.raises(RequestError, match=message):
            side_by_side(loaded, "default", prompt)
        assert message in compared(loaded, "default", prompt, "gender")[0]
    assert "Not swapped" in compared(loaded, "default", "It rains", "gender")[1]


def test_what_was_swapped_is_marked_and_words_that_nobody_expects_are_named_below(loaded):
    seen = Seen("She saw his book", (("he", 0.9, 0.8), ("to", 0.0002, 0.0)), {})
    html = as_html(seen, "Swapped", instead_of="He saw her book")
    assert "<mark>She</mark> saw <mark>his</mark> book" in html
    assert "shares of the words shown" in html and "Below 0.1 % in both: to" in html and html.count("<tr>") == 2
    assert "mark" not in as_html(seen, "As written")
    assert "No complete word" in as_html(Seen("x", (), {}), "As written")


def test_the_page_says_which_run_it_is(tmp_path):
    results = {"schema": SCHEMA, "model": "some/where/mini", "benchmarks": {}}
    RunFolder(tmp_path).write_json("results.json", results)
    assert describe(tmp_path) == f"mini, run {tmp_path}"
    base, fair = (made_runs.items({"age": hits, "work": hits}) for hits in (84, 60))  # of 120 pairs: 70 and 50 %
    run = made_runs.debiased(tmp_path / "debiased", base, fair)
    assert describe(Path(run)).endswith(": SS 70.0 before, 50.0 after, on its report split")
