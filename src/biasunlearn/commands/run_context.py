"""What every stored run has: a folder with its lock, resuming, a score cache, callbacks, config.yaml, results.json."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from biasunlearn.data.readers import DataFile
from biasunlearn.runs.folder import IDENTITY, RunFolder, finished, new_run
from biasunlearn.runs.identity import identity
from biasunlearn.runs.lock import releasing_locks
from biasunlearn.runs.places import check_out
from biasunlearn.runs.responses import keep_responses
from biasunlearn.runs.results import Results
from biasunlearn.runs.score_cache import ScoreCache
from biasunlearn.stats.stereoset import Item

Progress = Callable[[str, int, int], None]
"""Called with (what, done, of)."""

Say = Callable[[str], None]
"""Called with a message of one line."""

OnStep = Callable[[dict[str, Any]], None]
"""Called after every optimizer step with its row of metrics.jsonl."""


@dataclass(frozen=True, slots=True)
class Callbacks:
    """The caller's functions that are called while a run goes on, where they are given."""

    progress: Progress | None = None
    say: Say | None = None
    on_step: OnStep | None = None

    def message(self, line: str) -> None:
        """Passes a message on."""
        if self.say:
            self.say(line)

    def counter(self, what: str) -> Callable[[int, int], None]:
        """A function of (done, of) that reports the progress of a part of the run."""
        return lambda done, of: self.progress(what, done, of) if self.progress else None


@dataclass(frozen=True, slots=True)
class RunContext:
    """One run of a command while it goes on; made by `run_context`."""

    request: Mapping[str, Any]
    """What the run was asked for: the content of config.yaml."""
    callbacks: Callbacks
    identity: Mapping[str, Any] = field(default_factory=dict)
    """The request by the content of what it reads (runs/identity.py)."""
    resume: bool = False
    """Continue from what an interrupted or killed run has stored."""
    stored: Results | None = None
    """The results, where the run is resumed and has already finished: there is nothing to do."""
    cache: ScoreCache | None = None
    """Scores as they come; None where the run is not stored."""
    stored_in: RunFolder | None = None

    @property
    def folder(self) -> RunFolder:
        """The folder of a run that is stored."""
        if self.stored_in is None:
            raise ValueError("this run is not stored")
        return self.stored_in

    def begin(self) -> None:
        """Writes config.yaml early: from here on the folder holds a run, and another request is refused."""
        if self.stored_in is not None:
            self.stored_in.write_yaml("config.yaml", {**self.request, IDENTITY: self.identity})

    def finish(self, results: Results, stages: dict[str, list[Item]], report: DataFile | None = None) -> Results:
        """Writes config.yaml, the items, the report, and last results.json, which marks the run as finished.

        A run with the stages before and after gets its verdict first.

        Args:
            stages: {stage: items}; "" where there is one stage only.
            report: StereoSet's data, whose sentences the report shows; None: it is read from the file that the
                results name, if it is still the same.
        Returns:
            The results.
        """
        from biasunlearn.commands.run_verdict import with_verdict

        results = with_verdict(results, stages).with_items(stages)
        if self.stored_in is None:
            return results
        from biasunlearn.data.readers import data_sentences, sentences_of
        from biasunlearn.report.run import RunData, report_page

        folder = self.stored_in
        if results.model is not None and results.model_source is None:
            source = "folder" if Path(results.model).is_dir() else "hub"
            results = results.with_values(model_source=source).with_items(stages)
        self.begin()
        folder.write_stages(stages)
        sentences = sentences_of(*results.stereoset_file) if report is None else data_sentences(report)
        responses = keep_responses(_cache_of(self.request), folder.path, stages)
        data = RunData(str(folder.path), results, stages, folder.read_metrics(), sentences, responses)
        folder.write_text("report.html", report_page(data))
        folder.write_json("results.json", results.to_dict())
        folder.drop_unfinished()
        return results


@contextlib.contextmanager
def run_context(
    out: str | Path | None,
    request: Mapping[str, Any],
    *,
    resume: bool = False,
    callbacks: Callbacks | None = None,
) -> Iterator[RunContext]:
    """Opens the folder of a run and locks it until the end of the block.

    A folder in which nothing was written by then is removed: the request was refused.

    Args:
        out: None: the run is not stored.
        request: only the same request, by the content of what it reads, can resume a run.
        resume: continue a run that was interrupted or killed. One that has finished is found in `stored`.
    Raises:
        RequestError: the folder holds another run, or is locked by another process; there is nothing to resume.
    """
    callbacks = callbacks or Callbacks()
    with releasing_locks():
        if out is None:
            yield RunContext(request, callbacks)
            return
        check_out(out, *_models(request))
        known = identity(request)
        stored = finished(out, known) if resume else None
        if stored is not None:
            yield RunContext(request, callbacks, known, resume, stored)
            return
        folder = new_run(out, resume=resume, identity=known)
        yield RunContext(request, callbacks, known, resume, None, ScoreCache(folder.scored, known), folder)


def _models(request: Mapping[str, Any]) -> Iterator[str | None]:
    """The models and adapters that a request names."""
    for arguments in request.values():
        if isinstance(arguments, Mapping):
            yield from (arguments.get(key) for key in ("model", "adapter", "to"))


def _cache_of(request: Mapping[str, Any]) -> Path | None:
    """The folder of stored texts that a request names."""
    for arguments in request.values():
        options = arguments.get("options") if isinstance(arguments, Mapping) else None
        if isinstance(options, Mapping) and options.get("cache"):
            return Path(str(options["cache"]))
    return None
