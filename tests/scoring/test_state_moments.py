"""The moments of hidden states: against a direct calculation, and what an erasure made of them leaves in a model."""

import numpy as np
import torch

from biasunlearn.data.records import Sentence, Triplet
from biasunlearn.models.batches import collate, encode
from biasunlearn.models.blocks import block_output
from biasunlearn.models.erased import Erased
from biasunlearn.models.forward import evaluating
from biasunlearn.models.load import Loaded
from biasunlearn.scoring.state_moments import state_moments
from biasunlearn.stats.leace import concept, erasure, random_erasure
from tests import tiny


def triplets(bias_type: str, words: tuple[tuple[str, str], ...]) -> list[Triplet]:
    return [
        Triplet(f"{bias_type} {n}", bias_type, "intrasentence", f"The {bias_type} is BLANK.",
                Sentence(f"{n}s", f"The {bias_type} is {bad}."), Sentence(f"{n}a", f"The {bias_type} is {good}."))
        for n, (bad, good) in enumerate(words)
    ]  # fmt: skip


PAIRS = {
    "age": triplets("age", (("slow", "quick"), ("weak", "strong"), ("dull", "bright"))),
    "work": triplets("work", (("lazy", "keen"), ("rude and loud", "kind"), ("late", "early"))),
}


def read(loaded: Loaded) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Every token of every sentence by itself: X [tokens, hidden], and Z of both bias types on all of them."""
    states, own, owners = [], [], []
    for bias_type, group in PAIRS.items():
        for triplet in group:
            for side in triplet.supervised_sides("difference"):
                (row,) = encode(loaded.tokenizer, [side])
                with evaluating(loaded.model):
                    states.append(block_output(loaded.model, collate([row]), 0)[0].numpy())
                own.append(np.arange(len(row.ids)) >= row.first_scored)
                owners.append(bias_type)
    means = [state[mask].mean(0) for state, mask in zip(states, own, strict=True)]
    concepts = {}
    for bias_type in PAIRS:
        places = [n for n, owner in enumerate(owners) if owner == bias_type]
        values = concept(np.array([means[n] - means[n + 1] for n in places[0::2]]), 2)
        z = [np.zeros((len(state), 2)) for state in states]
        for number, place in enumerate(places):
            z[place][own[place]] = values[number // 2] * (1 if number % 2 == 0 else -1)
        concepts[bias_type] = np.vstack(z)
    return np.vstack(states), concepts


def covariance(x: np.ndarray, z: np.ndarray) -> np.ndarray:
    found: np.ndarray = (x - x.mean(0)).T @ (z - z.mean(0)) / len(x)
    return found


def test_they_are_those_of_all_tokens_one_by_one() -> None:
    loaded = tiny.gpt2()
    found = state_moments(loaded, PAIRS, 0, dict.fromkeys(PAIRS, 2))
    x, concepts = read(loaded)
    assert np.allclose(found.mean, x.mean(0), atol=1e-5)
    assert np.allclose(found.covariance, covariance(x, x), atol=1e-5)
    for bias_type, z in concepts.items():
        # A principal component may have either sign.
        assert np.allclose(np.abs(found.cross[bias_type]), np.abs(covariance(x, z)), atol=1e-5)


def test_an_erased_model_has_nothing_of_the_type_left_and_the_controls_do() -> None:
    """The other bias type stays, and after a random erasure of the same rank this one does."""
    loaded = tiny.gpt2()
    found = state_moments(loaded, PAIRS, 0, dict.fromkeys(PAIRS, 2))
    concepts = read(loaded)[1]
    center = torch.from_numpy(found.mean)

    def left(projection: np.ndarray, bias_type: str) -> float:
        model = Erased(tiny.gpt2().model, torch.from_numpy(projection), center, block=0)
        # Read at the entrance of the next layer: what all later layers compute with.
        x = read(loaded.with_model(model))[0]
        share = np.linalg.norm(covariance(x, concepts[bias_type])) / np.linalg.norm(found.cross[bias_type])
        return float(share)

    own = erasure(found.covariance, found.cross["age"])
    assert left(own, "age") < 1e-4 and left(own, "work") > 0.3
    assert left(random_erasure(found.covariance, 2, np.random.default_rng(0)), "age") > 0.3
