"""The nouns of the field, as frozen records. No torch, no files: everything else imports these.

A *triplet* is one item of a bias benchmark: a context, a stereotype, an anti-stereotype and, where
the data has one, an unrelated sentence. A training pair is a triplet without an unrelated sentence.
A *passage* is what a language model is asked about: a prefix that is given and a text that is scored.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from biasunlearn.data.words import shared_prefix, shared_suffix

BLANK = "BLANK"

Kind = Literal["intrasentence", "intersentence"]
Role = Literal["stereotype", "anti-stereotype", "unrelated"]


@dataclass(frozen=True, slots=True)
class Sentence:
    """One candidate sentence of a triplet. `id` is unique within its data file."""

    id: str
    text: str


@dataclass(frozen=True, slots=True)
class Passage:
    """`text` is scored (or trained on), `prefix` is only given. The full string is prefix + text + suffix."""

    prefix: str
    text: str
    suffix: str = ""
    """What follows the text. Masked models are given it as well; causal models do not see it."""


@dataclass(frozen=True, slots=True)
class Triplet:
    """One item: who it is about (target term), which bias type, and its two or three sentences."""

    id: str
    bias_type: str
    kind: Kind
    context: str
    """Intrasentence: the template, holding BLANK (may be empty if the data has no template).
    Intersentence: the sentence that comes before the candidates."""
    stereotype: Sentence
    anti_stereotype: Sentence
    unrelated: Sentence | None = None
    target: str | None = None
    source: str = ""
    """Where the row came from, as `file:line`, for messages."""

    def sentences(self) -> list[tuple[Role, Sentence]]:
        """The two or three sentences with their roles, in the fixed order of the roles."""
        named: list[tuple[Role, Sentence]] = [
            ("stereotype", self.stereotype),
            ("anti-stereotype", self.anti_stereotype),
        ]
        return named if self.unrelated is None else [*named, ("unrelated", self.unrelated)]

    def whole(self, sentence: Sentence) -> Passage:
        """What a benchmark scores: every token of the sentence, given the context if it is another sentence.

        StereoSet's official causal score averages over all tokens of an intrasentence candidate.
        """
        if self.kind == "intersentence":
            return Passage(self.context, " " + sentence.text)
        return Passage("", sentence.text)

    def supervised(self, sentence: Sentence, to: Literal["end", "difference"] = "end") -> Passage:
        """What training supervises: the sentence from the BLANK on (y given x in the paper's equations).

        The template gives the place of the BLANK; official sentences differ from it in letter case
        (793 of 2,106), so the comparison ignores case. Where no template fits, the part that the two
        sentences of the pair share is the context. The cut always falls on a word boundary.

        Args:
            to: end (paper), or difference: up to the last word in which the two sentences of the pair differ. What
                follows is the same in both, so forgetting and retaining it is noise; it is the passage's suffix. A pair
                that would be left with an empty side ("poor", "not poor") keeps its end.
        """
        if self.kind == "intersentence":
            return self.whole(sentence)
        head = self._head(sentence)
        shared = _divided(*self._heads_and_rests()[1])[0][1] if to == "difference" else ""
        end = len(sentence.text) - len(shared)
        return Passage(head, sentence.text[len(head) : end], sentence.text[end:])

    def supervised_sides(self, to: Literal["end", "difference"] = "end") -> tuple[Passage, Passage]:
        """`supervised` of the stereotype and of the anti-stereotype, in half of the time."""
        if self.kind == "intersentence":
            return self.whole(self.stereotype), self.whole(self.anti_stereotype)
        heads, rests = self._heads_and_rests()
        sides = _divided(*rests) if to == "difference" else ((rests[0], ""), (rests[1], ""))
        return Passage(heads[0], *sides[0]), Passage(heads[1], *sides[1])

    def _head(self, sentence: Sentence) -> str:
        """The sentence up to its BLANK, without the space there: in most tokenizers that belongs to the next word."""
        cut = self.context.find(BLANK)
        begin, found = self.context[:cut], sentence.text[:cut]
        if cut < 0 or (begin != found and begin.casefold() != found.casefold()):
            cut = shared_prefix(self.stereotype.text, self.anti_stereotype.text)
        return sentence.text[:cut].rstrip()

    def _heads_and_rests(self) -> tuple[tuple[str, str], tuple[str, str]]:
        """Of both sentences what stands before the BLANK, and the rest."""
        first, second = self.stereotype.text, self.anti_stereotype.text
        template, blank, _ = self.context.partition(BLANK)
        if blank and first.startswith(template) and second.startswith(template):  # most pairs: the head is made once
            head = template.rstrip()
            return (head, head), (first[len(head) :], second[len(head) :])
        heads = self._head(self.stereotype), self._head(self.anti_stereotype)
        return heads, (first[len(heads[0]) :], second[len(heads[1]) :])


@lru_cache(maxsize=2**16)  # a large file is made of templates, and what follows the BLANK recurs in it
def _divided(first: str, second: str) -> tuple[tuple[str, str], tuple[str, str]]:
    """Two texts, each divided before what both end with; undivided where a side would be left empty."""
    tail = shared_suffix(first, second)
    ends = (len(first) - tail, len(second) - tail) if tail < min(len(first), len(second)) else (len(first), len(second))
    return (first[: ends[0]], first[ends[0] :]), (second[: ends[1]], second[ends[1] :])


def main_kind(triplets: Iterable[Triplet]) -> Kind:
    """The kind of pairs that the scores of a file are about: intrasentence where it has such pairs."""
    return "intrasentence" if any(triplet.kind == "intrasentence" for triplet in triplets) else "intersentence"
