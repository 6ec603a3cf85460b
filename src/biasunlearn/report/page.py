"""The frame of a report: one HTML file that needs nothing else, and that may load nothing else.

Its content security policy forbids every request, and allows one style sheet and one script, by their hashes.

Charts are SVG that is written here, and one script without a library adds what needs a script: tooltips, the keyboard,
filters, downloads. Without the script everything but the list of all pairs is still there. Minified and inlined, D3
and Observable Plot (7.9.2 and 0.6.17) are 490 kB, 161 kB compressed; Vega and Vega-Lite (6.4.0 and 6.4.3) are 772 kB,
260 kB compressed, and compile their expressions at run time, which a policy without 'unsafe-eval' forbids. Both draw
only when the script runs, so that neither print without a script nor the first paint has a picture. All scripts of
`web/` together are about 25 kB.
"""

import base64
import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from typing import Any

from biasunlearn._version import __version__
from biasunlearn.report.charts.marks import arrow_tip
from biasunlearn.report.formatting import short
from biasunlearn.report.html import Markup, tag

SCRIPTS = ("shared.js", "sort.js", "tips.js", "charts.js", "terms.js", "pairs.js", "answers.js", "print.js")
"""Files of web/, in the order in which they run as one script."""


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the page under its heading."""

    heading: str
    content: tuple[Any, ...]
    note: Any = None
    """How to read it: the first line."""
    anchor: str = ""
    """Its id, to which a link can lead."""

    def with_prefix(self, prefix: str) -> "Section":
        """The same under another id, for a page with several such parts."""
        return replace(self, anchor=f"{prefix}-{self.anchor}")

    def __html__(self) -> str:
        link = tag("a", "#", href=f"#{self.anchor}", class_="anchor", aria_label=f"Link to {self.heading}")
        explained = tag("p", self.note, class_="note") if self.note else None
        return tag("section", tag("h2", self.heading, " ", link), explained, self.content, id=self.anchor)


def section(heading: str, *content: Any, note: Any = None) -> Section:
    """A part of the page; its id is its heading in lower case with hyphens."""
    return Section(heading, content, note, re.sub(r"[^a-z0-9]+", "-", heading.lower()).strip("-"))


def page(title: str, head: Any, *body: Any, state: str = "") -> str:
    """A complete document: head of the page, contents, and the sections of a report.

    Args:
        state: a word before the title of the window, where a result has to be read with caution.
    """
    style, script = _web("style.css"), _script()
    policy = (
        f"default-src 'none'; style-src {_hash(style)}; img-src data:; script-src {_hash(script)}; base-uri 'none'; "
        "form-action 'none'"
    )
    title = f"{short(title, 80)} – social bias report"
    top = tag(
        "head", tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=policy),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("meta", name="robots", content="noindex"),
        tag("link", rel="icon", href="data:,"),
        tag("title", f"{state}: {title}" if state else title),
        tag("style", Markup(style)),
    )  # fmt: skip
    foot = tag("footer", f"biasunlearn {__version__}. This file is self-contained and loads nothing from the network.")
    main = tag("main", head, _contents(list(_sections(body))), body)
    whole = tag("body", arrow_tip(), main, foot, tag("script", Markup(script)))
    return f'<!doctype html>\n<html lang="en">{top}{whole}</html>\n'


def folded(summary: Any, *content: Any, kind: str | None = None) -> Markup:
    """What opens by a click or a key. `kind` notice: quotes what may hurt, and stays shut in print."""
    return tag("details", tag("summary", summary), content, class_=kind)


def warning(line: Any) -> Markup:
    return tag("p", line, class_="warning")


def facts(rows: dict[str, Any]) -> Markup:
    """Names and values."""
    return tag("dl", [tag("div", tag("dt", name), tag("dd", value)) for name, value in rows.items()], class_="facts")


def _contents(sections: Sequence[Section]) -> Markup | None:
    """Links to the sections; nothing for a short page."""
    if len(sections) < 3:
        return None
    links = [tag("li", tag("a", one.heading, href=f"#{one.anchor}")) for one in sections]
    return tag("nav", tag("ul", links), class_="contents", aria_label="Contents")


def _sections(body: Iterable[Any]) -> Iterator[Section]:
    for one in body:
        if isinstance(one, Section):
            yield one
        elif isinstance(one, list | tuple):
            yield from _sections(one)


@cache
def _web(name: str) -> str:
    return (files("biasunlearn.report") / "web" / name).read_text(encoding="utf-8")


@cache
def _script() -> str:
    """All scripts as one, in a scope of their own."""
    return "(() => {\n" + "".join(_web(name) for name in SCRIPTS) + "})();\n"


def _hash(content: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"
