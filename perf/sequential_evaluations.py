"""Error rates and cost of sequential evaluations beside full ones, by simulation.

    python perf/sequential_evaluations.py --worlds 200

A world is a run of 160 steps with an evaluation every 25, on a stop split with the sizes of the default run on
StereoSet's training pairs. The true SS of a bias type begins around the base model's, falls by up to 6 points between
two evaluations at full swap weight, is pulled back by a fifth of what it has moved (the KL term), and varies with a
standard deviation of 1.5 points; all three fall with the learning rate. The probability of a target term lies around
the SS of its bias type with a standard deviation of 0, 8 or 15 points, of which a tenth of the variance is new at every
evaluation. An item answers by a random number of its own, which 5 % of the items draw anew at every evaluation, so that
adjacent evaluations agree on nine of ten items. LMS falls by -0.5 to 2.5 points in the course of a run.

The same world is run with full and with sequential evaluations; both use the code of the package. Wrong stop: the run
ends as finished while the true SS of a bias type lies more than 5 points from 50 (of all runs). Wrong direction: a swap
weight pushes a true SS away from 50 that is at least 2 points from it (of all weights). Distance: of the true SS of the
chosen checkpoint from 50, the mean over bias types, in points.
"""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from biasunlearn.config import DebiasConfig
from biasunlearn.stats.stereoset import Comparison
from biasunlearn.unlearn.checkpoint import TrainingState
from biasunlearn.unlearn.evaluation import BaseAnswers, StopScores, stop_scores
from biasunlearn.unlearn.sequential import REACH, SequentialEvaluator
from biasunlearn.unlearn.trainer import decide_step, evaluation_schedule, first_state, scores_now, share_of_peak

SIZES = {"gender": (12, 315, 456), "profession": (54, 933, 1465), "race": (48, 1202, 1773), "religion": (6, 137, 110)}
"""{bias type: (target terms of the stop split, its items, training pairs)}, as in the default run."""

BASE = {"gender": 56.0, "profession": 58.0, "race": 56.0, "religion": 65.0}
BETWEEN_WORLDS = 3.0
SPREADS = (0.0, 8.0, 15.0)
SPEED, PULL, NOISE = 6.0, 0.2, 1.5
TERM_MEMORY = 0.9**0.5
REDRAWN = 0.05
FAIR, CLEAR = 5.0, 2.0
LMS = 0.86


