"""Progress on stderr: live bars on a terminal, otherwise a line of text every few seconds."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

from biasunlearn.report.formatting import clean

Callbacks = tuple[Callable[[str, int, int], None], Callable[[dict[str, Any]], None]]
LOSSES = ("forget", "retain", "kl")
EVERY = 10.0
"""Seconds between two lines about the same task."""


@contextlib.contextmanager
def bars() -> Iterator[Callbacks]:
    """A bar for each benchmark and one for training, with time left, losses, and SS at the last evaluation."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}", markup=False), BarColumn(bar_width=24), MofNCompleteColumn(),
        TimeRemainingColumn(), TextColumn("{task.fields[note]}", style="dim", markup=False),
    )  # fmt: skip
    with Progress(*columns, console=Console(stderr=True)) as shown:
        tasks: dict[str, Any] = {}
        last_check: dict[str, Any] = {}

        def count(what: str, done: int, of: int) -> None:
            if what not in tasks:
                tasks[what] = shown.add_task(clean(what), total=of, note="")
            shown.update(tasks[what], completed=done, total=of)

        def step(row: dict[str, Any]) -> None:
            count("training", row["step"], row["of"])
            last_check.update(row.get("ss", {}))
            shown.update(tasks["training"], note=step_note(row, last_check))
            if "ss" in row:
                shown.console.print(check_line(row), highlight=False, markup=False)

        yield count, step


@contextlib.contextmanager
def lines(every: float = EVERY) -> Iterator[Callbacks]:
    """Lines of text, at most one in `every` seconds for each task, and one for every evaluation."""
    last: dict[str, float] = {}

    def count(what: str, done: int, of: int) -> None:
        now = time.monotonic()
        if done == of or now - last.get(what, now - every) >= every:
            last[what] = now
            print(clean(f"{what}: {done}/{of}"), file=sys.stderr, flush=True)

    def step(row: dict[str, Any]) -> None:
        if "ss" in row:
            print(check_line(row), file=sys.stderr, flush=True)
        else:
            count("training: step", row["step"], row["of"])

    yield count, step


def step_note(row: dict[str, Any], last_check: dict[str, Any]) -> str:
    """The text beside the bar: the unweighted losses of the step, and SS by bias type at the last evaluation."""
    losses = [f"{name} {row[f'loss_{name}']:.3g}" for name in LOSSES if f"loss_{name}" in row]
    scores = [f"{bias_type} {value:.0f}" for bias_type, value in last_check.items()]
    return clean("  ".join([*losses, *(["SS"] if scores else []), *scores]))


def check_line(row: dict[str, Any]) -> str:
    """An evaluation on the stop split: SS by bias type, LMS, and the unweighted losses of the step."""
    ss = "  ".join(f"{bias_type} {value:.1f}" for bias_type, value in row["ss"].items())
    lms = "" if row["lms"] is None else f"  LMS {row['lms']:.1f}"
    shown = [name for name in LOSSES if f"loss_{name}" in row]
    losses = "".join(f"  {name} {row[f'loss_{name}']:.3f}" for name in shown)
    return clean(f"step {row['step']}: SS on the stop split  {ss}{lms}{losses}")
