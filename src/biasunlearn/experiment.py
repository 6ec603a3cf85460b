"""An experiment: `debias` several times on one model and one report file, every run in a folder of its own.

Called again it goes on: a finished run is read, one that was killed is resumed. What the untrained model scores is
found once and shared by all runs of the process.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .config import DebiasConfig
from .debiasing import Say, debias
from .measuring import Progress
from .remembering import Memory


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """What all runs have in common; the arguments are those of `debias`."""

    model: str
    report: str
    unrelated: str | None = None
    benchmarks: Mapping[str, str] | None = None
    skip_invalid: bool = False
    trust_remote_code: bool = False
    progress: Progress | None = None
    say: Say | None = None
    on_step: Callable[[dict[str, Any]], None] | None = None
    untrained: Memory = field(default_factory=Memory)

    def run(
        self, what: str, folder: Path, config: DebiasConfig, *, train: str, unrelated: str | None = None
    ) -> dict[str, Any]:
        """One run, announced as `what`: the content of its results.json.

        Args:
            unrelated: in place of the experiment's own.
        Raises:
            RequestError, WriteError, Interrupted: as `debias`; the folder holds a run of another request.
        """
        if self.say:
            self.say(f"{what}: {folder}")
        return debias(
            self.model, train=train, report=self.report, unrelated=unrelated or self.unrelated, out=folder,
            config=config, benchmarks=self.benchmarks, skip_invalid=self.skip_invalid,
            trust_remote_code=self.trust_remote_code, resume=folder.exists(), progress=self.progress,
            on_step=self.on_step, untrained=self.untrained.again(),
        )  # fmt: skip
