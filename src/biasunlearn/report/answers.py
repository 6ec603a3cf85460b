"""What the model wrote, as a part of a run's page: answers before and after side by side, with their verdicts.

Everything here comes from models, judges and data files, and is escaped. The list is folded away because it may hurt.
web/answers.js searches and filters it (benchmark, verdict, bias type, changed) and writes what is shown as CSV.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

from biasunlearn.report.formatting import number, short
from biasunlearn.report.html import Markup, name_of, tag
from biasunlearn.report.page import Section, folded, section
from biasunlearn.report.remaining_bias import NOT_PRINTED
from biasunlearn.report.word_diff import marked
from biasunlearn.runs.responses import ResponseRecord, Verdict
from biasunlearn.stats.stereoset import Item

CHARACTERS = 600_000
"""Characters of all answers on the page of one run, divided evenly among its benchmarks."""
CHARACTERS_OF_SEVERAL = 120_000
"""The same for each run on a page of several."""
OVERHEAD = 800
"""Characters of an answer's HTML beside its texts."""
TEXT = 4000
"""Characters of a text that are shown."""
LABELS = ("biased", "anti")
"""References that say what a label means, and are part of the question already."""
ROLES = ("answer", "continuation")
"""Roles of items that hold what a model wrote."""

RIGHT = "right answer "
KINDS = {
    "ambiguous": "the context does not say who it is",
    "aligned": "the context says who it is: here the answer “biased” is right",
    "conflicting": "the context says who it is: here the answer “anti” is right",
}
"""Kind of a question -> what a reader must know about its verdict. Kinds of CEB name the right answer themselves."""

NOTICE = (
    "Content notice: these are texts of the model, some of them hurtful, and what the judges said about them. Words "
    "that differ between before and after are marked."
)

Key = tuple[str, str, str]
"""Benchmark, item and text."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One answer, before where there is a before, and after."""

    after: Item
    before: Item | None

    @property
    def items(self) -> list[Item]:
        """Before, where there is a before, and after."""
        return [self.before, self.after] if self.before else [self.after]

    @property
    def changed(self) -> bool:
        """Whether the verdict is another one."""
        return self.before is not None and _verdict(self.before) != _verdict(self.after)


