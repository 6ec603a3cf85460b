"""What outlives a step: the running average, the state of a run, and its checkpoints on disk."""

import contextlib
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .errors import RequestError
from .feed import Feed
from .models import trainable
from .rundir import whole_file
from .swap import Decision


class Average:
    """A running average of the trainable weights; `applied` puts it into the model for a while."""

    def __init__(self, model: torch.nn.Module, decay: float):
        self.decay = decay
        self.steps = 0
        self.weights = {name: p.detach().clone() for name, p in trainable(model).items()}

    def update(self, model: torch.nn.Module) -> None:
        """Decay grows from 0 so that the average is not held back by where it began."""
        self.steps += 1
        decay = min(self.decay, self.steps / (self.steps + 10))
        for name, parameter in model.named_parameters():
            if name in self.weights:
                self.weights[name].lerp_(parameter.detach().to(self.weights[name].dtype), 1 - decay)

    @contextlib.contextmanager
    def applied(self, model: torch.nn.Module) -> Iterator[None]:
        own = {name: p.detach().clone() for name, p in model.named_parameters() if name in self.weights}
        _assign(model, self.weights)
        try:
            yield
        finally:
            _assign(model, own)


def _assign(model: torch.nn.Module, weights: dict[str, Tensor]) -> None:
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name in weights:
                parameter.copy_(weights[name])


@dataclass(slots=True)
class State:
    """Everything that a resumed run needs besides the weights: plain values, all of them stored."""

    step: int
    decision: Decision
    rows: list[dict[str, Any]]
    """metrics.jsonl so far."""
    lms_before: float | None
    best_step: int = 0
    best_distance: float = math.inf
    log_ratios: list[float] = field(default_factory=list)
    """Mean log ratio of each step since the last check."""
    finite: bool = True


class Keeper:
    """The checkpoint of a run, one file, written whole: a run killed at any moment resumes from the last one.

    Besides the state it holds the best adapter so far, which is what the run ends with.
    """

    def __init__(self, path: Path | None, identity: str = "", *, resume: bool = False):
        self._path = path
        self._identity = identity
        self._resume = resume
        self._best: dict[str, Tensor] = {}
        self.rows: list[dict[str, Any]] = []
        """metrics.jsonl as of the last save."""

    def best(self, model: torch.nn.Module) -> None:
        """Remembers the trainable weights as they are now as the best ones."""
        self._best = {name: p.detach().clone() for name, p in trainable(model).items()}

    def restore_best(self, model: torch.nn.Module) -> None:
        """Puts the best weights into the model (none yet: leaves it as it is)."""
        _assign(model, self._best)

    def save(self, state: State, model: torch.nn.Module, optimizer: Any, average: Average, feed: Feed) -> None:
        self.rows = list(state.rows)
        if self._path is None:
            return
        content = {
            "identity": self._identity,
            "state": {**asdict(state), "decision": asdict(state.decision)},
            "weights": {name: p.detach() for name, p in trainable(model).items()},
            "optimizer": optimizer.state_dict(),
            "average": {"steps": average.steps, "weights": average.weights},
            "feed": feed.position,
            "random": torch.get_rng_state(),
            "best": self._best,
        }
        with whole_file(self._path) as temporary:
            torch.save(content, temporary)

    def restore(self, model: torch.nn.Module, optimizer: Any, average: Average, feed: Feed) -> State | None:
        """The saved state, put into everything it belongs to; None where there is nothing to resume.

        Raises:
            RequestError: the checkpoint is broken, or belongs to other data or another configuration.
        """
        if self._path is None or not self._resume or not self._path.exists():
            return None
        try:
            content = torch.load(self._path, weights_only=True)
        except Exception as error:
            kind = type(error).__name__
            raise RequestError(f"{self._path}: broken checkpoint ({kind}); remove it to start anew") from None
        if content["identity"] != self._identity:
            raise RequestError(
                f"{self._path}: made with another configuration or other data; resume with the same ones, "
                "or choose another --out"
            )
        _assign(model, content["weights"])
        optimizer.load_state_dict(content["optimizer"])
        average.steps, average.weights = content["average"]["steps"], content["average"]["weights"]
        feed.position = content["feed"]
        torch.set_rng_state(content["random"])
        self._best = content["best"]
        self.rows = list(content["state"]["rows"])
        decision = content["state"].pop("decision")
        return State(**content["state"], decision=Decision(**{**decision, "swapped": tuple(decision["swapped"])}))
