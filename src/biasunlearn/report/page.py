"""The frame of a report: one HTML file that needs nothing else, and that may load nothing else.

Its content security policy forbids every request, and every script but its own, which sorts tables and filters lists.
"""

import base64
import hashlib
from functools import cache
from importlib.resources import files
from typing import Any

from biasunlearn._version import __version__
from biasunlearn.report.charts.marks import arrow_tip
from biasunlearn.report.formatting import short
from biasunlearn.report.html import Markup, tag


def page(title: str, *body: Any) -> str:
    """A complete document around the sections of a report."""
    style, script = _web("style.css"), _web("sort.js") + _web("filter.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'unsafe-inline'; img-src data:; script-src 'sha256-{digest}'"
    head = tag(
        "head", tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=policy),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("meta", name="robots", content="noindex"),
        tag("link", rel="icon", href="data:,"),
        tag("title", f"{short(title, 80)} – social bias report"),
        tag("style", Markup(style)),
    )  # fmt: skip
    foot = tag("footer", f"biasunlearn {__version__}. This file is self-contained and loads nothing from the network.")
    whole = tag("body", arrow_tip(), tag("main", body), foot, tag("script", Markup(script)))
    return f'<!doctype html>\n<html lang="en">{head}{whole}</html>\n'


def section(heading: Any, *content: Any, note: Any = None) -> Markup:
    """A part of the page under its heading, with a line that says how to read it."""
    explained = tag("p", note, class_="note") if note else None
    return tag("section", tag("h2", heading), explained, content)


def folded(summary: Any, *content: Any, kind: str | None = None) -> Markup:
    """What opens by a click or a key. `kind` notice: quotes what may hurt, and stays shut in print."""
    return tag("details", tag("summary", summary), content, class_=kind)


def warning(line: Any) -> Markup:
    return tag("p", line, class_="warning")


def facts(rows: dict[str, Any]) -> Markup:
    """Names and values."""
    return tag("dl", [tag("div", tag("dt", name), tag("dd", value)) for name, value in rows.items()])


@cache
def _web(name: str) -> str:
    return (files("biasunlearn.report") / "web" / name).read_text(encoding="utf-8")
