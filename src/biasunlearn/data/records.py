"""The nouns of the field, as frozen records. No torch, no files: everything else imports these.

A *triplet* is one item of a bias benchmark: a context, a stereotype, an anti-stereotype and, where
the data has one, an unrelated sentence. A training pair is a triplet without an unrelated sentence.
A *passage* is what a language model is asked about: a prefix that is given and a text that is scored.
"""

from dataclasses import dataclass
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
        tail = self._shared_tail(self._rests()) if to == "difference" else 0
        return _divided(sentence, self._head(sentence), tail)

    def supervised_sides(self, to: Literal["end", "difference"] = "end") -> tuple[Passage, Passage]:
        """`supervised` of the stereotype and of the anti-stereotype, in half of the time."""
        if self.kind == "intersentence":
            return self.whole(self.stereotype), self.whole(self.anti_stereotype)
        heads = self._head(self.stereotype), self._head(self.anti_stereotype)
        rests = self.stereotype.text[len(heads[0]) :], self.anti_stereotype.text[len(heads[1]) :]
        tail = self._shared_tail(rests) if to == "difference" else 0
        return _divided(self.stereotype, heads[0], tail), _divided(self.anti_stereotype, heads[1], tail)

    def _head(self, sentence: Sentence) -> str:
        """The sentence up to its BLANK, without the space there: in most tokenizers that belongs to the next word."""
        cut = self.context.find(BLANK)
        begin, found = self.context[:cut], sentence.text[:cut]
        if cut < 0 or (begin != found and begin.casefold() != found.casefold()):
            cut = shared_prefix(self.stereotype.text, self.anti_stereotype.text)
        return sentence.text[:cut].rstrip()

    def _rests(self) -> tuple[str, str]:
        """Both sentences from the BLANK on."""
        first, second = self.stereotype, self.anti_stereotype
        return first.text[len(self._head(first)) :], second.text[len(self._head(second)) :]

    def _shared_tail(self, rests: tuple[str, str]) -> int:
        """Characters that both sentences end with; none where a side would be left empty."""
        tail = shared_suffix(*rests)
        return tail if tail < min(map(len, rests)) else 0


def _divided(sentence: Sentence, head: str, tail: int) -> Passage:
    """The sentence divided behind its head and before its last `tail` characters."""
    end = len(sentence.text) - tail
    return Passage(head, sentence.text[len(head) : end], sentence.text[end:])
