"""Which sentences the next step sees: seeded streams without replacement, one per role and bias type.

A stream's whole state is how far it has been read, so a resumed run continues with the very next sentence.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TypeVar

import numpy as np

from biasunlearn.config import DebiasConfig
from biasunlearn.data.records import Passage
from biasunlearn.models.distributed import mine
from biasunlearn.unlearn.sets import TrainingSets, swapped

T = TypeVar("T")

OTHER = {"forget": "retain", "retain": "forget"}


@dataclass(frozen=True, slots=True)
class StepBatch:
    """The sentences of one optimizer step by role, and each bias type's weight on its role losses."""

    forget: tuple[Passage, ...]
    retain: tuple[Passage, ...]
    unrelated: tuple[Passage, ...]
    forget_weights: tuple[float, ...]
    retain_weights: tuple[float, ...]

    def share(self) -> "StepBatch":
        """This process's sentences of the step. Every process draws the whole step, and keeps its part."""
        return StepBatch(*(tuple(mine(getattr(self, field.name))) for field in fields(self)))


class Feed:
    """Endless batches for the current push. `position` is all there is to save and restore."""

    def __init__(self, sets: TrainingSets, config: DebiasConfig):
        self._sets = sets
        self._config = config
        self._orders: dict[tuple[str, int], np.ndarray] = {}
        self.position: dict[str, float] = {}

    def next(self, push: Mapping[str, float]) -> StepBatch:
        """The next sentences. A bias type with a negative push forgets what it retained, and retains what it forgot."""
        active = {b: abs(push[b]) for b in self._sets.bias_types if push.get(b, 0.0) != 0.0}
        active = active or dict.fromkeys(self._sets.bias_types, 0.0)
        sets = swapped(self._sets, (b for b in active if push[b] < 0))
        drawn = (self._matched if self._config.batch_pairs == "matched" else self._independent)(sets, active)
        weights = dict.fromkeys(active, max(active.values())) if self._config.places == "gap" else active
        size = self._config.unrelated_batch if sets.unrelated else 0
        return StepBatch(
            tuple(passage for _, passage in drawn["forget"]),
            tuple(passage for _, passage in drawn["retain"]),
            tuple(self._draw("unrelated", sets.unrelated) for _ in range(size)),
            tuple(weights[bias_type] for bias_type, _ in drawn["forget"]),
            tuple(weights[bias_type] for bias_type, _ in drawn["retain"]),
        )

    def _matched(self, sets: TrainingSets, active: Mapping[str, float]) -> dict[str, list[tuple[str, Passage]]]:
        """Ours: what a step retains are the partners of what it forgets."""
        drawn: dict[str, list[tuple[str, Passage]]] = {"forget": [], "retain": []}
        for bias_type in self._turns("pairs", active, self._config.forget_batch):
            forget, retain = self._draw(f"pairs/{bias_type}", sets.pairs[bias_type])
            drawn["forget"].append((bias_type, forget))
            drawn["retain"].append((bias_type, retain))
        return drawn

    def _independent(self, sets: TrainingSets, active: Mapping[str, float]) -> dict[str, list[tuple[str, Passage]]]:
        """The paper: the two roles are drawn on their own. A stream belongs to its sentences, whichever their role."""
        config, drawn = self._config, {}
        sizes = {"forget": config.forget_batch, "retain": config.retain_batch}
        for role, passages in (("forget", sets.forget), ("retain", sets.retain)):
            # Released code: the batch size belongs to the sentences, so a swap exchanges 4 and 28 as well.
            with_sentences = config.batch_follows == "sentences" and set(active) <= sets.exchanged
            drawn[role] = [
                (b, self._draw(f"{OTHER[role] if b in sets.exchanged else role}/{b}", passages[b]))
                for b in self._turns(role, active, sizes[OTHER[role] if with_sentences else role])
            ]
        return drawn

    def _turns(self, role: str, active: Mapping[str, float], size: int) -> list[str]:
        """Which bias type fills each place. The one that is owed most goes first, so that shares hold over steps.

        `places: gap` owes each its push times its pairs: the bias type that lags gets most of the batch, a small one
        is not read over and over, and all sentences carry the largest push as their weight. `even` owes all the
        same, and each sentence carries its own type's push.
        """
        even = self._config.places == "even" or not any(active.values())
        owed = {b: 1.0 if even else push * len(self._sets.pairs[b]) for b, push in active.items()}
        share = {b: value / sum(owed.values()) for b, value in owed.items()}
        turns = []
        for _ in range(size):
            for bias_type in active:
                self.position[f"owed/{role}/{bias_type}"] = self._owed(role, bias_type) + share[bias_type]
            turns.append(max(active, key=lambda b: self._owed(role, b)))
            self.position[f"owed/{role}/{turns[-1]}"] -= 1
        return turns

    def _owed(self, role: str, bias_type: str) -> float:
        return self.position.get(f"owed/{role}/{bias_type}", 0.0)

    def _draw(self, name: str, passages: Sequence[T]) -> T:
        position = int(self.position.get(name, 0))
        self.position[name] = position + 1
        epoch, place = divmod(position, len(passages))
        if (name, epoch) not in self._orders:
            self._orders = {key: order for key, order in self._orders.items() if key[0] != name}
            rng = np.random.default_rng([self._config.seed, epoch, *name.encode()])
            self._orders[name, epoch] = rng.permutation(len(passages))
        return passages[int(self._orders[name, epoch][place])]
