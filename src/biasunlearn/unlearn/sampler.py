"""The batches of training: seeded streams without replacement, one per role and bias type.

The state of a stream is how many sentences it has given, so a resumed run continues with the very next sentence.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import TypeVar

import numpy as np

from biasunlearn.config import DebiasConfig
from biasunlearn.data.records import Passage
from biasunlearn.models.batches import TokenRow
from biasunlearn.models.distributed import mine
from biasunlearn.unlearn.sets import TrainingSets, swapped

T = TypeVar("T")

OTHER_ROLE = {"forget": "retain", "retain": "forget"}


@dataclass(frozen=True, slots=True)
class StepBatch:
    """The sentences of one optimizer step by role, and |swap weight| of the bias type of each forget and retain one.

    The sampler draws passages; a batch of the Trainer (unlearn/hf_trainer) holds them as tokens.
    """

    forget: tuple[Passage | TokenRow, ...]
    retain: tuple[Passage | TokenRow, ...]
    unrelated: tuple[Passage | TokenRow, ...]
    forget_weights: tuple[float, ...]
    retain_weights: tuple[float, ...]
    contexts: tuple[tuple[Passage | TokenRow, ...], ...] = ()
    protected: tuple[Passage, ...] = ()
    """Sentences of bias types that are not trained on, for the penalty of bias_directions.py."""

    @property
    def context_members(self) -> tuple[Passage | TokenRow, ...]:
        """All members of all contexts, in order."""
        return tuple(passage for context in self.contexts for passage in context)

    def share(self) -> "StepBatch":
        """The part of this process: every process draws the whole batch and takes every n-th sentence of it."""
        return StepBatch(*(tuple(mine(getattr(self, field.name))) for field in fields(self)))


class BatchSampler:
    """Draws batches for given swap weights, without end. `position` is all there is to save and restore."""

    def __init__(self, sets: TrainingSets, config: DebiasConfig):
        self._sets = sets
        self._config = config
        self._swapped: dict[frozenset[str], TrainingSets] = {}
        self._orders: dict[tuple[str, int], np.ndarray] = {}
        ends = np.cumsum(sets.unrelated_sizes or (len(sets.unrelated),)).tolist()
        self._sources = [sets.unrelated[start:end] for start, end in pairwise((0, *ends))]
        self._kept = tuple(side for pairs in sets.protected.values() for pair in pairs for side in pair)
        self.position: dict[str, float] = {}

    def next(self, swap_weights: Mapping[str, float]) -> StepBatch:
        """The next batch. The forget and retain sets of bias types with a negative weight are exchanged."""
        active = {b: abs(swap_weights[b]) for b in self._sets.bias_types if swap_weights.get(b, 0.0) != 0.0}
        active = active or dict.fromkeys(self._sets.bias_types, 0.0)
        sets = self._exchanged(frozenset(b for b in active if swap_weights[b] < 0))
        drawn = (self._matched if self._config.batch_pairs == "matched" else self._independent)(sets, active)
        weights = dict.fromkeys(active, max(active.values())) if self._config.batch_allocation == "gap" else active
        size = self._config.unrelated_batch if sets.unrelated else 0
        contexts = self._config.context_batch if sets.contexts else 0
        guard = self._config.guard_batch if sets.guard else 0
        return StepBatch(
            tuple(passage for _, passage in drawn["forget"]),
            tuple(passage for _, passage in drawn["retain"]),
            tuple(self._unrelated() for _ in range(size))
            + tuple(self._draw("guard", sets.guard) for _ in range(guard)),
            tuple(weights[bias_type] for bias_type, _ in drawn["forget"]),
            tuple(weights[bias_type] for bias_type, _ in drawn["retain"]),
            tuple(self._draw("contexts", sets.contexts) for _ in range(contexts)),
            tuple(self._draw("protected", self._kept) for _ in range(self._config.forget_batch if self._kept else 0)),
        )

    def _unrelated(self) -> Passage:
        """The next unrelated sentence. Several sources take turns, so that each has the same share."""
        if len(self._sources) == 1:
            return self._draw("unrelated", self._sources[0])
        turn = int(self.position.get("unrelated", 0))
        self.position["unrelated"] = turn + 1
        source = turn % len(self._sources)
        return self._draw(f"unrelated/{source}", self._sources[source])

    def _exchanged(self, bias_types: frozenset[str]) -> TrainingSets:
        """The sets with these bias types exchanged, made once: only an evaluation changes which they are."""
        if bias_types not in self._swapped:
            self._swapped = {bias_types: swapped(self._sets, bias_types)}
        return self._swapped[bias_types]

    def _matched(self, sets: TrainingSets, active: Mapping[str, float]) -> dict[str, list[tuple[str, Passage]]]:
        """The default: the retain sentences of a step belong to its forget sentences."""
        drawn: dict[str, list[tuple[str, Passage]]] = {"forget": [], "retain": []}
        for bias_type in self._allocate("pairs", active, self._config.forget_batch):
            forget, retain = self._draw(f"pairs/{bias_type}", sets.pairs[bias_type])
            drawn["forget"].append((bias_type, forget))
            drawn["retain"].append((bias_type, retain))
        return drawn

    def _independent(self, sets: TrainingSets, active: Mapping[str, float]) -> dict[str, list[tuple[str, Passage]]]:
        """The paper: the two roles are drawn independently. A stream belongs to its sentences, whichever their role."""
        config, drawn = self._config, {}
        sizes = {"forget": config.forget_batch, "retain": config.retain_batch}
        for role, passages in (("forget", sets.forget), ("retain", sets.retain)):
            # Released code: the batch size belongs to the sentences, so a swap exchanges 4 and 28 as well.
            with_sentences = config.batch_follows == "sentences" and set(active) <= sets.exchanged
            drawn[role] = [
                (b, self._draw(f"{OTHER_ROLE[role] if b in sets.exchanged else role}/{b}", passages[b]))
                for b in self._allocate(role, active, sizes[OTHER_ROLE[role] if with_sentences else role])
            ]
        return drawn

    def _allocate(self, role: str, active: Mapping[str, float], size: int) -> list[str]:
        """The bias type of each sentence of a batch, by largest remainder: shares that do not divide hold over steps.

        `gap` gives each bias type a share in proportion to its swap weight times its number of pairs, so that the type
        farthest from 50 gets most of the batch and a small one is not read over and over; every sentence then has the
        largest weight. `even` gives all the same share, and each sentence has the weight of its own bias type.
        """
        even = self._config.batch_allocation == "even" or not any(active.values())
        parts = {b: 1.0 if even else weight * len(self._sets.pairs[b]) for b, weight in active.items()}
        share = {b: part / sum(parts.values()) for b, part in parts.items()}
        chosen = []
        for _ in range(size):
            for bias_type in active:
                self.position[f"remainder/{role}/{bias_type}"] = self._remainder(role, bias_type) + share[bias_type]
            chosen.append(max(active, key=lambda b: self._remainder(role, b)))
            self.position[f"remainder/{role}/{chosen[-1]}"] -= 1
        return chosen

    def _remainder(self, role: str, bias_type: str) -> float:
        return self.position.get(f"remainder/{role}/{bias_type}", 0.0)

    def _draw(self, name: str, passages: Sequence[T]) -> T:
        """The next sentence of a stream, which is shuffled anew in every epoch."""
        position = int(self.position.get(name, 0))
        self.position[name] = position + 1
        epoch, place = divmod(position, len(passages))
        if (name, epoch) not in self._orders:
            self._orders = {key: order for key, order in self._orders.items() if key[0] != name}
            rng = np.random.default_rng([self._config.seed, epoch, *name.encode()])
            self._orders[name, epoch] = rng.permutation(len(passages))
        return passages[int(self._orders[name, epoch][place])]
