"""An experiment: `debias` several times on one model and one report file, every run in a folder of its own.

Called again it goes on: a finished run is read, one that was killed is resumed. What the untrained model scores is
found once and shared by all runs of the process.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Required, TypedDict

from biasunlearn.commands.debias import Say, debias
from biasunlearn.commands.measure import Progress
from biasunlearn.config import DebiasConfig
from biasunlearn.runs.results import Results
from biasunlearn.runs.score_cache import ScoreCache
from biasunlearn.unlearn.prepare import Prepared, prepare


class Common(TypedDict, total=False):
    """What every command of several runs takes besides its own arguments; all of them are those of `debias`."""

    report: Required[str]
    unrelated: str | None
    benchmarks: Mapping[str, str] | None
    skip_invalid: bool
    trust_remote_code: bool
    progress: Progress | None
    say: Say | None
    on_step: Callable[[dict[str, Any]], None] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """What all runs have in common (`Common`)."""

    model: str
    report: str
    unrelated: str | None = None
    benchmarks: Mapping[str, str] | None = None
    skip_invalid: bool = False
    trust_remote_code: bool = False
    progress: Progress | None = None
    say: Say | None = None
    on_step: Callable[[dict[str, Any]], None] | None = None
    untrained: ScoreCache = field(default_factory=ScoreCache)

    def tell(self, line: str) -> None:
        """Says a line, where somebody listens."""
        if self.say:
            self.say(line)

    def prepared(self, train: str, config: DebiasConfig) -> Prepared:
        """The splits and sets of a run. RequestError: as `debias`."""
        return prepare(train, self.report, self.unrelated, config, skip_invalid=self.skip_invalid)

    def run(
        self, what: str, folder: Path, config: DebiasConfig, *, train: str, unrelated: str | None = None
    ) -> Results:
        """One run, announced as `what`: its results.

        Args:
            unrelated: in place of the experiment's own.
        Raises:
            RequestError, WriteError, Interrupted: as `debias`; the folder holds a run of another request.
        """
        self.tell(f"{what}: {folder}")
        return debias(
            self.model, train=train, report=self.report, unrelated=unrelated or self.unrelated, out=folder,
            config=config, benchmarks=self.benchmarks, skip_invalid=self.skip_invalid,
            trust_remote_code=self.trust_remote_code, resume=folder.exists(), progress=self.progress,
            on_step=self.on_step, untrained=self.untrained.restarted(),
        )  # fmt: skip
