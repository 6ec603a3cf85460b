"""Subgroups of target terms: female and male terms, parts of the world, faiths; from the term lists.

A mean SS of 50 over a bias type can hide a subgroup at 35 beside one at 65. Which terms form a subgroup is read from
the term lists (term_lists.py), so that a list of the user's brings its own subgroups.

    pairs      the left sides form one subgroup and the right sides the other. They are called male and female where
               the list has the pair [male, female], and otherwise by the words that all terms of a side begin with
               (Black, White), or by the first pair.
    groups     a family is a subgroup; without families every group is one, called by its first term
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache

from biasunlearn.data.families import family_of, normal_form, shipped_families
from biasunlearn.data.normal_text import bias_type_name
from biasunlearn.data.term_lists import SHIPPED, TermList, load_term_list

Subgroups = Mapping[str, Mapping[str, str]]
"""{bias type: {normal form of a term, or name of its family: subgroup}}"""

PRONOUN_SIDES = (("he", "him", "his", "himself"), ("she", "her", "hers", "herself"))


def term_lists(paths: Sequence[str] = ()) -> tuple[TermList, ...]:
    """The shipped term lists and the user's; one of the user's takes the place of a shipped one of its bias type.

    Raises:
        RequestError: a list cannot be read or is no term list.
    """
    own = [load_term_list(path) for path in paths]
    named = {bias_type_name(one.bias_type) for one in own}
    return (*(one for one in _shipped_lists() if one.bias_type not in named), *own)


def load_subgroups(paths: Sequence[str] = ()) -> Subgroups:
    """The subgroups of the shipped term lists and of the user's. Raises as `term_lists`."""
    found: dict[str, dict[str, str]] = {}
    for one in term_lists(paths):
        found.setdefault(bias_type_name(one.bias_type), {}).update(_of_list(one))
    return found


def subgroup_of(bias_type: str, term: str, known: Subgroups) -> str:
    """The subgroup of a target term; "" where no list has the term or another one of its family."""
    names = known.get(bias_type, {})
    own = normal_form(term)
    return names.get(own) or names.get(_family_key(family_of(bias_type, own)), "")


@lru_cache(maxsize=1)
def _shipped_lists() -> tuple[TermList, ...]:
    return tuple(load_term_list(name) for name in SHIPPED)


def _of_list(terms: TermList) -> dict[str, str]:
    """{normal form, or family: subgroup} of one list. A term or a family that is in two subgroups has none."""
    claims: list[tuple[str, str]] = []
    sides = [*zip(*terms.pairs, strict=True)] if terms.pairs else []
    for name, side in zip(_side_names(terms), sides, strict=True):
        claims += [(term, name) for term in side]
    if terms.pronouns:
        claims += [(term, name) for name, side in zip(_side_names(terms), PRONOUN_SIDES, strict=True) for term in side]
    for group in terms.groups:
        claims += [(term, group.family or group.forms[0][1]) for _, term in group.forms]
    bias_type = bias_type_name(terms.bias_type)
    keyed = [(normal_form(term), name) for term, name in claims]
    keyed += [(_family_key(family_of(bias_type, term, shipped_families())), name) for term, name in claims]
    return _unambiguous(keyed)


def _unambiguous(claims: Iterable[tuple[str, str]]) -> dict[str, str]:
    found: dict[str, set[str]] = {}
    for key, name in claims:
        found.setdefault(key, set()).add(name)
    return {key: next(iter(names)) for key, names in found.items() if len(names) == 1}


def _side_names(terms: TermList) -> tuple[str, ...]:
    """What the left and the right sides of the pairs are called."""
    if not terms.pairs:
        return ()
    if ("male", "female") in terms.pairs:
        return "male", "female"
    left, right = (_common_words(side) for side in zip(*terms.pairs, strict=True))
    return (left, right) if left and right and left != right else terms.pairs[0]


def _common_words(side: Sequence[str]) -> str:
    """The words that all terms of a side begin with; "" for a single term."""
    split = [term.split() for term in side]
    shared = []
    for words in zip(*split, strict=False):
        if len(set(words)) > 1:
            break
        shared.append(words[0])
    return " ".join(shared) if len(side) > 1 else ""


def _family_key(family: str) -> str:
    return f"family: {family}"
