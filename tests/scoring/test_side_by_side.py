"""What the playground shows is what the models say: probabilities by hand, groups swapped, nothing unescaped."""

import math

import pytest
import torch

from biasunlearn.commands.playground import compared
from biasunlearn.commands.report import read_run
from biasunlearn.config import DebiasConfig
from biasunlearn.errors import RequestError
from biasunlearn.models.adapter_scale import scaled
from biasunlearn.models.adapters import with_lora
from biasunlearn.report.run import report_page
from biasunlearn.report.side_by_side import attribute_section, prompt_section, run_section
from biasunlearn.runs.folder import SCHEMA, RunFolder
from biasunlearn.scoring.side_by_side import (
    ATTRIBUTES,
    LONGEST,
    LONGEST_ATTRIBUTE,
    AttributeRow,
    Seen,
    attribute_rows,
    read_attributes,
    side_by_side,
    swapped,
    term_list,
)  # fmt: skip
from biasunlearn.stats.prompt_change import PromptChange
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
    html = prompt_section(seen, "As written")
    assert "<script>" not in html and "<b>x" not in html and "<i>" not in html and "&amp;" in html
    assert "50.0 %" in html and "25.0 %" in html
    marked = prompt_section(seen, "Swapped", instead_of="<script>alert(2)</script>")
    assert "<mark>&lt;script&gt;alert(1)&lt;/script&gt;</mark>" in marked and "<script>" not in marked
    for prompt, message in (("  ", "write the beginning"), ("a BLANK b BLANK", "more than one BLANK"),
                            ("x" * (LONGEST + 1), "characters")):  # fmt: skip
        with pytest.raises(RequestError, match=message):
            side_by_side(loaded, "default", prompt)
        assert message in compared(loaded, "default", prompt, "gender")[0]
    assert "Not swapped" in compared(loaded, "default", "It rains", "gender")[1]


def test_what_was_swapped_is_marked_and_words_that_nobody_expects_are_named_below(loaded):
    seen = Seen("She saw his book", (("he", 0.9, 0.8), ("to", 0.0002, 0.0)), {})
    html = prompt_section(seen, "Swapped", instead_of="He saw her book")
    assert "<mark>She</mark> saw <mark>his</mark> book" in html
    assert "shares of the words shown" in html and "Below 0.1 % in both: to" in html and html.count("<tr>") == 2
    assert "mark" not in prompt_section(seen, "As written")
    assert "No complete word" in prompt_section(Seen("x", (), {}), "As written")


def test_attributes_of_both_groups_have_the_probability_of_their_tokens(loaded):
    prompts = ["The nurse said that she", "The nurse said that he"]
    rows = attribute_rows(loaded, "default", prompts, ["was", "said"])
    assert [row.attribute for row in rows] == ["was", "said"]
    for row in rows:
        for prompt, (base, debiased) in zip(prompts, row.probabilities, strict=True):
            assert debiased == pytest.approx(by_hand(loaded, prompt, f" {row.attribute}"), rel=1e-3)
            with loaded.model.disable_adapter():
                assert base == pytest.approx(by_hand(loaded, prompt, f" {row.attribute}"), rel=1e-3)
    shares = attribute_rows(loaded, "default", ["The nurse said that BLANK was tired."], ["he", "she", "it"])
    for state in (0, 1):
        assert sum(row.probabilities[0][state] for row in shares) == pytest.approx(1)


def test_the_list_of_attributes_is_read_and_nothing_is_left_out_silently(loaded):
    assert read_attributes(" nurse,  head  nurse\n\nnurse, ") == ["nurse", "head nurse"]
    assert read_attributes(" , ") == []
    with pytest.raises(RequestError, match=f"{ATTRIBUTES + 1} attributes; {ATTRIBUTES} are compared at most"):
        read_attributes(",".join(map(str, range(ATTRIBUTES + 1))))
    with pytest.raises(RequestError, match=f"{LONGEST_ATTRIBUTE} are read at most"):
        read_attributes("x" * (LONGEST_ATTRIBUTE + 1))
    first, _, attributes = compared(loaded, "default", "It rains", "gender", "x" * 100)
    assert "<table" in first and 'role="alert"' in attributes


def test_a_list_of_attributes_is_a_table_in_which_everything_is_escaped(loaded):
    *_, html = compared(loaded, "default", "The nurse said that she", "gender", "was, <script>alert(1)</script>")
    assert "base: <bdi>she</bdi>" in html and "debiased: <bdi>he</bdi>" in html
    assert "<script" not in html and "&lt;script&gt;" in html
    alone = attribute_section([AttributeRow("was", ((0.5, 0.5),))], ["It rains"])
    assert "could not be swapped" in alone and "ratio</th>" not in alone


def test_the_ratio_names_the_group_for_which_an_attribute_is_more_likely():
    """By hand: 0.4 / 0.1 = 4 for she; 0.1 / 0.2 is 2 for he; 0.3 and 0.3 are even."""
    rows = [AttributeRow("nurse", ((0.4, 0.1), (0.1, 0.2))), AttributeRow("cook", ((0.3, 0.3), (0.3, 0.3)))]
    html = attribute_section(rows, ["so she is a", "so he is a"])
    assert "4.0 × <bdi>she</bdi>" in html and "2.0 × <bdi>he</bdi>" in html and html.count(">1.0</td>") == 2
    assert "large change" not in html  # 0.4 -> 0.1 is a factor of 4
    changed = attribute_section([AttributeRow("nurse", ((0.4, 0.001), (0.1, 0.1)))], ["so she is a", "so he is a"])
    assert "large change" in changed


def test_a_prompt_with_a_large_change_is_flagged():
    seen = Seen("x", (("he", 0.9, 0.01),), {}, PromptChange(0.8, (("he", 0.9, 0.01),)))
    html = prompt_section(seen, "As written")
    assert "Large change" in html and "80 % of the probability" in html and "no evidence about the model" in html
    same = Seen("x", (("he", 0.9, 0.8),), {}, PromptChange(0.1))
    assert "Large change" not in prompt_section(same, "As written")


@pytest.mark.parametrize(("strength", "flagged"), [(0.0, False), (100.0, True)])
def test_a_broken_adapter_is_flagged_and_one_without_effect_is_not(loaded, strength, flagged):
    with scaled(loaded.model, strength, "default"):
        assert bool(side_by_side(loaded, "default", "The nurse said that").change.reasons) is flagged


def test_the_page_says_which_run_it_is_and_links_to_its_figures(tmp_path):
    results = {"schema": SCHEMA, "model": "some/where/<i>mini", "benchmarks": {}}
    RunFolder(tmp_path).write_json("results.json", results)
    shown = run_section(RunFolder(tmp_path).read_results(), str(tmp_path), "")
    assert "&lt;i&gt;mini" in shown and str(tmp_path) in shown and "href" not in shown
    base, fair = (made_runs.items({"age": hits, "work": hits}) for hits in (84, 60))  # of 120 pairs: 70 and 50 %
    run = made_runs.debiased(tmp_path / "debiased", base, fair)
    data = read_run(str(run))
    shown = run_section(data.results, str(run), report_page(data))
    assert "SS 70.0 → 50.0" in shown and "on its report split" in shown
    assert 'href="/report#target-terms"' in shown and 'href="/report#answers"' not in shown  # it has none
