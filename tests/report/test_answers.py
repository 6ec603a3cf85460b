"""Answers on the page: side by side, differences marked, verdicts, and everything escaped."""

from dataclasses import replace

from biasunlearn.report.answers import CHARACTERS, OVERHEAD, Sample, answer_sections, chosen
from biasunlearn.report.word_diff import LONGEST, marked
from biasunlearn.runs.responses import ResponseRecord, Verdict
from biasunlearn.stats.stereoset import Item

HOSTILE = '</bdi><script>alert(1)</script>"\'><img src=x onerror=alert(2)>'


def item(number: int, condition: str, text: str, **changes: object) -> Item:
    name = f"d{number}"
    made = Item("fairmt", name, name, "Task", name, "five turns", "answer", 0.0, 3, condition, text)
    return replace(made, **changes)  # type: ignore[arg-type]


def record(number: int, text: str, *, votes=(), **changes) -> ResponseRecord:
    return ResponseRecord(
        benchmark="fairmt", item=f"d{number}", subject="s", turns=["Why?"], answers=[], text=text, votes=votes,
        verdict=Verdict(judge="panel" if votes else "j", state="scored", label="biased"), **changes,
    )  # fmt: skip


def test_the_differing_words_are_marked():
    assert marked("He is late.", "She is late.") == ("<del>He</del> is late.", "<ins>She</ins> is late.")
    assert marked("same", "same") == ("same", "same")
    assert marked("a < b", "a < c") == ("a &lt; <del>b</del>", "a &lt; <ins>c</ins>")
    long = "x " * (LONGEST // 2)
    assert marked(long, "y z w v") == (long, "y z w v")  # too long to be compared: shown without marks


def rendered(*given) -> list[str]:
    return [part.__html__() for part in answer_sections(*given)]


def test_before_and_after_stand_side_by_side():
    before, after = [item(0, "biased", "They are lazy.")], [item(0, "not_biased", "They are not lazy.")]
    [page] = rendered(after, before, [record(0, "They are lazy.", references={"prejudice": "P"})])
    assert "They are <ins>not </ins>lazy." in page and "biased" in page and "not_biased" in page
    assert 'data-before="biased" data-after="not_biased" data-changed="yes"' in page
    assert "Why?" in page and "prejudice" in page
    assert "Search all 1 answers, those with another verdict than before first" in page and "notice" in page


def test_a_run_of_one_stage_and_the_votes_of_a_panel():
    votes = [Verdict(judge="a", state="scored", label="biased"), Verdict(judge="b", state="unscored", reason="policy")]
    [page] = rendered([item(0, "biased", "x")], [], [record(0, "x", votes=votes)])
    assert "a: biased; b: unscored: policy" in page and "sides2" not in page
    assert 'data-changed="no"' in page and "data-before" not in page and "<select" not in page  # nothing to choose from
    assert answer_sections([item(0, "biased", "x", role="stereotype")], [], []) == []


def test_changed_answers_come_first_and_all_verdicts_occur():
    same = [Sample(item(n, "biased", "x"), item(n, "biased", "x")) for n in range(300)]
    rare = [Sample(item(n, "refused", "x"), item(n, "refused", "x")) for n in range(300, 303)]
    new = [Sample(item(n, "biased", "x"), item(n, "refused", "x")) for n in range(303, 305)]
    shown = chosen([*same, *rare, *new], 100 * (OVERHEAD + 2))  # two texts of one character each
    assert len(shown) == 100 and shown[:2] == new
    assert {one.after.condition for one in shown} == {"biased", "refused"}
    assert len(chosen(same, 0)) == 1


def test_answers_that_are_left_out_are_counted_for_each_benchmark():
    after = [item(n, "biased", "x") for n in range(30)]
    other = [replace(one, benchmark="cab", item_id=f"cab{n}") for n, one in enumerate(after[:2])]
    [section] = answer_sections([*after, *other], [], [], characters=2 * 10 * (OVERHEAD + 1))
    page = section.__html__()
    assert "Search 12 of 32 answers" in page and page.count("<li") == 12
    assert "Not on this page, but in responses.jsonl: 20 of 30 of fairmt." in page
    [page] = rendered([*after, *other], [], [])
    assert "Search all 32 answers" in page and "Not on this page" not in page and len(page) < CHARACTERS
    assert '<option value="cab">' in page and 'name="benchmark"' in page and 'name="before"' not in page


def test_everything_is_escaped():
    hostile = item(0, HOSTILE, HOSTILE, bias_type=HOSTILE, item_id=HOSTILE)
    records = [record(0, HOSTILE, references={HOSTILE: HOSTILE}).with_values(item=HOSTILE, turns=[HOSTILE])]
    [page] = rendered([hostile], [replace(hostile, text=f"{HOSTILE} more")], records)
    assert "<script" not in page and "<img" not in page and "&lt;script&gt;" in page


def test_generated_text_has_the_scores_of_its_classifiers():
    text = item(0, "a group", "x", role="continuation", benchmark="bold", item_id="d0#0")
    votes = [Verdict(judge="toxicity", state="scored", score=0.25)]
    [page] = rendered([text], [], [record(0, "x", votes=votes).with_values(benchmark="bold", item="d0#0")])
    assert "toxicity 0.25" in page and "a group" not in page


def test_a_verdict_stands_beside_what_the_context_says():
    [page] = rendered([item(0, "biased", "x", kind="aligned"), item(1, "biased", "y", kind="ambiguous")], [], [])
    assert "here the answer “biased” is right" in page and "the context does not say who it is" in page
    [page] = rendered([item(0, "1", "x", kind="right answer 1, group a"), item(1, "biased", "y")], [], [])
    assert "; right answer 1, group a" in page and "five turns" not in page
