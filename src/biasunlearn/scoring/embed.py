"""Sentence embeddings, for benchmarks of representations and for probes.

A vector is made of the hidden states of the sentence's own tokens, in the last layer or in several ones. The start
token of a causal model, the special tokens of a masked one ([CLS], [SEP]), a chat template and a passage's prefix are
part of the context but not of the vector.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from biasunlearn.data.records import Passage
from biasunlearn.models.batches import TokenRow, collate, encode, start_token
from biasunlearn.models.distributed import count, mine, summed
from biasunlearn.models.forward import evaluating, hidden_states
from biasunlearn.models.load import Loaded
from biasunlearn.models.masked import frame, longest_row
from biasunlearn.scoring.log_prob import batch_budget, by_length, check_finite

POOLINGS = ("mean", "last")
"""mean: the mean over the sentence's tokens. last: its last token, which in a causal model attends to all others."""


def embed(loaded: Loaded, sentences: Sequence[str]) -> dict[str, NDArray[np.float64]]:
    """The vectors of sentences, one entry per pooling: {"mean": [n, hidden], "last": [n, hidden]}.

    Batched and sorted by length; equal sentences are computed once. Distributed over the processes.

    Raises:
        RequestError: a sentence is longer than the model takes, or has no tokens.
    """
    passages = [Passage("", sentence) for sentence in sentences]
    found = _read(loaded, passages, (-1,), POOLINGS)
    return {name: found[:, 0, number].double().numpy() for number, name in enumerate(POOLINGS)}


def embed_layers(
    loaded: Loaded, passages: Sequence[Passage], layers: Sequence[int], *, pooling: str = "mean"
) -> NDArray[np.float32]:
    """The vectors of the texts of passages at some layers: [layers, n, hidden].

    Args:
        layers: 0 is the embeddings, 1 the first layer, and so on.
    Raises:
        RequestError: as `embed`.
    """
    found = _read(loaded, passages, layers, (pooling,))
    return np.ascontiguousarray(found[:, :, 0].numpy().swapaxes(0, 1))


def _read(loaded: Loaded, passages: Sequence[Passage], layers: Sequence[int], poolings: Sequence[str]) -> Tensor:
    """[n, layers, poolings, hidden], float32, on the CPU."""
    unique = list(dict.fromkeys(passages))
    rows = _own_tokens(loaded, unique)
    done = 0
    with evaluating(loaded.model):
        shape = _pooled(loaded, rows[:1], layers, poolings).shape[1:]
        found = torch.zeros(len(unique), *shape, device=loaded.device)
        lengths = [len(row.ids) for row, _ in rows]
        for chosen in mine(list(by_length(lengths, batch_budget(loaded)))):
            found[chosen] = _pooled(loaded, [rows[i] for i in chosen], layers, poolings)
            check_finite(loaded, [rows[i][0].ids for i in chosen], found[chosen].sum((1, 2, 3)).tolist())
            done += len(chosen)
            loaded.report_progress(min(done * count(), len(unique)), len(unique))
    vectors = summed(found).cpu()
    places = {passage: place for place, passage in enumerate(unique)}
    return vectors[[places[passage] for passage in passages]]


def _own_tokens(loaded: Loaded, passages: Sequence[Passage]) -> list[tuple[TokenRow, int]]:
    """Each passage as a row whose scored part begins with its text, and the position at which its text ends."""
    longest = longest_row(loaded.model, loaded.tokenizer, masked=loaded.masked)
    rows = encode(loaded.tokenizer, passages, max_tokens=longest, chat=loaded.chat)
    around = frame(loaded.tokenizer) if loaded.masked and not loaded.chat else None
    opening = 0 if loaded.chat or start_token(loaded.tokenizer) is None else 1
    found = []
    for row, passage in zip(rows, passages, strict=True):
        begin = row.first_scored if passage.prefix or loaded.chat else opening
        if around:
            found.append((TokenRow(around.around(row), begin + around.moved), len(row.ids) + around.moved))
        else:
            found.append((TokenRow(row.ids, begin), len(row.ids)))
    return found


def _pooled(
    loaded: Loaded, rows: Sequence[tuple[TokenRow, int]], layers: Sequence[int], poolings: Sequence[str]
) -> Tensor:
    """[rows, layers, poolings, hidden], float32."""
    batch = collate([TokenRow(row.ids, max(1, row.first_scored)) for row, _ in rows], device=loaded.device)
    every = hidden_states(loaded.model, batch)
    hidden = torch.stack([every[layer].float() for layer in layers], dim=1)  # [rows, layers, width, hidden]
    places = torch.arange(hidden.shape[2], device=hidden.device)
    begins = torch.tensor([row.first_scored for row, _ in rows], device=hidden.device)
    ends = torch.tensor([end for _, end in rows], device=hidden.device)
    own = ((places >= begins[:, None]) & (places < ends[:, None])).float()[:, None, :, None]
    found = {
        "mean": lambda: (hidden * own).sum(2) / own.sum(2),
        "last": lambda: hidden[torch.arange(len(rows), device=hidden.device), :, ends - 1],
    }
    return torch.stack([found[name]() for name in poolings], dim=2)
