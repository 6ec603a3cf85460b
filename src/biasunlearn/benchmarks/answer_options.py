"""Questions with a few answers, each of which can be given in several words: what a model answers.

Two ways to ask, which share the questions:
    likelihood   the likeliest of all listed words after the prompt, summed over its tokens, is the answer
    written      the model writes (greedy decoding), and a reader of the benchmark finds the answer in the text, or
                 finds none: undecided

Items: by likelihood one for each answer, with its likeliest word; written one for each question, with the text, whose
role is the answer or "undecided".
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from biasunlearn.benchmarks.common import score_usable
from biasunlearn.data.records import Passage
from biasunlearn.data.tables import Table
from biasunlearn.scoring.protocol import EvalPlan, Sampling
from biasunlearn.stats.stereoset import Item

if TYPE_CHECKING:
    from biasunlearn.models.load import Loaded

LIKELIHOOD, WRITTEN, UNDECIDED = "likelihood", "written", "undecided"
NEW_TOKENS = 30
"""Of a written answer, at most, where no other number is requested."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A prompt and its answers."""

    id: str
    bias_type: str
    cluster: str
    """What the bootstrap draws as a whole: an argument, a product with its prices."""
    prompt: str
    answers: Mapping[str, tuple[str, ...]]
    """{answer: the words that give it}"""
    condition: str
    """The arm of the experiment and what else the benchmark varies."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model answered to one question."""

    question: str
    bias_type: str
    cluster: str
    condition: str
    chosen: str
    """An answer, or "undecided"."""
    log_probs: Mapping[str, float]
    """{answer: log-probability of its likeliest word, in nats}; empty for a written answer."""


def ask(
    name: str, loaded: "Loaded", table: Table[Question], plan: EvalPlan, read: Callable[[Question, str], str]
) -> tuple[Table[Question], list[Item]]:
    """Asks the questions of a table, by likelihood and, where the plan asks for them, for written answers as well.

    Args:
        name: of the benchmark.
        read: finds the answer to a question in a written text; "undecided" where there is none.
    Returns:
        The table without questions that the model cannot score, and the items.
    """
    table, items = score_usable(table, lambda usable: _likelihoods(name, loaded, usable.records), _passages, plan)
    if plan.options.written_answers:
        items = [*items, *_written(name, loaded, table.records, plan, read)]
    return table, items


def answers(items: Sequence[Item], kind: str = LIKELIHOOD) -> Iterator[Answer]:
    """The answers that were given in one of the two ways. Of equally likely ones the first is taken."""
    grouped: dict[str, list[Item]] = {}
    for item in items:
        if item.kind == kind:
            grouped.setdefault(item.cluster_id, []).append(item)
    for question, options in grouped.items():
        known = {item.role: item.log_prob for item in options} if kind == LIKELIHOOD else {}
        chosen = max(known, key=lambda role: known[role]) if known else options[0].role
        one = options[0]
        yield Answer(question, one.bias_type, one.target, one.condition, chosen, known)


def margin(answer: Answer, first: str, second: str) -> float | None:
    """Log odds of one answer against another, in nats; None for a written answer."""
    return answer.log_probs[first] - answer.log_probs[second] if answer.log_probs else None


def _asked(question: Question) -> list[tuple[str, Passage]]:
    """(answer, passage) for each word of each answer."""
    return [
        (answer, Passage(question.prompt, f" {word}")) for answer, words in question.answers.items() for word in words
    ]


def _passages(question: Question) -> Iterator[Passage]:
    return (passage for _, passage in _asked(question))


def _likelihoods(name: str, loaded: "Loaded", questions: Sequence[Question]) -> list[Item]:
    from biasunlearn.scoring.log_prob import score

    asked = [(question, *one) for question in questions for one in _asked(question)]
    best: dict[tuple[str, str], Item] = {}
    for (question, answer, _), found in zip(asked, score(loaded, [one for *_, one in asked]), strict=True):
        item = Item(
            name, f"{question.id}/{answer}", question.id, question.bias_type, question.cluster, LIKELIHOOD, answer,
            found.mean, found.tokens, question.condition,
        )  # fmt: skip
        known = best.get((question.id, answer))
        if known is None or item.log_prob > known.log_prob:
            best[question.id, answer] = item
    return list(best.values())


def _written(
    name: str, loaded: "Loaded", questions: Sequence[Question], plan: EvalPlan, read: Callable[[Question, str], str]
) -> list[Item]:
    from biasunlearn.scoring.generate import generate

    options = plan.options
    sampling = Sampling(
        continuations=1, new_tokens=options.new_tokens or NEW_TOKENS, temperature=0.0, top_p=1.0, seed=options.seed
    )
    texts = generate(loaded, [question.prompt for question in questions], sampling, cache=options.cache)
    return [
        Item(
            name, f"{question.id}/written", question.id, question.bias_type, question.cluster, WRITTEN,
            read(question, found.text), 0.0, found.tokens, question.condition, found.text,
        )
        for question, (found,) in zip(questions, texts, strict=True)
    ]  # fmt: skip
