"""Properties of scores on every family: neither order, packing, sharing nor the number of threads changes one.

The passages are items as StereoSet has them (three words in one context) and sentences that begin alike, drawn anew for
each family. Models are tiny and have random weights.
"""

import itertools
import random
from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch

from biasunlearn.data.records import Passage
from biasunlearn.models.load import Loaded
from biasunlearn.scoring.log_prob import score
from tests import tiny

FAMILIES = (*tiny.FAMILIES, "bert")
TOLERANCE = 1e-4
PEOPLE = ("nurse", "poet", "doctor", "neighbour", "town")
WORDS = ("tired", "quiet", "loud", "kind", "table", "house")
ENDS = (".", " and kind.", " that they moved to the town.")

# A sliding window supports no tree mask, which a warning says; its own test is in tests/models/test_prefix_sharing.py.
pytestmark = pytest.mark.filterwarnings("ignore:.*does not support a tree mask")


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def model(family: str) -> Loaded:
    return tiny.masked() if family == "bert" else tiny.causal(family)


def drawn(rng: random.Random) -> list[Passage]:
    """Three items of three sentences each, and a part of each with its beginning given."""
    passages = []
    for person in rng.sample(PEOPLE, 3):
        end = rng.choice(ENDS)
        words = rng.sample(WORDS, 3)
        passages += [Passage("", f"The {person} is {word}{end}") for word in words]
        passages.append(Passage(f"The {person} is", f" {words[0]}{end}"))
    return passages


@pytest.mark.by_day("gpt2", "llama", "opt", "gemma3", "bert")  # one of each kind of positions and of attention
@pytest.mark.parametrize("family", FAMILIES)
def test_neither_order_nor_packing_nor_sharing_nor_threads_change_a_score(family: str) -> None:
    loaded, rng = model(family), random.Random(family)
    passages = drawn(rng)[: 6 if loaded.masked else None]  # a masked model reads a sentence once for each token
    torch.set_num_threads(1)
    alone = {passage: score(loaded, [passage])[0] for passage in passages}
    for threads, batch_tokens in ((1, 4096), (2, 4096), (2, 40), (1, 1)):
        torch.set_num_threads(threads)
        chosen = rng.sample(passages * 2, 2 * len(passages) - 5)
        for passage, found in zip(chosen, score(replace(loaded, batch_tokens=batch_tokens), chosen), strict=True):
            assert found.log_prob == pytest.approx(alone[passage].log_prob, abs=TOLERANCE), (passage, threads)
            assert found.tokens == alone[passage].tokens


@pytest.mark.by_day("gpt2", "llama", "gemma3", "bert")
@pytest.mark.parametrize("family", FAMILIES)
def test_negative_control_sentences_that_differ_have_other_scores(family: str) -> None:
    """A score that is given to the wrong sentence would show in the test above."""
    loaded, rng = model(family), random.Random(family)
    values = [found.log_prob for found in score(loaded, drawn(rng))]
    assert min(abs(one - other) for one, other in itertools.combinations(values, 2)) > 2 * TOLERANCE


@pytest.mark.by_day("gpt2", "llama", "gemma3", "bert")
@pytest.mark.parametrize("family", FAMILIES)
def test_bfloat16_is_within_its_tolerance(family: str) -> None:
    """Half a hundredth of relative rounding in every product: a tenth of a nat per token at most, and not exact."""
    loaded, rng = model(family), random.Random(family)
    passages = drawn(rng)
    exact = score(loaded, passages)
    half = score(loaded.with_model(loaded.model.bfloat16()), passages)
    apart = [abs(one.mean - other.mean) for one, other in zip(exact, half, strict=True)]
    assert 1e-5 < max(apart) < 0.1
