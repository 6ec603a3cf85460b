"""YAML, read strictly and within limits: recipes, policies, term families and the config.yaml of a run.

What PyYAML accepts silently, or fails at without a usable message, is an error of one line: a key that occurs twice, so
that one of its values would be lost; aliases that multiply to millions of values; a file that is not a regular one.
"""

from pathlib import Path
from typing import Any

import yaml

from biasunlearn.errors import RequestError
from biasunlearn.regular_file import read_regular

MAX_BYTES = 2**20
"""Largest size of a YAML file: a recipe has one kilobyte, and a megabyte takes PyYAML some seconds."""

MAX_NODES = 200_000
"""Most values of a file after its aliases are put in place."""

MAX_DEPTH = 50
"""Most lists and mappings inside each other. The loader in C ends the process at some ten thousand."""

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

def read_yaml(path: str | Path) -> Any:
    """The value of a YAML file in UTF-8; None where it is empty.

    Raises:
        RequestError: there is no such file; it is a folder, a pipe or larger than `MAX_BYTES`; as `parse_yaml`.
    """
    return parse_yaml(_text(path), str(path))


def parse_yaml(text: str, where: str) -> Any:
    """The value of a YAML text; None where it is empty.

    Args:
        where: the file or option that it comes from, for messages.
    Raises:
        RequestError: not YAML, a key that occurs twice, nested too deeply, an alias of itself, more than `MAX_NODES`
            values, a value that is not of the type that its form or tag says. The message names the line.
    """
    node = compose_yaml(text, where)
    try:
        return None if node is None else _constructed(node)
    except yaml.MarkedYAMLError as error:
        raise _at_mark(error, where) from None
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, RecursionError) as error:
        # An integer of thousands of digits, the 31st of June, a tag such as !!bool on another word.
        reason = " ".join(str(error).split())[:80]
        raise RequestError(f"{where}: not usable YAML: a value that cannot be read ({reason}); quote it") from None


def compose_yaml(text: str, where: str) -> yaml.Node | None:
    """The same as a tree of nodes, which know their lines. None where the text is empty. Raises as `parse_yaml`."""
    try:
        _refuse_deep(text, where)
        node: yaml.Node | None = yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        raise _at_mark(error, where) from None
    except yaml.YAMLError as error:  # a character that YAML does not allow
        reason = " ".join(str(error).split())
        raise RequestError(f"{where}: not YAML: {reason}; save it as plain text in UTF-8") from None
    except UnicodeEncodeError:
        raise RequestError(f"{where}: not YAML: holds half of a character (a surrogate); remove it") from None
    if node is not None:
        _check(node, where)
    return node


def _refuse_deep(text: str, where: str) -> None:
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            line = f":{event.start_mark.line + 1}" if event.start_mark else ""
            raise RequestError(f"{where}{line}: not usable YAML: nested more than {MAX_DEPTH} levels deep")


def _constructed(node: yaml.Node) -> Any:
    loader = yaml.SafeLoader("")
    try:
        return loader.construct_document(node)
    finally:
        loader.dispose()


def _check(root: yaml.Node, where: str) -> None:
    """Refuses keys that occur twice, aliases of themselves, and more than `MAX_NODES` values."""
    sizes: dict[int, int] = {}
    open_nodes: set[int] = set()
    stack: list[tuple[yaml.Node, bool]] = [(root, False)]
    while stack:
        node, done = stack.pop()
        if done:
            open_nodes.discard(id(node))
            sizes[id(node)] = 1 + sum(sizes[id(child)] for child in _children(node))
            if sizes[id(node)] > MAX_NODES:
                raise RequestError(f"{_line(node, where)}: not usable YAML: more than {MAX_NODES:,} values")
        elif id(node) in open_nodes:
            raise RequestError(f"{_line(node, where)}: not usable YAML: an alias stands for what it is part of")
        elif id(node) not in sizes:
            open_nodes.add(id(node))
            stack.append((node, True))
            stack += [(child, False) for child in _children(node)]
            _refuse_twice(node, where)


def _children(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [part for pair in node.value for part in pair]
    return list(node.value) if isinstance(node, yaml.SequenceNode) else []


def _refuse_twice(node: yaml.Node, where: str) -> None:
    if not isinstance(node, yaml.MappingNode):
        return
    seen: set[tuple[str, str]] = set()
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode):
            continue
        if (key.tag, key.value) in seen:
            raise RequestError(f"{_line(key, where)}: the key {key.value[:60]!r} occurs twice; keep one of them")
        seen.add((key.tag, key.value))


def _line(node: yaml.Node, where: str) -> str:
    return f"{where}:{node.start_mark.line + 1}"


def _at_mark(error: yaml.MarkedYAMLError, where: str) -> RequestError:
    mark = error.problem_mark or error.context_mark
    line = f":{mark.line + 1}" if mark else ""
    reason = " ".join((error.problem or error.context or "wrong at this place").split())[:120]
    return RequestError(f"{where}{line}: not YAML: {reason}; fix this line, or quote its value")


def _text(path: str | Path) -> str:
    too_large = f"larger than {MAX_BYTES / 2**20:g} MiB; a YAML file of ours has kilobytes"
    try:
        return read_regular(path, most=MAX_BYTES, too_large=too_large).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise RequestError(f"{path}: not UTF-8 at byte {error.start}; save it as UTF-8") from None
