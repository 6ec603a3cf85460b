"""For each benchmark: its question, what is not measured, known limitations. One file for reports and documentation.

`docs/benchmarks.md` has the same text; a test checks this.
"""

from functools import cache
from importlib.resources import files

import yaml


@cache
def cards() -> dict[str, dict[str, str]]:
    """{benchmark: {"question", "not measured", "known limitations"}}"""
    text = (files("biasunlearn.report") / "cards.yaml").read_text(encoding="utf-8")
    content: dict[str, dict[str, str]] = yaml.safe_load(text)
    return content
