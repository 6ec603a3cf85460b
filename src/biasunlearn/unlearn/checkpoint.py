"""What outlives a step: the running average, the state of a run, and its checkpoints on disk."""

import contextlib
import json
import math
import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from biasunlearn.errors import RequestError
from biasunlearn.models.adapters import trainable
from biasunlearn.models.distributed import count
from biasunlearn.runs.atomic import append, is_first, whole_file
from biasunlearn.unlearn.decision import Decision
from biasunlearn.unlearn.reference import ReferenceStore
from biasunlearn.unlearn.sampler import Feed

FORMAT = 3
"""Of the checkpoint. A program reads those of its own format only."""


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
    """Rows for metrics.jsonl since the last save."""
    lms_before: float | None
    checked: bool = False
    """Has the stop split been looked at since the first step?"""
    best_step: int = 0
    best_distance: float = math.inf
    log_ratios: list[float] = field(default_factory=list)
    """Mean log ratio of each step since the last check."""
    finite: bool = True


class Keeper:
    """The checkpoint of a run, one file, written whole: a run killed at any moment resumes from the last one.

    Besides the state it holds the best adapter so far, which is what the run ends with. The rows of metrics.jsonl go
    to that file beside it, and the checkpoint says how much of the file was written with it: what a save costs does
    not grow with the run. The checkpoint before the last one stays as well, should the last one be damaged.
    """

    def __init__(
        self,
        path: Path | None,
        identity: str = "",
        *,
        resume: bool = False,
        say: Callable[[str], None] = lambda _line: None,
    ):
        self._path = path
        self._identity = identity
        self._resume = resume
        self._say = say
        # What several processes know of the reference they keep to themselves: each has its own share of the sentences.
        self.references = ReferenceStore(path.with_name("reference.bin") if path is not None and count() == 1 else None)
        self._best: dict[str, Tensor] = {}
        self._lines: list[str] = []
        self._written = 0
        self._damaged = False

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The rows of metrics.jsonl as of the last save; without a folder they are kept in memory."""
        lines = self._lines
        if self._path is not None:
            lines = self._metrics.read_bytes()[: self._written].decode().splitlines()
        return [json.loads(line) for line in lines]

    def best(self, model: torch.nn.Module) -> None:
        """Remembers the trainable weights as they are now as the best ones."""
        self._best = {name: p.detach().clone() for name, p in trainable(model).items()}

    def restore_best(self, model: torch.nn.Module) -> None:
        """Puts the best weights into the model (none yet: leaves it as it is)."""
        _assign(model, self._best)

    def save(self, state: State, model: torch.nn.Module, optimizer: Any, average: Average, feed: Feed) -> None:
        """Writes the rows since the last save, then the checkpoint that counts them. Empties `state.rows`.

        Raises:
            WriteError: the disk is full or the like. The checkpoint before this one is untouched.
        """
        lines, state.rows = [json.dumps(row, allow_nan=True) for row in state.rows], []
        if self._path is None:
            self._lines += lines
            return
        text = "".join(f"{line}\n" for line in lines)
        append(self._metrics, text)
        self._written += len(text)  # bytes: json.dumps writes ASCII
        content = {
            "format": FORMAT,
            "identity": self._identity,
            "state": {**asdict(state), "decision": asdict(state.decision)},
            "metrics": self._written,
            "references": self.references.flush(),
            "weights": {name: p.detach() for name, p in trainable(model).items()},
            "optimizer": optimizer.state_dict(),
            "average": {"steps": average.steps, "weights": average.weights},
            "feed": feed.position,
            "random": _random_states(),
            "best": self._best,
        }
        if is_first():  # never three of them on the disk: the one that would be lost anyway makes room first
            (self._path if self._damaged else self._before).unlink(missing_ok=True)
        # Through a file of ours: where the disk is full, torch's own says only that a position is not what it expected.
        with whole_file(self._path, aside=self._before) as temporary, temporary.open("wb") as handle:
            torch.save(content, handle)
        self._damaged = False

    def restore(self, model: torch.nn.Module, optimizer: Any, average: Average, feed: Feed) -> State | None:
        """The saved state, put into everything it belongs to; None where there is nothing to resume.

        Raises:
            RequestError: the checkpoint is broken, and so is the one before it; or it belongs to other data or
                another configuration; or metrics.jsonl lacks rows that were written before it.
        """
        content = self._read()
        if content is not None and (content.get("format"), content.get("identity")) != (FORMAT, self._identity):
            raise RequestError(
                f"{self._path}: made with another configuration or other data, or by another version; resume with the "
                "same ones, or choose another --out"
            )
        self._written = content["metrics"] if content is not None else 0
        self._cut_metrics()
        self.references.truncate(content.get("references", 0) if content is not None else 0)
        if content is None:
            return None
        _assign(model, content["weights"])
        optimizer.load_state_dict(content["optimizer"])
        average.steps, average.weights = content["average"]["steps"], content["average"]["weights"]
        feed.position = content["feed"]
        _set_random_states(content["random"])
        self._best = content["best"]
        decision = content["state"].pop("decision")
        return State(**content["state"], decision=Decision(**{**decision, "swapped": tuple(decision["swapped"])}))

    @property
    def _before(self) -> Path:
        assert self._path is not None
        return self._path.with_name(f"{self._path.stem}-before{self._path.suffix}")

    @property
    def _metrics(self) -> Path:
        assert self._path is not None
        return self._path.with_name("metrics.jsonl")

    def _read(self) -> dict[str, Any] | None:
        """The last checkpoint that can be read."""
        if self._path is None or not self._resume:
            return None
        broken: list[str] = []
        for path in (self._path, self._before):
            if not path.exists():
                continue
            try:
                content: dict[str, Any] = torch.load(path, weights_only=True)
            except Exception as error:
                broken.append(f"{path}: broken checkpoint ({type(error).__name__})")
                continue
            if broken:
                self._damaged = True
                self._say(f"{broken[0]}; going on from the one before it, step {content['state']['step']}")
            return content
        if broken:
            raise RequestError(f"{broken[0]}, and no other one that can be read; remove it to start anew")
        return None

    def _cut_metrics(self) -> None:
        """Takes away the rows that were written after the checkpoint."""
        if self._path is None or not is_first():
            return
        size = self._metrics.stat().st_size if self._metrics.exists() else 0
        if size < self._written:
            raise RequestError(
                f"{self._metrics}: {size} bytes, but its checkpoint was saved after {self._written}; put the file "
                f"back, or remove {self._path.parent} to start anew"
            )
        if size > self._written:
            os.truncate(self._metrics, self._written)


def _random_states() -> dict[str, Any]:
    """Of the CPU and of the accelerators here: dropout is drawn where the model is."""
    devices = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    return {"cpu": torch.get_rng_state(), "cuda": devices}


def _set_random_states(states: dict[str, Any]) -> None:
    torch.set_rng_state(states["cpu"])
    if len(states["cuda"]) == torch.cuda.device_count() and states["cuda"]:  # else another machine: drawn anew
        torch.cuda.set_rng_state_all(states["cuda"])
