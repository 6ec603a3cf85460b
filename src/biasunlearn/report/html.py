"""HTML that cannot be broken by what it shows: every child and attribute is escaped unless it is markup already.

Names, paths and sentences come from other people's files. Nothing here joins strings into HTML but `tag`.
"""

from collections.abc import Iterable
from html import escape
from typing import Any

from biasunlearn.report.formatting import clean, short

VOID = {"br", "circle", "input", "line", "link", "meta", "path", "polyline", "rect"}


class Markup(str):
    """A string that is HTML already."""

    __slots__ = ()


def text(value: Any) -> Markup:
    """Any value as text in HTML; markup as it is."""
    if isinstance(value, Markup):
        return value
    return _escaped(value)


def tag(name: str, /, *children: Any, **attributes: Any) -> Markup:
    """An element. `class_` is class, `aria_label` is aria-label; an attribute that is None or False is left out.

    By hand: tag("b", "<", class_="x") -> <b class="x">&lt;</b>
    """
    shown = "".join(_attribute(key, value) for key, value in attributes.items() if value is not None)
    if name in VOID:
        return Markup(f"<{name}{shown}>" if name in ("br", "input", "link", "meta") else f"<{name}{shown}/>")
    return Markup(f"<{name}{shown}>{join(children)}</{name}>")


def join(children: Iterable[Any]) -> Markup:
    """Children one after the other, lists of them flattened, None left out."""
    parts = []
    for child in children:
        if child is None:
            continue
        if isinstance(child, Iterable) and not isinstance(child, str):
            parts.append(join(child))
        else:
            parts.append(text(child))
    return Markup("".join(parts))


def name_of(value: Any, limit: int = 80) -> Markup:
    """A name that somebody else gave: shortened, and unable to change the writing direction of its neighbours."""
    return tag("bdi", short(value, limit))


def _attribute(key: str, value: Any) -> str:
    if value is False:
        return ""
    name = key.rstrip("_").replace("_", "-")
    name = {"viewbox": "viewBox", "preserveaspectratio": "preserveAspectRatio"}.get(name, name)
    return f" {name}" if value is True else f' {name}="{_escaped(value)}"'  # markup too: a tag is no attribute


def _escaped(value: Any) -> Markup:
    return Markup(escape(clean(value)))
