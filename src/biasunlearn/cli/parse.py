"""From the words of a command line to the function to call; a wrong request becomes one line that says the fix."""

from collections.abc import Callable, Iterable, Sequence
from inspect import BoundArguments
from typing import Any

from cyclopts import App
from cyclopts.exceptions import (
    CoercionError,
    ConsumeMultipleError,
    CycloptsError,
    MissingArgumentError,
    UnknownCommandError,
    UnknownOptionError,
    UnusedCliTokensError,
)

from biasunlearn.errors import RequestError


def parse(app: App, arguments: Sequence[str]) -> tuple[Callable[..., Any], BoundArguments]:
    """The function that the words ask for, and its arguments.

    Raises:
        RequestError: an unknown command or option, a value that is missing or of another type.
    """
    if not arguments:
        raise RequestError("no command given (see biasunlearn --help)")
    try:
        function, bound, _ = app.parse_args(arguments, print_error=False, exit_on_error=False)
    except UnknownCommandError as error:
        raise unknown_command((error.unused_tokens or arguments)[0], app) from None
    except CycloptsError as error:
        chain = tuple(error.command_chain or ())
        where = f"{' '.join(chain)}: " if chain else ""
        raise RequestError(f"{where}{_what(error)} (see {' '.join(('biasunlearn', *chain))} --help)") from None
    return function, bound


def unknown_command(word: str, app: App) -> RequestError:
    """The error for a first word that is no command."""
    names = [name for name in app if not name.startswith("-")]
    kind, known = ("option", ["--help", "--version"]) if word.startswith("-") else ("command", names)
    return RequestError(f"{_unknown(kind, word, known)} (see biasunlearn --help)")


def _what(error: CycloptsError) -> str:
    """What is wrong, without where."""
    if isinstance(error, UnknownOptionError):
        known = [name for argument in error.argument_collection for name in argument.names if name.startswith("--")]
        return _unknown("option", error.token.keyword or error.token.value, known)
    if isinstance(error, UnusedCliTokensError) and error.unused_tokens:
        return f"unexpected argument {error.unused_tokens[0]!r}"
    if isinstance(error, ConsumeMultipleError) and error.argument:
        few = error.actual_count < error.min_required
        return f"{error.argument.name}: needs a value" if few else f"{error.argument.name}: takes one value at most"
    if isinstance(error, MissingArgumentError) and error.argument:
        name = error.keyword or error.argument.name
        return f"{name}: needs a value" if error.keyword else f"{name} is required"
    if isinstance(error, CoercionError) and error.argument and error.token:
        return f"{error.argument.name} {error.token.value}: {_expected(error)}"
    return str(error)


def _unknown(what: str, word: str, known: Iterable[str]) -> str:
    nearest = _nearest(word, sorted(known))
    return f"unknown {what} {word}" + (f"; did you mean {nearest}?" if nearest else "")


def _nearest(word: str, known: Sequence[str]) -> str | None:
    """The name that begins with the word (the shortest of them), or else the one that is spelt most alike."""
    longer = [name for name in known if name.startswith(word)]
    if longer:
        return min(longer, key=len)
    import difflib

    return next(iter(difflib.get_close_matches(word, known, n=1)), None)


def _expected(error: CoercionError) -> str:
    assert error.argument is not None and error.token is not None
    if error.msg is not None:  # what our own converter says
        return str(error.msg)
    if choices := error.argument.get_choices():
        return f"not one of {', '.join(choices)}"
    kind = {int: "an integer", float: "a number"}.get(error.target_type)  # type: ignore[arg-type]
    if kind is None:
        return str(error)
    return f"not {kind}" + "; separate several values by spaces" * ("," in error.token.value)
