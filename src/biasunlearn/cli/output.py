"""What the command line prints. Every line goes through `emit`, which decides whether this process prints."""

import contextlib
import os
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from biasunlearn.cli.options import Execution, Output
from biasunlearn.cli.threads import busy
from biasunlearn.errors import RequestError
from biasunlearn.report.formatting import clean
from biasunlearn.runs.first_process import is_first

if TYPE_CHECKING:
    from biasunlearn.report.table import Part
    from biasunlearn.runs.results import Results, Stopped

SHOWN_ROWS = 20
"""Skipped rows that are listed on the terminal; results.json lists all of them."""
_STEERING = re.compile("[\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\u061c]")
"""Characters that steer a terminal and that JSON leaves as they are."""

PATIENCE = 10.0
"""Seconds after which a launcher has ended the other processes of a run, once one of them has ended."""

WIDTH = 170
"""Characters of a table's line where the output is not a terminal."""


def emit(content: Any, *, stderr: bool = False, printing: bool | None = None) -> None:
    """Print a line, or a table of rich. Of several processes under a launcher only the first one prints.

    Args:
        printing: whether this process prints. Default: it is the first one.
    """
    if not (is_first() if printing is None else printing):
        return
    stream = sys.stderr if stderr else sys.stdout
    if isinstance(content, str):
        print(readable(content), file=stream)
        return
    from rich.console import Console

    Console(file=stream, width=None if stream.isatty() else WIDTH).print(content)


def readable(text: str) -> str:
    """A text whose control characters, which could steer the terminal, are replaced; lines and tabs stay."""
    return "\n".join("\t".join(clean(part) for part in line.split("\t")) for line in text.split("\n"))


def print_warning(message: Any, *_: Any) -> str:
    """Python's warnings as notes: `warnings.formatwarning` of the command line."""
    return f"note: {clean(message)}\n"


def note(line: str) -> None:
    """A message about the run, on stderr."""
    emit(f"note: {line}", stderr=True)


def wrong_request(message: str) -> None:
    """A wrong request, as one line on stderr, from the first process of each machine.

    A launcher ends all processes as soon as one has ended, so the others wait: else they could end the first one before
    it has printed. If they still run after `PATIENCE` seconds, the request was not wrong there, and they print it.
    """
    if os.environ.get("LOCAL_RANK", os.environ.get("RANK", "0")) == "0":
        emit(f"biasunlearn: {' '.join(message.split())}", stderr=True, printing=True)
        return
    with contextlib.suppress(KeyboardInterrupt):
        time.sleep(PATIENCE)
    failure(message)


def failure(message: str) -> None:
    """What went wrong, as one line on stderr. Every process prints its own: it may be the only one that failed."""
    process = "" if is_first() else f"process {os.environ['RANK']}: "
    emit(f"biasunlearn: {process}{' '.join(message.split())}", stderr=True, printing=True)


def show(result: Any, output: Output, tables: Callable[[Any], "str | Sequence[Part]"], *, where: str = "") -> None:
    """Print a result: as JSON if that is asked for, or as tables and the line that says where it is stored.

    Args:
        result: a dict of JSON values, or an object with `to_dict`.
        tables: the result as lines of text, or as tables.
    """
    if output.json:
        import json

        content = result if isinstance(result, dict) else result.to_dict()
        written = json.dumps(content, indent=2, ensure_ascii=False)
        emit(_STEERING.sub(lambda found: f"\\u{ord(found[0]):04x}", written))  # the same JSON
        return
    if is_first():  # tables are computed for whoever prints them
        from biasunlearn.report.terminal.table import printed

        shown = tables(result)
        emit(shown if isinstance(shown, str) else printed(shown))
    if where:
        emit(where)


def show_results(
    results: "Results", output: Output, out: str | None, tables: Callable[["Results"], "Sequence[Part]"] | None = None
) -> None:
    """Print the content of results.json: as JSON, or as tables, how training ended, and the rows that were skipped."""
    from biasunlearn.report.tables.run import run_tables

    show(results, output, tables or run_tables)
    if output.json:
        return
    if results.stopped:
        emit(_how_it_stopped(results.stopped))
    skipped = [row for entry in results.benchmarks.entries.values() for row in entry.skipped_rows]
    for row in skipped[:SHOWN_ROWS]:
        emit(f"skipped {row}")
    if len(skipped) > SHOWN_ROWS:
        emit(f"... and {len(skipped) - SHOWN_ROWS} more, all in results.json")
    if out:
        emit(f"stored in {out} (report.html, results.json, items.parquet)")


def _how_it_stopped(stopped: "Stopped") -> str:
    kept = "" if stopped.best_step == stopped.step else f"; the adapter is that of step {stopped.best_step}"
    return f"stopped at step {stopped.step}: {stopped.reason}{kept}"


@contextlib.contextmanager
def running(
    execution: Execution, out: str | None
) -> Iterator[tuple[Callable[..., None], Callable[..., None]]]:
    """A run that replaces another one in `out`, if that is asked for. Gives callbacks that show its progress."""
    from biasunlearn.runs.replacement import replacing

    with replacing(out, overwrite=execution.overwrite, resume=execution.resume):
        message = "" if execution.quiet else busy()
        with progress(quiet=execution.quiet, verbose=execution.verbose) as callbacks:
            yield _after(message, callbacks)


def _after(message: str, callbacks: tuple[Callable[..., None], Callable[..., None]]) -> Any:
    """Callbacks that print a message once, when the work begins: a request that is wrong has one line of its own."""
    left = [message] if message else []

    def first(callback: Callable[..., None]) -> Callable[..., None]:
        def call(*values: Any, **named: Any) -> None:
            if left:
                emit(left.pop(), stderr=True)
            callback(*values, **named)

        return call

    return tuple(first(callback) for callback in callbacks) if message else callbacks


@contextlib.contextmanager
def progress(
    *, quiet: bool = False, verbose: bool = False
) -> Iterator[tuple[Callable[..., None], Callable[..., None]]]:
    """Callbacks that show progress on stderr: bars on a terminal, a line now and then elsewhere.

    Args:
        quiet: show nothing.
        verbose: show a line for every step, on a terminal too.
    """
    if quiet and verbose:
        raise RequestError("--quiet: cannot be combined with --verbose; leave one of them out")
    if quiet or not is_first():
        yield (lambda *_: None), (lambda *_: None)
        return
    from biasunlearn.report.terminal.progress import bars, lines

    with lines(every=0.0) if verbose else bars() if sys.stderr.isatty() else lines() as callbacks:
        yield callbacks
