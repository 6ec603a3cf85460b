"""What each benchmark asks, what it does not tell, and its known defects: one file, for reports and the documentation.

`docs/benchmarks.md` says the same in the same words; a test holds the two together.
"""

from functools import cache
from importlib.resources import files

import yaml


@cache
def cards() -> dict[str, dict[str, str]]:
    """{benchmark: {"asks", "does not tell", "known defects"}}"""
    text = (files("biasunlearn.report") / "cards.yaml").read_text(encoding="utf-8")
    content: dict[str, dict[str, str]] = yaml.safe_load(text)
    return content
