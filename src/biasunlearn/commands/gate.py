"""`gate`: checks a run against a policy of limits, for pipelines: every rule passes, or it fails with a reason.

A policy is YAML: benchmark, then part (overall, bias_types for every one of them, or the name of one), then score, then
limits:

    stereoset:
      overall:
        minimum_n: 500
        ss: {within: [45, 55]}
        ss_distance: {at_most: 6}
        lms: {falls_at_most: 1}
      bias_types:
        minimum_n: 100
        ss: {within: [40, 60], over_debiased: forbidden}
    perplexity:
      overall:
        per_token: {rises_at_most_percent: 3}
    capability:
      overall:
        mmlu acc: {falls_at_most: 0.01}

Limits are checked against intervals, so that chance does not pass and too few items fail: `at_most` applies to the
upper end. `contains` and `over_debiased`, which any wide interval satisfies, need `minimum_n` in the same part, or
`within` for the same score. A limit on judged answers must hold whatever the unscored ones would have been. A number
without an interval is taken as it is. A run whose training collapsed never passes. A run that measured a sample of the
items (--limit) passes only if the policy has the line `partial: allowed`.
"""

import difflib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from biasunlearn.benchmarks import NAMES
from biasunlearn.commands.gate_presets import preset_of
from biasunlearn.commands.run_stages import (
    CAPABILITY,
    Stage,
    check_same_data,
    ideal_of,
    outcomes_by_score,
    over_clusters,
    read_stage,
)
from biasunlearn.data.rows import shown
from biasunlearn.errors import RequestError
from biasunlearn.runs.comparison import GateResult, GateRule
from biasunlearn.runs.results import BenchmarkResult, JudgedResult, ScoredPart, StereoSetResult, estimate_of
from biasunlearn.runs.schema import LARGEST
from biasunlearn.stats.bootstrap import Estimate
from biasunlearn.stats.judging import decision
from biasunlearn.stats.paired import compare_pairs, pair
from biasunlearn.strict_yaml import read_yaml

PARTS = ("overall", "bias_types")
NUMBER = "a number"
RANGE = "two numbers, [LOW, HIGH]"
PARTIAL = "partial"
"""Key of a policy beside the benchmarks: allowed, or forbidden (the default)."""
COUNT = "a whole number, at least 1"
LIMITS = {
    "contains": NUMBER,
    "within": RANGE,
    "at_most": NUMBER,
    "at_least": NUMBER,
    "value_at_most": NUMBER,
    "value_at_least": NUMBER,
    "over_debiased": "the word forbidden",
    "falls_at_most": NUMBER,
    "rises_at_most": NUMBER,
    "falls_at_most_percent": NUMBER,
    "rises_at_most_percent": NUMBER,
}
"""{limit: the kind of its value}"""

MET_BY_WIDE_INTERVALS = ("contains", "over_debiased")
"""Limits that hold for any interval that is wide enough, so that few items pass."""

CHANGES = tuple(name for name in LIMITS if name.startswith(("falls", "rises")))
"""Limits on a change since the base."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One line of a policy: a limit on one score of one part. `score` is empty for minimum_n."""

    benchmark: str
    part: str
    score: str
    limit: str
    bound: Any
    of_preset: bool = False
    """Of a preset: a score that the benchmark does not have fails. In the user's policy it is a typing error."""

    def __str__(self) -> str:
        where = f"{self.benchmark}, {self.part}"
        if self.limit == "over_debiased":
            return f"{where}: {self.score} not over-debiased"
        return f"{where}: {self.score} {self.allowed}".replace("  ", " ")

    @property
    def allowed(self) -> str:
        """The limit without what it is about: within [44, 56]."""
        bound = self.bound if isinstance(self.bound, (str, list)) else f"{self.bound:g}"
        return f"{self.limit.replace('_', ' ')} {bound}"

    def checked(self, passed: bool, found: str, *, missing: bool = False) -> GateRule:
        """The stored result of the rule."""
        row = GateRule(rule=str(self), passed=passed, found=found, benchmark=self.benchmark, allowed=self.allowed)
        if self.score:
            row = row.with_values(score=self.score)
        return row.with_values(missing=True) if missing else row


