"""The first screen and the summary: the model's name, the verdict in words and sign, the figures, and what is open."""

import re

import pytest

from biasunlearn.commands.report import write_report
from biasunlearn.errors import RequestError
from biasunlearn.report.first_screen import POLARISED_SIGN, SIGNS
from biasunlearn.report.model_name import model_name
from biasunlearn.report.not_shown import not_shown
from biasunlearn.report.objective_study import objective_page
from biasunlearn.report.page import section
from biasunlearn.report.pair_explorer import pair_explorer
from biasunlearn.report.plain_summary import NEXT, summary_page
from biasunlearn.report.ranking import Ranked, rank_ranges, ranking_section, ranking_table
from biasunlearn.report.run import RunData, report_page
from biasunlearn.report.survey import survey_page
from biasunlearn.report.sweep import sweep_page
from biasunlearn.report.tables.run import VERDICT_TONES
from biasunlearn.runs.comparison import GateResult, GateRule
from biasunlearn.stats.bootstrap import Estimate
from biasunlearn.stats.remaining_bias import pairs, share_interval
from tests import made_runs
from tests.report.made_results import _survey, _sweep, objective_study
from tests.report.test_run import items, read, results, typed


def page_of(verdict=None, **changes) -> str:
    made = results()
    made |= {"verdict": verdict} if verdict else {}
    return report_page(RunData("r", typed({**made, **changes}), {"before": items(), "after": items()}))


def verdict(value, **more):
    return {"value": value, "reason": "the reason", "margin": 5.0, **more}


@pytest.mark.parametrize(
    ("model", "source", "name"),
    [("/data/models/minilm", None, "minilm"), ("/runs/7/model/", "folder", "7/model"),
     ("owner/name", "hub", "owner/name"), ("owner/name", None, "owner/name"),
     ("models/mine", "folder", "mine"), ("./mine", None, "mine"),
     ("C:\\models\\mine", None, "mine"), ("/hub/models--owner--name/snapshots/0a1b", "folder", "owner/name"),
     ("/cache/world-e15022c1f5b8f4f3/model", "folder", "toy model of the demo"),
     ("https://host/v1#m", "endpoint", "https://host/v1#m"), ("/", None, "/"), ("m", None, "m")],
)  # fmt: skip
def test_a_model_is_called_by_its_name(model, source, name):
    assert model_name(model, source) == name


def at_a_path(stored):
    """What a page shows, of the same content about a model in a folder."""
    content = stored.model_dump(mode="json", by_alias=True, exclude_none=True)
    for holder in (content, content.get("request") or {}, *(content.get("sides") or {}).values()):
        if "model" in holder:
            holder["model"] = "/home/anna/secret/minilm"
    return type(stored).model_validate(content)


@pytest.mark.parametrize(("page", "stored"), [
    (survey_page, _survey()), (sweep_page, _sweep()), (objective_page, objective_study()),
])  # fmt: skip
def test_pages_of_several_runs_are_headed_by_the_name_of_their_model_too(page, stored):
    shown = page(at_a_path(stored))
    for heading in (re.search(r"<title>.*?</title>", shown)[0], re.search(r"<h1>.*?</h1>", shown)[0]):
        assert "minilm" in heading and "secret" not in heading, heading
    assert "secret/minilm" in shown  # its folder stands among the facts at the end


def test_every_verdict_has_a_word_a_sign_and_what_follows():
    assert set(SIGNS) == set(NEXT) == set(VERDICT_TONES) and len(set(SIGNS.values())) == 5
    shown = {value: page_of(verdict(value)) for value in SIGNS}
    for value, page in shown.items():
        assert SIGNS[value] in page and sum(sign in page for sign in SIGNS.values()) == 1
    assert "<title>FAILED: m" in shown["failed"] and "<title>NO EVIDENCE: m" in shown["no evidence"]
    assert "<title>m " in shown["fair"]  # the control


def test_a_failed_run_does_not_boast_of_its_scores():
    failed, improved = page_of(verdict("failed")), page_of(verdict("improved"))
    assert 'class="tiles void"' in failed and 'class="tiles"' in improved
    assert "They are no evidence" in failed and "The stereotype is more likely in" not in failed
    assert "The stereotype is more likely in" in improved


def test_polarised_groups_are_announced_beside_the_verdict():
    hidden, plain = page_of(verdict("improved", polarised=["gender"])), page_of(verdict("improved"))
    assert "⚠ POLARISED" in hidden and "⚠ POLARISED" not in plain
    assert "on average" in hidden and POLARISED_SIGN in hidden and SIGNS["improved"] not in hidden
    assert POLARISED_SIGN not in plain


def test_the_sentence_names_the_groups_that_a_mean_hides():
    made = results()
    row = made["benchmarks"]["stereoset"]["bias_types"]["gender"]
    row["ss"] = {"value": 50.0, "low": 44.0, "high": 56.0}
    ends = {name: {"n": 9, "ss": {"value": value, "low": 20.0, "high": 80.0}}
            for name, value in (("men", 61.0), ("women", 38.0), ("others", 52.0))}  # fmt: skip
    row |= {"subgroups": ends, "polarised": True}
    shown = "But in gender, groups lie on both sides of 50, from 38.0\u00a0% (women) to 61.0\u00a0% (men)."
    assert shown in report_page(RunData("r", typed(made)))
    assert "both sides of 50, from" not in report_page(RunData("r", typed(results())))


