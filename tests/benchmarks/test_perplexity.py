"""Perplexity against the sliding window that transformers documents, written here as it is documented."""

import math

import pytest
import torch

from biasunlearn.benchmarks import perplexity
from biasunlearn.scoring.log_prob import score_windows
from biasunlearn.scoring.protocol import EvalPlan
from tests import tiny
from tests.shared_data import SHARED, needs_shared

TEXT = " ".join(tiny.TEXTS * 4)


def recipe(loaded, text, window, stride, *, weigh):
    """exp(sum of losses / tokens). As documented, a window's mean loss counts for its valid labels less one; weighed,
    for the labels that the loss is really a mean over: one less only where the window's first token is among them."""
    ids = loaded.tokenizer(text, add_special_tokens=False, return_tensors="pt", verbose=False).input_ids
    total = tokens = before = 0
    for begin in range(0, ids.shape[1], stride):
        end = min(begin + window, ids.shape[1])
        part = ids[:, begin:end]
        labels = part.clone()
        labels[:, : -(end - before)] = -100
        with torch.no_grad():
            loss = loaded.model(part, labels=labels).loss
        number = int((labels[:, 1:] != -100).sum()) if weigh else int((labels != -100).sum()) - 1
        if number > 0:
            total, tokens = total + float(loss) * number, tokens + number
        before = end
        if end == ids.shape[1]:
            break
    return math.exp(total / tokens), tokens


@pytest.mark.parametrize("family", ["gpt2", "llama", "mistral", "bert-decoder"])
def test_windows_that_do_not_overlap_agree_exactly(family):
    loaded = tiny.causal(family)
    log_prob, tokens = score_windows(loaded, TEXT, stride=1)
    expected, counted = recipe(loaded, TEXT, tiny.LONGEST, tiny.LONGEST, weigh=False)
    assert tokens == counted
    assert math.exp(-log_prob / tokens) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("stride", [2, 4])
@pytest.mark.parametrize("family", ["gpt2", "llama", "qwen3"])
def test_overlapping_windows_agree_once_every_token_counts_once(family, stride):
    loaded = tiny.causal(family)
    log_prob, tokens = score_windows(loaded, TEXT, stride=stride)
    expected, counted = recipe(loaded, TEXT, tiny.LONGEST, tiny.LONGEST // stride, weigh=True)
    assert tokens == counted == len(loaded.tokenizer(TEXT, add_special_tokens=False)["input_ids"]) - 1
    assert math.exp(-log_prob / tokens) == pytest.approx(expected, rel=1e-5)
    as_documented, fewer = recipe(loaded, TEXT, tiny.LONGEST, tiny.LONGEST // stride, weigh=False)
    assert fewer < counted and as_documented != pytest.approx(expected, rel=1e-5)  # the deviation is real


@pytest.mark.slow
@needs_shared
def test_on_a_real_model_and_text_to_1e_4(tmp_path):
    from biasunlearn.models.load import load

    loaded = load(str(SHARED / "models/minilm-clm"))
    text = (SHARED / "data/text/wikitext2_valid_clean_sentences.txt").read_text()[:9000]
    (tmp_path / "t.txt").write_text(text)
    _, entry = perplexity.run(loaded, str(tmp_path / "t.txt"), EvalPlan())
    entry = entry.to_dict()
    window = 512
    expected, counted = recipe(loaded, text, window, window // perplexity.STRIDE, weigh=True)
    assert entry["tokens"] == counted > 3 * window
    assert entry["per_token"] == pytest.approx(expected, abs=1e-4 * expected)
    assert entry["per_byte"] == pytest.approx(expected ** (counted / len(text.encode())), rel=1e-4)


def test_the_entry_says_what_was_read(tmp_path):
    (tmp_path / "t.txt").write_text(TEXT)
    items, entry = perplexity.run(tiny.gpt2(), str(tmp_path / "t.txt"), EvalPlan())
    entry = entry.to_dict()
    assert items == [] and entry["bytes"] == len(TEXT.encode()) and len(entry["sha256"]) == 64
    assert entry["skipped"] == 0 and entry["data"].endswith("t.txt")
    assert entry["per_byte"] == pytest.approx(entry["per_token"] ** (entry["tokens"] / entry["bytes"]))
