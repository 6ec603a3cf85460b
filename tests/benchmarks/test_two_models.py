"""Answers before and after debiasing: judged together, equal answers once, with the states of each model."""

import json
from dataclasses import replace

import pytest

from biasunlearn import compare, debias
from biasunlearn.benchmarks import bbq_text
from biasunlearn.benchmarks.judged import Answered, JudgedBenchmark, _own_judges, judge_arms
from biasunlearn.config import load_config
from biasunlearn.report.tables.comparison import comparison_tables
from biasunlearn.report.tables.judged import judged_tables
from biasunlearn.runs.judged_results import Bounds
from biasunlearn.runs.responses import CALLS, RESPONSES, CallStore, Reply
from biasunlearn.runs.results import load_results
from biasunlearn.scoring.endpoint import CallLimits, endpoint
from biasunlearn.scoring.judge import Judge
from biasunlearn.scoring.protocol import EvalOptions
from tests import tiny
from tests.benchmarks.test_bbq_text import row
from tests.serving import needs_openai, serving
from tests.test_documents import QUICK, ROOT


@pytest.fixture
def data(tmp_path):
    path = tmp_path / "Age.jsonl"
    path.write_text("\n".join(json.dumps(row(n, "neg" if n % 2 else "nonneg")) for n in range(24)))
    return str(path)


def arm(name: str, table, task, biased) -> Answered:
    """A model that names the biased person in the questions for which `biased` holds."""
    answers = [
        answer
        for number, question in enumerate(table.records)
        for answer in task.answers(question, [[Reply(text=question.people[0 if biased(number) else 1])]])
    ]
    return Answered(name, len(answers), len(answers), tuple(answers))


@pytest.mark.slow
@needs_openai
def test_two_models_are_judged_in_one_pass(data, tmp_path):
    table = bbq_text.read(data)
    task = bbq_text.task(table.records)
    arms = [arm("base-model", table, task, lambda n: True), arm("debiased-model", table, task, lambda n: n < 6)]
    with serving() as server:
        url = f"{server.url}#oracle"
        options = EvalOptions(judges=(url,), cache=tmp_path)
        found = judge_arms(arms, JudgedBenchmark("bbq_text", table, task, bbq_text.entry), options)
        counts = server.counts()
        panel = replace(options, judges=(url, "rule"))
        both = judge_arms(arms, JudgedBenchmark("bbq_text", table, task, bbq_text.entry), panel)[1][1]
        judge = Judge(url, endpoint(url, CallStore(), CallLimits(), "--judge"))
    (items_before, before), (items_after, after) = found
    assert before.overall.interval("biased").value == 100 and after.overall.interval("biased").value == 25
    assert before.states["overall"] == after.states["overall"] == {"scored": 24}
    assert before.judging.arms == 2 and before.judging.kappa == after.judging.kappa == 1
    distinct = {(a.item_id, a.text): a.judged for one in arms for a in one.answers}
    assert len(distinct) == 24 + 18  # 6 answers are the same
    assert sum(counts.values()) == len(judge.estimated_requests(task.rubric, list(distinct.values())))
    calls = (tmp_path / CALLS).read_text()
    assert "base-model" not in calls and "debiased" not in calls  # the judge does not learn whose answer it is
    assert before.without_judge == {} and list(both.without_judge) == [url, "rule"]
    assert all(found["biased"] == 25 for found in both.without_judge.values())
    assert "scores if one judge is left out" in str(judged_tables("bbq_text", both, None))
    values = {score: both.overall.interval(score) for score in ("biased", "bias_amb")}
    bounds = {score: Bounds(lowest=value, highest=value) for score, value in values.items()}
    tables = judged_tables("bbq_text", both.model_copy(update={"bounds": {"overall": bounds}}), None)
    shown = next(table for table in tables if table.title.endswith("could change"))
    digits = {row.cells[0].text: {cell.digits for cell in row.cells[1:]} for row in shown.rows}
    assert digits == {"biased": {1}, "bias_amb": {3}}  # percent; from -1 to 1
    subjects = [json.loads(line)["subject"] for line in (tmp_path / RESPONSES).read_text().splitlines()]
    assert subjects == 2 * (["base-model"] * 24 + ["debiased-model"] * 24)  # judged by one judge, then by the panel


def test_a_judge_that_is_the_model_under_test_is_named():
    class Model:
        name, calls_cost, fingerprint = "folder", False, "weights"

    arms = [Answered(subject, 0, 0, ()) for subject in ("weights", "other weights")]
    notes = [_own_judges(one, [Judge("folder", Model()), Judge("rule")]) for one in arms]  # type: ignore[arg-type]
    assert ["is the model under test itself" in note for note in notes[0]] == [True] and notes[1] == []


@pytest.mark.slow
def test_debias_measures_answers_before_and_after(data, tmp_path):
    model = tiny.save(tiny.gpt2(n_positions=256), tmp_path / "model")
    out = tmp_path / "run"
    examples = ROOT / "examples"
    debias(
        model, train=str(examples / "age_train.csv"), report=str(examples / "age_report.csv"), out=out,
        config=load_config(None, [*QUICK, "max_steps=2"]), benchmarks={"bbq_text": data},
        options=EvalOptions(new_tokens=4, replacements=0, limit_prompts=6),
    )  # fmt: skip
    found = load_results(out)
    entries = [measured["bbq_text"] for measured in (found.before, found.benchmarks)]
    assert [entry.states["overall"] for entry in entries] == [{"unscored: truncated": 6}] * 2
    assert entries[0].judging.arms == 2 and list(found.benchmarks.entries) == ["stereoset", "bbq_text"]
    page = (out / "report.html").read_text()
    assert "Search all 6 answers" in page and "unscored: truncated" in page
    assert 0 < len((out / RESPONSES).read_text().splitlines()) <= 12
    compared = compare([f"{out}:before", out])
    judged = compared.comparisons[0].benchmarks["bbq_text"].judged
    assert judged.a == judged.b == {"unscored: truncated": 6} and not judged.apart
    titles = [getattr(part, "title", "") for part in comparison_tables(compared)]
    assert "bbq_text: states of the answers, B against A" in titles
