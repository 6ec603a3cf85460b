"""Representation methods: directions in which the sentences of a pair differ are projected out (models/erased.py).

- sentence_debias (Liang et al., arXiv 2007.08100): the first principal component of the differences between the
  representations of paired sentences, of each bias type, is projected out.
- inlp (Ravfogel et al., arXiv 2004.07667): repeatedly, a linear classifier of stereotype against anti-stereotype is
  fitted, and its direction is projected out. The classifier here is ridge regression.
- leace (Belrose et al., arXiv 2306.03819, the authors' package concept-erasure): the smallest affine change after
  which no linear classifier does better than the class means.

As in the bias-bench study (Meade et al., arXiv 2110.08527), a sentence is represented by the mean of the last hidden
states of its tokens. The papers pair sentences that differ in a group word (he, she). Here the training pairs are used,
so that every method has the same data, for any bias type and language. In a StereoSet pair the group is the same and
the attribute differs, after identical words; erasing a direction can only affect the words that follow. The effect on
SS is therefore expected to be small.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from biasunlearn.data.records import Passage
from biasunlearn.errors import RequestError
from biasunlearn.models.batches import Batch, collate, encode, scored_places
from biasunlearn.models.erased import Erased, backbone
from biasunlearn.models.forward import evaluating, max_tokens
from biasunlearn.models.load import Loaded
from biasunlearn.scoring.log_prob import batch_budget, by_length
from biasunlearn.unlearn.methods.task import MethodResult, Task
from biasunlearn.unlearn.trainer import TrainingOutcome

ROUNDS = 10
"""Classifiers that INLP fits for each bias type; the bias-bench study fits 80 on 768 dimensions."""

RIDGE = 1e-3
"""Of INLP's classifiers, relative to the variance of the representations."""

Fit = Callable[[Sequence[tuple[Tensor, Tensor]]], tuple[Tensor, Tensor]]
"""From the paired representations of each bias type, [pairs, hidden] twice, to projection and center."""


def sentence_debias(task: Task) -> MethodResult:
    return _erase(task, fit_sentence_debias)


def inlp(task: Task) -> MethodResult:
    return _erase(task, fit_inlp)


def leace(task: Task) -> MethodResult:
    return _erase(task, fit_leace)


def _erase(task: Task, fit: Fit) -> MethodResult:
    sides = [represented(task.loaded, [pair[side] for pair in _pairs(task)]) for side in (0, 1)]
    sizes = [len(_differing(task.sets.pairs[b])) for b in task.sets.bias_types]
    projection, center = fit(list(zip(*(side.split(sizes) for side in sides), strict=True)))
    rank = int(torch.linalg.matrix_rank(projection, rtol=1e-4))
    return MethodResult(
        Erased(task.loaded.model, projection.float(), center.float()),
        TrainingOutcome(0, f"closed form: {rank} of {len(center)} directions erased", 0, False),
    )


def _pairs(task: Task) -> list[tuple[Passage, Passage]]:
    return [pair for b in task.sets.bias_types for pair in _differing(task.sets.pairs[b])]


def _differing(pairs: Sequence[tuple[Passage, Passage]]) -> list[tuple[Passage, Passage]]:
    """The pairs without the adversarial sentences, which are paired with themselves."""
    return [(one, other) for one, other in pairs if one != other]


def represented(loaded: Loaded, passages: Sequence[Passage]) -> Tensor:
    """The mean of the last hidden states of each sentence's tokens: [sentences, hidden], float64."""
    whole = [Passage("", passage.prefix + passage.text) for passage in passages]

    def last_states(batch: Batch) -> list[Tensor]:
        inputs = {"input_ids": batch.input_ids, "attention_mask": batch.attention_mask}
        return [backbone(loaded.model)(**inputs, use_cache=False).last_hidden_state.double()]

    return mean_states(loaded, whole, last_states)[0]  # without the start token


