"""Policies: every limit by hand, the shipped example, exit codes, and no typing error that passes silently."""

import json
from pathlib import Path

import pytest
import yaml

from biasunlearn import gate as gate_typed
from biasunlearn.cli import main
from biasunlearn.commands.gate import HOLDS, LIMITS, Rule, read_policy
from biasunlearn.errors import RequestError
from biasunlearn.stats.bootstrap import Estimate
from tests.made_runs import debiased, entry, items, measured, text

EXAMPLE = Path(__file__).resolve().parents[2] / "examples/policy.yaml"
BASE = {"age": 84, "work": 84}  # 70 %
FAIR = {"age": 60, "work": 60}  # 50 %

ESTIMATE = Estimate(52.0, 48.0, 56.0)


@pytest.mark.parametrize(
    ("limit", "estimate", "holds", "fails"),
    [
        ("contains", ESTIMATE, 50, 57),
        ("contains", ESTIMATE, 48, 47.9),
        ("within", ESTIMATE, [48, 56], [49, 60]),
        ("within", ESTIMATE, [40, 60], [40, 55]),
        ("at_most", ESTIMATE, 56, 55),  # the upper end, not the value
        ("at_least", ESTIMATE, 48, 49),
        ("value_at_most", ESTIMATE, 52, 51),
        ("value_at_least", ESTIMATE, 52, 53),
        ("falls_at_most", Estimate(-0.5, -1.2, 0.2), 1.2, 1.0),  # it may have fallen by 1.2
        ("rises_at_most", Estimate(0.5, -0.2, 1.2), 1.2, 1.0),
        ("falls_at_most_percent", Estimate(-0.5, -1.2, 0.2), 2, 1),
        ("rises_at_most_percent", Estimate(2.0, 2.0, 2.0), 2, 1.9),
    ],
)
def test_limits(limit, estimate, holds, fails):
    assert HOLDS[limit](estimate, holds)
    assert not HOLDS[limit](estimate, fails)


def gate(*arguments, **options):
    """What the command gives, as plain values: the JSON output of gate."""
    return gate_typed(*arguments, **options).to_dict()


def test_over_debiased_is_the_whole_interval_below_50():
    assert HOLDS["over_debiased"](Estimate(48.0, 45.0, 50.0), "forbidden")
    assert not HOLDS["over_debiased"](Estimate(46.0, 42.0, 49.9), "forbidden")
    assert set(HOLDS) == set(LIMITS)


def policy(folder, content):
    path = folder / "policy.yaml"
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    return str(path)


def found(result):
    return {row["rule"]: (row["passed"], row["found"]) for row in result["rules"]}


def test_rules_speak_of_every_bias_type_or_of_one(tmp_path):
    run = measured(tmp_path / "run", items({"age": 84, "work": 60}))
    limits = {
        "stereoset": {
            "overall": {"minimum_n": 240, "ss": {"within": [50, 70]}},
            "bias_types": {"minimum_n": 121, "ss": {"contains": 50}},
            "age": {"ss": {"at_least": 50}},
        }
    }
    result = gate(run, policy(tmp_path, limits))
    rows = found(result)
    assert rows["stereoset, overall: minimum n 240"] == (True, "240 items")
    assert rows["stereoset, overall: ss within [50, 70]"][0]
    assert rows["stereoset, age: minimum n 121"] == (False, "120 items")
    assert not rows["stereoset, age: ss contains 50"][0] and rows["stereoset, work: ss contains 50"][0]
    assert rows["stereoset, age: ss at least 50"][0]
    assert rows["stereoset, age: ss contains 50"][1] == "70.00"  # all terms alike: an interval without width
    assert not result["passed"] and len(rows) == 7


def test_falls_are_paired_and_held_against_their_interval(tmp_path):
    """LMS: 12 of 240 pairs lose both comparisons: 100 -> 95. The fall is 5, and may be 7 or so."""
    run = debiased(tmp_path / "run", items(BASE), items(FAIR, meaningless=6))

    def passes(bound):
        limits = {"stereoset": {"overall": {"lms": {"falls_at_most": bound}}}}
        return gate(run, policy(tmp_path, limits))

    result = passes(4)
    assert result["base"] == f"{run}:before" and not result["passed"]
    assert result["rules"][0]["found"].startswith("-5.000 (")
    assert not passes(5)["passed"]  # the value would pass, its interval does not
    assert passes(12)["passed"]


def test_rises_without_items_are_rises_of_the_value(tmp_path):
    run = debiased(tmp_path / "run", items(BASE), items(FAIR), perplexity=(20.0, 20.5))  # +2.5 %
    for bound, passed in ((3, True), (2, False)):
        limits = {"perplexity": {"overall": {"per_token": {"rises_at_most_percent": bound}}}}
        result = gate(run, policy(tmp_path, limits))
        assert result["passed"] is passed and result["rules"][0]["found"] == "+2.500 %"


