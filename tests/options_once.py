"""The options of a command are worked out once a process: a test session parses more than a thousand command lines.

cyclopts derives them from the annotations of the command's function at every call, which takes a tenth of a second. A
user waits for it once. What depends on the function alone is remembered; each command line gets options of its own,
without the words of the one before it.
"""

import copy
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from cyclopts.argument import Argument, ArgumentCollection, _argument


def remember_options() -> None:
    """From now on, in this process."""
    derive = ArgumentCollection._from_callable
    known: dict[tuple[Callable[..., Any], bool], ArgumentCollection] = {}

    def remembered(function: Callable[..., Any], *more: Any, parse_docstring: bool = True, **others: Any) -> Any:
        key = function, parse_docstring
        if key not in known:
            known[key] = derive(function, *more, parse_docstring=parse_docstring, **others)
        return _fresh(known[key])

    ArgumentCollection._from_callable = staticmethod(remembered)
    # Where pydantic has been imported, cyclopts lets it check the values once more. In a user's process it has not been
    # imported when the command line is parsed; here it has.
    _argument.sys = SimpleNamespace(modules={})


def _fresh(options: ArgumentCollection) -> ArgumentCollection:
    """The same options with no word given."""
    copies: dict[int, Argument] = {id(one): copy.copy(one) for one in options}
    for one in copies.values():
        one.tokens = []
        one.children = ArgumentCollection(copies[id(child)] for child in one.children)
    return ArgumentCollection(copies.values())
