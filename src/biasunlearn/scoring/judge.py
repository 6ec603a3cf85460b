"""Judges: a rule, models on this machine, and models behind endpoints; alone or as a panel.

A judge never learns which model gave an answer. Equal answers to a question are judged once. A tenth of the answers is
judged twice, and in the reversed order of the labels. Every judge is measured on the gold set first; where the panel
agrees too little with it, no verdict becomes a score.
"""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from biasunlearn.runs.judged_results import JudgeFacts, JudgingFacts
from biasunlearn.runs.responses import Reason, Reply, Verdict
from biasunlearn.scoring.chat_model import ChatModel, ChatRequest, Progress
from biasunlearn.scoring.gold import gold_answers, label_of
from biasunlearn.scoring.rubrics import CHOICE, REFUSED, Judged, Rubric, fairness, judge_messages, read_verdict, tag_of
from biasunlearn.scoring.rule_reader import read_by_rule, read_choice
from biasunlearn.stats.judging import agreement, cohen_kappa, flip_rate, panel_median, strict_majority

RULE = "rule"
MORE_TRIES = 2
"""Further tries at a reply that cannot be read."""
TWICE = 10
"""One of so many answers is judged twice."""
TOKENS = {"label": 64, "number": 512, "scores": 512}
"""Of a judge's reply, at most, by the kind of the rubric."""
NOT_ASKED = Verdict(judge="panel", state="unscored", reason="judge_not_usable")
"""About an answer that a panel which is not usable was spared."""
FEWEST_GOLD = 20
"""Answers of the gold set that the panel must score, at least."""


@dataclass(frozen=True, slots=True)
class Judge:
    """One judge. `model`: None for the rule."""

    name: str
    model: ChatModel | None = None
    new_tokens: int | None = None
    """Of a reply, at most; None: as the rubric needs (`TOKENS`)."""

    @property
    def kind(self) -> str:
        if self.model is None:
            return RULE
        return "endpoint" if self.model.calls_cost else "local"

    @property
    def fingerprint(self) -> str | None:
        """As `respond.subject_name` names a model under test; None for the rule."""
        return None if self.model is None else self.model.fingerprint

    def verdicts(
        self, rubric: Rubric, answers: Sequence[Judged], *, reverse: bool = False, repeat: int = 0,
        progress: Progress | None = None,
    ) -> list[Verdict]:  # fmt: skip
        """A verdict about every answer.

        Args:
            reverse: the labels in the reversed order.
            repeat: numbers judgments of the same answers in the same order.
        """
        orders = [rubric.order(one, reverse=reverse) for one in answers]
        if self.model is None:
            return [self._by_rule(rubric, one) for one in answers]
        found: dict[int, Verdict] = {
            number: Verdict(judge=self.name, state="unscored", reason="empty")
            for number, one in enumerate(answers) if not one.answer.strip()
        }  # fmt: skip
        for tries in range(1, MORE_TRIES + 2):
            left = [n for n in range(len(answers)) if n not in found or found[n].reason == "unparsed"]
            if not left:
                break
            requests = [self._request(rubric, answers[n], orders[n], tries, repeat) for n in left]
            replies = self.model.answer(requests, progress)
            for n, reply in zip(left, replies, strict=True):
                found[n] = _verdict(self.name, rubric, reply, orders[n], tries)
        return [found[number] for number in range(len(answers))]

    def verdicts_on_gold(self, rubric: Rubric) -> list[Verdict]:
        """A verdict about every answer of the gold set, from both orders where the rubric compares in both."""
        gold = [one for one, _ in gold_answers(rubric.name)]
        found = self.verdicts(rubric, gold)
        if not rubric.both_orders:
            return found
        return [mean_of_orders(a, b) for a, b in zip(found, self.verdicts(rubric, gold, reverse=True), strict=True)]

    def estimated_requests(self, rubric: Rubric, answers: Sequence[Judged]) -> list[ChatRequest]:
        """What the judge is asked about answers and about the gold set, if every reply can be read at once."""
        twice = [one for one in answers if _drawn_twice(one)]
        all_of_them = [*answers, *(one for one, _ in gold_answers(rubric.name))]
        asked = [*all_of_them, *twice, *(all_of_them if rubric.both_orders else twice)]
        return [self._request(rubric, one, rubric.order(one), 1, 0) for one in asked]

    def _request(self, rubric: Rubric, judged: Judged, order: Sequence[str], tries: int, repeat: int) -> ChatRequest:
        messages = judge_messages(rubric, judged, order, again=tries > 1)
        return ChatRequest(messages, self.new_tokens or TOKENS[rubric.kind], seed=tries - 1, repeat=repeat)

    def _by_rule(self, rubric: Rubric, judged: Judged) -> Verdict:
        label = read_choice(judged) if rubric is CHOICE else read_by_rule(judged) if rubric.kind == "label" else None
        reason: Reason = "unparsed" if judged.answer.strip() else "empty"
        if label is None:
            return Verdict(judge=self.name, state="unscored", reason=reason)
        return Verdict(judge=self.name, state="scored", label=label)


