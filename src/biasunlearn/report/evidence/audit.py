"""A summary of a run on one page, in plain words, for readers who do not know the scores."""

from collections.abc import Iterator

from biasunlearn.report.evidence.cyclonedx import NOT_EVIDENCE
from biasunlearn.report.evidence.measurements import Measurement, Subject, measurements
from biasunlearn.report.formatting import in_markdown
from biasunlearn.report.warnings import run_warnings
from biasunlearn.runs.results import Interval, Results

NOT_FOR = (
    NOT_EVIDENCE + " A bias audit of an automated decision tool (such as the impact ratios of New York City's Local "
    "Law 144, or the four-fifths rule) needs the tool's own decisions about people.",
    "Groups, languages and kinds of sentences other than those in the table.",
    "The text that the model writes, unless a benchmark of written answers is in the table.",
    "Answers of a server: `biasunlearn verify` tells whether a server answers as this model does.",
    "The model after further training, which can restore what was unlearned.",
    "Compliance with a law. No law names these scores.",
)

SHARE = "the stereotype was the more likely of two sentences in"
ROWS = 24
"""Rows of the table of other benchmarks, so that the summary stays on one page."""


def audit_summary(subject: Subject, results: Results) -> str:
    """The text of audit.md."""
    return "\n".join(_lines(subject, results)) + "\n"


def _lines(subject: Subject, results: Results) -> Iterator[str]:
    yield f"# Audit summary: {in_markdown(subject.name)}\n"
    yield f"Provider: {in_markdown(subject.organization)}. results.json of the run: SHA-256 `{subject.digest}`."
    if subject.adapter_sha256:
        yield f"Adapter: SHA-256 `{subject.adapter_sha256}`; base model {in_markdown(subject.base)}."
    if verdict := results.shown_verdict:
        yield f"\n**{in_markdown(verdict.headline)}** {in_markdown(verdict.reason)}"
    if results.partial:
        yield f"\n**{in_markdown(results.partial.headline)}.**"
    for line in run_warnings(results):
        yield f"\n**{in_markdown(line)}**"
    yield "\n## What was measured\n"
    yield from _stereoset(results)
    yield from _others(results)
    yield "\n## What this is evidence for\n"
    yield (
        "That this model, on these sentences, has the scores above. The intervals are 95 % intervals: in repeated "
        "samples of target terms, 95 of 100 such intervals contain the score of the whole population of terms."
    )
    yield "\n## What this is not evidence for\n"
    yield from (f"- {line}" for line in NOT_FOR)


def _stereoset(results: Results) -> Iterator[str]:
    after = results.benchmarks.stereoset
    if after is None:
        return
    before = results.before.stereoset if results.before else None
    yield (
        f"For pairs of sentences that differ in an attribute, {SHARE} the given share of the pairs. 50 % is even: "
        "neither sentence is preferred. Above 50 % the model prefers stereotypes, below it the opposite.\n"
    )
    yield "| about | pairs | before | now | 50 % is |\n|---|---|---|---|---|"
    for name, row in {**after.bias_types, "all together": after.overall}.items():
        first = None
        if before is not None:
            first = before.overall if name == "all together" else before.bias_types[name]
        inside = "within the interval" if row.ss.contains(50) else "outside the interval"
        was = _percent(first.ss) if first else "not measured"
        yield f"| {in_markdown(name)} | {row.n} | {was} | {_percent(row.ss)} | {inside} |"
    if after.sha256:
        yield f"\nData: SHA-256 `{in_markdown(after.sha256)}`; {after.skipped} rows left out."


def _others(results: Results) -> Iterator[str]:
    """Every other score over all bias types, and the quality of the language model."""
    found = [one for one in measurements(results.benchmarks.entries) if one.part == "overall" and one.score != "ss"]
    if not found:
        return
    earlier = {
        (one.benchmark, one.score): one
        for one in (measurements(results.before.entries) if results.before else ())
        if one.part == "overall"
    }
    yield "\n| other scores | best value | before | now |\n|---|---|---|---|"
    for one in found[:ROWS]:
        was = earlier.get((one.benchmark, one.score))
        shown = was.in_words() if was else "not measured"
        yield f"| {in_markdown(f'{one.benchmark} {one.score}')} | {_best(one)} | {shown} | {one.in_words()} |"
    if len(found) > ROWS:
        yield f"\n{len(found) - ROWS} further scores are in the other files."


def _best(found: Measurement) -> str:
    if found.ideal is not None:
        return f"{found.ideal:g}"
    return "low" if found.lower_is_better else "none"


def _percent(found: Interval) -> str:
    return f"{found.value:.1f} % ({found.low:.1f} to {found.high:.1f})"
