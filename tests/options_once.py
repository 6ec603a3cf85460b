"""The options of a command are worked out once a process: a test session parses more than a thousand command lines.

cyclopts derives them from the annotations of the command's function for every command line, which takes up to 40 ms. A
user waits for it once. Here each command line gets a copy of the options, without the words of the one before it.
"""

import copy
from typing import Any

from cyclopts import App, Argument, ArgumentCollection


def remember_options() -> None:
    """From now on, in this process."""
    derive = App.assemble_argument_collection
    known: dict[Any, ArgumentCollection] = {}

    def remembered(app: App, **how: Any) -> ArgumentCollection:
        key = app.default_command, tuple(sorted(how.items()))
        if key not in known:
            known[key] = derive(app, **how)
        return _without_words(known[key])

    App.assemble_argument_collection = remembered  # type: ignore[method-assign]


def _without_words(options: ArgumentCollection) -> ArgumentCollection:
    """Copies that belong to each other as the options do."""
    copies: dict[int, Argument] = {id(one): copy.copy(one) for one in options}
    for one in copies.values():
        one.tokens = []
        one.children = ArgumentCollection(copies[id(child)] for child in one.children)
    return ArgumentCollection(copies.values())
