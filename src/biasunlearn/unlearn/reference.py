"""The reference model: the model with its adapter off, asked once per sentence, or values stored before training.

The output of the reference model for a sentence never changes, so it is stored: in a file beside the checkpoint, or in
memory. The file only grows, and a checkpoint notes its length. A resumed run drops what was added later, computes it
again in the same batches, and therefore has the same numbers, bit for bit, as a run that was never interrupted.
"""

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from biasunlearn.data.records import Passage
from biasunlearn.errors import RequestError
from biasunlearn.models.adapters import reference
from biasunlearn.models.batches import TokenRow
from biasunlearn.models.distributed import summed
from biasunlearn.models.forward import evaluating
from biasunlearn.models.packed_forward import RowCache, read_rows
from biasunlearn.runs.atomic import writing
from biasunlearn.unlearn.sampler import StepBatch
from biasunlearn.unlearn.sets import TrainingSets

PRECOMPUTED_LIMIT = FILE_LIMIT = 4 * 2**30
"""Bytes of logits that are computed before training, and of the file; what does not fit there is computed each time."""

MEMORY_LIMIT = 2**29
"""Bytes that are stored in memory where there is no file."""

AT_ONCE = 32
"""Sentences of a forward pass when values are computed before training."""

Kind = Literal["log_prob", "states"]
Key = tuple[str, str, str]
"""Kind, prefix, text."""


@dataclass(frozen=True, slots=True)
class ReferenceValues:
    """The output of the reference model for the sentences of a step."""

    forget: Tensor  # [sentences] log p_ref(y | x)
    retain: Tensor  # the same; empty where the objective does not use it
    unrelated: Tensor  # [tokens, hidden] states behind the supervised tokens, as `Read` has them; or their logits
    contexts: Tensor  # the same of all members of the counterfactual contexts


Reference = Callable[[StepBatch], ReferenceValues]


class ReferenceStore:
    """Tensors by kind and sentence. Without a path they are in memory, for this process only."""

    def __init__(self, path: Path | None = None):
        self._path = path
        self._in_memory: dict[Key, Tensor] = {}
        self._in_file: dict[Key, tuple[int, int, torch.dtype, list[int]]] = {}
        self._size = 0

    def has(self, kind: Kind, passage: Passage | TokenRow) -> bool:
        key = _key(kind, passage)
        return key in self._in_memory or key in self._in_file

    def get(self, kind: Kind, passage: Passage | TokenRow) -> Tensor:
        """The stored tensor, bit for bit, in main memory. Files are read through the cache of the system."""
        key = _key(kind, passage)
        if key in self._in_memory:
            return self._in_memory[key]
        assert self._path is not None
        begin, length, dtype, shape = self._in_file[key]
        with self._path.open("rb") as handle:
            content = bytearray(os.pread(handle.fileno(), length, begin))
        return torch.frombuffer(content, dtype=dtype).reshape(shape)

    def put(self, kind: Kind, passage: Passage | TokenRow, value: Tensor) -> None:
        """Stores a tensor, if there is room for it.

        Raises:
            WriteError: the disk is full or the like.
        """
        value, key = value.detach().to("cpu").contiguous(), _key(kind, passage)
        if self._path is None:
            if self._size + value.nbytes <= MEMORY_LIMIT:
                self._in_memory[key] = value.clone()
                self._size += value.nbytes
            return
        head = json.dumps([*key, str(value.dtype).removeprefix("torch."), list(value.shape)]).encode() + b"\n"
        if self._size + len(head) + value.nbytes > FILE_LIMIT or not value.numel():
            return
        with writing(self._path), self._path.open("ab") as handle:
            handle.write(head + value.reshape(-1).view(torch.uint8).numpy().tobytes())
        self._in_file[key] = self._size + len(head), value.nbytes, value.dtype, list(value.shape)
        self._size += len(head) + value.nbytes

    def flush(self) -> int:
        """Forces everything to the disk; returns the size of the file, which a checkpoint notes."""
        if self._path is None or not self._path.exists():
            return 0
        with writing(self._path), self._path.open("rb") as handle:
            os.fsync(handle.fileno())
        return self._size

    def truncate(self, size: int) -> None:
        """Drops what was added after the file had this size. A shorter file is another one: it is emptied."""
        self._in_memory, self._in_file, self._size = {}, {}, 0
        if self._path is None or not self._path.exists():
            return
        size = size if self._path.stat().st_size >= size else 0
        with self._path.open("rb") as handle:
            while self._size < size:
                head = handle.readline()
                kind, prefix, text, name, shape = json.loads(head)
                dtype = getattr(torch, name)
                length = dtype.itemsize * int(torch.Size(shape).numel())
                self._in_file[kind, prefix, text] = self._size + len(head), length, dtype, shape
                self._size = handle.seek(length, os.SEEK_CUR)
        os.truncate(self._path, self._size)


def _key(kind: Kind, passage: Passage | TokenRow) -> Key:
    if isinstance(passage, Passage):
        return kind, passage.prefix, passage.text + (f"\0{passage.suffix}" if passage.suffix else "")
    return kind, f"tokens from {passage.first_scored}", " ".join(map(str, passage.ids))


def live_reference(model: Any, cache: RowCache, *, retain: bool = False) -> Reference:
    """The model with its adapter off, computed for every batch: one more forward pass, no memory.

    Args:
        retain: whether the objective compares the retain sentences with the reference as well.
    """

    def values(batch: StepBatch) -> ReferenceValues:
        scored = (*batch.forget, *batch.retain) if retain else batch.forget
        log_probs, states = _with_adapter_off(model, cache, scored, _compared(batch))
        return _by_role(batch, log_probs, states)

    return values


