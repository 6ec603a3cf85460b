"""What the model wrote, as a part of a run's page: answers before and after side by side, with their verdicts.

Everything here comes from models, judges and data files, and is escaped. The lists are folded away because they may
hurt; a filter shows the answers with one verdict, of one bias type, or those whose verdict changed.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from biasunlearn.report.formatting import number, short
from biasunlearn.report.html import Markup, name_of, tag
from biasunlearn.report.page import Section, folded, section
from biasunlearn.report.word_diff import marked
from biasunlearn.runs.responses import ResponseRecord, Verdict
from biasunlearn.stats.stereoset import Item

SHOWN = 100
"""Answers of a benchmark that are shown."""
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
    def changed(self) -> bool:
        """Whether the verdict is another one."""
        return self.before is not None and _verdict(self.before) != _verdict(self.after)


def answer_sections(
    after: Sequence[Item], before: Sequence[Item], responses: Sequence[ResponseRecord]
) -> list[Section]:
    """A folded list of each benchmark of written answers; nothing where the run has none."""
    records = {(one.benchmark, one.item, one.text): one for one in responses}
    was = {(item.benchmark, item.item_id): item for item in before if item.role in ROLES}
    found: dict[str, list[Sample]] = defaultdict(list)
    for item in after:
        if item.role in ROLES:
            found[item.benchmark].append(Sample(item, was.get((item.benchmark, item.item_id))))
    parts = [_benchmark(name, samples, records) for name, samples in found.items()]
    return [section("Answers", parts, note=NOTICE)] if parts else []


def chosen(samples: Sequence[Sample], count: int) -> list[Sample]:
    """Those with another verdict than before first, and of each verdict as many as possible."""
    rank: Counter[tuple[bool, str]] = Counter()
    keyed = []
    for place, one in enumerate(samples):
        kind = (one.changed, _verdict(one.after))
        keyed.append(((not one.changed, rank[kind], place), one))
        rank[kind] += 1
    return [one for _, one in sorted(keyed, key=lambda pair: pair[0])[:count]]


def _benchmark(name: str, samples: Sequence[Sample], records: Mapping[Key, ResponseRecord]) -> Markup:
    shown = chosen(samples, SHOWN)
    of = f"{len(shown)} of {len(samples)}" if len(shown) < len(samples) else f"all {len(samples)}"
    first = ", those with another verdict than before first" if any(one.changed for one in shown) else ""
    rest = tag("p", "The others are in responses.jsonl.", class_="note") if len(shown) < len(samples) else None
    rows = tag("ol", [_sample(one, records) for one in shown], class_="answers")
    return folded(f"{short(name, 40)}: {of} answers{first}", _filters(shown), rows, rest, kind="notice")


def _filters(samples: Sequence[Sample]) -> Markup:
    """Menus that web/filter.js shows and reads."""
    verdicts = sorted({_verdict(item) for one in samples for item in (one.before, one.after) if item} - {""})
    types = sorted({one.after.bias_type for one in samples})
    menus = [
        _menu(label, name, values)
        for label, name, values in (("verdict", "verdicts", verdicts), ("bias type", "type", types),
                                    ("change", "changed", ["changed"] * any(one.changed for one in samples)))
        if len(values) > 1 or name == "changed" and values
    ]  # fmt: skip
    return tag("p", menus, tag("output", ""), class_="filters", hidden=True)


def _menu(label: str, name: str, values: Sequence[str]) -> Markup:
    options = [tag("option", "all", value=""), *(tag("option", short(one, 60), value=one) for one in values)]
    return tag("label", f"{label} ", tag("select", options, data_filter=name))


def _sample(one: Sample, records: Mapping[Key, ResponseRecord]) -> Markup:
    pair = [("before", one.before), ("after", one.after)] if one.before else [("", one.after)]
    found = [(arm, item, records.get((item.benchmark, item.item_id, item.text))) for arm, item in pair if item]
    record = next((record for _, _, record in found if record), None)
    texts = [item.text[:TEXT] for _, item, _ in found]
    shown: Sequence[Markup | str] = marked(*texts) if len(texts) == 2 else texts
    sides = [_side(arm, item, own, text) for (arm, item, own), text in zip(found, shown, strict=True)]
    verdicts = "|".join(dict.fromkeys(_verdict(item) for _, item, _ in found))
    return tag(
        "li", _asked(one.after, record), tag("div", sides, class_="sides2" if len(sides) == 2 else None),
        data_verdicts=verdicts, data_type=one.after.bias_type, data_changed="changed" if one.changed else None,
    )  # fmt: skip


def _asked(item: Item, record: ResponseRecord | None) -> list[Markup]:
    kind = KINDS.get(item.kind, item.kind if item.kind.startswith(RIGHT) else "")
    about = tag(
        "p", name_of(item.bias_type, 40), ", ", name_of(item.item_id, 60), f"; {short(kind, 80)}" if kind else None,
        class_="lean",
    )  # fmt: skip
    if record is None:
        return [about]
    turns = [tag("p", tag("span", "asked", class_="role"), tag("bdi", short(turn, TEXT))) for turn in record.turns]
    kept = [
        tag("p", tag("span", short(what, 40), class_="role"), tag("bdi", short(text, TEXT)))
        for what, text in record.references.items() if what not in LABELS
    ]  # fmt: skip
    return [about, *turns, *kept]


def _side(arm: str, item: Item, record: ResponseRecord | None, text: Markup | str) -> Markup:
    cut = f" (the first {TEXT:,} of {len(item.text):,} characters)" if len(item.text) > TEXT else ""
    words = text if item.text else tag("em", "no text")
    said = _said(item, record)
    head = tag("p", tag("span", f"{arm}{cut}", class_="role"), tag("b", said) if said else None)
    return tag("div", head, tag("p", tag("bdi", words), class_="written"), _votes(record))


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
