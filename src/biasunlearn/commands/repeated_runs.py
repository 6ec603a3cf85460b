"""An experiment: `debias` several times on one model and one report file, every run in a folder of its own.

Called again, an experiment continues: finished runs are read, and one that was killed is resumed. The base model is
scored once, for all runs of the process.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Required, TypedDict

from biasunlearn.commands.debias import DebiasJob, run_debias
from biasunlearn.commands.evaluation import with_data, with_limit
from biasunlearn.commands.run_context import Callbacks, OnStep, Progress, Say
from biasunlearn.config import DebiasConfig
from biasunlearn.data.unrelated import Unrelated, unrelated_given
from biasunlearn.models.spec import ModelSpec
from biasunlearn.runs.results import Results
from biasunlearn.runs.score_cache import ScoreCache
from biasunlearn.scoring.protocol import EvalOptions, EvalPlan
from biasunlearn.unlearn.prepare import Prepared, prepare


class Common(TypedDict, total=False):
    """What every command of several runs takes besides its own arguments, with the meaning that `debias` gives it."""

    report: Required[str]
    unrelated: str | Sequence[Path] | None
    benchmarks: Mapping[str, str] | None
    skip_invalid: bool
    device: str | None
    revision: str | None
    trust_remote_code: bool
    limit: int | None
    progress: Progress | None
    say: Say | None
    on_step: OnStep | None
    options: EvalOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """What all runs of an experiment have in common."""

    model: ModelSpec
    plan: EvalPlan
    unrelated: Unrelated | None
    callbacks: Callbacks
    base_scores: ScoreCache = field(default_factory=ScoreCache)

    def prepared(self, train: str, config: DebiasConfig) -> Prepared:
        """The splits and sets of a run. RequestError: as `debias`."""
        plan = self.plan
        return prepare(
            train, plan.whole("stereoset"), self.unrelated, config,
            skip_invalid=plan.skip_invalid, term_lists=plan.options.term_lists,
        )  # fmt: skip

    def run(
        self, what: str, folder: Path, config: DebiasConfig, *, train: str, unrelated: str | None = None
    ) -> Results:
        """One run, announced as `what`: its results.

        Args:
            unrelated: in place of the experiment's own.
        Raises:
            RequestError, WriteError, Interrupted: as `debias`; the folder holds a run of another request.
        """
        self.callbacks.message(f"{what}: {folder}")
        job = DebiasJob(
            model=self.model, train=train, unrelated=unrelated or self.unrelated, plan=self.plan, config=config
        )
        callbacks, base_scores = replace(self.callbacks, say=None), self.base_scores.restarted()
        return run_debias(job, folder, resume=folder.exists(), callbacks=callbacks, base_scores=base_scores)


def experiment_of(model: str, common: Common) -> Experiment:
    """The experiment that a command of several runs was asked for."""
    spec = ModelSpec(
        model, device=common.get("device"), revision=common.get("revision"),
        trust_remote_code=common.get("trust_remote_code", False),
    )  # fmt: skip
    benchmarks = {"stereoset": common["report"], **(common.get("benchmarks") or {})}
    options = with_limit(common.get("options"), common.get("limit"))
    plan = with_data(EvalPlan(benchmarks, common.get("skip_invalid", False), options))
    callbacks = Callbacks(common.get("progress"), common.get("say"), common.get("on_step"))
    unrelated = unrelated_given(common.get("unrelated"), "unrelated")
    return Experiment(model=spec, plan=plan, unrelated=unrelated, callbacks=callbacks)