def stored_reference(model: Any, cache: RowCache, store: ReferenceStore, *, retain: bool = False) -> Reference:
    """The same, but each sentence is computed once.

    With several processes each computes its own share; if one of them must, all do, since the model may be sharded.
    """

    def values(batch: StepBatch) -> ReferenceValues:
        scored = cache.seen((*batch.forget, *batch.retain) if retain else batch.forget)
        new = tuple(dict.fromkeys(p for p in scored if not store.has("log_prob", p)))
        compared = _compared(batch)
        new_states = tuple(dict.fromkeys(p for p in compared if not store.has("states", p)))
        computed: dict[tuple[Kind, Passage | TokenRow], Tensor] = {}
        if summed(torch.tensor(float(len(new) + len(new_states)), device=model.device)) > 0:
            log_probs, states = _with_adapter_off(model, cache, new, new_states)
            computed |= {("log_prob", p): value for p, value in zip(new, log_probs, strict=True)}
            computed |= {("states", p): value for p, value in zip(new_states, states, strict=True)}
            for (kind, passage), value in computed.items():
                store.put(kind, passage, value)

        def all_of(kind: Kind, passages: Sequence[Passage | TokenRow]) -> list[Tensor]:
            return [computed[kind, p] if (kind, p) in computed else store.get(kind, p) for p in passages]

        stored = all_of("log_prob", scored)
        log_probs = (torch.stack(stored) if stored else torch.zeros(0)).to(model.device)
        return _by_role(batch, log_probs, [states.to(model.device) for states in all_of("states", compared)])

    return values


def other_model_reference(model: Any, cache: RowCache, *, retain: bool = False) -> Reference:
    """Another model as the reference, for a model whose weights are all trained: its logits, for every batch."""

    def values(batch: StepBatch) -> ReferenceValues:
        scored = (*batch.forget, *batch.retain) if retain else batch.forget
        with evaluating(model):
            whole = read_rows(model, cache.rows((*scored, *_compared(batch))))
            rest = whole.part(len(scored), whole.rows)
            log_probs = whole.part(0, len(scored)).log_probs
            return _by_role(batch, log_probs, list(rest.logits.split([int(n) for n in rest.tokens.tolist()])))

    return values


def precomputed_reference(model: Any, cache: RowCache, sets: TrainingSets, *, retain: bool = False) -> Reference:
    """For full fine-tuning, where there is no adapter to switch off: everything is computed before training.

    One number for every sentence that can be in the forget set (after a swap that is both sets), and half-precision
    logits for every token of the unrelated set. The invariance loss needs an adapter (`check_settings` in trainer.py).

    Raises:
        RequestError: the logits need more than `PRECOMPUTED_LIMIT` bytes.
    """
    sides = [p for side in (sets.forget, sets.retain) for group in side.values() for p in group]
    sentences = list(dict.fromkeys(cache.seen(sides)))
    log_probs: dict[Passage | TokenRow, float] = {}
    logits: dict[Passage | TokenRow, Tensor] = {}
    size = 0
    with evaluating(model):
        for first in range(0, len(sentences), AT_ONCE):
            chosen = sentences[first : first + AT_ONCE]
            log_probs |= dict(zip(chosen, read_rows(model, cache.rows(chosen)).log_probs.tolist(), strict=True))
        for passage in dict.fromkeys(sets.unrelated):
            logits[passage] = read_rows(model, cache.rows([passage])).logits.to("cpu", torch.float16)
            size += logits[passage].nbytes
            if size > PRECOMPUTED_LIMIT:
                raise RequestError(
                    f"lora_rank: 0 stores the reference logits of {len(sets.unrelated)} unrelated sentences, more than "
                    f"{PRECOMPUTED_LIMIT // 2**30} GiB; give fewer sentences, or train an adapter (lora_rank above 0)"
                )

    def values(batch: StepBatch) -> ReferenceValues:
        scored = cache.seen((*batch.forget, *batch.retain) if retain else batch.forget)
        found = torch.tensor([log_probs[p] for p in scored], device=model.device)
        return _by_role(batch, found, [logits[p].to(model.device) for p in batch.unrelated])

    return values


def _with_adapter_off(
    model: Any, cache: RowCache, scored: Sequence[Passage | TokenRow], compared: Sequence[Passage | TokenRow]
) -> tuple[Tensor, list[Tensor]]:
    """Log-probabilities [sentences] of the scored sentences, and the states of each compared one."""
    with reference(model):
        whole = read_rows(model, cache.rows((*scored, *compared)))
        found, rest = whole.part(0, len(scored)), whole.part(len(scored), whole.rows)
        return found.log_probs, list(rest.states.split([int(number) for number in rest.tokens.tolist()]))


def forget_states(model: Any, cache: RowCache, batch: StepBatch) -> Tensor:
    """States of the reference at the forget sentences, [tokens, hidden], for objectives of its whole distributions."""
    with reference(model):
        return read_rows(model, cache.rows(batch.forget)).states


def _compared(batch: StepBatch) -> tuple[Passage | TokenRow, ...]:
    """The passages whose whole distributions are compared with those of the reference."""
    return (*batch.unrelated, *batch.context_members)


def _by_role(batch: StepBatch, log_probs: Tensor, states: Sequence[Tensor]) -> ReferenceValues:
    """Splits the log-probabilities and the states of `_compared` by role."""
    parts = states[: len(batch.unrelated)], states[len(batch.unrelated) :]
    empty = torch.zeros(0, device=log_probs.device)
    unrelated, contexts = (torch.cat(list(part)) if part else empty for part in parts)
    return ReferenceValues(log_probs[: len(batch.forget)], log_probs[len(batch.forget) :], unrelated, contexts)