def gate(
    run: str | Path,
    policy: str | Path | None = None,
    *,
    preset: str | None = None,
    base: str | Path | None = None,
) -> GateResult:
    """Checks a run against a policy, a preset, or both.

    Args:
        run: a run folder.
        policy: a YAML file.
        preset: what a published evaluation suite gates on: compl-ai, evalhub or helm (commands/gate_presets.py).
        base: the run from which falls and rises are measured (default: the stage before of `run`).
    Returns:
        Whether the run passed, and every rule with the number that decided. A run that collapsed fails.
    Raises:
        RequestError: an unknown key or a value of the wrong kind in the policy, an unknown preset or neither of them,
            no finished run, a score that the benchmark does not have, a limit on a change where there is no base.
    """
    if policy is None and preset is None:
        raise RequestError("gate: give --policy FILE or --preset NAME")
    chosen = preset_of(preset) if preset is not None else None
    rules, allowed = ([], False) if policy is None else (read_policy(policy), allows_partial(policy))
    if chosen is not None:
        rules += [Rule(*limit, of_preset=True) for limit in chosen.limits]
    names = ([] if policy is None else [str(policy)]) + ([] if preset is None else [f"preset {preset}"])
    stage = read_stage(str(run))
    first = _base(stage, base) if any(rule.limit in CHANGES for rule in rules) else None
    general = [*_collapsed(stage), *(() if allowed else _partial(stage))]
    rows = [*general, *(row for rule in rules for row in _check(rule, stage, first))]
    return GateResult(
        run=stage.name,
        base=first.name if first else None,
        policy=" and ".join(names),
        passed=all(row.passed for row in rows),
        rules=rows,
        **({"notes": chosen.notes} if chosen is not None else {}),
    )


def read_policy(path: str | Path) -> list[Rule]:
    """The rules of a policy, in its order. RequestError for a file, key or value that is wrong."""
    content = read_yaml(path)
    rules = []
    for benchmark, parts in _keys(content, str(path), "benchmark", (*NAMES, CAPABILITY, PARTIAL)):
        if benchmark == PARTIAL:
            if parts not in ("allowed", "forbidden"):
                raise RequestError(f"{path}: {PARTIAL}: {shown(parts)}; must be allowed or forbidden")
            continue
        for part, scores in _keys(parts, f"{path}: {benchmark}", "part"):
            for score, limits in _keys(scores, f"{path}: {benchmark}, {part}", "score"):
                where = f"{path}: {benchmark}, {part}, {score}"
                if score == "minimum_n":
                    rules.append(Rule(benchmark, part, "", "minimum_n", _bound(limits, COUNT, where)))
                    continue
                for limit, bound in _keys(limits, where, "limit", tuple(LIMITS)):
                    rules.append(Rule(benchmark, part, score, limit, _bound(bound, LIMITS[limit], f"{where}, {limit}")))
    _refuse_wide_intervals(rules, str(path))
    return rules


def allows_partial(path: str | Path) -> bool:
    """Whether a policy accepts a run that measured a sample of the items only."""
    content = read_yaml(path)
    return isinstance(content, dict) and content.get(PARTIAL) == "allowed"


def _refuse_wide_intervals(rules: Sequence[Rule], path: str) -> None:
    """RequestError for a limit that any wide interval satisfies, where nothing demands a narrow one."""
    counted = {(rule.benchmark, rule.part) for rule in rules if rule.limit == "minimum_n"}
    bounded = {(rule.benchmark, rule.part, rule.score) for rule in rules if rule.limit == "within"}
    for rule in rules:
        if rule.limit not in MET_BY_WIDE_INTERVALS or (rule.benchmark, rule.part, rule.score) in bounded:
            continue
        parts = {rule.part} if rule.part in PARTS else {rule.part, "bias_types"}
        if not any((rule.benchmark, part) in counted for part in parts):
            raise RequestError(
                f"{path}: {rule.benchmark}, {rule.part}, {rule.score}: any wide interval satisfies {rule.limit}, so "
                "that few items pass; add minimum_n to this part, or use within: [45, 55] for this score"
            )


def _collapsed(stage: Stage) -> Iterator[GateRule]:
    """A rule of its own that fails, for the result of a run whose training collapsed."""
    if stage.results.collapsed and stage.label != "before":
        yield GateRule(rule="training did not collapse", passed=False, found="training collapsed; see results.json")


