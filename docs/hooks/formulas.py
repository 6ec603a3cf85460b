r"""Hook of mkdocs: formulas become MathML, which browsers draw without a script and without a network.

Two notations are read, both of which GitHub shows as formulas as well: a fenced block with the name `math`, and
$`\alpha`$ within a line. What is inside them is LaTeX, as far as the package latex2mathml knows it.
"""

import re
import xml.etree.ElementTree as etree
from typing import Any

from latex2mathml.converter import convert
from markdown import Markdown
from markdown.extensions import Extension
from markdown.inlinepatterns import InlineProcessor

THIN_SPACE = '<mspace width="0.167em" />'
"""Set after the name of a function, because browsers draw its argument directly after it otherwise."""

SIGN = re.compile("((?:&#x00028;|&#x0003D;|\\[)</mo>)<mo>&#x02212;</mo>")
"""A minus that is a sign, which latex2mathml does not distinguish from a difference."""

BEFORE_CODE = 200
"""Priority of a pattern that is read before `code` (190)."""


def block(source: str, *_: Any, **__: Any) -> str:
    """The HTML of a fenced block of LaTeX."""
    return f'<div class="formula">{_mathml(source, "block")}</div>'


def _mathml(latex: str, display: str) -> str:
    """MathML of a formula.

    Raises:
        ValueError: a command that latex2mathml does not know, which it would leave in the text.
    """
    mathml = convert(latex.strip(), display=display)
    if "\\" in mathml or "<mi>&</mi>" in mathml:
        raise ValueError(f"docs: the formula has a command that latex2mathml does not know: {latex}")
    mathml = mathml.replace("<mi>log</mi>", f"<mi>log</mi>{THIN_SPACE}")
    return SIGN.sub(r'\1<mo form="prefix">&#x02212;</mo>', mathml)


class _WithinALine(InlineProcessor):
    def handleMatch(self, m: re.Match[str], data: str) -> tuple[str | etree.Element, int, int]:
        return self.md.htmlStash.store(_mathml(m[1], "inline")), m.start(), m.end()


class Formulas(Extension):
    """Formulas within a line. Blocks are read by pymdownx.superfences (see `on_config`)."""

    def extendMarkdown(self, md: Markdown) -> None:
        md.inlinePatterns.register(_WithinALine(r"\$`([^`]+)`\$", md), "formula", BEFORE_CODE)


def on_config(config: Any) -> Any:
    """Called by mkdocs once it has read mkdocs.yml."""
    config.markdown_extensions.append(Formulas())
    fences = config.mdx_configs.setdefault("pymdownx.superfences", {})
    fences["custom_fences"] = [{"name": "math", "class": "formula", "format": block}]
    return config
