"""`list`, `show` and `info`: what this installation has, one line each. Only `info` imports torch, for the devices."""

import os
import platform
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from typing import Any

from biasunlearn._version import __version__
from biasunlearn.benchmarks import BENCHMARKS
from biasunlearn.commands.gate_presets import PRESETS
from biasunlearn.config import recipe_names, recipe_path
from biasunlearn.data.term_lists import SHIPPED, load_term_list
from biasunlearn.errors import RequestError
from biasunlearn.method_defaults import SUMMARIES
from biasunlearn.report.score_names import SCORES

PACKAGES = ("torch", "transformers", "peft", "accelerate", "datasets", "huggingface_hub", "numpy", "scipy", "pyarrow")
"""Packages whose versions decide what comes out of a run."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a list."""

    name: str
    summary: str


def entries(what: str) -> list[Entry]:
    """The benchmarks, methods, recipes, term lists, scores or presets of `gate`, each with what it is.

    Raises:
        RequestError: another word.
    """
    if what not in LISTS:
        raise RequestError(f"list {what}: unknown; known: {', '.join(LISTS)}")
    return [Entry(name, summary) for name, summary in LISTS[what]()]


def recipe_text(name: str) -> str:
    """The YAML of a shipped recipe, with its comments. RequestError where there is none of that name."""
    path = recipe_path(name)
    if path is None:
        raise RequestError(f"show recipe {name}: there is no such recipe; known: {', '.join(recipe_names())}")
    return path.read_text(encoding="utf-8")


def _benchmarks() -> Iterator[tuple[str, str]]:
    for name, module in BENCHMARKS.items():
        yield name, (module.__doc__ or "").splitlines()[0].partition(": ")[2]


def _recipes() -> Iterator[tuple[str, str]]:
    for name in recipe_names():
        yield name, recipe_text(name).splitlines()[0].lstrip("# ")


def _terms() -> Iterator[tuple[str, str]]:
    for name in SHIPPED:
        found = load_term_list(name)
        parts = ((len(found.pairs), "pairs"), (len(found.one_way), "one-way"), (len(found.groups), "groups"))
        yield name, ", ".join(f"{count} {words}" for count, words in parts if count)


def _scores() -> Iterator[tuple[str, str]]:
    for name, summary in SCORES.items():
        used = [one for one, module in BENCHMARKS.items() if name in getattr(module, "IDEAL", {})]
        yield name, f"{summary} ({', '.join(used)})" if used else summary


def _presets() -> Iterator[tuple[str, str]]:
    for name, preset in PRESETS.items():
        limits = (f"{benchmark} {score} {limit.replace('_', ' ')} {bound}"
                  for benchmark, _, score, limit, bound in preset.limits)  # fmt: skip
        yield name, "; ".join(limits)


LISTS: Mapping[str, Callable[[], Any]] = {
    "benchmarks": _benchmarks,
    "methods": SUMMARIES.items,
    "recipes": _recipes,
    "terms": _terms,
    "scores": _scores,
    "presets": _presets,
}


@dataclass(frozen=True, slots=True)
class Info:
    """The installation and the machine."""

    version: str
    python: str
    platform: str
    packages: dict[str, str | None]
    """{package: its version; None where it is not installed}"""
    devices: list[str]
    cores: int
    """That this process may use."""
    threads: int
    """That torch uses for one operation."""
    memory: int | None
    """Of the machine, in bytes; None where the system does not say."""
    extras: dict[str, bool]
    """{extra: whether all of its packages are installed}"""

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for --json."""
        return asdict(self)


def info() -> Info:
    """Versions, devices, threads, memory, and which extras are installed."""
    import torch

    from biasunlearn.models.load import devices

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return Info(
        version=__version__,
        python=platform.python_version(),
        platform=platform.platform(),
        packages={name: _version(name) for name in PACKAGES},
        devices=devices(),
        cores=cores,
        threads=torch.get_num_threads(),
        memory=_memory(),
        extras=_extras(),
    )


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _memory() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return None


def _extras() -> dict[str, bool]:
    """{extra: whether it can be used}, of what users install; extras for development are left out."""
    found: dict[str, list[str]] = {}
    for line in requires("biasunlearn") or []:
        requirement, _, condition = line.partition(";")
        extra = condition.partition("extra ==")[2].strip(" \"'")
        if extra in USER_EXTRAS:
            found.setdefault(extra, []).append(_bare(requirement))
    return {extra: all(_version(name) is not None for name in names) for extra, names in sorted(found.items())}


USER_EXTRAS = (
    "erasure", "gguf", "inspect", "judge", "lm-eval", "mlx", "playground", "plot", "probes", "quantised", "serving",
    "sweep", "trl",
)  # fmt: skip


def _bare(requirement: str) -> str:
    """The name of a package without its version and its own extras."""
    for sign in "[<>=!~ ":
        requirement = requirement.partition(sign)[0]
    return requirement.strip()
