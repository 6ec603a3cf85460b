"""Term lists: which words may be exchanged for which, shipped with this package or written by the user.

A term list is YAML. This is a complete one:

    bias_type: gender
    pairs:                      # swapped in both directions; the order (left, right) tells the two sides
      - [he, she]               # this pair means all pronouns: him, his, her, hers, himself, herself
      - [uncle, aunt]
    one_way:                    # swapped in this direction only
      - [auntie, uncle]
    neutral: [mother tongue]    # where a term means something else; matched in exactly this letter case
    clashes: [pregnant, Mary]   # a sentence with one of these cannot be swapped

or, where a term has several counterparts, `groups` in place of (or beside) `pairs`:

    bias_type: race
    groups:                     # the names of the forms (adjective, person, ...) are free
      - {family: Americas, adjective: Mexican, person: Mexican, people: Mexicans, place: Mexico}
      - {family: Americas, adjective: Canadian, person: Canadian, people: Canadians, place: Canada}
      - {family: Europe, adjective: Spanish, person: Spaniard, people: Spaniards, place: Spain}

A CSV file gives pairs only: a header `term,counterpart`, one pair per row; its bias type is the file's name.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import yaml

from biasunlearn.data.delimited import delimited_rows
from biasunlearn.data.files import lines_of, read_text
from biasunlearn.data.rows import BadRow, text_of
from biasunlearn.errors import RequestError
from biasunlearn.strict_yaml import compose_yaml

LISTS = Path(__file__).parent / "lists"
SHIPPED = ("gender", "profession", "race", "religion")
"""The term lists of this package."""

KEYS = ("bias_type", "pairs", "one_way", "groups", "neutral", "clashes")

APOSTROPHE = "['’]"
"""A regular expression for an apostrophe, straight or curly."""

PRONOUN_SIDES = {"him": 0, "his": 0, "her": 1, "hers": 1}
"""Pronouns whose counterpart the next words decide (english_pronouns.py), and the side that they are on."""

PRONOUNS = {"he", "she", "himself", "herself", *PRONOUN_SIDES}


@dataclass(frozen=True, slots=True)
class Group:
    """One social group: its terms by form, e.g. ("adjective", "Mexican"), ("place", "Mexico")."""

    forms: tuple[tuple[str, str], ...]
    family: str = ""
    """Counterparts come from another family. Groups without a family swap with all others."""


@dataclass(frozen=True, slots=True)
class TermList:
    """What may be swapped for what. Raises RequestError if a term is given two meanings."""

    bias_type: str
    pairs: tuple[tuple[str, str], ...] = ()
    one_way: tuple[tuple[str, str], ...] = ()
    groups: tuple[Group, ...] = ()
    neutral: tuple[str, ...] = ()
    clashes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _refuse_contradiction(self)

    @property
    def pronouns(self) -> bool:
        """Whether the list swaps the pronouns: it has the pair he, she."""
        return any({term_key(a), term_key(b)} == {"he", "she"} for a, b in self.pairs)


def load_term_list(path_or_name: str | Path) -> TermList:
    """A shipped list by name (gender, race, religion, profession) or a user's YAML or CSV file.

    Raises RequestError that names file, line and fix.

    Args:
        path_or_name: gender, race, religion, profession, or a YAML or CSV file.
    """
    path = LISTS / f"{path_or_name}.yaml" if str(path_or_name) in SHIPPED else Path(path_or_name)
    try:
        text = read_text(path)
    except RequestError as error:
        if not str(error).endswith("no such file"):
            raise
        raise RequestError(
            f"no term list {str(path_or_name)!r}: it is not a file, nor a shipped list ({', '.join(SHIPPED)})"
        ) from None
    if path.suffix.lower() == ".csv":
        return _from_csv(path, text)
    return _from_yaml(path, text)


def term_key(text: str) -> str:
    """A term for comparing: without letter case, surplus spaces and the form of its apostrophes."""
    return " ".join(re.sub(APOSTROPHE, "'", text.casefold()).split())


class _Contradiction(RequestError):
    """A list gives `term` two meanings. The loader adds the line."""

    def __init__(self, term: str, message: str):
        self.term = term
        super().__init__(message)


def _refuse_contradiction(terms: TermList) -> None:
    """Raises _Contradiction for the first term that the list gives two meanings."""
    seen: dict[str, str] = {}
    claims = [(old, f"{old} -> {new}") for a, b in terms.pairs for old, new in ((a, b), (b, a))]
    claims += [(old, f"{old} -> {new}") for old, new in terms.one_way]
    for number, group in enumerate(terms.groups, start=1):
        own = {term_key(term): term for _, term in group.forms}  # one word may be several forms of its own group
        claims += [(term, f"{term} (group {number})") for term in own.values()]
    claims += [(word, f"{word} (clashes)") for word in terms.clashes]
    for term, claim in claims:
        key = term_key(term)
        if key in PRONOUNS and (key not in ("he", "she") or not terms.pronouns):
            message = f"{term!r} is a pronoun; list only the pair [he, she]: the other pronouns follow from it"
            raise _Contradiction(term, message)
        if key in seen:
            raise _Contradiction(term, f"{term!r} is listed twice: {seen[key]!r} and {claim!r}; keep one of them")
        seen[key] = claim


def _from_csv(path: Path, text: str) -> TermList:
    first = next(lines_of(text), "")
    if [cell.strip(' "\r\n') for cell in first.split(",")] != ["term", "counterpart"]:
        raise RequestError(f"{path}:1: the first line of a CSV term list must be 'term,counterpart'")
    pairs: list[tuple[str, str]] = []
    lines: dict[str, int] = {}
    for place, row in delimited_rows(str(path), text, [("term", "counterpart")]):
        try:
            if isinstance(row, BadRow):
                raise row
            blank = not any(map(str.strip, row.values()))
            cells = [] if blank else [text_of(row, name) for name in ("term", "counterpart")]
        except BadRow as problem:
            raise RequestError(f"{place}: {problem}") from None
        if cells:
            pairs.append(_two_terms(str(place), "pair", [" ".join(cell.split()) for cell in cells]))
            lines |= {term_key(cell): place.number for cell in cells}
    if not pairs:
        raise RequestError(f"{path}: no pairs below the first line; add rows such as 'uncle,aunt'")
    return _checked(path, lines, lambda: TermList(path.stem, tuple(pairs)))


def _from_yaml(path: Path, text: str) -> TermList:
    """Read from the nodes, not the values: they know their line, and a bare `no` stays a word."""
    root = compose_yaml(text, str(path))
    if not isinstance(root, yaml.MappingNode):
        raise RequestError(f"{path}:1: a term list is a mapping with the keys {', '.join(KEYS)}")
    fields = _fields(path, root)
    for key, _ in root.value:
        if key.value not in KEYS:
            raise RequestError(f"{_at(path, key)}: unknown key {key.value!r}; the keys are {', '.join(KEYS)}")
    if "bias_type" not in fields:
        raise RequestError(f"{path}:1: bias_type is missing; add a line such as 'bias_type: gender'")
    if not {"pairs", "groups"} & set(fields):
        raise RequestError(f"{path}:1: neither pairs nor groups; add at least one of them")
    lines: dict[str, int] = {}
    neutral = _phrases(path, fields.get("neutral"), "neutral", {})
    bias_type = _word(path, fields["bias_type"], "bias_type")
    pairs, one_way = (_pairs(path, fields.get(name), name, lines) for name in ("pairs", "one_way"))
    groups = _groups(path, fields.get("groups"), lines)
    clashes = _phrases(path, fields.get("clashes"), "clashes", lines)
    if not pairs and not groups:
        raise RequestError(f"{path}:1: pairs and groups are empty; add at least one pair or two groups")
    return _checked(path, lines, lambda: TermList(bias_type, pairs, one_way, groups, neutral, clashes))


def _checked(path: Path, lines: dict[str, int], terms: Callable[[], TermList]) -> TermList:
    """The list; a contradiction is reported with the last line of its term."""
    try:
        return terms()
    except _Contradiction as error:
        raise RequestError(f"{path}:{lines[term_key(error.term)]}: {error}") from None


def _at(path: Path, node: yaml.Node) -> str:
    return f"{path}:{node.start_mark.line + 1}"


def _fields(path: Path, node: yaml.MappingNode) -> dict[str, yaml.Node]:
    fields: dict[str, yaml.Node] = {}
    for key, value in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise RequestError(f"{_at(path, key)}: a key must be a word, not a list or a mapping")
        if key.value in fields:
            raise RequestError(f"{_at(path, key)}: {key.value!r} occurs twice; keep one of them")
        fields[key.value] = value
    return fields


def _items(path: Path, node: yaml.Node | None, name: str) -> list[yaml.Node]:
    if node is None:
        return []
    if not isinstance(node, yaml.SequenceNode):
        raise RequestError(f"{_at(path, node)}: {name} must be a list; write its items as '- ...' lines")
    return list(node.value)


def _word(path: Path, node: yaml.Node, name: str) -> str:
    word = " ".join(node.value.split()) if isinstance(node, yaml.ScalarNode) else ""
    if not word:
        raise RequestError(f"{_at(path, node)}: {name} must be a word or a phrase")
    return word


def _listed(where: str, name: str, word: str) -> str:
    """A term as it can be found in a sentence: between two word boundaries."""
    if not re.fullmatch(r"\w(.*\w)?", word):
        raise RequestError(f"{where}: {name}: {word!r} must begin and end with a letter or digit ('Mr', not 'Mr.')")
    return word


def _two_terms(where: str, name: str, words: list[str]) -> tuple[str, str]:
    first, second = (_listed(where, name, word) for word in words)
    if term_key(first) == term_key(second):
        raise RequestError(f"{where}: {name}: {first!r} is its own counterpart; give two different words")
    return first, second


def _pairs(path: Path, node: yaml.Node | None, name: str, lines: dict[str, int]) -> tuple[tuple[str, str], ...]:
    pairs = []
    for item in _items(path, node, name):
        words = [_word(path, word, name) for word in item.value] if isinstance(item, yaml.SequenceNode) else []
        if len(words) != 2:
            raise RequestError(f"{_at(path, item)}: each item of {name} holds two terms, as in [uncle, aunt]")
        pairs.append(_two_terms(_at(path, item), name, words))
        lines |= {term_key(word): item.start_mark.line + 1 for word in words}
    return tuple(pairs)


def _groups(path: Path, node: yaml.Node | None, lines: dict[str, int]) -> tuple[Group, ...]:
    groups = []
    for item in _items(path, node, "groups"):
        if not isinstance(item, yaml.MappingNode):
            raise RequestError(f"{_at(path, item)}: each group is a mapping, as in {{person: nurse, people: nurses}}")
        fields = {name: _word(path, value, f"groups: {name}") for name, value in _fields(path, item).items()}
        family = fields.pop("family", "")
        if not fields:
            raise RequestError(f"{_at(path, item)}: a group has no terms; add one, as in {{person: nurse}}")
        for name, word in fields.items():
            _listed(_at(path, item), f"groups: {name}", word)
            lines[term_key(word)] = item.start_mark.line + 1
        groups.append(Group(tuple(fields.items()), family))
    if len(groups) == 1:
        raise RequestError(f"{_at(path, item)}: only one group; add another to swap it with")
    return tuple(groups)


def _phrases(path: Path, node: yaml.Node | None, name: str, lines: dict[str, int]) -> tuple[str, ...]:
    phrases = []
    for item in _items(path, node, name):
        phrases.append(_listed(_at(path, item), name, _word(path, item, name)))
        lines[term_key(phrases[-1])] = item.start_mark.line + 1
    return tuple(phrases)
