"""The state of a training run between two steps, and its checkpoints on disk."""

import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from biasunlearn.errors import RequestError
from biasunlearn.models.adapters import trainable
from biasunlearn.models.distributed import count
from biasunlearn.runs.atomic import append, whole_file
from biasunlearn.runs.first_process import is_first
from biasunlearn.unlearn.decision import Decision
from biasunlearn.unlearn.reference import ReferenceStore
from biasunlearn.unlearn.sampler import BatchSampler
from biasunlearn.unlearn.weight_average import WeightAverage, assign_weights, copy_weights

FORMAT = 4
"""Version of the checkpoint file. Checkpoints of other versions cannot be resumed."""


@dataclass(slots=True)
class TrainingState:
    """Everything that a resumed run needs besides weights and positions: plain values, all of them stored."""

    step: int
    decision: Decision
    rows: list[dict[str, Any]]
    """Rows for metrics.jsonl since the last save."""
    lms_before: float | None
    """LMS of the base model on the stop split."""
    meaningful_before: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    """What that LMS is the mean of (`StopScores.meaningful`)."""
    evaluated: bool = False
    """Whether there was an evaluation since the first step."""
    best_step: int = 0
    best_distance: float = math.inf
    log_ratios: list[float] = field(default_factory=list)
    """Mean log ratio of each step since the last evaluation."""
    finite: bool = True
    """Whether all losses since the last evaluation were finite."""
    dual: float | None = None
    """The dual variable of a method with a constraint (pdu); None before the first step and for all others."""
    answers: Sequence[tuple[float, float | None]] = ()
    """The last known answer to each item of the stop split (`SequentialEvaluator`); empty: those of the base model."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for a checkpoint."""
        return {**asdict(self), "decision": asdict(self.decision)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "TrainingState":
        """The state that `to_dict` was called on."""
        stored = values["decision"]
        decision = Decision(**{**stored, **{name: tuple(stored[name]) for name in ("swapped", "held")}})
        return cls(**{**values, "decision": decision})


class Checkpointer:
    """Writes the checkpoint of a run, one file, and restores it: a run killed at any moment resumes from the last one.

    Besides the state it contains the best weights so far, with which the run ends. The rows of metrics.jsonl are
    written to that file, and the checkpoint notes its length, so that the cost of a save does not grow with the run.
    The previous checkpoint is left beside the last one, in case that is damaged.
    """

    def __init__(
        self,
        path: Path | None,
        identity: str = "",
        *,
        resume: bool = False,
        say: Callable[[str], None] = lambda _line: None,
    ):
        """Without a path nothing is written. `identity`: hash of recipe, data and model; others are not resumed."""
        self._path = path
        self._identity = identity
        self._resume = resume
        self._say = say
        # Several processes store reference values in memory: each of them has its own share of the sentences.
        self.references = ReferenceStore(path.with_name("reference.bin") if path is not None and count() == 1 else None)
        self._best: dict[str, Tensor] = {}
        self._lines: list[str] = []
        self._written = 0
        self._damaged = False

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The rows of metrics.jsonl as of the last save; without a path they are in memory."""
        lines = self._lines
        if self._path is not None:
            lines = self._metrics.read_bytes()[: self._written].decode().splitlines()
        return [json.loads(line) for line in lines]

    def mark_best(self, model: torch.nn.Module) -> None:
        """Copies the present trainable weights as the best ones."""
        self._best = copy_weights(model)

    def restore_best(self, model: torch.nn.Module) -> None:
        """Puts the best weights into the model; if there are none yet, the model is unchanged."""
        assign_weights(model, self._best)

    def save(
        self,
        state: TrainingState,
        model: torch.nn.Module,
        optimizer: Any,
        average: WeightAverage,
        sampler: BatchSampler,
    ) -> None:
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
            "state": state.to_dict(),
            "metrics": self._written,
            "references": self.references.flush(),
            "weights": {name: p.detach() for name, p in trainable(model).items()},
            "optimizer": optimizer.state_dict(),
            "average": {"steps": average.steps, "weights": average.weights},
            "sampler": sampler.position,
            "random": _random_states(),
            "best": self._best,
        }
        if is_first():  # never three of them on the disk: the one that is replaced anyway is removed first
            (self._path if self._damaged else self._before).unlink(missing_ok=True)
        # Through an open file: if the disk is full, torch's own error names no cause.
        with whole_file(self._path, aside=self._before) as temporary, temporary.open("wb") as handle:
            torch.save(content, handle)
        self._damaged = False

    def restore(
        self, model: torch.nn.Module, optimizer: Any, average: WeightAverage, sampler: BatchSampler
    ) -> TrainingState | None:
        """Restores weights, optimizer, average and sampler, and returns the state; None if there is nothing to resume.

        Raises:
            RequestError: the checkpoint and the previous one are broken; it belongs to other data or another
                configuration; or metrics.jsonl lacks rows that were written before it.
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
        assign_weights(model, content["weights"])
        optimizer.load_state_dict(content["optimizer"])
        average.steps, average.weights = content["average"]["steps"], content["average"]["weights"]
        sampler.position = content["sampler"]
        _set_random_states(content["random"])
        self._best = content["best"]
        return TrainingState.from_dict(content["state"])

    @property
    def _before(self) -> Path:
        assert self._path is not None
        return self._path.with_name(f"{self._path.stem}-before{self._path.suffix}")

    @property
    def _metrics(self) -> Path:
        assert self._path is not None
        return self._path.with_name("metrics.jsonl")

    def _read(self) -> dict[str, Any] | None:
        """The last checkpoint that can be read; None without one."""
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
                self._say(f"{broken[0]}; resuming from the previous one, step {content['state']['step']}")
            return content
        if broken:
            raise RequestError(f"{broken[0]}, and there is no other one; remove it to start again")
        return None

    def _cut_metrics(self) -> None:
        """Removes the rows that were written after the checkpoint."""
        if self._path is None or not is_first():
            return
        size = self._metrics.stat().st_size if self._metrics.exists() else 0
        if size < self._written:
            raise RequestError(
                f"{self._metrics}: {size} bytes, but its checkpoint was saved after {self._written}; restore the "
                f"file, or remove {self._path.parent} to start again"
            )
        if size > self._written:
            os.truncate(self._metrics, self._written)


def _random_states() -> dict[str, Any]:
    """Of the CPU and of the accelerators, since dropout is drawn on the device of the model."""
    devices = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    return {"cpu": torch.get_rng_state(), "cuda": devices}


def _set_random_states(states: dict[str, Any]) -> None:
    torch.set_rng_state(states["cpu"])
    if len(states["cuda"]) == torch.cuda.device_count() and states["cuda"]:  # otherwise another machine
        torch.cuda.set_rng_state_all(states["cuda"])
