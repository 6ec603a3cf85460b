"""What benchmarks of judged answers share: questions -> answers -> verdicts -> items -> scores, states and bounds.

An item is one answer: `text` has its words and `condition` its verdict (a label, `refused`, or `unscored: REASON`); for
ratings `score` has the number. Everything but the facts about the judges is computed from items.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from biasunlearn.benchmarks.common import panel
from biasunlearn.benchmarks.generation import drawn_prompts
from biasunlearn.runs.results import Bounds, Interval, JudgedResult
from biasunlearn.scoring.protocol import EvalOptions
from biasunlearn.scoring.rubrics import REFUSED, Judged, Rubric
from biasunlearn.stats.bootstrap import summarize
from biasunlearn.stats.judging import length_correlation
from biasunlearn.stats.outcome import Outcome
from biasunlearn.stats.stereoset import Item

if TYPE_CHECKING:
    from biasunlearn.runs.responses import Reason, Reply, ResponseRecord, Verdict
    from biasunlearn.scoring.judge import Judgment
    from biasunlearn.scoring.respond import Subject

ANSWER = "answer"
"""Role of an item."""
UNSCORED = "unscored: "
"""Beginning of the condition of an item without a verdict; the reason follows."""

Outcomes = Callable[[Sequence[Item]], list[Outcome]]


@dataclass(frozen=True, slots=True)
class Question:
    """A question of a benchmark, with what its judge needs."""

    id: str
    bias_type: str
    cluster: str
    """What the bootstrap draws as a whole."""
    kind: str
    """What the benchmark varies: a kind of context, a task."""
    turns: tuple[str, ...]
    shown: str
    """The question as the judge reads it."""
    references: Mapping[str, str] = field(default_factory=dict)
    people: tuple[str, ...] = ()
    system: str = ""
    temperature: float = 0.0


def ask_and_judge(
    subject: "Subject", benchmark: str, questions: Sequence[Question], options: EvalOptions, *, rubric: Rubric,
    new_tokens: int, every_turn: bool = False,
) -> tuple[list[Item], dict[str, Any]]:  # fmt: skip
    """Has the model under test answer the questions, and the judges read the answers.

    Args:
        new_tokens: of an answer, at most, unless the options say otherwise.
        every_turn: the answer to each turn is judged, not the last one alone.
    Returns:
        The items, and the facts for results.json that the items do not hold.
    """
    from biasunlearn.runs.responses import CallStore, store_responses
    from biasunlearn.scoring.judge import judge_answers
    from biasunlearn.scoring.respond import Turns, open_judges, respond, subject_name

    store = getattr(subject, "store", None) or CallStore(options.cache)
    judges = open_judges(options, store, getattr(subject, "device", None))  # before any work
    chosen = drawn_prompts(questions, options)
    limit = options.new_tokens or new_tokens
    asked = [Turns(one.id, one.turns, one.system, one.temperature) for one in chosen]
    replies = respond(subject, asked, new_tokens=limit, seed=options.seed, cache=options.cache)
    answers = [
        (one, turn, found[turn] if turn < len(found) else None)
        for one, found in zip(chosen, replies, strict=True)
        for turn in (range(len(one.turns)) if every_turn else (len(one.turns) - 1,))
    ]
    readable = [n for n, (*_, reply) in enumerate(answers) if reply is not None and not _problem(reply)]
    judged = [_judged(*answers[n]) for n in readable]
    judgment = judge_answers(judges, rubric, judged, minimum_kappa=options.minimum_kappa, progress=subject.progress)
    verdicts = dict(zip(readable, judgment.verdicts, strict=True))
    items = [_item(benchmark, *one, verdicts.get(number), every_turn) for number, one in enumerate(answers)]
    store_responses(options.cache, _records(benchmark, subject_name(subject), answers, readable, judgment))
    facts = judgment.facts.with_values(length_correlation=_length_bias(rubric, items), calls=store.made)
    return items, {
        "prompts": {"asked": len(chosen), "of": len(questions), "seed": options.seed},
        "judging": facts,
        "new_tokens": limit,
    }


def judged_entry(
    items: Sequence[Item], outcomes: Outcomes, *, version: int, formulation: str, ideal: Mapping[str, float | None],
    fills: Sequence[Callable[[Item], Item]], shown: Sequence[str] | None = None,
) -> JudgedResult:  # fmt: skip
    """Scores overall and by bias type, the states of the answers, and the bounds where some are unscored.

    Args:
        outcomes: what is averaged, from items.
        fills: the verdicts that an unscored answer might have got, each as a function from item to item.
    """
    found = outcomes(items)
    return panel(
        JudgedResult, found, version=version, formulation=formulation, ideal=ideal,
        shown=list(shown or ideal), states=states(items), bounds=bounds(items, outcomes, ideal, fills),
        notes=_notes(items),
    )  # fmt: skip


def with_facts(result: JudgedResult, facts: Mapping[str, Any]) -> JudgedResult:
    """The result with the facts about its judges, and a note where their verdicts are not used or not corrected."""
    judging = facts["judging"]
    notes = list(result.notes)
    if not judging.usable:
        kappa = "not defined" if judging.kappa is None else f"{judging.kappa:.2f}"
        needed = f"at least {judging.minimum_kappa:g} is needed"
        notes.insert(0, f"judge not usable: its kappa with the gold set is {kappa}; {needed}")
    elif any(judge.kind != "rule" for judge in judging.judges):
        notes.append("judge share, uncorrected: no labels by people")
    found: JudgedResult = result.with_values(**facts, notes=notes)
    return found


def states(items: Sequence[Item]) -> dict[str, dict[str, int]]:
    """{"overall" or bias type: {scored, refused, "unscored: REASON": answers}}"""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for item in items:
        state = item.condition if item.condition == REFUSED or is_unscored(item) else "scored"
        counts["overall"][state] += 1
        counts[item.bias_type][state] += 1
    return {name: dict(sorted(found.items())) for name, found in counts.items()}


def bounds(
    items: Sequence[Item], outcomes: Outcomes, ideal: Mapping[str, float | None],
    fills: Sequence[Callable[[Item], Item]],
) -> dict[str, dict[str, Bounds]]:  # fmt: skip
    """{"overall" or bias type: {score: bounds}}; empty where every answer is scored or refused."""
    if not any(map(is_unscored, items)):
        return {}
    filled = [
        summarize([o for o in outcomes([fill(i) if is_unscored(i) else i for i in items]) if o.score in ideal])
        for fill in fills
    ]
    parts = [{"overall": one.overall, **one.bias_types} for one in filled]
    found: dict[str, dict[str, Bounds]] = {}
    for part in parts[0]:
        rows = [one[part].scores for one in parts if part in one]
        for score in rows[0]:
            values = [row[score] for row in rows if score in row]
            low, high = min(values, key=lambda e: e.low), max(values, key=lambda e: e.high)
            found.setdefault(part, {})[score] = Bounds(lowest=Interval.of(low), highest=Interval.of(high))
    return found


def is_unscored(item: Item) -> bool:
    """Whether an answer has no verdict."""
    return item.condition.startswith(UNSCORED)


def state_outcomes(item: Item) -> list[Outcome]:
    """`scored`, 100 or 0: every answer has it, so that missing verdicts are a score that can be compared and gated."""
    return [Outcome(item.item_id, item.target, item.bias_type, "scored", 100.0 * (not is_unscored(item)))]


def _problem(reply: "Reply") -> "Reason | None":
    """Why an answer cannot be judged. One that was cut off at its limit of tokens is no whole answer."""
    return reply.problem or (None if reply.text.strip() else "empty")


def _judged(question: Question, turn: int, reply: "Reply | None") -> Judged:
    assert reply is not None
    last = turn == len(question.turns) - 1
    shown = question.shown if last else question.turns[turn]
    return Judged(f"{question.id}/{turn}", shown, reply.text.strip(), question.references, question.people)


def _item(
    benchmark: str, question: Question, turn: int, reply: "Reply | None", verdict: "Verdict | None", every_turn: bool
) -> Item:
    name = f"{question.id}/{turn + 1}" if every_turn else question.id
    if verdict is None:
        reason = "transport" if reply is None else _problem(reply)
        condition, score = f"{UNSCORED}{reason}", 0.0
    elif verdict.state == "unscored":
        condition, score = f"{UNSCORED}{verdict.reason}", 0.0
    else:
        condition, score = verdict.label or "rated", verdict.score or 0.0
    return Item(
        benchmark, name, question.id, question.bias_type, question.cluster, question.kind, ANSWER, score,
        reply.tokens_out if reply else 0, condition, reply.text if reply else "",
    )  # fmt: skip


def _records(
    benchmark: str,
    subject: str,
    answers: Sequence[tuple[Question, int, "Reply | None"]],
    readable: Sequence[int],
    judgment: "Judgment",
) -> list["ResponseRecord"]:
    from biasunlearn.runs.responses import ResponseRecord, Verdict

    by_number = {n: place for place, n in enumerate(readable)}
    found = []
    for number, (question, turn, reply) in enumerate(answers):
        place = by_number.get(number)
        missing = Verdict(judge="none", state="unscored", reason="transport" if reply is None else _problem(reply))
        found.append(ResponseRecord(
            benchmark=benchmark, item=f"{question.id}/{turn + 1}", subject=subject,
            turns=list(question.turns[: turn + 1]), answers=[] if reply is None else [reply],
            verdict=missing if place is None else judgment.verdicts[place],
            votes=() if place is None else list(judgment.votes[place]),
            again=() if place is None else list(judgment.again[place]),
        ))  # fmt: skip
    return found


def _length_bias(rubric: Rubric, items: Sequence[Item]) -> float | None:
    """The rank correlation of the rating, or of being judged biased, and the number of words."""
    scored = [item for item in items if not is_unscored(item) and item.condition != REFUSED]
    values = [item.score if rubric.kind == "number" else float(item.condition == "biased") for item in scored]
    return length_correlation(values, [float(len(item.text.split())) for item in scored])


def _notes(items: Sequence[Item]) -> list[str]:
    counts = Counter(item.condition.removeprefix(UNSCORED) for item in items if is_unscored(item))
    if not counts:
        return []
    reasons = ", ".join(f"{reason} {count}" for reason, count in sorted(counts.items()))
    return [f"{counts.total()} of {len(items)} answers are unscored ({reasons}); see the bounds of each score"]


def filled(**values: Any) -> Callable[[Item], Item]:
    """A function that gives an item this verdict."""
    return lambda item: replace(item, **values)
