"""Syllogisms whose validity is decided by enumeration and whose conclusion is believable or not: balanced arguments.

A syllogism has two premises and a conclusion about three terms: subject S, middle M and predicate P. Three terms divide
the world into 8 regions, each of which is empty or not: 256 cases. An argument is valid if its conclusion holds in
every case in which its premises hold. Forms that are valid only if every term exists (existential import) are left
out, and so are forms whose premises cannot both hold then: people disagree about the former, and the latter prove
anything.

Balance: with the conclusion "All S are P" or "No S are P", and P the kind of S or another kind, the conclusion is
believable or not; each of the four is drawn as often with a valid form as with an invalid one. So neither validity nor
plausibility can be read from the words "All" and "No", and validity cannot be read from plausibility.
"""

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np

Quantifier = Literal["All", "No", "Some"]
Term = Literal["S", "M", "P"]

REGIONS = tuple(itertools.product((False, True), repeat=3))
"""Whether something is S, M and P: the 8 regions."""

CASES = tuple(itertools.product((False, True), repeat=8))
"""Which of the regions are not empty."""

STATEMENT = re.compile(r"(All|No|Some) (.+?) are (?:not )?(.+?)\.?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Statement:
    """All, No or Some `first` are `second`."""

    quantifier: Quantifier
    first: Term
    second: Term

    def text(self, names: Mapping[str, str]) -> str:
        """The statement with these names of the terms, without a full stop."""
        return f"{self.quantifier} {names[self.first]} are {names[self.second]}"


@dataclass(frozen=True, slots=True)
class Form:
    """Two premises and a conclusion about S and P."""

    premises: tuple[Statement, Statement]
    conclusion: Statement
    valid: bool


@dataclass(frozen=True, slots=True)
class Argument:
    """A form with words in it."""

    subject: str
    premise_1: str
    premise_2: str
    conclusion: str
    valid: bool
    believable: bool
    """Of the conclusion; without meaning where the terms are nonsense."""
    real: bool
    """Real terms, and not nonsense ones."""


def holds(statement: Statement, case: Sequence[bool]) -> bool:
    """Is the statement true in a case? `case` states for each region in `REGIONS` whether it is not empty.

    By hand: in a case whose only region that is not empty is S and M and not P, "All S are M" and "No S are P" are
    true.
    """
    first, second = ("SMP".index(term) for term in (statement.first, statement.second))
    both = any(full for full, region in zip(case, REGIONS, strict=True) if region[first] and region[second])
    only = any(full for full, region in zip(case, REGIONS, strict=True) if region[first] and not region[second])
    return {"All": not only, "No": not both, "Some": both}[statement.quantifier]


def is_valid(premises: Sequence[Statement], conclusion: Statement, *, existence: bool = False) -> bool | None:
    """Does the conclusion hold in every case in which the premises hold? None where they hold in no case.

    Args:
        existence: only cases in which something is S, something is M and something is P.
    """
    cases = [case for case in CASES if (not existence or _all_exist(case)) and all(holds(p, case) for p in premises)]
    return all(holds(conclusion, case) for case in cases) if cases else None


def _all_exist(case: Sequence[bool]) -> bool:
    return all(
        any(full for full, region in zip(case, REGIONS, strict=True) if region[term]) for term in range(3)
    )


@cache
def forms(quantifier: Quantifier) -> tuple[Form, ...]:
    """All forms with the conclusion "All (No) S are P" whose validity nobody disputes, with the premises of a valid
    one: two with All, or one with All and one with No. So validity is in the order of the terms alone."""
    conclusion = Statement(quantifier, "S", "P")
    words: tuple[Quantifier, ...] = ("All", "No")
    orders: tuple[tuple[tuple[Term, Term], ...], ...] = ((("M", "P"), ("P", "M")), (("S", "M"), ("M", "S")))
    majors, minors = (
        [Statement(word, *order) for word in words for order in both] for both in orders
    )
    found = []
    for premises in itertools.product(majors, minors):
        if sum(premise.quantifier == "No" for premise in premises) != (quantifier == "No"):
            continue
        modern, classical = is_valid(premises, conclusion), is_valid(premises, conclusion, existence=True)
        if classical is not None and modern is not None and modern == classical:
            found.append(Form(premises, conclusion, modern))
    return tuple(found)


def is_malformed(premise_1: str, premise_2: str, conclusion: str) -> bool:
    """Does the conclusion name a term that is in neither premise? Statements of another shape are not judged.

    By hand: "No gems are diamonds", "All diamonds are gems", "No gems are transparent things": malformed.
    """
    matches = [STATEMENT.fullmatch(text.strip()) for text in (premise_1, premise_2, conclusion)]
    terms = [{match.group(2).casefold(), match.group(3).casefold()} for match in matches if match]
    return len(terms) == 3 and not terms[2] <= terms[0] | terms[1]


def real_arguments(
    kinds: Mapping[str, Sequence[str]], middles: Sequence[str], rng: np.random.Generator
) -> Iterator[Argument]:
    """Eight arguments about every member of every kind: All and No, believable and not, valid and not.

    Args:
        kinds: {kind: its members, which belong to no other of the kinds}; at least two.
        middles: middle terms about which nothing is known, such as "things in the north hall".
    """
    for kind, members in kinds.items():
        others = [name for name in kinds if name != kind]
        for member in members:
            for quantifier, believable, valid in itertools.product(("All", "No"), (True, False), (True, False)):
                own = believable is (quantifier == "All")
                predicate = kind if own else str(rng.choice(others))
                names = {"S": member, "M": str(rng.choice(middles)), "P": predicate}
                yield _argument(quantifier, names, valid, believable, True, rng)


def nonsense_arguments(
    subjects: Sequence[str], predicates: Sequence[str], middles: Sequence[str], rng: np.random.Generator
) -> Iterator[Argument]:
    """Four arguments about every nonsense subject: All and No, valid and not."""
    for subject in subjects:
        for quantifier, valid in itertools.product(("All", "No"), (True, False)):
            names = {"S": subject, "M": str(rng.choice(middles)), "P": str(rng.choice(predicates))}
            yield _argument(quantifier, names, valid, quantifier == "All", False, rng)


def _argument(
    quantifier: str, names: Mapping[str, str], valid: bool, believable: bool, real: bool, rng: np.random.Generator
) -> Argument:
    """An argument of a random form of this validity, with its premises in random order."""
    usable = [form for form in forms(_quantifier(quantifier)) if form.valid is valid]
    form = usable[int(rng.integers(len(usable)))]
    first, second = (form.premises[n].text(names) for n in rng.permutation(2))
    return Argument(names["S"], first, second, form.conclusion.text(names), valid, believable, real)


def _quantifier(word: str) -> Quantifier:
    return "All" if word == "All" else "No"