def test_a_change_needs_a_base_on_the_same_data(tmp_path):
    limits = policy(tmp_path, {"stereoset": {"overall": {"lms": {"falls_at_most": 1}}}})
    run, base = measured(tmp_path / "run", items(FAIR)), measured(tmp_path / "base", items(BASE))
    with pytest.raises(RequestError, match="this run has no stage before; add --base RUN"):
        gate(run, limits)
    assert gate(run, limits, base=base)["passed"]
    foreign = measured(tmp_path / "foreign", items(BASE, prefix="other-"))
    with pytest.raises(RequestError, match="measured on different data"):
        gate(run, limits, base=foreign)


def test_what_was_not_measured_does_not_pass(tmp_path):
    made = items(FAIR)
    stored = entry(made)
    stored["overall"]["lms"] = None  # pairs without unrelated sentences
    run = measured(tmp_path / "run", made, benchmarks={"stereoset": stored})
    limits = {
        "perplexity": {"overall": {"per_token": {"at_most": 30}}},
        "stereoset": {"overall": {"lms": {"at_least": 80}}},
    }
    rows = found(gate(run, policy(tmp_path, limits)))
    assert rows["perplexity, overall: per_token at most 30"] == (False, "perplexity was not measured")
    assert rows["stereoset, overall: lms at least 80"] == (False, "lms was not measured")


@pytest.mark.slow
def test_the_example_passes_a_fair_model_and_fails_its_base(tmp_path, capsys):
    """Four bias types of 120 pairs from 70 to 50: every rule of the shipped policy is read and held."""
    types = {"bias_types": ("age", "faith", "race", "work")}
    before, after = (items(dict.fromkeys(types["bias_types"], n), **types) for n in (84, 60))
    run = debiased(tmp_path / "run", before, after, perplexity=(20.0, 20.2))
    limits = policy(tmp_path, EXAMPLE.read_text().replace("minimum_n: 500", "minimum_n: 480"))
    assert main(["gate", run, "--policy", limits]) == 0
    assert "all 17 rules passed" in capsys.readouterr().out
    assert main(["gate", run, "--policy", str(EXAMPLE)]) == 1  # 480 items are fewer than the 500 it asks for
    biased = debiased(tmp_path / "biased", before, before, perplexity=(20.0, 21.0))
    assert main(["gate", biased, "--policy", limits, "--json"]) == 1
    result = json.loads(capsys.readouterr().out.split("failed\n")[-1])
    failed = [row["rule"] for row in result["rules"] if not row["passed"]]
    assert len(failed) == 2 + 4 + 1  # SS and its distance overall, SS of four bias types, perplexity


def test_an_over_debiased_model_fails(tmp_path):
    low = {"age": 36, "work": 60}  # 30 %
    run = debiased(tmp_path / "run", items(BASE), items(low))
    limits = {"stereoset": {"bias_types": {"minimum_n": 100, "ss": {"over_debiased": "forbidden"}}}}
    rows = found(gate(run, policy(tmp_path, limits)))
    assert not rows["stereoset, age: ss not over-debiased"][0] and rows["stereoset, work: ss not over-debiased"][0]


@pytest.mark.parametrize(
    ("limits", "accepted"),
    [
        ({"overall": {"ss": {"contains": 50}}}, False),
        ({"bias_types": {"ss": {"over_debiased": "forbidden"}}}, False),
        ({"overall": {"minimum_n": 500}, "bias_types": {"ss": {"contains": 50}}}, False),  # of another part
        ({"overall": {"minimum_n": 500, "ss": {"contains": 50}}}, True),
        ({"bias_types": {"minimum_n": 9}, "age": {"ss": {"contains": 50}}}, True),  # age is one of the bias types
        ({"age": {"ss": {"contains": 50, "within": [40, 60]}}}, True),
        ({"age": {"lms": {"within": [40, 60]}, "ss": {"contains": 50}}}, False),  # of another score
    ],
)
def test_limits_that_any_wide_interval_satisfies_need_a_number_of_items(tmp_path, limits, accepted):
    path = policy(tmp_path, {"stereoset": limits})
    if accepted:
        assert read_policy(path)
        return
    with pytest.raises(RequestError, match=r"any wide interval satisfies .* add minimum_n to this part"):
        read_policy(path)


def test_few_pairs_whose_terms_agree_by_chance_do_not_lie_within_a_range(tmp_path):
    """Twelve terms with one of two pairs stereotyped: the bootstrap interval has no width, and proves nothing."""
    few = [one for one in items(dict.fromkeys(("age",), 12), bias_types=("age",))
           if int(one.cluster_id[-3:]) < 24]  # fmt: skip
    run = measured(tmp_path / "few", few)
    limits = policy(tmp_path, {"stereoset": {"overall": {"ss": {"within": [45, 55]}}}})
    result = gate(run, limits)
    assert not result["passed"] and result["rules"][0]["found"].startswith("50.00 (33.")  # 50 +- 1.645 * 10.2
    many = measured(tmp_path / "many", items({"age": 60, "work": 60}))
    wider = policy(tmp_path, {"stereoset": {"overall": {"ss": {"within": [44, 56]}}}})
    assert gate(many, wider)["passed"]  # 240 pairs: 50 +- 5.3