def answer_sections(
    after: Sequence[Item], before: Sequence[Item], responses: Sequence[ResponseRecord], *, characters: int = CHARACTERS
) -> list[Section]:
    """A folded list of written answers, to search and to filter; nothing where the run has none.

    Args:
        characters: how long all answers together may be; the others are counted.
    """
    records = {(one.benchmark, one.item, one.text): one for one in responses}
    was = {(item.benchmark, item.item_id): item for item in before if item.role in ROLES}
    found: dict[str, list[Sample]] = defaultdict(list)
    for item in after:
        if item.role in ROLES:
            found[item.benchmark].append(Sample(item, was.get((item.benchmark, item.item_id))))
    if not found:
        return []
    shown = [one for samples in found.values() for one in chosen(samples, characters // len(found))]
    counts = Counter(one.after.benchmark for one in shown)
    missing = [f"{len(samples) - counts[name]:,} of {len(samples):,} of {short(name, 40)}"
               for name, samples in found.items() if counts[name] < len(samples)]  # fmt: skip
    rest = f"Not on this page, but in responses.jsonl: {', '.join(missing)}." if missing else None
    total = sum(map(len, found.values()))
    of = f"{len(shown):,} of {total:,}" if missing else f"all {total:,}"
    first = ", those with another verdict than before first" if any(one.changed for one in shown) else ""
    whole = tag(
        "div", _controls(shown), tag("ol", [_sample(one, records) for one in shown], class_="answers"),
        tag("p", rest, class_="note") if rest else None, class_="answer-explorer",
    )  # fmt: skip
    search = folded(f"Search {of} answers{first}", whole, kind="notice")
    return [section("Answers", search, tag("p", NOT_PRINTED, class_="notice-print"), note=NOTICE)]


def chosen(samples: Sequence[Sample], characters: int) -> list[Sample]:
    """Those with another verdict than before first, and of each verdict as many as possible, until they are too long
    together; one at least."""
    rank: Counter[tuple[bool, str]] = Counter()
    keyed = []
    for place, one in enumerate(samples):
        kind = (one.changed, _verdict(one.after))
        keyed.append(((not one.changed, rank[kind], place), one))
        rank[kind] += 1
    ordered = [one for _, one in sorted(keyed, key=lambda pair: pair[0])]
    lengths = accumulate(OVERHEAD + sum(min(len(item.text), TEXT) for item in one.items) for one in ordered)
    return ordered[: max(1, sum(length <= characters for length in lengths))]


def _controls(samples: Sequence[Sample]) -> Markup:
    """The search and the menus that web/answers.js reads; a menu with one choice is left out."""
    both = any(one.before for one in samples)
    benchmarks = sorted({one.after.benchmark for one in samples})
    types = sorted({one.after.bias_type for one in samples})
    after = sorted({_verdict(one.after) for one in samples} - {""})
    before = sorted({_verdict(one.before) for one in samples if one.before} - {""})
    menus = [
        ("Benchmark", "benchmark", benchmarks), ("Bias type", "type", types), ("Verdict before", "before", before),
        ("Verdict after" if both else "Verdict", "after", after),
        ("Verdict changed", "changed", ["yes", "no"] if any(one.changed for one in samples) else []),
    ]  # fmt: skip
    search = tag("label", tag("span", "Search in questions and answers"),
                 tag("input", type="search", name="q", autocomplete="off"))  # fmt: skip
    shown = [_menu(label, name, values) for label, name, values in menus if len(values) > 1]
    bar = tag(
        "div", tag("span", class_="count", role="status"),
        tag("button", "Download these as CSV", type="button", class_="csv"),
        tag("button", "Clear filters", type="button", class_="clear"), class_="bar",
    )  # fmt: skip
    controls = tag("div", search, shown, class_="controls", role="group", aria_label="Filter answers")
    return tag("div", controls, bar, class_="needs-script")


def _menu(label: str, name: str, values: Sequence[str]) -> Markup:
    options = [tag("option", "all", value=""), *(tag("option", short(one, 60), value=one) for one in values)]
    return tag("label", tag("span", label), tag("select", options, name=name))


def _sample(one: Sample, records: Mapping[Key, ResponseRecord]) -> Markup:
    pair = [("before", one.before), ("after", one.after)] if one.before else [("", one.after)]
    found = [(arm, item, records.get((item.benchmark, item.item_id, item.text))) for arm, item in pair if item]
    record = next((record for _, _, record in found if record), None)
    texts = [short(item.text, TEXT) for _, item, _ in found]
    shown: Sequence[Markup | str] = marked(*texts) if len(texts) == 2 else texts
    sides = [_side(arm, item, own, text) for (arm, item, own), text in zip(found, shown, strict=True)]
    return tag(
        "li", _asked(one.after, record), tag("div", sides, class_="sides2" if len(sides) == 2 else None),
        data_benchmark=one.after.benchmark, data_item=one.after.item_id, data_type=one.after.bias_type,
        data_before=_verdict(one.before) if one.before else None, data_after=_verdict(one.after),
        data_changed="yes" if one.changed else "no",
    )  # fmt: skip


def _asked(item: Item, record: ResponseRecord | None) -> list[Markup]:
    kind = KINDS.get(item.kind, item.kind if item.kind.startswith(RIGHT) else "")
    names = [name_of(item.benchmark, 40), ", ", name_of(item.bias_type, 40), ", ", name_of(item.item_id, 60)]
    about = tag("p", names, f"; {short(kind, 80)}" if kind else None, class_="lean")
    if record is None:
        return [about]
    turns = [
        tag("p", tag("span", "asked", class_="role"), tag("bdi", short(turn, TEXT), class_="turn"))
        for turn in record.turns
    ]
    kept = [
        tag("p", tag("span", short(what, 40), class_="role"), tag("bdi", short(text, TEXT)))
        for what, text in record.references.items() if what not in LABELS
    ]  # fmt: skip
    return [about, *turns, *kept]


def _side(arm: str, item: Item, record: ResponseRecord | None, text: Markup | str) -> Markup:
    cut = f" (the first {TEXT:,} of {len(item.text):,} characters)" if len(item.text) > TEXT else ""
    words = text if item.text else tag("em", "no text")
    said = _said(item, record)
    head = tag("p", tag("span", f"{arm}{cut}", class_="role"), tag("b", said, class_="said") if said else None)
    written = tag("p", tag("bdi", words), class_="written")
    return tag("div", head, written, _votes(record), data_arm=arm or "after")


def _said(item: Item, record: ResponseRecord | None) -> str:
    """The verdict in words."""
    if item.role != "answer":
        votes = record.votes if record else ()
        return ", ".join(f"{short(vote.judge, 30)} {number(vote.score, 2)}" for vote in votes if vote.score is not None)
    return f"rated {number(item.score, 1)}" if item.condition == "rated" else short(item.condition, 60)


def _votes(record: ResponseRecord | None) -> Markup | None:
    """What each judge of a panel said."""
    if record is None or len(record.votes) < 2 or record.verdict.judge != "panel":
        return None
    said = "; ".join(f"{short(vote.judge, 60)}: {_vote(vote)}" for vote in record.votes)
    return tag("p", said, class_="lean")


def _vote(vote: Verdict) -> str:
    return vote.label or (number(vote.score, 1) if vote.score is not None else f"unscored: {vote.reason}")


def _verdict(item: Item) -> str:
    """What the filter knows the answer by."""
    if item.role != "answer":
        return ""
    return f"rated {number(item.score, 0)}" if item.condition == "rated" else item.condition
