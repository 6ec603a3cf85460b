"""Which sentences the next step sees: seeded streams without replacement, one per role and bias type.

A stream's whole state is how far it has been read, so a resumed run continues with the very next sentence.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from .config import DebiasConfig
from .records import Passage
from .sets import TrainingSets, swapped

OTHER = {"forget": "retain", "retain": "forget"}


@dataclass(frozen=True, slots=True)
class StepBatch:
    """The sentences of one optimizer step by role, and each bias type's weight on its role losses."""

    forget: tuple[Passage, ...]
    retain: tuple[Passage, ...]
    unrelated: tuple[Passage, ...]
    forget_weights: tuple[float, ...]
    retain_weights: tuple[float, ...]


class Feed:
    """Endless batches for the current push. `position` is all there is to save and restore."""

    def __init__(self, sets: TrainingSets, config: DebiasConfig):
        self._sets = sets
        self._config = config
        self._orders: dict[tuple[str, int], np.ndarray] = {}
        self.position: dict[str, int] = {}

    def next(self, push: Mapping[str, float]) -> StepBatch:
        """The next sentences. A bias type with a negative push forgets what it retained, and retains what it forgot."""
        config = self._config
        sizes = {"forget": config.forget_batch, "retain": config.retain_batch}
        active = [b for b in self._sets.bias_types if push.get(b, 0.0) != 0.0] or list(self._sets.bias_types)
        turned = frozenset(b for b in active if push[b] < 0)
        sets = swapped(self._sets, turned)
        drawn: dict[str, list[tuple[Passage, float]]] = {"forget": [], "retain": []}
        for role, passages in (("forget", sets.forget), ("retain", sets.retain)):
            other = OTHER[role]
            # Released code: the batch size belongs to the sentences, so a swap exchanges 4 and 28 as well.
            size = sizes[other if config.batch_follows == "sentences" and turned == set(active) else role]
            for bias_type in self._turns(role, active, size):
                stream = f"{other if bias_type in turned else role}/{bias_type}"  # a stream belongs to its sentences
                drawn[role].append((self._draw(stream, passages[bias_type]), abs(push[bias_type])))
        size = config.unrelated_batch if self._sets.unrelated else 0
        unrelated = tuple(self._draw("unrelated", self._sets.unrelated) for _ in range(size))
        forget, retain = drawn["forget"], drawn["retain"]
        return StepBatch(
            tuple(p for p, _ in forget),
            tuple(p for p, _ in retain),
            unrelated,
            tuple(w for _, w in forget),
            tuple(w for _, w in retain),
        )

    def _turns(self, role: str, active: Sequence[str], size: int) -> list[str]:
        """Bias types take turns, so that each gets its share even where the batch is smaller than their number."""
        start = self.position.get(f"turn/{role}", 0)
        self.position[f"turn/{role}"] = start + size
        return [active[(start + place) % len(active)] for place in range(size)]

    def _draw(self, name: str, passages: Sequence[Passage]) -> Passage:
        position = self.position.get(name, 0)
        self.position[name] = position + 1
        epoch, place = divmod(position, len(passages))
        if (name, epoch) not in self._orders:
            self._orders = {key: order for key, order in self._orders.items() if key[0] != name}
            rng = np.random.default_rng([self._config.seed, epoch, *name.encode()])
            self._orders[name, epoch] = rng.permutation(len(passages))
        return passages[int(self._orders[name, epoch][place])]
