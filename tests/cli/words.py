"""A request of each command, and what it comes to without being run."""

import dataclasses
import functools
from typing import Any

from cyclopts import App

from biasunlearn.cli.app import build
from biasunlearn.cli.parse import parse

TRAINS = ("MODEL", "--train", "t.jsonl", "--report", "r.jsonl", "--out", "o")
SMALLEST = {
    "demo": (),
    "measure": ("MODEL", "--out", "o"),
    "probe": ("MODEL", "--data", "d.jsonl", "--out", "o"),
    "debias": TRAINS,
    "survey": TRAINS,
    "ablate": TRAINS,
    "disentangle": TRAINS,
    "sweep": TRAINS,
    "study": ("objective", "CAUSAL", "MASKED", *TRAINS[1:]),
    "transfer": ("RUN", "--to", "MODEL", "--report", "r.jsonl", "--out", "o"),
    "export": ("RUN", "--out", "o"),
    "combine": ("a=1", "b=0.5", "--report", "r.jsonl", "--out", "o"),
    "playground": ("RUN",),
    "verify": ("RUN", "--endpoint", "http://127.0.0.1:8000/v1", "--model", "NAME"),
    "relearn": ("RUN", "--on", "text.txt", "--out", "o"),
    "counterfactual": ("--sentences", "s.txt", "--terms", "gender", "--out", "p.jsonl"),
    "rescore": ("--scores", "items.parquet", "--out", "o"),
    "export-lm-eval": ("--out", "o"),
    "compare": ("a", "b"),
    "label": ("RUN",),
    "report": ("a", "b", "--out", "page.html"),
    "gate": ("RUN", "--policy", "p.yaml"),
    "completion": ("bash",),
    "validate": ("pairs.csv",),
    "list": ("benchmarks",),
    "show": ("recipe", "paper"),
    "info": (),
}
"""The least that each command takes."""


@functools.cache
def _app() -> App:
    return build()


def given(*arguments: str) -> dict[str, Any]:
    """{name: value} of every argument and option of a request. RequestError where it is wrong."""
    _, bound = parse(_app(), arguments)
    bound.apply_defaults()
    values: dict[str, Any] = {}
    for name, value in bound.arguments.items():
        values |= dataclasses.asdict(value) if dataclasses.is_dataclass(value) else {name: value}  # type: ignore
    return values
