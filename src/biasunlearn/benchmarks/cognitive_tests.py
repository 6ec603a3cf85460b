"""Thirty cognitive biases of decisions: the test templates of Malberg et al., filled with texts of the user's own.

Paper          Malberg, Poletukhin, Schuster, Groh 2025, A Comprehensive Evaluation of Cognitive Biases in LLMs (NLP4DH
               2025). The templates are CC BY-SA 4.0 and are not part of this package
Data           a folder with the templates (tests/<Bias>.config.xml) and insertions.jsonl, one filled test a row: bias
               (the name of the template file), insertions ({gap without its brackets: text}), scenario, and k (1 or
               -1) for the biases whose sign depends on the test
Formulation    each arm is asked twice, with its options in order and reversed: log-likelihood of "Option n" after the
               prompt, summed over both, so that what a model gives to a number as such cancels. With --written-answers
               also greedy decoding with the options in order; "Option n" is read from the text itself
Scores         bias: the paper's B = k (|a1 - x1| - |a2 - x2|) / max(|a1 - x1|, |a2 - x2|), from -1 to 1, of the chosen
               positions a1 (control) and a2 (treatment), from 0. difference: the numerator of B, in options: B is a
               ratio on a scale that begins at 0, so that one answer at option 0 makes it 1 or -1 whatever the other is.
               control_position: a1, in percent of the scale
Averaging      over tests, by bias; the bootstrap draws whole scenarios
Ideal          bias and difference 0; control_position has none
Deviations     the published runs let the model extract the option from its own reply; here no second call is needed. A
               test counts only if both arms were read, and lost tests are counted. Texts of another generator than the
               published one give scores that are not comparable with the published ones. k, x and the turned scale
               follow the released code where its documentation says something else
Version        1
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from biasunlearn.benchmarks.answer_options import LIKELIHOOD, UNDECIDED, WRITTEN, Question, ask
from biasunlearn.benchmarks.common import panel
from biasunlearn.data.files import read_file
from biasunlearn.data.rows import BadRow, Place, Row, identifier, optional_text, shown, text_of
from biasunlearn.data.tables import Table, file_rows, read_files
from biasunlearn.errors import RequestError
from biasunlearn.runs.results import CognitiveResult
from biasunlearn.scoring.protocol import EvalPlan
from biasunlearn.stats.outcome import Outcome
from biasunlearn.stats.stereoset import Item

if TYPE_CHECKING:
    from biasunlearn.models.load import Loaded

VERSION = 1
IDEAL = {"bias": 0.0, "difference": 0.0, "control_position": None}
FORMULATION = 'log-likelihood of "Option n" after the prompt, summed over the options in order and reversed'
INSERTIONS = "insertions.jsonl"
SMALL = 1e-8
"""Added to the denominator of B, as in the released code."""

ARMS = ("control", "treatment")
GAP = re.compile(r"\[\[([^\[\]{}]*)\]\]|\{\{([^\[\]{}]*)\}\}")
"""A gap without another gap in it."""

DEFAULT = (
    "AvailabilityHeuristic Conservatism FramingEffect IllusionOfControl InGroupBias NotInventedHere Reactance "
    "RiskCompensation"
).split()
TURNED = "DispositionEffect InformationBias NegativityBias StatusQuoBias".split()
POSITIVE = (
    "Anthropomorphism ConfirmationBias EndowmentEffect EscalationOfCommitment MentalAccounting SelfServingBias "
    "Stereotyping SurvivorshipBias Anchoring HindsightBias PlanningFallacy"
).split()
BY_TEST = "FundamentalAttributionError HaloEffect SocialDesirabilityBias HyperbolicDiscounting OptimismBias".split()
BY_TEST_TURNED = ["BandwagonEffect", "LossAversion"]
SIGNS: Mapping[str, int | None] = {
    **dict.fromkeys([*DEFAULT, *TURNED], -1), **dict.fromkeys(POSITIVE, 1),
    **dict.fromkeys([*BY_TEST, *BY_TEST_TURNED]),
}  # fmt: skip
"""{bias: k}; None where it depends on the test."""


@dataclass(frozen=True, slots=True)
class Filled:
    """A filled test: two prompts, their options, and how the two answers are compared."""

    id: str
    bias_type: str
    scenario: str
    prompts: tuple[str, str]
    """Of the control and of the treatment, without their options."""
    options: tuple[tuple[str, ...], tuple[str, ...]]
    k: int
    x: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Template:
    """A template file: the situations with their question, and the options, of the control and of the treatment."""

    texts: tuple[str, str]
    options: tuple[tuple[str, ...], tuple[str, ...]]


def run(loaded: "Loaded", path: str | Table[Filled], plan: EvalPlan) -> tuple[list[Item], CognitiveResult]:
    """Asks both arms of every test. Returns the items and the results."""
    table = read(path, skip_invalid=plan.skip_invalid)
    asked = [(place, one) for place, test in zip(table.places, table.records, strict=True) for one in _questions(test)]
    questions = Table(table.path, tuple(q for _, q in asked), (), table.sha256, tuple(place for place, _ in asked))
    usable, items = ask(
        "cognitive_tests", loaded, questions, plan, lambda question, text: written_position(text, len(question.answers))
    )
    items = [item for item in items if item.kind == LIKELIHOOD or item.item_id.endswith("/in order/written")]
    facts = replace(table, skipped=(*table.skipped, *usable.skipped)).facts
    return items, entry(items).with_values(**facts)


def read(path: str | Table[Filled], *, skip_invalid: bool = False) -> Table[Filled]:
    """The filled tests of a folder. Raises as `data.tables.read_table`; RequestError for a wrong template."""
    if isinstance(path, Table):
        return path
    folder = Path(path)
    if not (folder / INSERTIONS).exists():
        raise RequestError(f"{path}: needs {INSERTIONS}, one filled test a row, beside the templates in tests/")
    files = {file.name.split(".")[0]: read_file(file) for file in sorted(folder.glob("tests/*.config.xml"))}
    templates = {name: read_template(file.text(), str(file.path)) for name, file in files.items() if name in SIGNS}
    if not templates:
        raise RequestError(f"{path}: no templates here; needs tests/<Bias>.config.xml")
    insertions = read_file(folder / INSERTIONS)

    def build(row: Row, place: Place) -> Filled:
        return _filled(row, place, templates)

    return read_files(
        str(path), [*files.values(), insertions], file_rows(insertions), build, skip_invalid=skip_invalid,
        key=lambda test: test.id,
    )  # fmt: skip


def outcomes(items: Sequence[Item]) -> list[Outcome]:
    """Of the answers by likelihood: B, its numerator, and the position of the control, of each test."""
    return _outcomes(items, LIKELIHOOD)


def entry(items: Sequence[Item]) -> CognitiveResult:
    """By bias. The written answers are a group; tests of which an arm was not read are counted."""
    written = _outcomes(items, WRITTEN)
    tests = {item.cluster_id.split("/")[0] for item in items if item.kind == WRITTEN}
    lost = len(tests) - len({outcome.unit for outcome in written})
    unread = [item for item in items if item.kind == WRITTEN and item.role == UNDECIDED]
    arms = {arm: sum(item.condition.startswith(arm) for item in unread) for arm in ARMS} if tests else {}
    groups = {"asked by": [replace(outcome, bias_type=WRITTEN) for outcome in written]} if written else {}
    return panel(
        CognitiveResult, outcomes(items), version=VERSION, formulation=FORMULATION, ideal=IDEAL, groups=groups,
        undecided=arms, notes=[f"written answers: {lost} of {len(tests)} tests have an unread arm"] if tests else [],
    )  # fmt: skip


def bias_of(k: int, control: int, treatment: int, x: tuple[int, int] = (0, 0)) -> tuple[float, float]:
    """(B, its numerator) of two answers.

    By hand: k = 1, positions 3 and 6, x = 0: (3 - 6) / 6 = -0.5, and -3 options.
    """
    first, second = abs(control - x[0]), abs(treatment - x[1])
    difference = k * (first - second)
    return difference / (max(first, second) + SMALL), float(difference)


def written_position(text: str, options: int) -> str:
    """The number of the first "Option n" of a text, or "undecided"."""
    found = re.search(r"\boption\W{0,4}(\d+)", text, re.IGNORECASE)
    number = int(found.group(1)) if found else 0
    return str(number) if 1 <= number <= options else UNDECIDED


def fill(text: str, insertions: Mapping[str, str]) -> str:
    """A text without gaps; inner gaps come first, and an insertion may hold gaps. BadRow for a gap without its text."""
    for _ in range(100):
        gap = GAP.search(text)
        if gap is None:
            return text
        name = gap.group(1) if gap.group(1) is not None else gap.group(2)
        value = insertions.get(name)
        if not isinstance(value, str):
            raise BadRow(f"field insertions: no text for the gap {shown(name)}; add it")
        text = text[: gap.start()] + value + text[gap.end() :]
    raise BadRow("field insertions: the texts name each other's gaps without an end")


def read_template(text: str, path: str) -> Template:
    """The template of a file. RequestError where it is none; a document type, which could expand, is refused."""
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise RequestError(f"{path}: has a document type; templates need none, remove it")
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise RequestError(f"{path}: no XML: {error}") from None
    arms = {arm: root.find(f".//template[@type='{arm}']") for arm in ARMS}
    texts, options = [], []
    for arm, found in arms.items():
        if found is None or found.find("prompt") is None:
            raise RequestError(f"{path}: no template of the type {arm} with a prompt")
        texts.append("\n".join((one.text or "").strip() for one in found if one.tag in ("situation", "prompt")))
        options.append(tuple((one.text or "").strip() for one in found.findall("option")))
    if len(options[0]) != len(options[1]) or len(options[0]) < 2:
        raise RequestError(f"{path}: control and treatment need the same number of options, at least 2")
    return Template((texts[0], texts[1]), (options[0], options[1]))


def _outcomes(items: Sequence[Item], kind: str) -> list[Outcome]:
    grouped: dict[str, dict[str, list[Item]]] = defaultdict(lambda: defaultdict(list))
    for item in items:
        if item.kind == kind:
            grouped[item.cluster_id.split("/")[0]][item.condition.split(" ")[0]].append(item)
    found = []
    for test, arms in grouped.items():
        positions = [_position(arms[arm], kind) for arm in ARMS]
        if None in positions:
            continue
        one = arms[ARMS[0]][0]
        _, k, turned, x1, x2, count = one.condition.split(" ")
        control, treatment = (position or 0 for position in positions)
        if turned == "turned":
            treatment = int(count) - 1 - treatment
        bias, difference = bias_of(int(k), control, treatment, (int(x1), int(x2)))
        scale = 100.0 * control / (int(count) - 1)
        for score, value in (("bias", bias), ("difference", difference), ("control_position", scale)):
            found.append(Outcome(test, one.target, one.bias_type, score, value))
    return found


def _position(items: Sequence[Item], kind: str) -> int | None:
    """The chosen position, from 0; None for an arm that was not read."""
    if kind == WRITTEN:
        return None if not items or items[0].role == UNDECIDED else int(items[0].role) - 1
    sums: dict[int, float] = defaultdict(float)
    orders: dict[int, int] = defaultdict(int)
    for item in items:
        count = int(item.condition.rsplit(" ", 1)[1])
        reverse = item.cluster_id.endswith("/reversed")
        place = count - int(item.role) if reverse else int(item.role) - 1
        sums[place] += item.log_prob
        orders[place] += 1
    if not sums or set(orders.values()) != {2}:
        return None
    return max(sums, key=lambda place: sums[place])


def _questions(test: Filled) -> Iterator[Question]:
    """Both arms, each with its options in order and reversed."""
    count = len(test.options[0])
    turned = "turned" if test.bias_type in (*TURNED, *BY_TEST_TURNED) else "straight"
    for arm, prompt, options in zip(ARMS, test.prompts, test.options, strict=True):
        for order, listed in (("in order", options), ("reversed", options[::-1])):
            lines = "\n".join(f"Option {n}: {text}" for n, text in enumerate(listed, 1))
            yield Question(
                id=f"{test.id}/{arm}/{order}", bias_type=test.bias_type, cluster=test.scenario,
                prompt=f"{prompt}\n{lines}\nSelect exactly one option.\nAnswer:",
                answers={str(n): (f"Option {n}",) for n in range(1, count + 1)},
                condition=f"{arm} {test.k} {turned} {test.x[0]} {test.x[1]} {count}",
            )  # fmt: skip


def _filled(row: Row, place: Place, templates: Mapping[str, Template]) -> Filled:
    bias = text_of(row, "bias")
    if bias not in templates:
        raise BadRow(f"field bias: {shown(bias)}; there is no such template, known are {', '.join(sorted(templates))}")
    insertions = row.get("insertions")
    if not isinstance(insertions, Mapping):
        raise BadRow('field insertions: must be an object of {"gap": "text"}')
    template = templates[bias]
    prompts = [fill(text, insertions) for text in template.texts]
    options = [tuple(fill(option, insertions) for option in listed) for listed in template.options]
    name = (identifier(row, "id") or str(place.number)).replace("/", "-")
    return Filled(
        f"{bias}-{name}", bias, optional_text(row, "scenario") or f"{bias}-{name}", (prompts[0], prompts[1]),
        (options[0], options[1]), _sign(row, bias), _anchors(bias, insertions),
    )  # fmt: skip


def _sign(row: Row, bias: str) -> int:
    fixed = SIGNS[bias]
    if fixed is not None:
        return fixed
    value = row.get("k")
    if value not in (1, -1) or isinstance(value, bool):
        raise BadRow(f"field k: must be 1 or -1; the sign of {bias} depends on the test (docs/cognitive.md)")
    return 1 if value == 1 else -1


def _anchors(bias: str, insertions: Mapping[str, str]) -> tuple[int, int]:
    """x of the control and of the treatment, from the numbers that were inserted."""

    def number(name: str) -> float:
        try:
            return float(str(insertions.get(name)).rstrip("%"))
        except ValueError:
            raise BadRow(f"field insertions: {name} must be a number") from None

    match bias:
        case "Anchoring":
            near = round(number("anchor") / 10)
        case "HindsightBias":
            near = round(number("percentage") / 10) + 5
        case "PlanningFallacy":
            return -int(number("estimation_update") // 10), -3
        case _:
            return 0, 0
    return near, near