@dataclass(frozen=True, slots=True)
class Judgment:
    """What a panel concluded about every answer, the votes of its members, and how far they can be trusted."""

    verdicts: tuple[Verdict, ...]
    votes: tuple[tuple[Verdict, ...], ...]
    again: tuple[tuple[Verdict, ...], ...]
    facts: JudgingFacts


def judge_answers(
    judges: Sequence[Judge], rubric: Rubric, answers: Sequence[Judged], *, minimum_kappa: float,
    stop_if_unusable: bool = False, progress: Progress | None = None,
) -> Judgment:  # fmt: skip
    """The panel's verdict about every answer, in their order.

    Args:
        judges: the panel; a label needs more than half of all of them.
        minimum_kappa: agreement with the gold set beyond chance, below which no verdict is used.
        stop_if_unusable: whether a panel that is not usable is not asked about the answers; then there are no votes.
    """
    on_gold = [judge.verdicts_on_gold(rubric) for judge in judges]
    gold_panel = [combine(rubric, row) for row in zip(*on_gold, strict=True)]
    kappa, scored = _against_gold(rubric, gold_panel)[1:]
    usable = kappa is not None and kappa >= minimum_kappa and scored >= FEWEST_GOLD
    distinct = list({tag_of(one): one for one in answers}.values())
    place = {tag_of(one): number for number, one in enumerate(distinct)}
    asking = usable or not stop_if_unusable
    asked = distinct if asking else []
    twice = [number for number, one in enumerate(asked) if _drawn_twice(one)]
    votes, facts, again = [], [], []
    for judge, about_gold in zip(judges, on_gold, strict=True):
        own = judge.verdicts(rubric, asked, progress=progress)
        chosen = [distinct[number] for number in twice]
        same = judge.verdicts(rubric, chosen, repeat=1)
        first = [own[number] for number in twice]
        turned = judge.verdicts(rubric, asked if rubric.both_orders else chosen, reverse=True)
        pairs = (own, turned) if rubric.both_orders else (first, turned)
        again.append({twice[n]: (same[n],) if rubric.both_orders else (same[n], turned[n]) for n in range(len(twice))})
        if rubric.both_orders:
            own = [mean_of_orders(a, b) for a, b in zip(own, turned, strict=True)]
        facts.append(_facts(judge, rubric, own, Repeated(first, same, *pairs), about_gold))
        votes.append(own)
    members = list(zip(*votes, strict=True)) if asked else [()] * len(distinct)
    panel = [combine(rubric, row) if row else NOT_ASKED for row in members]
    if not usable:
        panel = [_unusable(one) for one in panel]
    places = [place[tag_of(one)] for one in answers]
    return Judgment(
        tuple(panel[number] for number in places),
        tuple(members[number] for number in places),
        tuple(tuple(v for one in again for v in one.get(number, ())) for number in places),
        JudgingFacts(
            rubric=rubric.name, template=rubric.template_hash, judges=facts, minimum_kappa=minimum_kappa, kappa=kappa,
            usable=usable, asked=asking, between_judges=_between(rubric, judges, votes),
        ),
    )  # fmt: skip


def mean_of_orders(one: Verdict, other: Verdict) -> Verdict:
    """The verdict of a comparison from those in both orders; unscored where one of the two is."""
    for verdict in (one, other):
        if verdict.state == "unscored" or verdict.label is None:
            return verdict
    numbers = zip((one.label or "").split(), (other.label or "").split(), strict=True)
    label = " ".join(f"{(float(a) + float(b)) / 2:g}" for a, b in numbers)
    return one.with_values(label=label, score=((one.score or 0.0) + (other.score or 0.0)) / 2)


def _median_scores(votes: Sequence[Verdict], size: int) -> Verdict | None:
    """The median of each number of a comparison, where more than half of the panel gave them."""
    labels = [vote.label.split() for vote in votes if vote.label is not None]
    if 2 * len(labels) <= size:
        return None
    label = " ".join(f"{panel_median([float(row[n]) for row in labels], size):g}" for n in range(len(labels[0])))
    return Verdict(judge="panel", state="scored", label=label, score=fairness(label))