@dataclass(slots=True)
class World:
    """A simulated model: what it would answer to every item of the stop split, and how training moves it."""

    sd: float
    rng: np.random.Generator
    truth: dict[str, float] = field(default_factory=dict)
    began: dict[str, float] = field(default_factory=dict)
    rows: list[Comparison] = field(default_factory=list)
    train: list[Comparison] = field(default_factory=list)
    terms: np.ndarray = field(default_factory=lambda: np.zeros(0))
    term_of: np.ndarray = field(default_factory=lambda: np.zeros(0, int))
    chances: np.ndarray = field(default_factory=lambda: np.zeros(0))
    meaning: np.ndarray = field(default_factory=lambda: np.zeros(0))
    fall: float = 0.0
    step: int = 0

    def __post_init__(self) -> None:
        rng, known = self.rng, [bias_type for bias_type, (terms, _, _) in SIZES.items() for _ in range(terms)]
        self.began = {name: ss + BETWEEN_WORLDS * rng.standard_normal() for name, ss in BASE.items()}
        self.truth = dict(self.began)
        self.terms = rng.standard_normal(len(known))
        items, first = [], 0
        for bias_type, (terms, stop, train) in SIZES.items():
            chosen = first + np.arange(stop) % terms
            items += [(bias_type, int(term)) for term in chosen]
            mean = self.truth[bias_type] + self.sd * rng.standard_normal(terms)
            answers = rng.random(train) < np.clip(mean[np.arange(train) % terms], 0, 100) / 100
            self.train += [
                Comparison(bias_type, f"u{n % terms}", float(one), None, 0.0, f"{bias_type}-train-{n}")
                for n, one in enumerate(answers)
            ]
            first += terms
        self.rows = [Comparison(name, f"t{term}", 0.0, 0.0, 0.0, str(n)) for n, (name, term) in enumerate(items)]
        self.term_of = np.array([term for _, term in items])
        self.chances, self.meaning = rng.random(len(items)), rng.random(len(items))
        self.fall = rng.uniform(-0.005, 0.025)

    def answers(self, clusters: Sequence[str]) -> list[Comparison]:
        """The present answers to these items; half of them have an unrelated sentence."""
        found = []
        for number in map(int, clusters):
            row = self.rows[number]
            chance = (self.truth[row.bias_type] + self.sd * self.terms[self.term_of[number]]) / 100
            meaningful = float(self.meaning[number] < LMS - self.fall * self.step / 160) if number % 2 else None
            answer = float(self.chances[number] < chance)
            found.append(Comparison(row.bias_type, row.target, answer, meaningful, 0.0, row.cluster))
        return found

    def all(self) -> list[Comparison]:
        return self.answers([row.cluster for row in self.rows])

    def move(self, weights: dict[str, float], step: int, config: DebiasConfig) -> None:
        """Training until an evaluation."""
        rate = share_of_peak((self.step + step) // 2, config) * (step - self.step) / 25
        for name in self.truth:
            pulled = SPEED * weights[name] + PULL * (self.truth[name] - self.began[name])
            self.truth[name] += rate * (NOISE * self.rng.standard_normal() - pulled)
        fresh = self.rng.standard_normal(len(self.terms))
        self.terms = TERM_MEMORY * self.terms + (1 - TERM_MEMORY**2) ** 0.5 * fresh
        for drawn in (self.chances, self.meaning):
            again = self.rng.random(len(drawn)) < REDRAWN
            fresh = self.rng.random(len(drawn))
            drawn[again] = fresh[again]
        self.step = step


@dataclass(slots=True)
class Course:
    """What happened in one run."""

    read: list[float] = field(default_factory=list)
    wrong_direction: list[bool] = field(default_factory=list)
    finished: bool = False
    wrong_stop: bool = False
    steps: int = 0
    distance: float = 0.0


def run(seed: int, sd: float, config: DebiasConfig, reach: float | None = None) -> Course:
    """One run in one world, with full evaluations or with sequential ones."""
    made = World(sd, np.random.default_rng([seed, int(sd)]))
    base = made.all()
    summarise = partial(stop_scores, seed=config.seed, base=BaseAnswers(base, made.train))
    def full() -> StopScores:
        return summarise(made.all())

    evaluate = full if reach is None else SequentialEvaluator(base, made.answers, summarise, reach=reach)
    course, state = Course(), first_state(summarise(base), config)
    truths = {0: dict(made.truth)}
    schedule = evaluation_schedule(_Sets(), config)  # type: ignore[arg-type]
    while not state.decision.stop and state.step < config.max_steps:
        state.step += 1
        if schedule.due(state.step):
            made.move(dict(state.decision.swap_weights), state.step, config)
            truths[state.step] = dict(made.truth)
            _evaluated(course, state, scores_now(evaluate, state, config), made, config)
    gaps = {step: [abs(ss - 50) for ss in truth.values()] for step, truth in truths.items()}
    course.steps, course.finished = state.step, state.decision.stop and not state.decision.collapsed
    course.wrong_stop = course.finished and max(gaps[state.step]) > FAIR
    course.distance = float(np.mean(gaps[state.best_step]))
    return course


def _evaluated(
    course: Course, state: TrainingState, scores: StopScores, made: World, config: DebiasConfig
) -> None:
    decide_step(state, {"step": state.step}, scores, config)
    state.rows.clear()
    course.read.append((scores.evaluated or len(made.rows)) / len(made.rows))
    for name, weight in state.decision.swap_weights.items():
        away = made.truth[name] - 50
        course.wrong_direction.append(abs(away) >= CLEAR and weight * away < 0)


class _Sets:
    """Enough training pairs that the schedule is the configured one."""

    pairs = retain = forget = {"all": range(10**6)}  # noqa: RUF012


def lines(worlds: int, reaches: Sequence[float]) -> Iterator[str]:
    """The table, in Markdown."""
    yield "| term sd | evaluation | items read | finished | wrong stop | wrong direction | distance | steps |"
    yield "|---|---|---|---|---|---|---|---|"
    for sd in SPREADS:
        for kind in (None, *reaches):
            runs = [run(seed, sd, DebiasConfig(), kind) for seed in range(worlds)]
            read = np.concatenate([one.read for one in runs])
            wrong = np.concatenate([one.wrong_direction for one in runs])
            distance = np.array([one.distance for one in runs])
            name = "full" if kind is None else f"sequential, reach {kind:g}"
            yield (
                f"| {sd:g} | {name} | {100 * read.mean():.0f} % | {_share([r.finished for r in runs])} | "
                f"{_share([r.wrong_stop for r in runs])} | {100 * wrong.mean():.2f} % | {distance.mean():.2f} +- "
                f"{distance.std() / worlds**0.5:.2f} | {np.mean([r.steps for r in runs]):.0f} |"
            )


def _share(found: Sequence[bool]) -> str:
    share = float(np.mean(found))
    return f"{100 * share:.1f} +- {100 * (share * (1 - share) / len(found)) ** 0.5:.1f} %"


def main() -> None:
    parser = argparse.ArgumentParser(description="Error rates and cost of sequential evaluations")
    parser.add_argument("--worlds", type=int, default=200, help="simulated runs of each row")
    parser.add_argument("--reach", type=float, nargs="+", default=[REACH], help="prediction errors to both sides")
    given = parser.parse_args()
    for line in lines(given.worlds, given.reach):
        print(line, flush=True)


if __name__ == "__main__":
    main()
