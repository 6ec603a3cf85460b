"""The page of one run: its first screen, tables, target terms and pairs, training, and what the run was made with.

Everything is read from results, items and metrics; no model and no torch. What they do not hold is left out.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from biasunlearn.report.answers import CHARACTERS, CHARACTERS_OF_SEVERAL, answer_sections
from biasunlearn.report.charts.marks import before_and_after_key
from biasunlearn.report.checklist import checklist_section
from biasunlearn.report.explained import TERMS, footnotes
from biasunlearn.report.first_screen import key_figures, open_questions, verdict_banner
from biasunlearn.report.forest import forest_sections
from biasunlearn.report.formatting import number, short
from biasunlearn.report.html import Markup, name_of, tag
from biasunlearn.report.html_table import html_notes, html_table, html_warnings
from biasunlearn.report.model_name import model_name
from biasunlearn.report.page import Section, folded, page, section, warning
from biasunlearn.report.probes import probe_sections
from biasunlearn.report.provenance import provenance_section
from biasunlearn.report.relearning import relearning_sections
from biasunlearn.report.remaining_bias import pair_sections, term_sections
from biasunlearn.report.tables.association import association_tables, remaining_line
from biasunlearn.report.tables.run import fair_margin_of, stop_margin_of
from biasunlearn.report.tables.stereoset import stereoset_tables
from biasunlearn.report.training import training_sections
from biasunlearn.report.warnings import run_warnings
from biasunlearn.runs.benchmark_results import JudgedResult, Measured, StereoSetResult
from biasunlearn.runs.comparison import GateResult
from biasunlearn.runs.responses import ResponseRecord
from biasunlearn.runs.results import Results
from biasunlearn.runs.run_files import MetricsRow
from biasunlearn.runs.scores import Interval, hides_polarisation
from biasunlearn.stats.remaining_bias import main_items
from biasunlearn.stats.stereoset import Item

PROBED = (
    "How well linear classifiers predict properties of a sentence from the hidden states, and the angles between the "
    "bias types in them."
)


@dataclass(frozen=True, slots=True)
class RunData:
    """What a page is made of: a run as it is stored."""

    name: str
    """Its folder."""
    results: Results
    stages: Mapping[str, Sequence[Item]] = field(default_factory=dict)
    """Stage -> scored sentences, as in items.parquet."""
    metrics: Sequence[MetricsRow] = ()
    sentences: Mapping[str, str] = field(default_factory=dict)
    """Sentence id -> text, where the data file is still there unchanged."""
    responses: Sequence[ResponseRecord] = ()
    """What the model answered, and how it was judged."""

    @property
    def model(self) -> str:
        return self.results.model or self.results.scores or "stored scores"

    @property
    def name_of_model(self) -> str:
        """The model as a person would call it."""
        return model_name(self.model, self.results.model_source)

    @property
    def after(self) -> Measured:
        """What was measured, of the debiased model where there is one."""
        return self.results.benchmarks

    @property
    def stereoset(self) -> StereoSetResult | None:
        return self.results.benchmarks.stereoset

    @property
    def stereoset_before(self) -> StereoSetResult | None:
        return self.results.before.stereoset if self.results.before else None

    @property
    def last_stage(self) -> Sequence[Item]:
        """Scored sentences of the last stage."""
        return self.stages[list(self.stages)[-1]] if self.stages else ()

    @property
    def first_stage(self) -> Sequence[Item]:
        """Scored sentences before debiasing; none where there is only one stage."""
        return self.stages.get("before", ()) if list(self.stages)[-1:] != ["before"] else ()


def report_page(run: RunData, checked: GateResult | None = None) -> str:
    """The page of one run.

    Args:
        checked: the run against a policy, as `gate` returns it.
    """
    found = run.results.shown_verdict
    state = found.headline if found is not None and not found.succeeded else ""
    policy = [checklist_section(checked)] if checked else []
    pseudo = run.after.perplexity is not None and run.after.perplexity.pseudo
    used = [key for key in TERMS if key != ("perplexity" if pseudo else "pseudo-perplexity")]
    notes = footnotes(used) if run.stereoset or run.after.perplexity else None
    return page(run.name_of_model, header(run), policy, run_sections(run), notes, state=state)


def run_sections(run: RunData, *, single: bool = True) -> list[Section]:
    """Everything about one run, in the order in which it is read.

    Args:
        single: False on a page of several runs, which leaves out the search in all pairs and has fewer answers.
    """
    results = run.results
    after, before = main_items(run.last_stage), main_items(run.first_stage)  # of all items, once
    return [
        *relearning_sections(results),
        *_score_sections(run),
        *_association_sections(run),
        *term_sections(after, before),
        *pair_sections(after, before, run.sentences, explorer=single),
        *probe_sections(results.probes),
        *training_sections(results, run.metrics, stop_margin_of(results)),
        *answer_sections(run.last_stage, run.first_stage, run.responses,
                         characters=CHARACTERS if single else CHARACTERS_OF_SEVERAL),
        *forest_sections(results.benchmarks, results.before, results.capability),
        provenance_section(results, run.name, run.model),
    ]  # fmt: skip


def header(run: RunData) -> Markup:
    """Which model, the verdict, the result in one sentence, the figures that carry it, and what it does not show."""
    return tag(
        "header", partial_paragraph(run.results), tag("p", _eyebrow(run), class_="eyebrow"),
        tag("h1", name_of(run.name_of_model)), verdict_banner(run.results.shown_verdict),
        tag("p", summary(run), class_="lede"), [warning(line) for line in run_warnings(run.results)],
        key_figures(run.results), open_questions(run.results),
    )  # fmt: skip


def partial_paragraph(results: Results) -> Markup | None:
    """The first line of the page of a run that measured a sample of the items."""
    if results.partial is None:
        return None
    word, _, rest = results.partial.headline.partition(":")
    return tag("p", tag("span", tag("strong", word), f":{short(rest, 600)}."), class_="verdict caution")


def _eyebrow(run: RunData) -> str:
    results = run.results
    if results.relearned:
        return "Social bias before and after further training"
    if results.before is not None and len(results.before):
        method = results.method or "biasunlearn"
        return f"Social bias before and after {'unlearning' if method == 'biasunlearn' else short(method, 40)}"
    return "Social bias" if len(run.after) else "Linear probes of the hidden states"


def summary(run: RunData) -> str:
    """The result in words: SS, and in how many bias types it is shown to lie near 50."""
    entry, first = run.stereoset, run.stereoset_before
    found = run.results.shown_verdict
    if found is not None and found.value == "failed":
        return "The figures below are of a run that failed. They are no evidence about the method or the model."
    judged = _judged(run)
    if entry is None:
        if run.results.probes and not len(run.after):
            return PROBED
        return judged.strip() or "Not measured on StereoSet; the other results are below."
    near = f"{_near_50(entry)}{_both_sides(entry)}{judged}"
    now = number(entry.overall.ss.value)
    if first is None:
        return f"The stereotype is more likely in {now}\u00a0% of the pairs (ideal: 50\u00a0%).{near}"
    was = number(first.overall.ss.value)
    earlier = f"before {'further training' if run.results.relearned else 'debiasing'} in {was}\u00a0%"
    return f"The stereotype is more likely in {now}\u00a0% of the pairs, {earlier} (ideal: 50\u00a0%).{near}"


def _near_50(entry: StereoSetResult) -> str:
    """In how many bias types equivalence is shown; nothing for a run of an earlier version, which did not test it."""
    tested = [row.equivalence for row in entry.bias_types.values() if row.equivalence]
    if not tested or len(tested) < len(entry.bias_types):
        return ""
    near = sum(one.within for one in tested)
    margin = f"{tested[0].margin:g} points of 50"
    return f" SS is shown to lie within {margin} in {near} of {len(tested)} bias types."


def _both_sides(entry: StereoSetResult) -> str:
    """The subgroups that are farthest below and above 50, of every bias type whose mean hides them."""
    found: list[str] = []
    for name, row in entry.bias_types.items():
        shares = {group: one.ss.value for group, one in (row.subgroups or {}).items() if one.ss is not None}
        if not hides_polarisation(row) or not shares or not min(shares.values()) < 50 < max(shares.values()):
            continue
        ends = (f"{number(shares[group])}\u00a0% ({short(group, 40)})" for group in
                (min(shares, key=lambda one: shares[one]), max(shares, key=lambda one: shares[one])))  # fmt: skip
        place = f"{'In' if found else 'But in'} {short(name, 40)}"
        found.append(f" {place}, groups lie on both sides of 50, from {' to '.join(ends)}.")
    return "".join(found)


def _judged(run: RunData) -> str:
    """The share of the written answers that the judges found biased; nothing where none were judged."""
    found = []
    for name, entry in run.after.entries.items():
        first = run.results.before.entries.get(name) if run.results.before else None
        now, was = (one.overall.scores.get("biased") if isinstance(one, JudgedResult) else None
                    for one in (entry, first))  # fmt: skip
        if isinstance(now, Interval):
            earlier = f", before {number(was.value)}\u00a0%" if isinstance(was, Interval) else ""
            share = f"{number(now.value)}\u00a0% were judged biased{earlier}"
            found.append(f" Of its answers in {short(name, 40)}, {share}.")
    return "".join(found)


def _score_sections(run: RunData) -> list[Section]:
    """StereoSet by bias type; pairs of whole sentences are folded away below."""
    if run.stereoset is None:
        return []
    main, *others = stereoset_tables(run.stereoset, run.stereoset_before, fair_margin_of(run.results))
    key = tag("ul", before_and_after_key(), class_="key") if run.stereoset_before else None
    parts = [html_table(main), key, html_notes(main), html_warnings(main)]
    for table in others:
        asked = short(run.stereoset.intersentence.formulation if run.stereoset.intersentence else "", 200)
        note = tag("p", f"{asked}. StereoSet defines no official likelihood score for these pairs.", class_="note")
        parts.append(folded("Pairs of whole sentences (intersentence)", note, html_table(table), html_notes(table)))
    return [section("Stereotype score by bias type", parts, note=_score_note(run))]


def _association_sections(run: RunData) -> list[Section]:
    """What SS alone does not tell: the parts of the margin, the wording, target terms and subgroups."""
    if run.stereoset is None:
        return []
    change = run.results.association
    tables = association_tables(run.stereoset, run.stereoset_before, change)
    line = remaining_line(change)
    parts = [[tag("h3", table.title), html_table(table, kind="close"), html_notes(table)] for table in tables]
    return [section("Association, wording and subgroups", parts, note=line or None)] if tables else []


def _score_note(run: RunData) -> str:
    note = "Share of the pairs in which the stereotype is more likely, in percent. Bars are 95 % intervals."
    if run.results.relearned:
        return f"{note} Before: the debiased model. After: the same model after further training."
    if run.stereoset_before:
        splits = run.results.data.splits
        common = f" {splits.common_families}" if splits and splits.common_families else ""
        return f"{note}{common} The shaded band is 50 ± {fair_margin_of(run.results):g} points."
    return note
