"""The help of a command, made of its annotations and its docstring: plain text in two columns."""

import inspect
import re
import shutil
import textwrap
from collections.abc import Callable, Iterable, Sequence
from dataclasses import is_dataclass
from typing import Any

from cyclopts import App, Argument, ArgumentCollection
from cyclopts.group import sort_groups

from biasunlearn.cli.app import COMMANDS, EXAMPLES, SUMMARY
from biasunlearn.cli.parse import unknown_command

FLAGS = ("--help", "-h")
NARROWEST, WIDEST = 50, 110
"""Characters of a line, as the terminal allows."""
COLUMN = 26
"""Characters of the left column with its indent. A longer label stands on a line of its own."""


def help_text(app: App, words: Sequence[str]) -> str:
    """The help of the command that the words name, or of the whole command line if they name none.

    Raises:
        RequestError: there is no such command.
    """
    width = max(NARROWEST, min(shutil.get_terminal_size().columns, WIDEST))
    chain, apps, rest = app.parse_commands([word for word in words if word not in FLAGS])
    if rest and not chain:
        raise unknown_command(rest[0], app)
    blocks = _command(apps[-1], chain, width) if chain else _overview(app, width)
    return "\n\n".join(blocks)


def _overview(app: App, width: int) -> Iterable[str]:
    yield "Usage: biasunlearn COMMAND [OPTIONS] ..."
    yield SUMMARY
    known = app.resolved_commands()
    for heading, commands in COMMANDS.items():
        rows = ((name, _sections(known[name].default_command)[""].splitlines()[0]) for name in commands)
        yield _table(heading, rows, width)
    yield _table("Options", (("--help, -h", "Show this help."), ("--version", "Show the version.")), width)
    yield f"Examples:\n{textwrap.indent(EXAMPLES, '  ')}"
    yield "The help of a command: biasunlearn COMMAND --help"


def _command(command: App, chain: Sequence[str], width: int) -> Iterable[str]:
    sections = _sections(command.default_command)
    arguments = command.assemble_argument_collection().filter_by(show=True)
    explained = _explained(command.default_command)
    usage = f"Usage: biasunlearn {' '.join(chain)} {_usage(arguments)}"
    yield _filled(usage, width, indent=7)
    for paragraph in sections[""].split("\n\n"):
        yield _filled(" ".join(paragraph.split()), width)
    groups, members = sort_groups(arguments.groups, [arguments.filter_by(group=group) for group in arguments.groups])
    for group, mine in zip(groups, members, strict=True):
        rows = ((_label(one), _explanation(one, explained[one.field_info.name])) for one in mine)
        yield _table(group.name, rows, width)
    yield f"Examples:\n{textwrap.indent(sections['Examples'], '  ')}"


def _sections(described: object) -> dict[str, str]:
    """{heading: text} of the docstring of a function or a class; what stands above the first heading is called ""."""
    parts = re.split(r"^(Args|Examples):\n", inspect.getdoc(described) or "", flags=re.MULTILINE)
    texts = [inspect.cleandoc(text).strip() for text in parts[2::2]]
    return {"": parts[0].strip(), **dict(zip(parts[1::2], texts, strict=True))}


def _usage(arguments: ArgumentCollection) -> str:
    required = [_label(one) for one in arguments if one.required and one.index is None]
    positional = [one.name + "..." * bool(one.parameter.consume_multiple) for one in arguments if one.index is not None]
    return " ".join((*required, "[OPTIONS]", *positional))


def _label(argument: Argument) -> str:
    """--out DIR, or MODEL."""
    return f"{', '.join(argument.names)} {argument.parameter.metavar or ''}".strip()


def _explained(function: Callable[..., Any] | None) -> dict[str, str]:
    """{argument: what it is}, of the section Args of a function and of the options that it shares with others.

    cyclopts reads docstrings as well, with a library for all their styles that takes longer than the rest of a help.
    """
    assert function is not None
    shared = [annotation for annotation in function.__annotations__.values() if is_dataclass(annotation)]
    found: dict[str, str] = {}
    for source in (*shared, function):
        entries = re.split(r"^(\w+): ", _sections(source).get("Args", ""), flags=re.MULTILINE)
        found |= {name: " ".join(text.split()) for name, text in zip(entries[1::2], entries[2::2], strict=True)}
    return found


def _explanation(argument: Argument, text: str) -> str:
    parts = [text]
    if choices := argument.get_choices():
        parts.append(f"One of {', '.join(choices)}.")
    if argument.required:
        parts.append("(required)")
    elif default := _default(argument):
        parts.append(f"(default: {default})")
    return " ".join(part for part in parts if part)


def _default(argument: Argument) -> str:
    """As it would be typed. Empty where the option is simply off or not given."""
    default = argument.field_info.default
    if default is argument.field_info.empty or default is None or default is False:
        return ""
    return " ".join(map(str, default if isinstance(default, tuple) else (default,)))


def _table(heading: str, rows: Iterable[tuple[str, str]], width: int) -> str:
    lines = [f"{heading}:"]
    for label, text in rows:
        left = f"  {label}"
        right = _filled(text, width - COLUMN).splitlines()
        if len(left) > COLUMN - 2 or not right:
            lines.append(left)
        else:
            lines.append(f"{left:{COLUMN}}{right.pop(0)}")
        lines += [" " * COLUMN + line for line in right]
    return "\n".join(lines)


def _filled(text: str, width: int, indent: int = 0) -> str:
    return textwrap.fill(text, width, subsequent_indent=" " * indent, break_on_hyphens=False, break_long_words=False)