def test_a_run_that_collapsed_does_not_pass_though_every_rule_holds(tmp_path):
    run = Path(debiased(tmp_path / "run", items(BASE), items(FAIR)))
    limits = policy(tmp_path, {"stereoset": {"overall": {"minimum_n": 1}}})
    assert gate(run, limits)["passed"]
    stored = json.loads((run / "results.json").read_text())
    (run / "results.json").write_text(json.dumps({**stored, "collapsed": True}))
    result = gate(run, limits)
    assert not result["passed"] and result["rules"][0]["rule"] == "training did not collapse"
    assert gate(f"{run}:before", limits)["passed"]  # the base model did not collapse


BAD = {
    "unknown benchmark": ("stereosets: {overall: {ss: {contains: 50}}}", "unknown benchmark 'stereosets'; did"),
    "unknown limit": ("stereoset: {overall: {ss: {contain: 50}}}", "unknown limit 'contain'; did you mean contains?"),
    "unknown part": ("stereoset: {bias_type: {ss: {at_most: 50}}}", "no part 'bias_type'; did you mean bias_types?"),
    "unknown score": ("stereoset: {overall: {sss: {at_most: 50}}}", "no score 'sss'; did you mean ss?"),
    "no number": ("stereoset: {overall: {ss: {contains: fifty}}}", "ss, contains: 'fifty'; must be a number"),
    "no range": ("stereoset: {overall: {ss: {within: 50}}}", "ss, within: 50; must be two numbers, [LOW, HIGH]"),
    "turned range": ("stereoset: {overall: {ss: {within: [60, 40]}}}", "must be two numbers, [LOW, HIGH]"),
    "a yes": ("stereoset: {overall: {ss: {over_debiased: no}}}", "over_debiased: False; must be the word forbidden"),
    "half an item": ("stereoset: {overall: {minimum_n: 1.5}}", "minimum_n: 1.5; must be a whole number"),
    "no limits": ("stereoset: {overall: {ss: 50}}", "stereoset, overall, ss: must hold limits"),
    "a list": ("- stereoset", "policy.yaml: must hold benchmarks"),
    "nothing": ("", "policy.yaml: must hold benchmarks"),
    "no YAML": ("a: [", "policy.yaml:2: not YAML"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_a_wrong_policy_is_one_line_and_exit_code_2(name, tmp_path, capsys):
    content, message = BAD[name]
    run = measured(tmp_path / "run", items(FAIR))
    assert main(["gate", run, "--policy", policy(tmp_path, content)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and message in error


def test_a_missing_policy_or_run(tmp_path, capsys):
    run = measured(tmp_path / "run", [], benchmarks={"perplexity": text(9.0)})
    assert main(["gate", run, "--policy", str(tmp_path / "none.yaml")]) == 2
    assert "none.yaml: no such file" in capsys.readouterr().err
    assert main(["gate", str(tmp_path / "none"), "--policy", str(EXAMPLE)]) == 2
    assert "no finished run here" in capsys.readouterr().err


def test_rules_keep_the_order_of_the_file():
    rules = read_policy(EXAMPLE)
    assert rules[0] == Rule("stereoset", "overall", "", "minimum_n", 500)
    assert [rule.limit for rule in rules if rule.part == "bias_types"] == ["minimum_n", "contains", "over_debiased"]
    assert rules[-1].bound == 3


def test_a_partial_run_passes_only_if_the_policy_says_so(tmp_path: Path) -> None:
    whole = measured(tmp_path / "whole", items(FAIR))
    some = {"limit": 10, "seed": 0, "benchmarks": {"stereoset": {"n": 10, "of": 240}}}
    part = measured(tmp_path / "part", items(FAIR), partial=some)
    rules = "stereoset: {overall: {ss: {value_at_most: 60}}}\n"
    policy, allowing = tmp_path / "p.yaml", tmp_path / "q.yaml"
    policy.write_text(rules)
    allowing.write_text(f"partial: allowed\n{rules}")
    assert gate(whole, policy)["passed"] and gate(part, allowing)["passed"]
    refused = gate(part, policy)
    assert not refused["passed"] and refused["rules"][0]["rule"] == "all items were measured"
    assert "10 of 240 items of stereoset" in refused["rules"][0]["found"]
    policy.write_text(f"partial: perhaps\n{rules}")
    with pytest.raises(RequestError, match="partial: 'perhaps'; must be allowed or forbidden"):
        read_policy(policy)