def _partial(stage: Stage) -> Iterator[GateRule]:
    """A rule of its own that fails, for a run that measured a sample of the items."""
    if stage.results.partial is not None:
        found = f"{stage.results.partial.headline.partition(': ')[2]}; partial: allowed in the policy accepts this"
        yield GateRule(rule="all items were measured", passed=False, found=found)


def _keys(content: Any, where: str, what: str, known: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    if not isinstance(content, dict) or not content:
        raise RequestError(f"{where}: must hold {what}s, as `{what}: ...` lines")
    for key, value in content.items():
        if known and key not in known:
            raise RequestError(f"{where}: unknown {what} {shown(key)}; {_hint(str(key), known)}")
        yield str(key), value


def _hint(key: str, known: tuple[str, ...]) -> str:
    near = difflib.get_close_matches(key, known, n=1)
    return f"did you mean {near[0]}?" if near else f"known: {', '.join(known)}"


def _bound(value: Any, kind: str, where: str) -> Any:
    def number(one: Any) -> bool:  # a limit of infinity would let everything pass
        return isinstance(one, (int, float)) and not isinstance(one, bool) and abs(one) <= LARGEST

    fits = {
        NUMBER: number(value),
        RANGE: isinstance(value, list) and len(value) == 2 and all(map(number, value)) and value[0] <= value[1],
        "the word forbidden": value == "forbidden",
        COUNT: number(value) and isinstance(value, int) and value >= 1,
    }
    if not fits[kind]:
        raise RequestError(f"{where}: {shown(value)}; must be {kind}")
    return value


def _base(stage: Stage, base: str | Path | None) -> Stage:
    if base is not None:
        return read_stage(str(base))
    if stage.label != "after":
        raise RequestError(
            f"{stage.name}: the policy limits a change, and this run has no stage before; add --base RUN"
        )
    return read_stage(f"{stage.name.removesuffix(':after')}:before")


def _check(rule: Rule, stage: Stage, base: Stage | None) -> Iterator[GateRule]:
    """One row for each part that the rule is about. A score that was not measured does not pass."""
    entry = stage.entries.get(rule.benchmark)
    if entry is None:
        yield rule.checked(False, f"{rule.benchmark} was not measured", missing=True)
        return
    for name, part in _parts(rule, entry, stage):
        one = replace(rule, part=name)
        if rule.limit == "minimum_n":
            yield one.checked(part.n >= rule.bound, f"{part.n} items")
            continue
        found = _estimate(rule, name, part, stage)
        if found is not None and rule.limit in CHANGES and base is not None:
            found = _change(one, found, stage, base)
        if found is None:
            yield one.checked(False, f"{rule.score} was not measured", missing=True)
            continue
        if rule.limit in BOUNDED:
            found = _at_least_independent(rule, name, entry, found)
        passed, beside = _decided(rule, name, entry, found)
        yield one.checked(passed, f"{_shown(found, rule.limit)}{beside}")


def _decided(rule: Rule, part: str, entry: BenchmarkResult, found: Estimate) -> tuple[bool, str]:
    """Whether a limit holds, and what is said beside the number.

    Of judged answers it must hold whatever the unscored ones would have been; else it is undecided and does not pass.
    """
    def holds(estimate: Estimate) -> bool:
        return bool(HOLDS[rule.limit](estimate, rule.bound))

    if not isinstance(entry, JudgedResult) or rule.limit in CHANGES:
        missing = sum(entry.unscored.values()) if isinstance(entry, JudgedResult) else 0
        if missing and rule.score != "scored":
            return False, f"; undecided: {missing} answers are unscored, so that the change is not known"
        return holds(found), ""
    bounds = entry.bounds.get(part, {}).get(rule.score)
    if bounds is None:
        return holds(found), ""
    ends = estimate_of(bounds.lowest), estimate_of(bounds.highest)
    answer = decision(holds, found, *(end or found for end in ends))
    shown = f"; with the unscored answers {_shown(ends[0] or found, '')} to {_shown(ends[1] or found, '')}"
    return answer == "yes", (f"; undecided{shown}" if answer == "undecided" else shown)


def _parts(rule: Rule, entry: BenchmarkResult, stage: Stage) -> list[tuple[str, ScoredPart]]:
    """The parts of a benchmark that a rule is about."""
    types = entry.parts
    if rule.part == "overall":
        return [("overall", entry.whole)]
    if rule.part == "bias_types" and types:
        return list(types.items())
    if rule.part not in types:
        hint = _hint(rule.part, (*PARTS, *types))
        raise RequestError(f"{rule.benchmark} of {stage.name} has no part {rule.part!r}; {hint}")
    return [(rule.part, types[rule.part])]


def _estimate(rule: Rule, name: str, part: ScoredPart, stage: Stage) -> Estimate | None:
    """None where the score could not be measured."""
    if rule.score in part.counts:
        return estimate_of(float(part.counts[rule.score]))
    if rule.score not in part.scores:
        if rule.of_preset:
            return None
        known = tuple(score for score, value in part.scores.items() if value is not None)
        where = f"{rule.benchmark}, {name} of {stage.name}"
        raise RequestError(f"{where}: no score {rule.score!r}; {_hint(rule.score, known)}")
    return estimate_of(part.scores[rule.score])


def _at_least_independent(rule: Rule, name: str, entry: BenchmarkResult, found: Estimate) -> Estimate:
    """The interval of SS, at least as wide as the one with which equivalence was decided.

    A few terms whose scores agree by chance have a bootstrap interval without width.
    """
    if not isinstance(entry, StereoSetResult) or rule.score != "ss":
        return found
    tested = (entry.overall if name == "overall" else entry.bias_types[name]).equivalence
    if tested is None or tested.low is None or tested.high is None:
        return found
    return Estimate(found.value, min(found.low, tested.low), max(found.high, tested.high))


def _change(rule: Rule, now: Estimate, stage: Stage, base: Stage) -> Estimate | None:
    """Run minus base: paired, with its interval, where there are items; else the difference of the two values."""
    if rule.benchmark not in base.entries:
        return None
    check_same_data(rule.benchmark, base, stage)
    before = dict(_parts(rule, base.entries[rule.benchmark], base)).get(rule.part)
    first = None if before is None else _estimate(rule, rule.part, before, base)
    if first is None:
        return None
    change = _paired_change(rule, stage, base) or Estimate(*[now.value - first.value] * 3)
    if not rule.limit.endswith("percent"):
        return change
    if not first.value:
        return None
    return Estimate(*(100 * end / abs(first.value) for end in (change.value, change.low, change.high)))


def _paired_change(rule: Rule, stage: Stage, base: Stage) -> Estimate | None:
    outcomes = [outcomes_by_score(one, rule.benchmark).get(rule.score) for one in (base, stage)]
    pairs = pair(*outcomes) if all(outcomes) else None  # type: ignore[arg-type]
    if pairs is None:
        return None
    chosen = pairs if rule.part == "overall" else pairs.of(rule.part)
    average: Any = "clusters" if over_clusters(rule.benchmark, rule.score) else "units"
    return compare_pairs(chosen, ideal_of(rule.benchmark, rule.score), average).difference


BOUNDED = ("within", "at_most", "at_least")
"""Limits that demand a narrow interval."""

HOLDS: dict[str, Callable[[Estimate, Any], bool]] = {
    "contains": lambda e, bound: e.low <= bound <= e.high,
    "within": lambda e, bound: bound[0] <= e.low and e.high <= bound[1],
    "at_most": lambda e, bound: e.high <= bound,
    "at_least": lambda e, bound: e.low >= bound,
    "value_at_most": lambda e, bound: e.value <= bound,
    "value_at_least": lambda e, bound: e.value >= bound,
    "over_debiased": lambda e, _: e.high >= 50,
    "falls_at_most": lambda e, bound: -e.low <= bound,
    "rises_at_most": lambda e, bound: e.high <= bound,
    "falls_at_most_percent": lambda e, bound: -e.low <= bound,
    "rises_at_most_percent": lambda e, bound: e.high <= bound,
}
"""{limit: whether an estimate (of a score, or of its change since the base) satisfies it}"""


def _shown(estimate: Estimate, limit: str) -> str:
    sign, unit = ("+" if limit in CHANGES else ""), (" %" if limit.endswith("percent") else "")
    ends = [estimate.value, estimate.low, estimate.high]
    places = 2 if max(map(abs, ends)) >= 10 else 3
    value, low, high = (f"{end:{sign}.{places}f}{unit}" for end in ends)
    return value if low == high else f"{value} ({low} to {high})"
