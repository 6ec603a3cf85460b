"""A sentence as one vector: the second door to a model, for benchmarks that look at representations.

The vector is made of the last hidden states of the sentence's own tokens. The start token of a causal model and the
frame of a masked one ([CLS], [SEP]) are read but not part of it, nor is what a chat template puts in front.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .batches import Row, collate, encode, start_token
from .models import Loaded, evaluating, last_hidden, max_tokens
from .processes import count, mine, summed
from .records import Passage
from .scoring import budget_of, by_length, device_of, frame

POOLINGS = ("mean", "last")
"""mean: the mean over the sentence's tokens. last: its last token, which in a causal model has read all others."""


def embed(
    loaded: Loaded,
    sentences: Sequence[str],
    *,
    batch_tokens: int = 4096,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, NDArray[np.float64]]:
    """The vectors of sentences, one entry per pooling: {"mean": [n, hidden], "last": [n, hidden]}.

    Batched and sorted by length; equal sentences are read once. Shared over the processes.

    Raises:
        RequestError: a sentence is longer than the model takes, or has no token of its own.
    """
    unique = list(dict.fromkeys(sentences))
    rows = _own_tokens(loaded, unique)
    done = 0
    with evaluating(loaded.model):
        found = torch.zeros(len(unique), *_pooled(loaded, rows[:1]).shape[1:], device=device_of(loaded))
        lengths = [len(row.ids) for row, _ in rows]
        for chosen in mine(list(by_length(lengths, budget_of(loaded.model, batch_tokens)))):
            found[chosen] = _pooled(loaded, [rows[i] for i in chosen])
            done += len(chosen)
            if progress:
                progress(min(done * count(), len(unique)), len(unique))
    vectors = summed(found).cpu().double().numpy()
    places = {sentence: place for place, sentence in enumerate(unique)}
    order = [places[sentence] for sentence in sentences]
    return {name: vectors[order, number] for number, name in enumerate(POOLINGS)}


def _own_tokens(loaded: Loaded, sentences: Sequence[str]) -> list[tuple[Row, int]]:
    """Each sentence as the model reads it, with where its own tokens begin, and behind which place they end."""
    longest = max_tokens(loaded.model)
    head, tail = frame(loaded.tokenizer) if loaded.masked else ((), ())
    rows = encode(
        loaded.tokenizer,
        [Passage("", sentence) for sentence in sentences],
        max_tokens=longest if longest is None else longest - len(tail),
        chat=loaded.chat,
    )
    if loaded.chat:
        return [(row, len(row.ids)) for row in rows]
    opening = 0 if start_token(loaded.tokenizer) is None else 1
    if not loaded.masked:
        return [(Row(row.ids, opening), len(row.ids)) for row in rows]
    return [(Row((*head, *row.ids[opening:], *tail), len(head)), len(head) + len(row.ids) - opening) for row in rows]


def _pooled(loaded: Loaded, rows: Sequence[tuple[Row, int]]) -> Tensor:
    """[rows, poolings, hidden], float32."""
    batch = collate([Row(row.ids, max(1, row.first_scored)) for row, _ in rows], device=device_of(loaded))
    hidden = last_hidden(loaded.model, batch).float()
    places = torch.arange(hidden.shape[1], device=hidden.device)
    begins = torch.tensor([row.first_scored for row, _ in rows], device=hidden.device)
    ends = torch.tensor([end for _, end in rows], device=hidden.device)
    own = ((places >= begins[:, None]) & (places < ends[:, None])).float()  # [rows, width]
    mean = (hidden * own[:, :, None]).sum(1) / own.sum(1, keepdim=True)
    last = hidden[torch.arange(len(rows), device=hidden.device), ends - 1]
    return torch.stack([mean, last], dim=1)
