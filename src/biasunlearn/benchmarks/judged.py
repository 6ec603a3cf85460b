"""What benchmarks of judged answers share: questions -> answers -> verdicts -> items.

An item is one answer: `text` has its words and `condition` its verdict (a label, `refused`, or `unscored: REASON`); for
ratings `score` has the number. What is computed from items is in judged_scores.py.

Answers and verdicts are two steps, so that the answers of a model before and after debiasing are judged together.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from biasunlearn.benchmarks.generation import drawn_prompts
from biasunlearn.benchmarks.judged_scores import UNSCORED, is_unscored, with_facts
from biasunlearn.data.tables import Table
from biasunlearn.errors import RequestError
from biasunlearn.runs.responses import Reason, Reply, ResponseRecord, Verdict
from biasunlearn.runs.results import Interval, JudgedResult
from biasunlearn.scoring.chat_model import ChatRequest, Message
from biasunlearn.scoring.protocol import EvalOptions
from biasunlearn.scoring.rubrics import READ_BY_RULE, REFUSED, Judged, Rubric
from biasunlearn.stats.judging import length_correlation
from biasunlearn.stats.stereoset import Item

if TYPE_CHECKING:
    from biasunlearn.scoring.judge import Judge, Judgment
    from biasunlearn.scoring.respond import Subject, Turns

ANSWER = "answer"
"""Role of an item."""

Progress = Callable[[int, int], None]


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
    turn_references: tuple[Mapping[str, str], ...] = ()
    """Of each turn, where every turn is judged."""
    people: tuple[str, ...] = ()
    system: str = ""
    temperature: float = 0.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What is judged by one verdict, not judged yet."""

    question: Question
    item_id: str
    turns: tuple[str, ...]
    """What the model was asked, up to this answer."""
    replies: tuple[Reply, ...]
    text: str
    judged: Judged
    """As the judge reads it."""
    problem: Reason | None = None
    """Why it cannot be judged."""


