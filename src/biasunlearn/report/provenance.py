"""What a result was made with, as the last part of its page: files with hashes, versions, recipe, limitations."""

import json
import re
from collections.abc import Iterator
from typing import Any

from biasunlearn.report.benchmark_cards import cards
from biasunlearn.report.formatting import number, short
from biasunlearn.report.html import Markup, name_of, tag
from biasunlearn.report.page import Section, facts, folded, section
from biasunlearn.runs.benchmark_results import Measured
from biasunlearn.runs.results import Results
from biasunlearn.runs.sections import Cost, Environment, Recipe

HEADING = "How this was made"
RECIPE = 20_000
"""Characters of a recipe that are shown."""


def provenance_section(results: Results, name: str, model: str) -> Section:
    """The section of one run."""
    rows = {"model": name_of(model, 200), "run": name_of(name, 200)}
    rows |= {"adapter": name_of(results.adapter, 200)} if results.adapter else {}
    rows |= dict(_files(results))
    rows |= dict(_settings(results))
    findings = [tag("li", short(line, 600)) for line in results.data.findings]
    checked = [tag("h3", "Findings in the data before training"), tag("ul", findings, class_="findings")]
    return section(HEADING, command_of(results.environment), facts(rows), checked if findings else None,
                   _recipe_fold(results.config), _known_limitations(results.benchmarks))  # fmt: skip


def command_of(environment: Environment) -> Markup | None:
    """The command line."""
    return tag("pre", unbroken(short(environment.command, 4000))) if environment.command else None


def unbroken(command: str) -> list[Markup | str]:
    """A command whose options are not broken at their hyphens where a line is full."""
    parts = re.split(r"(?<!\S)(--?[a-z][\w-]*)", command)
    return [tag("span", part, class_="unbroken") if place % 2 else part for place, part in enumerate(parts)]


def recipe_fold(heading: str, recipe: object) -> Markup:
    """Settings as JSON, folded away."""
    text = json.dumps(recipe, indent=1, ensure_ascii=False)
    return folded(heading, tag("pre", short(text, RECIPE), class_="recipe"))


def hash_mark(digest: object) -> Markup:
    """The beginning of a SHA-256."""
    return tag("span", f"sha256 {short(str(digest)[:16], 16)}", class_="hash", title=str(digest)[:64])


def _files(results: Results) -> Iterator[tuple[str, Any]]:
    """Every data file and every split."""
    for name, file in results.data.files.items():
        yield f"{name} data", _file(file.path, file.sha256)
    for name, part in (results.data.splits.parts if results.data.splits else {}).items():
        if part.sha256:
            sizes = ", ".join(f"{short(one, 40)} {count}" for one, count in part.bias_types.items())
            listed = f" ({sizes})" if sizes else ""
            yield f"{short(name, 40)} split", [f"{part.pairs} pairs{listed} ", hash_mark(part.sha256)]
    if results.data.splits and (common := results.data.splits.common_families):
        yield "term families", common
    if results.probes and results.probes.data.data:
        yield "probed pairs", _file(results.probes.data.data, results.probes.data.sha256)
    for name, entry in results.benchmarks.entries.items():
        if entry.data:
            yield f"benchmark {short(name, 40)}", _file(entry.data, entry.sha256)


def _settings(results: Results) -> Iterator[tuple[str, Any]]:
    environment = results.environment
    if results.config and results.config.seed is not None:
        yield "seed", results.config.seed
    if results.cost:
        yield "training", _cost(results.cost)
    yield "versions", short(", ".join(f"{name} {one}" for name, one in environment.versions.items() if one), 1000)
    yield "machine", short(f"Python {environment.python}, {environment.platform}", 300)


def _cost(cost: Cost) -> str:
    """How long training took, and its peak memory. By hand: 838 million bytes are 799 MiB."""
    memory = number(cost.memory / 2**20, 0)
    processor = f"{number(cost.processor_seconds, 0)} s of processor time"
    spent = f"{number(cost.seconds, 0)} s ({processor}), at most {memory} MiB"
    return f"{spent}, since the run was resumed" if cost.resumed else spent


def _recipe_fold(recipe: Recipe | None) -> Markup | None:
    return None if recipe is None else recipe_fold("Recipe: every setting of this run", recipe.to_dict())


def _known_limitations(measured: Measured) -> list[Markup]:
    """The card of every benchmark of the run."""
    known = {name: cards()[name] for name in measured.entries if name in cards()}
    if not known:
        return []
    folds = [
        folded(f"{name}: question, what is not measured, known limitations",
               facts({key: _with_code(text) for key, text in card.items()}))
        for name, card in known.items()
    ]  # fmt: skip
    return [tag("h3", "Known limitations of the benchmarks used"), *folds]


def _with_code(text: str) -> list[Markup | str]:
    """Names between backticks, as the documentation has them, as code."""
    return [tag("code", part) if place % 2 else part for place, part in enumerate(text.split("`"))]


def _file(path: object, digest: object) -> list[Any]:
    return [name_of(path, 300), " ", hash_mark(digest) if digest else None]
