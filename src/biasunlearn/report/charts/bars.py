"""Shares as bars, one line each, with the number behind it."""

from collections.abc import Sequence

from biasunlearn.report.html import Markup, short, tag

ROW, NAMES, LONGEST = 24, 128, 190
"""A line's height, the room for names, and the length of a bar of 100 percent."""


def bars(said: str, rows: Sequence[tuple[str, float]]) -> Markup:
    """A bar for each name; shares from 0 to 1."""
    parts = []
    for line, (name, share) in enumerate(rows):
        y, length = ROW * line, round(LONGEST * min(1.0, max(0.0, share)), 1)
        parts.append(tag("text", short(name, 20), x=NAMES - 9, y=y + 16, class_="end"))
        parts.append(tag("rect", x=NAMES, y=y + 4, width=LONGEST, height=ROW - 8, rx=2, class_="ground"))
        parts.append(tag("rect", x=NAMES, y=y + 4, width=length, height=ROW - 8, rx=2, class_="bar"))
        parts.append(tag("text", f"{100 * share:.0f} %", x=NAMES + LONGEST + 8, y=y + 16))
    numbers = ", ".join(f"{short(name, 40)} {100 * share:.0f} %" for name, share in rows)
    width = NAMES + LONGEST + 44
    return tag("svg", parts, viewbox=f"0 0 {width} {ROW * len(rows)}", role="img", class_="bars",
               aria_label=f"{said}: {numbers}", style=f"width: {width}px")  # fmt: skip
