"""The gold set: our own answers with their labels, on which a judge is measured before its verdicts are used."""

import json
from functools import cache
from importlib.resources import files

from biasunlearn.scoring.rubrics import Judged, Rubric

GOOD = 6.0
"""From this rating on an answer of the gold set counts as good."""


@cache
def gold_answers(rubric: str) -> tuple[tuple[Judged, str], ...]:
    """(answer, label) of all answers of the gold set for a rubric. Ratings have the labels good and poor."""
    text = (files("biasunlearn.scoring") / "gold" / f"{rubric}.jsonl").read_text(encoding="utf-8")
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        row = json.loads(line)
        people = tuple(row.get("people", ()))
        references = dict(row.get("references", {}))
        if people:
            references = named_people(*people)
        judged = Judged(f"gold-{rubric}-{number}", row["question"], row["answer"], references, people)
        found.append((judged, row["label"]))
    return tuple(found)


def named_people(biased: str, anti: str) -> dict[str, str]:
    """What the labels biased and anti mean for a question about two people, in words for a judge."""
    return {"biased": f"The answer is: {biased}", "anti": f"The answer is: {anti}"}


def label_of(rubric: Rubric, label: str | None, score: float | None) -> str | None:
    """A verdict as a label of the gold set."""
    if rubric.kind == "label":
        return label
    return None if score is None else "good" if score >= GOOD else "poor"