def test_the_reason_has_real_minus_signs_and_stays_out_of_the_summary():
    reason = {"value": "improved", "reason": "changed by -8.1 points (-11.0 to +3.4) in a top-5 list", "margin": 5.0}
    assert "Changed by −8.1 points (−11.0 to +3.4) in a top-5 list." in page_of(reason)
    assert "8.1 points" not in summary_of(reason)
    assert "Training collapsed" in summary_of({**reason, "value": "failed", "reason": "training collapsed"})


def summary_of(found) -> str:
    return summary_page(RunData("r", typed({**results(), "verdict": found})))


def test_the_share_of_answers_that_were_judged_biased_is_in_the_sentence():
    made = results()
    for stage, value in (("before", 48.0), ("benchmarks", 20.0)):
        share = {"value": value, "low": value - 7, "high": value + 7}
        made[stage]["bbq_text"] = {"n": 9, "ideal": {"biased": None}, "overall": {"n": 9, "biased": share},
                                   "bias_types": {}}  # fmt: skip
    shown = "Of its answers in bbq_text, 20.0\u00a0% were judged biased, before 48.0\u00a0%."
    assert shown in report_page(RunData("r", typed(made)))
    assert "judged biased" not in report_page(RunData("r", typed(results())))


def test_what_is_not_measured_is_open():
    said = " ".join(not_shown(typed(results())))
    assert "group part was not measured" in said and "lasts under further training" in said
    assert "no task of lm-eval" not in said  # it has some
    assert "no task of lm-eval" in " ".join(not_shown(typed({**results(), "capability": None})))
    failed = not_shown(typed({**results(), "verdict": verdict("failed")}))
    assert failed[0].startswith("Anything about a debiased model")


def test_contents_lead_to_every_part():
    reader = read(page_of())
    ids = [value for _, name, value in reader.attributes if name == "id"]
    links = [value for _, name, value in reader.attributes if name == "href" and value.startswith("#")]
    assert len(ids) == len(set(ids)) and {link[1:] for link in links} <= set(ids)
    assert {"target-terms", "single-pairs", "how-this-was-made"} <= {link[1:] for link in links}
    assert section("Target terms").with_prefix("a").anchor == "a-target-terms"


def test_the_differing_words_of_a_pair_are_stored_apart():
    made = pairs(items())
    sentences = {made[0].stereotype_id: "He is a nurse.", made[0].anti_stereotype_id: "He is a pilot."}
    assert '"He is a ","nurse.","pilot.",""' in pair_explorer(made[:1], sentences)


def test_the_interval_of_a_share_by_hand():
    assert [round(end, 1) for end in (share_interval(50, 10).low, share_interval(50, 10).high)] == [23.7, 76.3]
    assert [round(end, 1) for end in (share_interval(0, 10).low, share_interval(0, 10).high)] == [0.0, 27.8]


# --- ranks ----------------------------------------------------------------------------------------------------------


def test_ranks_are_ranges_that_the_tests_leave_open():
    assert rank_ranges("ABC", [("A", "C")]) == {"A": (1, 2), "B": (1, 3), "C": (2, 3)}
    assert rank_ranges("ABC", []) == dict.fromkeys("ABC", (1, 3))
    assert rank_ranges("AB", [("A", "B"), ("X", "A")]) == {"A": (1, 1), "B": (2, 2)}


def test_a_failed_run_has_no_rank():
    near = Estimate(1.0, 0.0, 2.0)
    runs = [Ranked("A", "a", "", near), Ranked("B", "b", "", near, "FAILED"), Ranked("C", "c", "", near)]
    found = str(ranking_section(runs, [("B", "A")]).__html__())
    assert "Without a rank: B (failed)" in found
    assert [row.cells[1].text for row in ranking_table(runs, [("B", "A")]).rows] == ["1 to 2", "1 to 2"]
    assert [row.cells[1].text for row in ranking_table(runs, [("A", "C")]).rows] == ["1", "2"]  # the control
    assert ranking_section(runs[:1], []) is None


# --- summary and policy -----------------------------------------------------------------------------------------------


def test_the_summary_counts_out_of_a_hundred():
    run = RunData("r", typed({**results(), "verdict": verdict("improved")}))
    said = " ".join(read(summary_page(run)).text)
    assert "67 of 100" in said and "What follows" in said and NEXT["improved"] in said
    assert "95 % interval" not in said and "SS of" not in said


def test_a_policy_is_a_checklist():
    rules = [GateRule(rule="ss within [45, 55]", passed=False, found="60 (58 to 62) <b>"),
             GateRule(rule="n", passed=True, found="9")]  # fmt: skip
    checked = GateResult(run="r", policy="p.yaml", passed=False, rules=rules)
    page = report_page(RunData("r", typed(results())), checked)
    assert "Policy not passed" in page and "1 of 2 rules do not hold" in page and "&lt;b&gt;" in page
    assert page.index("✗ does not hold") < page.index("✓ holds")
    assert "✓ holds" not in summary_page(RunData("r", typed(results())), checked)


def test_policy_and_summary_are_about_one_run(tmp_path):
    made = made_runs.items({"age": 60, "work": 60})
    runs = [made_runs.measured(tmp_path / name, made) for name in "ab"]
    with pytest.raises(RequestError, match="--summary: is about one run"):
        write_report(runs, tmp_path / "page.html", summary=True)
    policy = tmp_path / "policy.yaml"
    policy.write_text("stereoset: {overall: {minimum_n: 9999}}")
    write_report(runs[0], tmp_path / "page.html", summary=True, policy=policy)
    assert "Policy not passed" in (tmp_path / "page.html").read_text()
