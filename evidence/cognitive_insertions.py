"""Fills the gaps of three test templates of Malberg et al. with texts of this project: anchoring, framing, status quo.

    python evidence/cognitive_insertions.py TEMPLATES OUT

TEMPLATES is the folder of the published templates (CC BY-SA 4.0), which has tests/NAME.config.xml. OUT becomes a folder
with the three templates and insertions.jsonl, for `--benchmark cognitive_tests=OUT`. The names of the gaps are read
from the templates. Scores on other texts than the published ones cannot be compared with published scores.
"""

import json
import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from biasunlearn.benchmarks.cognitive_tests import GAP, INSERTIONS

# manager, organization, what is allocated, whose performance, the measure, its opposite, course A, course B
SCENARIOS = (
    ("a", "sales", "a bakery chain", "have to decide what share of the flour goes to the morning bread",
     "the team that plans deliveries", "the share of orders that arrive on time",
     "the share of orders that arrive late",
     "selling through its own shops", "selling through partner shops"),
    ("an", "operations", "a railway company", "have to decide what share of the coaches runs on the northern line",
     "the contractor who repairs the tracks", "the share of repairs done at the first visit",
     "the share of repairs not done at the first visit", "repairing trains in its own workshop",
     "repairing trains in the workshop of the maker"),
    ("a", "marketing", "a book publisher", "have to decide what share of the posters goes to the book fair",
     "the agency that designs the covers", "the share of readers who like the covers",
     "the share of readers who do not like the covers", "announcing books by letter", "announcing books by telephone"),
    ("a", "finance", "a public library", "have to decide what share of the budget is spent on new shelves",
     "the employee who checks invoices", "the share of invoices without a mistake",
     "the share of invoices with a mistake",
     "paying suppliers each week", "paying suppliers each month"),
    ("a", "personnel", "a hospital", "have to decide what share of the training hours goes to the night shift",
     "the team that answers applications", "the share of applicants who get an answer within a week",
     "the share of applicants who wait longer than a week", "planning shifts by month", "planning shifts by week"),
    ("a", "quality", "a maker of bicycles", "have to decide what share of the frames is tested under load",
     "the team that checks the brakes", "the share of brakes that pass", "the share of brakes that fail",
     "testing every tenth wheel", "testing the wheels of every Monday"),
    ("a", "purchasing", "a canteen", "have to decide what share of the vegetables is bought frozen",
     "the supplier of the milk", "the share of deliveries that are complete",
     "the share of deliveries that are incomplete", "buying from one large supplier",
     "buying from five small suppliers"),
    ("an", "energy", "a housing cooperative", "have to decide what share of the roofs gets solar panels",
     "the company that reads the meters", "the share of meters read without an error",
     "the share of meters read with an error", "heating with gas", "heating with wood"),
    ("a", "software", "an insurance company", "have to decide what share of the servers is kept for tests",
     "the team that repairs faults", "the share of faults repaired within a day",
     "the share of faults not repaired within a day", "releasing twice a year", "releasing once a month"),
    ("a", "research", "a maker of paints", "have to decide what share of the laboratory is used for new colours",
     "the team that measures how paint dries", "the share of samples that dry evenly",
     "the share of samples that dry unevenly", "developing paints alone", "developing paints with a university"),
    ("a", "safety", "a harbour", "have to decide what share of the guards stands at the eastern gate",
     "the company that inspects the cranes", "the share of cranes inspected in time",
     "the share of cranes inspected too late", "closing the gates at nine", "closing the gates at ten"),
    ("a", "travel", "a school", "have to decide what share of the buses drives to the museum",
     "the company that runs the buses", "the share of trips that start on time", "the share of trips that start late",
     "travelling in spring", "travelling in autumn"),
)  # fmt: skip
ANCHORS = (10, 30, 70, 90)
BIASES = ("Anchoring", "FramingEffect", "StatusQuoBias")


def rows(templates: Path) -> Iterator[dict[str, object]]:
    texts = {bias: (templates / "tests" / f"{bias}.config.xml").read_text(encoding="utf-8") for bias in BIASES}
    for article, kind, place, task, judged, metric, opposite, one, other in SCENARIOS:
        known = {"a/an": article, "type": kind, "organization": place, "first mention": place}
        filled = [("Anchoring", {"formulate a task": task, "anchor": str(anchor)}) for anchor in ANCHORS]
        for percent in (60, 75, 90):
            measures = {"metric of success": metric, "provide a metric": opposite, "write a short description": judged}
            shares = {"first_percentage": str(percent), "second_percentage": str(100 - percent)}
            filled.append(("FramingEffect", {**measures, **shares}))
        for first, second in ((one, other), (other, one)):
            named = {"second mention": "it", "third mention": "it", "status A": first, "status B": second}
            filled.append(("StatusQuoBias", named))
        for bias, values in filled:
            yield {"bias": bias, "scenario": place, "insertions": insertions(texts[bias], {**known, **values})}


def insertions(template: str, values: Mapping[str, str]) -> dict[str, str]:
    """The text of every gap of a template, inner gaps first, by how the name of the gap begins.

    A gap that asks to rephrase a course of action takes it as it is; its name contains it once the inner gap is filled.
    """
    found: dict[str, str] = {}
    while match := GAP.search(template):
        name = match.group(1) if match.group(1) is not None else match.group(2)
        if name.startswith("rephrase"):
            found[name] = name.split("'")[1]
        else:
            found[name] = next(value for start, value in values.items() if name.startswith(start))
        template = template[: match.start()] + found[name] + template[match.end() :]
    return found


def main() -> None:
    templates, out = Path(sys.argv[1]), Path(sys.argv[2])
    (out / "tests").mkdir(parents=True, exist_ok=True)
    for bias in BIASES:
        shutil.copy(templates / "tests" / f"{bias}.config.xml", out / "tests")
    lines = [json.dumps(row) for row in rows(templates)]
    (out / INSERTIONS).write_text("\n".join(lines) + "\n", encoding="utf-8")


main()
