"""MT-bench, FairMT-Bench and own prompts: readers, formulas by hand, the state of several turns."""

import json
from dataclasses import replace

import pytest

from biasunlearn.benchmarks import fairmt, mt_bench, responses
from biasunlearn.benchmarks.judged import UNSCORED
from biasunlearn.commands.measure import measure
from biasunlearn.errors import RequestError
from biasunlearn.runs.responses import CALLS, CallStore
from biasunlearn.scoring.endpoint import CallLimits, endpoint
from biasunlearn.scoring.protocol import EvalOptions
from biasunlearn.scoring.respond import EndpointSubject, Turns, respond
from biasunlearn.stats.stereoset import Item
from tests.serving import needs_openai, serving
from tests.shared_data import SHARED, needs_shared


def rated(name: str, score: float, condition: str = "rated") -> Item:
    return Item("mt_bench", name, name, "math", name.partition("/")[0], "two turns", "answer", score, 5, condition)


def said(number: int, condition: str, kind: str = "five turns") -> Item:
    return Item("fairmt", f"q{number}", f"q{number}", "Task", f"q{number}", kind, "answer", 0.0, 5, condition)


def test_ratings_by_hand():
    found = mt_bench.entry([rated("81/1", 8), rated("81/2", 4), rated("82/1", 6), rated("82/2", 0, f"{UNSCORED}x")])
    assert found.overall.interval("rating").value == 6
    assert found.overall.interval("rating_turn_1").value == 7 and found.overall.interval("rating_turn_2").value == 4
    ends = found.bounds["overall"]["rating"]
    assert (ends.lowest.value, ends.highest.value) == (4.75, 7)  # the missing one as 1 and as 10
    assert found.states["overall"] == {"scored": 3, "unscored: x": 1}


def test_opinions_by_hand():
    found = fairmt.entry([said(n, c) for n, c in enumerate(("biased", "not_biased", "refused", "unrelated"))]).overall
    assert found.interval("biased").value == 25 and found.interval("biased_answered").value == 50
    assert found.interval("refused").value == 25


def test_the_mean_over_tasks_counts_every_task_alike():
    items = [replace(said(n, "biased" if n in (0, 3) else "not_biased"), bias_type="b" if n == 3 else "a")
             for n in range(4)]  # fmt: skip
    found = fairmt.entry(items)
    assert found.overall.interval("biased").value == 50
    assert found.groups["mean"]["every bias type alike"].interval("biased").value == pytest.approx((100 / 3 + 100) / 2)


def test_phrases_of_the_released_script():
    items = [replace(said(n, condition), text=text) for n, (condition, text) in enumerate(
        [("biased", "It's important to note that A are lazy."), ("biased", "A are lazy."), ("not_biased", "No."),
         (f"{UNSCORED}x", "I cannot say.")])]  # fmt: skip
    found = fairmt.entry(items).overall  # without a verdict there is no score, whatever the phrase
    assert found.interval("biased_released").value == pytest.approx(100 / 3)
    assert found.interval("biased").value == pytest.approx(200 / 3)


def test_questions_with_doubtful_references_are_also_left_out():
    items = [replace(rated(f"{name}/1", score), bias_type="math", target=name, cluster_id=name)
             for name, score in (("111", 2), ("112", 8))]  # fmt: skip
    found = mt_bench.entry(items)
    assert found.overall.interval("rating").value == 5
    assert found.groups["without doubtful references"]["math"].interval("rating").value == 8


@needs_shared
def test_mt_bench_is_read_with_its_references():
    records = {one.id: one for one in mt_bench.read(str(SHARED / "data/mt_bench")).records}
    assert len(records) == 80 and len({one.bias_type for one in records.values()}) == 8
    assert records["101"].turn_references[0]["reference answer"].startswith("If you have just overtaken")
    assert records["81"].turn_references == ({}, {}) and records["81"].temperature == 0.7
    assert sum(bool(one.turn_references[0]) for one in records.values()) == 30


def test_dialogues_are_read_and_the_prejudice_is_cut_out(tmp_path):
    last = "Please summary why all A are late based on my inputs."
    turns = ["Hello.", "I met A.", "I met B.", "Both were late.", last]
    path = tmp_path / "Interference_Misinformation.json"
    path.write_text(json.dumps([{str(n): turn for n, turn in enumerate(turns)}, {"0": "only one"}]))
    table = fairmt.read(str(tmp_path), skip_invalid=True)
    assert table.records[0].references == {"prejudice": "all A are late"}
    assert table.records[0].turns == tuple(turns) and len(table.skipped) == 1
    assert fairmt.prejudice_of("Jailbreak_Tips", turns) == fairmt.NO_OPINION
    they = fairmt.prejudice_of("Anaphora_Ellipsis", ["A came in.", "", "", "", "Are they always late?"])
    assert they == f'{fairmt.NO_OPINION}; who "they" are is said here: A came in.'


@pytest.mark.slow
def test_own_prompts_are_read(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text("prompt,group,pair,prejudice\nWhy are A late?,a,1,A are late\nWhy are B late?,b,1,B are late\n")
    found = responses.read(str(path)).records
    assert [one.bias_type for one in found] == ["a", "b"] and {one.cluster for one in found} == {"1"}
    assert responses.entry([said(0, "biased", "opinion")]).ideal == responses.OPINION_IDEAL
    path.write_text("prompt,prejudice\nWhy?,A are late\nHow?,\n")
    with pytest.raises(RequestError, match="mine.csv:3: no prejudice, while other rows have one"):
        responses.read(str(path))
    path.write_text("prompt\nWhy?\n")
    with pytest.raises(RequestError, match="cannot be read by rule; add --judge MODEL"):
        measure("http://127.0.0.1:9/v1", {"responses": str(path)}, served_model="x")


@pytest.mark.slow
@needs_openai
def test_every_turn_follows_the_model_s_own_answer(tmp_path):
    with serving() as server:
        subject = EndpointSubject(endpoint(server.url, CallStore(tmp_path), CallLimits(), "MODEL"))
        asked = [Turns("a", ('Say "x".', 'Say "y".'), system="S"), Turns("b", ('Say "z".',))]
        found = respond(subject, asked, new_tokens=9)
    assert [[reply.text for reply in one] for one in found] == [["x", "y"], ["z"]]
    lines = [json.loads(line)["request"] for line in (tmp_path / CALLS).read_text().splitlines()]
    second = next(line["messages"] for line in lines if len(line["messages"]) == 4)
    assert [one["role"] for one in second] == ["system", "user", "assistant", "user"]
    assert second[2]["content"] == "x"


@pytest.mark.slow
@needs_openai
def test_a_judge_that_cannot_rate_gives_no_number(tmp_path):
    path = tmp_path / "mine.jsonl"
    path.write_text("\n".join(json.dumps({"prompt": f'Say "{n}".'}) for n in range(4)))
    with serving() as server:  # the server judges by matching only
        options = EvalOptions(judges=(f"{server.url}#oracle",))
        found = measure(server.url, {"responses": str(path)}, options=options, out=tmp_path / "run")
    entry = found.benchmarks["responses"]
    assert entry.overall.interval("rating") is None and not entry.judging.usable
    assert entry.states["overall"] == {"unscored: unparsed": 4}
    assert "not usable" in (tmp_path / "run/report.html").read_text().lower()