def mean_states(
    loaded: Loaded, passages: Sequence[Passage], read: Callable[[Batch], Sequence[Tensor]]
) -> list[Tensor]:
    """The mean of hidden states over the scored tokens of each passage: [passages, hidden], float64, for each layer.

    A batch has passages of about the same length, so that hardly any padding is computed.

    Args:
        read: the states of a batch in one layer or in several, [lines, width, hidden] each.
    """
    rows = encode(loaded.tokenizer, passages, max_tokens=max_tokens(loaded.model), chat=loaded.chat)
    order, found = [], []
    with evaluating(loaded.model):
        for chosen in by_length([len(row.ids) for row in rows], batch_budget(loaded)):
            some = [rows[number] for number in chosen]
            batch = collate(some, device=loaded.model.device)
            own = scored_places(batch, some)
            counts = own.sum(1, keepdim=True)
            found.append([(states * own[:, :, None]).sum(1) / counts for states in read(batch)])
            order += chosen
    back = torch.tensor(order).argsort()
    return [torch.cat(parts)[back.to(parts[0].device)] for parts in zip(*found, strict=True)]


def fit_sentence_debias(pairs: Sequence[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """Projects out the first principal component of each bias type's differences; they pass through the origin."""
    directions = [torch.linalg.svd(one - other, full_matrices=False).Vh[0] for one, other in pairs]
    basis = torch.linalg.qr(torch.stack(directions, dim=1)).Q  # [hidden, bias types]
    return basis @ basis.T, torch.zeros_like(directions[0])


def fit_inlp(pairs: Sequence[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """Projects out, for each bias type, the directions of `ROUNDS` classifiers, one after the other."""
    size = pairs[0][0].shape[1]
    kept = torch.eye(size, dtype=torch.float64, device=pairs[0][0].device)
    for one, other in pairs:
        for _ in range(min(ROUNDS, size - 1)):
            direction = classifier_direction(torch.cat([one, other]) @ kept, len(one)) @ kept
            if direction.norm() < 1e-9:
                break  # no linear information is left
            direction = direction / direction.norm()
            kept = kept - kept @ torch.outer(direction, direction)
            left, values, _ = torch.linalg.svd(kept)  # an exact projection again, without rounding errors
            basis = left[:, values > 0.5]
            kept = basis @ basis.T
    return torch.eye(size, dtype=torch.float64, device=kept.device) - kept, torch.zeros(size, dtype=torch.float64)


def classifier_direction(rows: Tensor, first: int) -> Tensor:
    """The weights of a ridge regression of +1 for the first rows and -1 for the others: [hidden], float64."""
    centred = rows - rows.mean(0)
    labels = torch.full((len(rows),), -1.0, dtype=rows.dtype, device=rows.device)
    labels[:first] = 1.0
    gram = centred.T @ centred
    ridge = RIDGE * gram.diagonal().mean() * torch.eye(len(gram), dtype=rows.dtype, device=rows.device)
    return torch.linalg.solve(gram + ridge + 1e-12 * torch.eye(len(gram), dtype=rows.dtype), centred.T @ labels)


def fit_leace(pairs: Sequence[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """LEACE of the concept "which sentence of the pair", one column for each bias type.

    Raises:
        RequestError: the package is not installed.
    """
    try:
        from concept_erasure import LeaceFitter
    except ImportError:
        raise RequestError("method: leace: needs concept-erasure: pip install 'biasunlearn[erasure]'") from None
    rows = torch.cat([side for pair in pairs for side in pair])
    labels = torch.zeros(len(rows), len(pairs), dtype=rows.dtype, device=rows.device)
    place = 0
    for column, (one, other) in enumerate(pairs):
        labels[place : place + len(one), column] = 1.0
        labels[place + len(one) : place + len(one) + len(other), column] = -1.0
        place += len(one) + len(other)
    eraser = LeaceFitter.fit(rows, labels).eraser
    return eraser.proj_left @ eraser.proj_right, eraser.bias