def combine(rubric: Rubric, votes: Sequence[Verdict]) -> Verdict:
    """The verdict of a panel: the label of a strict majority, or the median of the numbers of more than half."""
    if len(votes) == 1:
        return votes[0]
    size = len(votes)
    if rubric.kind == "number":
        score = panel_median([vote.score for vote in votes], size)
        if score is not None:
            return Verdict(judge="panel", state="scored", score=score)
    elif rubric.kind == "scores":
        if (found := _median_scores(votes, size)) is not None:
            return found
    elif (label := strict_majority([vote.label for vote in votes], size)) is not None:
        return Verdict(judge="panel", state="refused" if label == REFUSED else "scored", label=label)
    reasons = {vote.reason for vote in votes}
    only = reasons.pop() if len(reasons) == 1 else None
    return Verdict(judge="panel", state="unscored", reason=only or "no_majority")


def _verdict(name: str, rubric: Rubric, reply: Reply, order: Sequence[str], tries: int) -> Verdict:
    """What one reply of a judge says."""
    base = {"judge": name, "tries": tries, "raw": reply.text, "order": [] if rubric.kind == "number" else list(order)}
    if reply.problem:
        return Verdict(state="unscored", reason=reply.problem, **base)  # type: ignore[arg-type]
    label, score, cut = read_verdict(rubric, reply.text, order)
    if cut or (label is None and score is None):
        return Verdict(state="unscored", reason="truncated" if cut else "unparsed", **base)  # type: ignore[arg-type]
    state = "refused" if label == REFUSED else "scored"
    return Verdict(state=state, label=label, score=score, **base)  # type: ignore[arg-type]


def _unusable(verdict: Verdict) -> Verdict:
    """The verdict without its label: the judges agree too little with the gold set. Refusals are no use either."""
    if verdict.state == "unscored":
        return verdict
    return Verdict(judge=verdict.judge, state="unscored", reason="judge_not_usable")


def _drawn_twice(judged: Judged) -> bool:
    """One answer of ten, drawn by the hash of the question, so that it is the same for every model."""
    return int(hashlib.sha256(f"twice {judged.id}".encode()).hexdigest(), 16) % TWICE == 0


def _labels(rubric: Rubric, verdicts: Sequence[Verdict]) -> list[str | None]:
    return [label_of(rubric, one.label, one.score) for one in verdicts]


def _against_gold(rubric: Rubric, verdicts: Sequence[Verdict]) -> tuple[float | None, float | None, int]:
    """(agreement, kappa, scored) of verdicts about the gold set; only scored answers and refusals count."""
    truth = [label for _, label in gold_answers(rubric.name)]
    pairs = [(a, b) for a, b in zip(_labels(rubric, verdicts), truth, strict=True) if a is not None]
    ours, theirs = [a for a, _ in pairs], [b for _, b in pairs]
    return agreement(ours, theirs), cohen_kappa(ours, theirs), len(pairs)


@dataclass(frozen=True, slots=True)
class Repeated:
    """Verdicts about answers that were judged more than once: `same` in the same order, and in both orders."""

    first: Sequence[Verdict]
    same: Sequence[Verdict]
    one_order: Sequence[Verdict]
    other_order: Sequence[Verdict]


def _facts(
    judge: Judge, rubric: Rubric, own: Sequence[Verdict], repeated: Repeated, about_gold: Sequence[Verdict]
) -> JudgeFacts:
    first, same = _labels(rubric, repeated.first), _labels(rubric, repeated.same)
    orders = _labels(rubric, repeated.one_order), _labels(rubric, repeated.other_order)
    both = [(a, b) for a, b in zip(first, same, strict=True) if a is not None and b is not None]
    equal, kappa, scored = _against_gold(rubric, about_gold)
    labels = _labels(rubric, own) if rubric.kind == "scores" else [one.label for one in own]
    counts = Counter(label or (one.state if one.score is not None else str(one.reason))
                     for label, one in zip(labels, own, strict=True))  # fmt: skip
    return JudgeFacts(
        judge=judge.name, kind=judge.kind, gold=len(about_gold), gold_scored=scored, gold_agreement=equal,
        gold_kappa=kappa, repeated=len(both), repeat_kappa=cohen_kappa([a for a, _ in both], [b for _, b in both]),
        flipped=None if rubric.kind == "number" else flip_rate(*orders), verdicts=dict(sorted(counts.items())),
    )  # fmt: skip


def _between(
    rubric: Rubric, judges: Sequence[Judge], votes: Sequence[Sequence[Verdict]]
) -> Mapping[str, float | None]:
    """Kappa of every two judges on the answers that both scored."""
    found = {}
    for (one, mine), (other, theirs) in combinations(zip(judges, votes, strict=True), 2):
        labels = zip(_labels(rubric, mine), _labels(rubric, theirs), strict=True)
        pairs = [(a, b) for a, b in labels if a is not None and b is not None]
        found[f"{one.name} | {other.name}"] = cohen_kappa([a for a, _ in pairs], [b for _, b in pairs])
    return found
