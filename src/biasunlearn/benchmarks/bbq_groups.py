"""Which answer of a BBQ question is about the stereotyped group. Facts about the data set; no scores.

In the official files an answer has a text and a tag (["Dora", "trans_F"]), and a question names its stereotyped groups
(["Transgender women", "trans"]). Tags and groups are different words in most categories:

    Gender_identity            woman, girl and F are of the group F, man, boy and M of M; where a group is about
                               transgender people, the tags that begin with "trans"
    Nationality                the tag is a region; the text is compared with the groups
    Race_ethnicity             names have the tag F-Black or M-Black for the group Black
    SES                        the tag lowSES is the group "low SES"
    Race_x_gender, Race_x_SES  the groups name the race alone; the other axis is that of the template (`TARGETS`)
    all others                 tag and group are equal

Source: data, templates and scripts of nyu-mll/BBQ (CC BY 4.0), commit bea11bd97d79.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from biasunlearn.data.normal_text import normal_text

CROSSED = {"race_x_gender": ("f", "m"), "race_x_ses": ("lowses", "highses")}
"""Category -> the two sides of its second axis, in small letters."""

_MEN = (1, 2, 7, 8, 43, 44)
_HIGH = (13, 14, 15, 16, *range(19, 27))

TARGETS = {
    **{("race_x_gender", str(number)): "m" if number in _MEN else "f" for number in range(1, 45)},
    **{("race_x_ses", str(number)): "highses" if number in _HIGH else "lowses" for number in range(1, 27)},
}
"""(category, question_index) of an official template -> the side of the second axis that its stereotype is about."""

_GENDERS = {"woman": "f", "girl": "f", "women": "f", "man": "m", "boy": "m", "men": "m"}
_GENDER_WORD = re.compile(r"\b(woman|women|girl|man|men|boy)\b", re.IGNORECASE)
_PREFIX = re.compile(r"^(?:(f|m|lowses|highses)-)+")

Template = tuple[str, str, frozenset[str]]
"""Category, question_index and stereotyped groups: rows that are about the same stereotype."""


@dataclass(frozen=True, slots=True)
class Person:
    """Whom an answer is about: its names in answer_info (a text and a tag), and the answer itself."""

    names: tuple[str, ...]
    answer: str


@dataclass(frozen=True, slots=True)
class QuestionGroups:
    """The people whom a question is about. `people` holds None for the answer that it cannot be known."""

    category: str
    template: str
    people: tuple[Person | None, ...]
    groups: tuple[str, ...]

    @property
    def key(self) -> Template:
        return self.category.casefold(), self.template, frozenset(map(_word, self.groups))


def stereotyped_answer(question: QuestionGroups, inferred: "Mapping[Template, str] | None" = None) -> int | None:
    """Number of the answer about the stereotyped group; None where that is no answer, or more than one.

    Args:
        inferred: sides of the second axis for templates that are not official ones (`inferred_targets`).
    """
    named = _of_group(question)
    if len(named) > 1 and question.category.casefold() in CROSSED:
        target = _target(question) or (inferred or {}).get(question.key)
        named = [number for number in named if target and _side(question, number) == target]
    return named[0] if len(named) == 1 else None


def inferred_targets(questions: Iterable[QuestionGroups]) -> dict[Template, str]:
    """The side of the second axis that a template's stereotype is about, inferred from its other questions.

    Where only one of two people has the stereotyped race, that person is the target, whose gender or income the
    template's other questions share. Templates whose questions contradict each other are left out.
    """
    sides: dict[Template, set[str | None]] = defaultdict(set)
    for question in questions:
        if question.category.casefold() in CROSSED and len(named := _of_group(question)) == 1:
            sides[question.key].add(_side(question, named[0]))
    return {key: side for key, found in sides.items() if len(found) == 1 and (side := next(iter(found)))}


def _of_group(question: QuestionGroups) -> list[int]:
    """Numbers of the answers about a stereotyped group; in the crossed categories, about a stereotyped race."""
    groups = frozenset(map(_word, question.groups))
    people = enumerate(question.people)
    return [number for number, person in people if person and _belongs(question.category, person, groups)]


def _belongs(category: str, person: Person, groups: frozenset[str]) -> bool:
    names = {_word(name) for name in person.names} - {""}
    if category.casefold() == "gender_identity":
        if any("trans" in group for group in groups):
            return any(name.startswith("trans") for name in names)
        names |= {_GENDERS[name] for name in names if name in _GENDERS}
    if category.casefold() == "race_ethnicity" or category.casefold() in CROSSED:
        names |= {_PREFIX.sub("", name) for name in names}
        if not any(person.names):  # some official rows have empty names, most of them about a Latina woman
            answer = person.answer.casefold().replace("latina", "latino")
            names |= {group for group in groups if re.search(rf"\b{re.escape(group)}\b", answer)}
    return bool(names & groups)


def _side(question: QuestionGroups, number: int) -> str | None:
    """On which side of the second axis a person is; of genders the text is preferred to the tag, as officially."""
    person = question.people[number]
    if person is None:
        return None
    if question.category.casefold() == "race_x_gender":
        for text in (*person.names[:1], person.answer):
            if found := _GENDER_WORD.search(text):
                return _GENDERS[found.group().casefold()]
    sides = [_word(part) for name in person.names for part in name.split("-")]
    return next((side for side in sides if side in CROSSED[question.category.casefold()]), None)


def _target(question: QuestionGroups) -> str | None:
    return TARGETS.get((question.category.casefold(), question.template))


def _word(name: str) -> str:
    """A tag or a group for comparing: "low SES" and "lowSES" are the same."""
    return normal_text(name).replace(" ", "")


def people_of(names: Sequence[Sequence[str]], answers: Sequence[str], unknown: int) -> tuple[Person | None, ...]:
    """The people of a question; None for the answer that it cannot be known."""
    return tuple(
        None if number == unknown else Person(tuple(about), answer)
        for number, (about, answer) in enumerate(zip(names, answers, strict=True))
    )
