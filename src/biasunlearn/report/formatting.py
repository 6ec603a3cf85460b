"""Numbers, intervals and names as text, the same on a page and on the terminal."""

import re
from collections.abc import Iterable
from typing import Any

DASH, MINUS, ARROW = "\u2013", "\u2212", "\u2192"

CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
"""Characters that HTML does not allow, that UTF-8 cannot hold, or that steer a terminal."""

DIRECTING = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
"""Marks that change the writing direction of the text that follows. A name is legible without them."""

SMALLEST_P = 0.0001


def number(value: float, digits: int = 1, *, signed: bool = False) -> str:
    """A number with a real minus sign, never minus zero, and with thousands separated where there are no decimals.

    By hand: -0.04 -> 0.0; -1.25 with 2 digits -> −1.25; 12345 with 0 digits -> 12,345.
    """
    rounded = round(value, digits) + 0.0
    sign, grouped = "+" if signed else "", "," if digits == 0 else ""
    return f"{rounded:{sign}{grouped}.{digits}f}".replace("-", MINUS)


def interval(low: float, high: float, digits: int = 1) -> str:
    """By hand: 58.9, 63.6 -> 58.9–63.6. With a negative end "to" stands between, so that the signs can be seen."""
    between = " to " if low < 0 or high < 0 else DASH
    return f"{number(low, digits)}{between}{number(high, digits)}"


def p_value(p: float) -> str:
    """By hand: 0.00001 -> <0.0001; 0.03517 -> 0.0352."""
    return f"<{SMALLEST_P}" if p < SMALLEST_P else f"{p:.4f}"


def digits_for(values: Iterable[float | None]) -> int:
    """Decimals for a column: one for percentages, two for values up to 10, three for values up to 1."""
    largest = max((abs(value) for value in values if value is not None), default=0.0)
    return 1 if largest >= 10 else 2 if largest > 1 else 3


def short(value: Any, limit: int) -> str:
    """The beginning of a long text. By hand: short("abcdef", 4) -> "abc…" """
    whole = str(value)
    return whole if len(whole) <= limit else whole[: limit - 1] + "\u2026"


def listed(names: Iterable[str], limit: int = 40) -> str:
    """Names of others, each shortened, with commas between."""
    return ", ".join(short(name, limit) for name in names)


def clean(value: Any) -> str:
    """Text without marks of direction, and with a replacement character for every control character."""
    text = str(value)
    if text.isascii() and text.isprintable():  # as most numbers and names
        return text
    return DIRECTING.sub("", CONTROL.sub("\ufffd", text))


def in_markdown(value: Any) -> str:
    """A value that stays in its cell, its code span and its line: no markup, link, image or control character."""
    shown = re.sub(r"[`|<>\[\]!#*~$&{}\"\\]", "_", clean(" ".join(str(value).split())))
    return shown.replace("://", ":_")  # a bare address would become a link
