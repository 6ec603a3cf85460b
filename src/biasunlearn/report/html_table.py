"""Tables that sort by click and by keyboard (web/sort.js), and turn into cards on a phone (web/style.css)."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from biasunlearn.report.html import Markup, tag

DASH, MINUS = "\u2013", "\u2212"


@dataclass(frozen=True, slots=True)
class Head:
    """A column: what it is called, and what stands under its name (the scale of a picture)."""

    label: Any
    sorts: bool = True
    kind: str = "number"
    """number, word or picture: how the column is set."""
    below: Markup | None = None


@dataclass(frozen=True, slots=True)
class Cell:
    """What is shown, and what it sorts by where that is something else."""

    shown: Any
    value: float | str | None = None


def table(caption: str, heads: Sequence[Head], rows: Iterable[Sequence[Cell]], *, first: Sequence[Cell] = (),
          kind: str = "", tall: bool = False) -> Markup:  # fmt: skip
    """A table in a region that scrolls sideways rather than the page.

    Args:
        caption: said to those who cannot see it; the heading above says the same to the others.
        first: a row that stays on top, whatever is sorted.
        tall: scrolls up and down too, where it is longer than a screen.
    """
    top = [tag("tbody", _row(heads, first), class_="total")] if first else []
    body = tag("tbody", [_row(heads, row) for row in rows])
    whole = tag(
        "table", tag("caption", caption, class_="unseen"), tag("thead", tag("tr", map(_head, heads))), top, body,
        class_=f"sortable {kind}".strip(),
    )  # fmt: skip
    window = "scroll tall" if tall else "scroll"
    return tag("div", whole, class_=window, tabindex="0", role="group", aria_label=caption)


def estimate(found: Mapping[str, float] | None, places: int = 1) -> Cell:
    """A value with its interval in small print; a dash where there is none."""
    if not found or found.get("value") is None:
        return Cell(tag("span", DASH, class_="soft"), -1e9)
    value = number(found["value"], places)
    if "low" not in found:
        return Cell(value, found["value"])
    return Cell(with_small(value, interval(found, places)), found["value"])


def with_small(value: str, small: str) -> list[Markup]:
    """A number, and what qualifies it in small print below."""
    return [tag("b", value), Markup(" "), tag("small", small)]


def interval(found: Mapping[str, float], places: int = 1) -> str:
    """By hand: 58.9 to 63.6 -> 58.9–63.6; with a negative end, a word keeps the dashes apart."""
    low, high = number(found["low"], places), number(found["high"], places)
    return f"{low} to {high}" if found["low"] < 0 or found["high"] < 0 else f"{low}–{high}"


def number(value: float, places: int = 1, *, signed: bool = False) -> str:
    """A number with a real minus sign, and no minus zero."""
    rounded = round(value, places) + 0.0
    return f"{rounded:{'+' if signed else ''}.{places}f}".replace("-", MINUS)


def places_of(found: Iterable[Mapping[str, float] | None]) -> int:
    """One decimal for percentages, two or three for what stays small."""
    largest = max((abs(one["value"]) for one in found if one), default=0.0)
    return 1 if largest >= 10 else 2 if largest > 1 else 3


def _head(head: Head) -> Markup:
    name = tag("button", head.label, type="button") if head.sorts else tag("span", head.label)
    return tag("th", name, head.below, scope="col", class_=head.kind)


def _row(heads: Sequence[Head], cells: Sequence[Cell]) -> Markup:
    made = []
    for place, (head, cell) in enumerate(zip(heads, cells, strict=True)):
        shown = {"data_value": cell.value, "data_label": None if isinstance(head.label, Markup) else head.label}
        if place == 0:
            made.append(tag("th", cell.shown, scope="row", class_=head.kind, **shown))
        else:
            made.append(tag("td", cell.shown, class_=head.kind, **shown))
    return tag("tr", made)
