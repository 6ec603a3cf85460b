"""Extension of griffe: inserts the blank line that it needs before "Returns:" and "Raises:" in a docstring."""

import re
from typing import Any

import griffe

HEADING = re.compile(r"(?<!\n)\n(?=(?:Args|Returns|Yields|Raises):)")


class DocstringSections(griffe.Extension):
    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        if obj.docstring:
            obj.docstring.value = HEADING.sub("\n\n", obj.docstring.value)
