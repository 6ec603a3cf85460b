"""HTML that cannot be broken by what it shows: every child and attribute is escaped unless it is markup already.

Names, paths and sentences come from other people's files. Nothing here joins strings into HTML but `tag`.
"""

import json
from collections.abc import Iterable, Mapping
from functools import cache
from html import escape
from typing import Any

from biasunlearn.report.formatting import clean, short

VOID = {"br", "circle", "input", "line", "link", "meta", "path", "polyline", "rect"}


class Markup(str):
    """A string that is HTML already."""

    __slots__ = ()


def text(value: Any) -> Markup:
    """Any value as text in HTML; markup, and what can write itself as markup (`__html__`), as it is."""
    if isinstance(value, Markup):
        return value
    written = getattr(value, "__html__", None)
    return Markup(written()) if written else _escaped(value)


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
        if isinstance(child, str):  # most of a page
            parts.append(text(child))
        elif child is None:
            continue
        else:
            parts.append(join(child) if isinstance(child, Iterable) else text(child))
    return Markup("".join(parts))


def data_block(kind: str, value: Any) -> Markup:
    """Values for the script of the page, as JSON in an element that no browser runs.

    Every "<", ">" and "&" and every character beyond ASCII is written as an escape, so that no text can end the element
    and no character (U+2028, a lone surrogate) can break the script or the file. Texts are cleaned as everywhere.

    By hand: {"a": "</script>"} -> {"a":"\\u003c/script\\u003e"}
    """
    written = json.dumps(_cleaned(value), separators=(",", ":"), allow_nan=False)
    for character in "<>&":
        written = written.replace(character, f"\\u{ord(character):04x}")
    return tag("script", Markup(written), type="application/json", class_=kind)


def _cleaned(value: Any) -> Any:
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, Mapping):
        return {clean(key): _cleaned(one) for key, one in value.items()}
    return [_cleaned(one) for one in value] if isinstance(value, list | tuple) else value


def name_of(value: Any, limit: int = 80) -> Markup:
    """A name that somebody else gave: shortened, and unable to change the writing direction of its neighbours."""
    return tag("bdi", short(value, limit))


def _attribute(key: str, value: Any) -> str:
    if value is False:
        return ""
    if value is True:
        return f" {_attribute_name(key)}"
    return f' {_attribute_name(key)}="{escape(clean(value))}"'  # markup too: a tag is no attribute


@cache
def _attribute_name(key: str) -> str:
    name = key.rstrip("_").replace("_", "-")
    return {"viewbox": "viewBox", "preserveaspectratio": "preserveAspectRatio"}.get(name, name)


def _escaped(value: Any) -> Markup:
    return Markup(escape(clean(value)))
