"""--arguments FILE: a YAML file that holds the arguments of a command, under the names of its options.

    MODEL: path/to/model
    benchmark: {stereoset: dev.json}
    batch-tokens: 2048
    out: runs/base

What is also given on the command line takes precedence. Every file is made into words of a command line, so that its
values are checked exactly as typed ones are.
"""

import difflib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cyclopts import App, Argument

from biasunlearn.errors import RequestError

if TYPE_CHECKING:  # heavy, and few commands are given a file
    import yaml

OPTION = "--arguments"


def with_arguments(app: App, words: Sequence[str]) -> list[str]:
    """The words of a command line with those of its file of arguments, if it names one.

    Raises:
        RequestError: the file cannot be read, holds an unknown key or a value of a wrong kind. Names file and line.
    """
    rest, path = _taken(words)
    if path is None:
        return rest
    chain, apps, _ = app.parse_commands(rest)
    if not chain:
        raise RequestError(f"{OPTION} {path}: belongs to a command, as in biasunlearn measure {OPTION} {path}")
    known = _known(apps[-1])
    typed = {word.partition("=")[0] for word in rest if word.startswith("--")}
    positional, options = [], []
    for key, line, node in _entries(path):
        where = f"{path}:{line}"
        found = known.get(key) or known.get(key.replace("_", "-"))
        if found is None:
            near = difflib.get_close_matches(key, known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(sorted(known))}"
            raise RequestError(f"{where}: unknown argument {key!r} of {chain[-1]}; {hint}")
        if found.index is not None:
            positional += _values(node, where)
        elif not typed & set(found.names):
            options += _option(found, node, where)
    after = rest[len(chain) :]
    given = after if _has_positional(after, known) else [*positional, *after]
    return [*chain, *given, *options]


def _taken(words: Sequence[str]) -> tuple[list[str], str | None]:
    """The words without the option, and its value. RequestError where it has none, or is given twice."""
    rest, paths, place = [], [], 0
    while place < len(words):
        word = words[place]
        if word == OPTION:
            place += 1
            if place == len(words):
                raise RequestError(f"{OPTION}: needs a value")
            paths.append(words[place])
        elif word.startswith(f"{OPTION}="):
            paths.append(word.partition("=")[2])
        else:
            rest.append(word)
        place += 1
    if len(paths) > 1:
        raise RequestError(f"{OPTION}: given twice; put everything into one file")
    return rest, paths[0] if paths else None


def _known(command: App) -> dict[str, Argument]:
    """{name in a file: argument}: long options without dashes; positional ones as in the help (MODEL), or in small
    letters where no option has that name.
    """
    every = [one for one in command.assemble_argument_collection() if one.name != "*"]
    options = {name.lstrip("-"): one for one in every if one.index is None for name in one.names}
    positional = {one.name.partition("=")[0]: one for one in every if one.index is not None}
    lower = {name.lower(): one for name, one in positional.items()}
    return {**lower, **positional, **options}


def _entries(path: str) -> Iterator[tuple[str, int, "yaml.Node"]]:
    """(key, line, value) of a file."""
    import yaml

    from biasunlearn.data.files import read_text
    from biasunlearn.strict_yaml import compose_yaml

    node = compose_yaml(read_text(Path(path)), path)
    if not isinstance(node, yaml.MappingNode):
        raise RequestError(f"{path}: must hold `option: value` lines")
    for key, value in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise RequestError(f"{path}:{key.start_mark.line + 1}: a name of an option must be a word")
        yield key.value, key.start_mark.line + 1, value


def _option(argument: Argument, node: "yaml.Node", where: str) -> list[str]:
    """An option and its value as words; nothing for false and null."""
    name = next(one for one in argument.names if one.startswith("--"))
    if argument.hint is bool:
        value = _plain(node)
        if not isinstance(value, bool):
            raise RequestError(f"{where}: {name.lstrip('-')} is on or off; write true or false")
        return [name] if value else []
    return [word for value in _values(node, where) for word in (name, value)]


def _values(node: "yaml.Node", where: str) -> list[str]:
    """A value as words: one of a single value, several of a list, NAME=VALUE of a mapping."""
    import yaml

    if isinstance(node, yaml.ScalarNode):
        return [] if node.tag.endswith(":null") else [node.value]
    if isinstance(node, yaml.SequenceNode):
        return [_scalar(one, where) for one in node.value]
    return [f"{_scalar(key, where)}={_scalar(value, where)}" for key, value in node.value]


def _scalar(node: "yaml.Node", where: str) -> str:
    import yaml

    if not isinstance(node, yaml.ScalarNode):
        raise RequestError(f"{where}: a value in a list or a mapping must be a single word or number")
    return str(node.value)


def _plain(node: "yaml.Node") -> Any:
    import yaml

    return yaml.safe_load(node.value) if isinstance(node, yaml.ScalarNode) else None


def _has_positional(words: Sequence[str], known: dict[str, Argument]) -> bool:
    """Whether the command line gives positional arguments itself: a word that is no option and no option's value."""
    flags = {name for one in known.values() if one.hint is bool for name in one.names}
    for place, word in enumerate(words):
        if not word.startswith("-"):
            before = words[place - 1] if place else ""
            if not before.startswith("--") or "=" in before or before in flags:
                return True
    return False