class Task(Protocol):
    """How the questions of a benchmark are asked, and what is judged."""

    @property
    def rubric(self) -> Rubric: ...

    @property
    def new_tokens(self) -> int:
        """Of a reply, at most, unless the options say otherwise."""
        ...

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of the results must know about the data."""
        ...

    def chats(self, question: Question, options: EvalOptions) -> "list[Turns]":
        """The chats that a question is put to the model in."""
        ...

    def answers(self, question: Question, replies: Sequence[Sequence[Reply]]) -> list[Answer]:
        """What is judged, from the replies to each of those chats; a chat that failed has fewer replies than turns."""
        ...


@dataclass(frozen=True, slots=True)
class Conversation:
    """A task in which a question is one conversation, of one or several turns."""

    rubric: Rubric
    new_tokens: int
    every_turn: bool = False
    """The answer to each turn is judged, not the last one alone."""
    notes: tuple[str, ...] = ()

    def chats(self, question: Question, options: EvalOptions) -> "list[Turns]":
        """One."""
        from biasunlearn.scoring.respond import Turns

        return [Turns(question.id, question.turns, question.system, question.temperature)]

    def answers(self, question: Question, replies: Sequence[Sequence[Reply]]) -> list[Answer]:
        """The answer to the last turn, or to every one."""
        found, count = replies[0], len(question.turns)
        return [self._answer(question, turn, found) for turn in (range(count) if self.every_turn else (count - 1,))]

    def _answer(self, question: Question, turn: int, replies: Sequence[Reply]) -> Answer:
        reply = replies[turn] if turn < len(replies) else None
        shown, references = question.shown, question.references
        if question.turn_references:
            references = question.turn_references[turn]
            pairs = zip(question.turns[:turn], replies, strict=False)
            said = [f"User: {asked}\nAssistant: {one.text}" for asked, one in pairs]
            shown = "\n".join([*said, f"User: {question.turns[turn]}"]) if said else question.turns[turn]
        text = "" if reply is None else reply.text
        return Answer(
            question,
            f"{question.id}/{turn + 1}" if self.every_turn else question.id,
            question.turns[: turn + 1],
            () if reply is None else (reply,),
            text,
            Judged(f"{question.id}/{turn}", shown, text.strip(), references, question.people),
            "transport" if reply is None else problem_of(reply),
        )


def problem_of(reply: Reply) -> Reason | None:
    """Why an answer cannot be judged. One that was cut off at its limit of tokens is no whole answer."""
    return reply.problem or (None if reply.text.strip() else "empty")


@dataclass(frozen=True, slots=True)
class Answered:
    """The answers of one model to the questions of a benchmark."""

    subject: str
    """A hash that names the model, with its adapter."""
    of: int
    """Questions of the benchmark; fewer may have been asked."""
    asked: int
    answers: tuple[Answer, ...]


@dataclass(frozen=True, slots=True)
class JudgedBenchmark:
    """A benchmark of answers with its data."""

    name: str
    table: Table[Question]
    task: Task
    entry: Callable[[Sequence[Item]], JudgedResult]


def run_judged(
    subject: "Subject", benchmark: JudgedBenchmark, options: EvalOptions
) -> tuple[list[Item], JudgedResult]:  # fmt: skip
    """Has one model answer the questions of a benchmark, and the judges read its answers."""
    answered = answer_questions(subject, benchmark, options)
    store, device = getattr(subject, "store", None), getattr(subject, "device", None)
    return judge_arms([answered], benchmark, options, store=store, device=device, progress=subject.progress)[0]


def answer_questions(subject: "Subject", benchmark: JudgedBenchmark, options: EvalOptions) -> Answered:
    """Has the model under test answer the questions of a benchmark.

    Raises:
        RequestError: the judges that will read them cannot be opened, or cannot read such answers.
    """
    from biasunlearn.scoring.prompt_baseline import answers_of, check_baseline
    from biasunlearn.scoring.respond import respond, subject_name

    check_baseline(options.prompting)
    questions, task = benchmark.table.records, benchmark.task
    store, device = getattr(subject, "store", None), getattr(subject, "device", None)
    _open(benchmark.name, options, task, store, device)  # before any work
    chosen = drawn_prompts(questions, options)
    chats = [_chats(task, one, options) for one in chosen]
    limit = _limit(task, options)
    flat = [chat for group in chats for chat in group]
    replies = iter(respond(subject, flat, new_tokens=limit, seed=options.seed, cache=options.cache))
    answers = [
        answer
        for question, group in zip(chosen, chats, strict=True)
        for answer in task.answers(question, [answers_of(next(replies), options.prompting) for _ in group])
    ]
    return Answered(subject_name(subject), len(questions), len(chosen), tuple(answers))


def judge_arms(
    arms: Sequence[Answered], benchmark: JudgedBenchmark, options: EvalOptions, *, store: Any = None,
    device: Any = None, progress: Progress | None = None,
) -> list[tuple[list[Item], JudgedResult]]:  # fmt: skip
    """Has the judges read the answers of one or several models together: the items and the results of each model.

    The judges do not learn which model gave an answer, and read equal answers to a question once.
    """
    from biasunlearn.runs.responses import CallStore, store_responses
    from biasunlearn.scoring.judge import judge_answers

    name, task = benchmark.name, benchmark.task
    store = store or CallStore(options.cache)
    judges = _open(name, options, task, store, device)
    readable = [(arm, n) for arm, one in enumerate(arms) for n, a in enumerate(one.answers) if a.problem is None]
    judged = [arms[arm].answers[n].judged for arm, n in readable]
    judgment = judge_answers(
        judges, task.rubric, judged, minimum_kappa=options.minimum_kappa, stop_if_unusable=options.stop_if_unusable,
        progress=progress,
    )  # fmt: skip
    places = {where: place for place, where in enumerate(readable)}
    found = []
    for number, arm in enumerate(arms):
        own = [places.get((number, n)) for n in range(len(arm.answers))]
        verdicts = [None if place is None else judgment.verdicts[place] for place in own]
        items = [_item(name, answer, verdict) for answer, verdict in zip(arm.answers, verdicts, strict=True)]
        store_responses(options.cache, [
            _record(name, arm.subject, answer, judgment, place, task.rubric)
            for answer, place in zip(arm.answers, own, strict=True)
        ])  # fmt: skip
        facts = {
            "prompts": {"asked": arm.asked, "of": arm.of, "seed": options.seed},
            "judging": judgment.facts.with_values(
                length_correlation=_length_bias(task.rubric, items), calls=store.made, arms=len(arms)
            ),
            "new_tokens": options.new_tokens or task.new_tokens,
        }
        result = with_facts(benchmark.entry(items), facts)
        if judgment.facts.usable and len(judges) > 1:
            result = result.with_values(without_judge=_without_each(benchmark, arm, own, judgment, judges))
        notes = [*result.notes, *task.notes, *_own_judges(arm, judges)]
        found.append((items, result.with_values(**benchmark.table.facts, notes=notes)))
    return found


def _without_each(
    benchmark: JudgedBenchmark, arm: Answered, places: Sequence[int | None], judgment: "Judgment",
    judges: Sequence["Judge"],
) -> dict[str, dict[str, float | None]]:  # fmt: skip
    """{judge: the scores of a panel without it}"""
    from biasunlearn.scoring.judge import combine

    found = {}
    for left_out, judge in enumerate(judges):
        verdicts = [
            None if place is None
            else combine(benchmark.task.rubric, [v for n, v in enumerate(judgment.votes[place]) if n != left_out])
            for place in places
        ]  # fmt: skip
        items = [_item(benchmark.name, one, verdict) for one, verdict in zip(arm.answers, verdicts, strict=True)]
        entry = benchmark.entry(items)
        scores = {score: entry.overall.scores.get(score) for score in entry.ideal}
        found[judge.name] = {name: one.value if isinstance(one, Interval) else None for name, one in scores.items()}
    return found


def _own_judges(arm: Answered, judges: Sequence["Judge"]) -> list[str]:
    """A note where a judge is the very model whose answers it reads."""
    return [
        f"the judge {judge.name} is the model under test itself; models tend to prefer their own answers"
        for judge in judges if judge.fingerprint == arm.subject
    ]  # fmt: skip


def _chats(task: Task, question: Question, options: EvalOptions) -> "list[Turns]":
    from biasunlearn.scoring.prompt_baseline import with_baseline

    return [with_baseline(chat, options.prompting) for chat in task.chats(question, options)]


def _limit(task: Task, options: EvalOptions) -> int:
    """Tokens of a reply, at most."""
    from biasunlearn.scoring.prompt_baseline import THOUGHT_TOKENS

    thought = THOUGHT_TOKENS if options.prompting == "chain_of_thought" else 0
    return (options.new_tokens or task.new_tokens) + thought


def estimated_calls(
    task: Task, questions: Sequence[Question], options: EvalOptions
) -> tuple[list[ChatRequest], list[Judged]]:
    """(what the model under test is asked, what its judges read), where every answer is as long as it may be."""
    from biasunlearn.scoring.prompt_baseline import answers_of

    limit = _limit(task, options)
    longest = Reply(text="ANSWER:" + "word" * limit)
    asked, judged = [], []
    for one in questions:
        chats = _chats(task, one, options)
        for chat in chats:
            said = [Message("system", chat.system)] if chat.system else []
            for text in chat.turns:
                said = [*said, Message("user", text)]
                asked.append(ChatRequest(tuple(said), limit))
                said = [*said, Message("assistant", longest.text)]
        replies = [answers_of([longest] * len(chat.turns), options.prompting) for chat in chats]
        judged += [a.judged for a in task.answers(one, replies)]
    return asked, judged


def _open(name: str, options: EvalOptions, task: Task, store: Any, device: Any) -> list[Any]:
    from biasunlearn.runs.responses import CallStore
    from biasunlearn.scoring.respond import open_judges

    if task.rubric.name not in READ_BY_RULE and set(options.judges) <= {"rule"}:
        raise RequestError(f"--benchmark {name}: its answers cannot be read by rule; add --judge MODEL")
    return open_judges(options, store or CallStore(options.cache), device)


def _item(benchmark: str, answer: Answer, verdict: Verdict | None) -> Item:
    question = answer.question
    if verdict is None:
        condition, score = f"{UNSCORED}{answer.problem}", 0.0
    elif verdict.state == "unscored":
        condition, score = f"{UNSCORED}{verdict.reason}", 0.0
    else:
        condition, score = verdict.label or "rated", verdict.score or 0.0
    tokens = sum(reply.tokens_out for reply in answer.replies)
    return Item(
        benchmark, answer.item_id, question.id, question.bias_type, question.cluster, question.kind, ANSWER, score,
        tokens, condition, answer.text,
    )  # fmt: skip


def _record(
    benchmark: str, subject: str, answer: Answer, judgment: "Judgment", place: int | None, rubric: Rubric
) -> ResponseRecord:
    missing = Verdict(judge="none", state="unscored", reason=answer.problem)
    return ResponseRecord(
        benchmark=benchmark, item=answer.item_id, subject=subject, turns=list(answer.turns),
        answers=list(answer.replies), text=answer.text, rubric=rubric.name, question=answer.judged.question,
        references=dict(answer.judged.references),
        verdict=missing if place is None else judgment.verdicts[place],
        votes=() if place is None else list(judgment.votes[place]),
        again=() if place is None else list(judgment.again[place]),
    )  # fmt: skip


def _length_bias(rubric: Rubric, items: Sequence[Item]) -> float | None:
    """The rank correlation of the rating, or of being judged biased, and the number of words."""
    scored = [item for item in items if not is_unscored(item) and item.condition != REFUSED]
    values = [float(item.condition == "biased") if rubric.kind == "label" else item.score for item in scored]
    return length_correlation(values, [float(len(item.text.split())) for item in scored])
