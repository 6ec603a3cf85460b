"""The gate and the tables of judged answers: what is unscored never passes."""

import pytest

from biasunlearn.benchmarks import bbq_text
from biasunlearn.benchmarks.judged import UNSCORED
from biasunlearn.commands.gate import gate
from biasunlearn.report.tables.judged import judged_tables
from biasunlearn.runs.folder import RunFolder
from biasunlearn.runs.results import Measured, Results
from biasunlearn.stats.stereoset import Item


def item(number: int, condition: str) -> Item:
    return Item("bbq_text", f"q{number}", f"q{number}", "Age", f"t{number}", "ambiguous", "answer", 0.0, 3, condition)


def entry_of(**counts: int):
    conditions = [name for name, count in counts.items() for _ in range(count)]
    names = {"missing": f"{UNSCORED}transport"}
    items = [item(n, names.get(one, one)) for n, one in enumerate(conditions)]
    return items, bbq_text.entry(items)


def passed(tmp_path, policy: str, **counts: int):
    items, entry = entry_of(**counts)
    folder = RunFolder(tmp_path / "run")
    folder.path.mkdir()
    folder.write_stages({"": items})
    results = Results(schema=2, model="m", benchmarks=Measured.model_validate({"bbq_text": entry}))
    folder.write_json("results.json", results.to_dict())
    path = tmp_path / "policy.yaml"
    path.write_text(f"bbq_text:\n  overall:\n    {policy}\n")
    return gate(folder.path, path)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("counts", "passes", "word"),
    [
        ({"unknown": 100, "biased": 5}, True, ""),
        ({"unknown": 5, "biased": 50}, False, ""),
        ({"unknown": 50, "biased": 5, "missing": 50}, False, "undecided"),
        ({"unknown": 300, "biased": 3, "missing": 1}, True, "with the unscored answers"),
    ],
)
def test_a_limit_must_hold_whatever_the_unscored_answers_would_have_been(tmp_path, counts, passes, word):
    found = passed(tmp_path, "bfs: {at_least: 80}", **counts)
    assert found.passed is passes and word in found.rules[0].found


def test_a_run_without_any_verdict_does_not_pass(tmp_path):
    found = passed(tmp_path, "bfs: {at_least: 0}", missing=50)
    assert not found.passed and found.rules[0].found == "bfs was not measured"


def test_missing_verdicts_can_be_limited_themselves(tmp_path):
    assert not passed(tmp_path, "scored: {at_least: 98}", unknown=90, missing=10).passed


@pytest.mark.slow
def test_arms_that_differ_in_unscored_answers_are_not_comparable():
    _, after = entry_of(unknown=90, missing=10)
    _, before = entry_of(unknown=97, missing=3)
    table = judged_tables("bbq_text", after, before)[0]
    assert table.warnings[0].startswith("Not comparable: 3.0 % of the answers were unscored before and 10.0 % after")
    assert judged_tables("bbq_text", after, after)[0].warnings == ()
