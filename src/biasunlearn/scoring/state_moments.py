"""Means and covariances of the hidden states of pairs at one layer, from which erasures are computed (stats/leace.py).

An erasure acts on every token. Its states are therefore those of all tokens of all sentences, up to the last word in
which the sentences of a pair differ, and the concept of a bias type is 0 at every token but those of its own sentences
that belong to the difference. Before the BLANK both sentences of a pair are the same, so that 0 is exact there.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from biasunlearn.data.records import Triplet
from biasunlearn.models.batches import TokenRow, collate, encode, scored_places
from biasunlearn.models.blocks import block_output
from biasunlearn.models.forward import evaluating, max_tokens
from biasunlearn.models.load import Loaded
from biasunlearn.scoring.log_prob import batch_budget, by_length
from biasunlearn.stats.leace import StateMoments, concept

Floats = NDArray[np.float64]


def state_moments(
    loaded: Loaded, pairs: Mapping[str, Sequence[Triplet]], block: int, concepts: Mapping[str, int]
) -> StateMoments:
    """The moments of the states behind a layer, counted from 0.

    Args:
        pairs: bias type -> its pairs.
        concepts: bias type -> the number of columns of its concept (`stats.leace.concept`).
    Raises:
        RequestError: a sentence is longer than the model takes; the layers of the model are not known.
    """
    passages = [
        side for group in pairs.values() for triplet in group for side in triplet.supervised_sides("difference")
    ]
    rows = encode(loaded.tokenizer, passages, max_tokens=max_tokens(loaded.model), chat=loaded.chat)
    read = _read(loaded, rows, block)
    mean = read.sums / read.tokens
    covariance = read.products / read.tokens - np.outer(mean, mean)
    cross, begin = {}, 0
    for bias_type, group in pairs.items():
        own = slice(begin, begin + 2 * len(group))
        begin += 2 * len(group)
        states, counts = read.means[own], read.scored[own, None]
        side = concept(states[0::2] - states[1::2], concepts[bias_type])
        values = np.empty((len(states), side.shape[1]))
        values[0::2], values[1::2] = side, -side
        # Z is 0 at all other tokens, which count in the means.
        total = (counts * states).T @ values
        cross[bias_type] = total / read.tokens - np.outer(mean, (counts * values).sum(0) / read.tokens)
    return StateMoments(mean, covariance, cross)


@dataclass(slots=True)
class _Read:
    """Sums over all tokens, and for every row the mean over its scored tokens and their number."""

    tokens: int
    sums: Floats  # [hidden]
    products: Floats  # [hidden, hidden]
    means: Floats  # [rows, hidden]
    scored: Floats  # [rows]


def _read(loaded: Loaded, rows: Sequence[TokenRow], block: int) -> _Read:
    found: _Read | None = None
    lengths, done = [len(row.ids) for row in rows], 0
    with evaluating(loaded.model):
        for chosen in by_length(lengths, batch_budget(loaded)):
            some = [rows[place] for place in chosen]
            batch = collate(some, device=loaded.model.device)
            states = block_output(loaded.model, batch, block)  # [rows, width, hidden]
            scored = scored_places(batch, some).double()
            every = states[batch.attention_mask.bool()]
            found = found or _empty(len(rows), states.shape[-1])
            found.tokens += len(every)
            found.sums += every.sum(0).cpu().numpy()
            found.products += (every.T @ every).cpu().numpy()
            found.scored[chosen] = scored.sum(1).cpu().numpy()
            found.means[chosen] = ((scored[:, None] @ states)[:, 0] / scored.sum(1, keepdim=True)).cpu().numpy()
            done += len(chosen)
            loaded.report_progress(done, len(rows))
    assert found is not None, "there is at least one pair"
    return found


def _empty(rows: int, width: int) -> _Read:
    return _Read(0, np.zeros(width), np.zeros((width, width)), np.zeros((rows, width)), np.zeros(rows))
