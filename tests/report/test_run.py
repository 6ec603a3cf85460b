"""The page is self-contained, complete, and treats every name as hostile."""

import json
import re
from dataclasses import replace
from functools import cache
from html.parser import HTMLParser
from pathlib import Path

import pytest
import yaml

from biasunlearn import cli, write_report
from biasunlearn.benchmarks import NAMES
from biasunlearn.data.readers import sentences_of
from biasunlearn.errors import RequestError
from biasunlearn.report.benchmark_cards import cards
from biasunlearn.report.charts.axis import Axis, Scale, around
from biasunlearn.report.charts.marks import tick_labels
from biasunlearn.report.charts.pareto import APART, Point, front, letter_spots, scatter
from biasunlearn.report.formatting import interval, number, short
from biasunlearn.report.html import data_block, tag, text
from biasunlearn.report.provenance import unbroken
from biasunlearn.report.run import RunData, report_page
from biasunlearn.report.runs import runs_page
from biasunlearn.runs.comparison import RunComparison
from biasunlearn.runs.results import Results, StereoSetScores
from biasunlearn.runs.run_files import MetricsRow
from biasunlearn.runs.scores import Interval
from biasunlearn.stats import remaining_bias
from biasunlearn.stats.stereoset import Comparison, Item, stereoset_scores
from tests import made_runs

ROOT = Path(__file__).parents[2]
RIGHT_TO_LEFT = "\u202e\u05e9\u05dc\u05d5\u05dd \u202c"
EVIL = "\"'><script>alert(1)</script><img src=http://x.example/ onerror=alert(2)>" + RIGHT_TO_LEFT
LONG = "x" * 10_000
HOSTILE = EVIL + "\x00</style></title></svg><!--" + LONG
NOT_UTF8 = "\ud800"
"""Refused in a results file; a name of a folder or a sentence may have it."""
LOADING = {"src", "srcset", "data", "action", "formaction", "poster", "background", "xlink:href"}


class Reader(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.text, self.attributes, self.elements = [], [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.elements.append((tag, attrs))
        self.attributes += [(tag, *pair) for pair in attrs]

    def handle_data(self, data):
        self.text.append(data)


def read(page) -> Reader:
    reader = Reader()
    reader.feed(page)
    return reader


def executed(reader) -> list[dict]:
    """The scripts that a browser runs; a block of JSON is data."""
    found = [dict(pairs) for name, pairs in reader.elements if name == "script"]
    return [one for one in found if one.get("type") != "application/json"]


def probes(name):
    """What `probe` stores, as far as a page shows it, of one question at one layer."""
    one = {"value": 60.0, "low": 55.0, "high": 65.0}
    stage = {key: one for key in ("accuracy", "control", "shuffled", "selectivity")}
    question = {"asks": name, "bias_type": name, "chance": 50.0, "sentences": 4,
                "layers": {"3": {"stages": [stage, stage], "change": {"accuracy": one}}}}  # fmt: skip
    table = {name: {name: one}}
    apart = {"direction": table, "subspace": table, "chance": {"direction": one, "subspace": one}}
    return {"layers": [3], "stages": ["before", "after"], "pooling": name, "data": {"data": name, "sha256": name},
            "pairs": 2, "left_out": [name],
            "settings": {"C": 4.0, "folds": 5, "draws": 3, "components": 4, "splits": 9, "seed": 0},
            "questions": [question], "angles": {"3": {"stages": [apart, apart], "turned": {name: 9.0}}}}  # fmt: skip


def results(name="m", bias_type="gender"):
    rows = [Comparison(bias_type, f"t{n % 12}", float(n % 3 > 0), 1.0, 1.0) for n in range(48)]
    ideal = {"ss": 50.0, "lms": 100.0, "icat": 100.0}
    scores = stereoset_scores(rows)
    types = {bias: StereoSetScores.of_pairs(row).to_dict() for bias, row in scores.bias_types.items()}
    entry = {"skipped": 0, "formulation": name, "ideal": ideal, "n": scores.n, "bias_types": types,
             "overall": StereoSetScores.of_pairs(scores.overall).to_dict()}  # fmt: skip
    words = {"version": 1, "per_token": 10.0, "per_byte": 1.5, "tokens": 9, "bytes": 30}
    share = {"value": 0.25, "low": 0.2, "high": 0.3}
    pairs = {"ideal": {"share": 0.0, name: None}, "notes": [name], "n": 4, "data": name, "sha256": name,
             "overall": {"n": 4, "share": share, name: share},
             "bias_types": {bias_type: {"n": 4, "share": share, name: None}}}  # fmt: skip
    tasks = {name: {"n": 3, name: {"value": 0.5}}}
    return {
        "schema": 1, "model": name, "adapter": name,
        "before": {"stereoset": entry, "perplexity": words, name: pairs},
        "benchmarks": {"stereoset": {**entry, "intersentence": entry, "data": name}, "perplexity": words, name: pairs},
        "capability": {"tasks": tasks, "before": tasks, "lm_eval": "0", "limit": None},
        "stopped": {"step": 3, "best_step": 2, "reason": name}, "method": name,
        "data": {"findings": [name], "train": {"path": name, "sha256": name}, "splits": {name: {"sha256": name}}},
        "environment": {"command": name, "versions": {name: name}, "python": name, "platform": name},
        "config": {"a": name, "seed": 0, "beta": 0.1}, "probes": probes(name),
        "cost": {"seconds": 151.3, "processor_seconds": 95.2, "memory": 838_000_000, "resumed": False},
    }  # fmt: skip


def typed(content) -> Results:
    return Results.model_validate(content)


def metrics(name="gender") -> list[MetricsRow]:
    decision = {"swapped": [name]}
    checks = [{"step": n, "ss": {name: 60.0 - n}, "lms": 90.0, "decision": decision} for n in range(4)]
    losses = {"loss_forget": 13.9, "loss_retain": 3.0, "loss_kl": 0.01}
    return [MetricsRow.model_validate({**row, **losses}) for row in checks]


def items(name="gender"):
    return [
        Item("stereoset", f"{name}{n}{role}", f"c{n}", name, f"{name} t{n % 3}", "intrasentence", role, score, 5)
        for n in range(12)
        for role, score in (("stereotype", -1.0 - n / 100), ("anti-stereotype", -2.0), ("unrelated", -9.0))
    ]


def run_data(name="m", bias_type="gender") -> RunData:
    made = items(bias_type)
    texts = {item.item_id: f"a sentence about {name}" for item in made}
    return RunData(name, typed(results(name, bias_type)), {"before": made, "after": made}, metrics(bias_type), texts)


HOSTILE_PAGES = ("one", "several", "refused")


@cache
def hostile_pages() -> dict[str, str]:
    """Pages in which everything that comes from outside wants to break out; the browser looks at them as well."""
    one = run_data(HOSTILE, HOSTILE[:300])
    sentences = {name: NOT_UTF8 + text for name, text in one.sentences.items()}
    one = replace(one, name=HOSTILE[:200] + NOT_UTF8, sentences=sentences)
    line = {"a": {"value": 1.0}, "b": {"value": 2.0}, "benchmark": HOSTILE, "score": HOSTILE, "run": HOSTILE,
            "verdict": HOSTILE, "difference": None, "change_percent": 3.0}  # fmt: skip
    comparison = RunComparison.model_validate({"runs": [{"name": HOSTILE}, {"name": "m"}], "overview": [line]})
    pages = (report_page(one), runs_page([one, one, run_data()], comparison),
             runs_page([one, run_data()], None, NOT_UTF8 + HOSTILE))  # fmt: skip
    return dict(zip(HOSTILE_PAGES, pages, strict=True))


# --- complete and self-contained ------------------------------------------------------------------------------------


def test_one_run_has_every_part_and_its_numbers():
    reader = read(report_page(run_data()))
    said = " ".join(reader.text)
    for part in ("Stereotype score by bias type", "Training", "Target terms", "Single pairs",
                 "Linear probes of the hidden states", "Angles between the bias types",
                 "All benchmarks", "How this was made", "Known limitations of the benchmarks used"):  # fmt: skip
        assert part in said, part
    assert "151 s (95 s of processor time), at most 799 MiB" in said
    assert "66.7" in said and "+0.00" in said and "a sentence about m" in said
    assert cards()["stereoset"]["known limitations"] in said
    assert "svg" in reader.tags and "table" in reader.tags


def test_nothing_is_loaded_and_only_the_known_script_may_run():
    page = report_page(run_data())
    reader = read(page)
    assert not {"img", "iframe", "object", "embed", "base", "form", "video"} & set(reader.tags)
    policy = next(value for _, name, value in reader.attributes if name == "content" and "src" in value)
    assert policy.startswith("default-src 'none'") and "script-src 'sha256-" in policy
    assert "style-src 'sha256-" in policy and "unsafe" not in policy
    assert len(executed(reader)) == 1
    assert not any(name in LOADING or name.startswith("on") for _, name, _ in reader.attributes)
    links = {value for _, name, value in reader.attributes if name == "href"}
    assert {link for link in links if not link.startswith("#")} == {"data:,"}
    assert "@import" not in page and page.count("url(") == page.count("url(#tip)")


def test_content_that_may_hurt_is_folded_and_announced():
    page = report_page(run_data())
    notice = page[page.index('<details class="notice">') :]
    assert "<details open" not in page and "Content notice" in page
    assert "a sentence about m" not in page.split('<details class="notice">')[0]
    assert "a sentence about m" in notice


def test_a_measured_run_has_no_before():
    measured = results()
    for key in ("before", "stopped", "config", "data"):
        measured.pop(key)
    said = " ".join(read(report_page(RunData("r", typed(measured), {"": items()}))).text)
    assert "Social bias" in said and "losses" not in said
    assert "Social bias before" not in said and "SS before" not in said


def test_a_run_without_stereoset_or_items():
    bare = {"schema": 1, "model": "m", "benchmarks": {"perplexity": results()["benchmarks"]["perplexity"]}}
    assert "Not measured on StereoSet" in report_page(RunData("r", typed(bare)))


def test_scores_share_an_axis_only_with_their_like():
    share, words = {"value": 0.25, "low": 0.2, "high": 0.3}, {"value": 16.0, "low": 15.0, "high": 17.0}
    ideal = {"gap": 0.0, "points": 0.0, "words": None, "distinct": None}
    overall = {"n": 4, "gap": share, "points": words, "words": words, "distinct": share}
    bold = {"n": 4, "ideal": ideal, "overall": overall, "bias_types": {}}
    made = {"schema": 1, "model": "m", "benchmarks": {"bold": bold}}
    said = " ".join(read(report_page(RunData("r", typed(made)))).text)
    without = "Scores without an ideal"
    for title in ("Ideal 0, values up to 1", "Ideal 0 ", f"{without}, values up to 1", f"{without} "):
        assert title in said, title


def test_scores_that_are_not_defined_are_dashes():
    made = results()
    for row in (made["benchmarks"]["stereoset"]["overall"], *made["benchmarks"]["stereoset"]["bias_types"].values()):
        row["lms"] = row["icat"] = None
    assert "–" in report_page(RunData("r", typed(made)))


# --- hostile input --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", HOSTILE_PAGES)
def test_hostile_names_stay_text(name):
    page = hostile_pages()[name]
    reader = read(page)
    assert len(executed(reader)) == 1  # ours, and none of theirs
    assert "img" not in reader.tags
    assert not any(name.startswith("on") or name in LOADING for _, name, _ in reader.attributes)
    assert "<script>alert(1)" in "".join(reader.text)  # there, as text
    assert "\u202e" not in page and "\x00" not in page
    assert page.encode("utf-8")  # a lone surrogate could not be written
    assert len(page) < 3_000_000


@pytest.mark.parametrize(
    "text", ["</script><script>alert(1)</script>", "<!--<script>", "a\u2028b\u2029c", "\ud800", "]]>&amp;"]
)
def test_values_for_the_script_cannot_end_their_element(text):
    block = data_block("items", {"rows": [[text, 1.5, None]], text: [text]})
    content = block.removeprefix('<script type="application/json" class="items">').removesuffix("</script>")
    assert content.isascii() and not set("<>&") & set(content)
    assert json.loads(content)["rows"][0][0] == text.replace("\ud800", "\ufffd")
    assert data_block("a", {"a": "</script>"}).count("</script>") == 1  # its own


def test_markup_escapes_children_and_attributes():
    assert tag("b", "<", class_='"x"') == '<b class="&quot;x&quot;">&lt;</b>'
    assert tag("b", tag("i", "&")) == "<b><i>&amp;</i></b>"
    assert tag("b", title=tag("i")) == '<b title="&lt;i&gt;&lt;/i&gt;"></b>'  # markup is no attribute
    assert tag("p", None, ["a", ["b"]], hidden=True, id=None) == "<p hidden>ab</p>"
    assert text("a\u202eb\x07\ud800") == "ab\ufffd\ufffd"
    assert short("abcdef", 4) == "abc…" and short("abcd", 4) == "abcd"


# --- several runs ---------------------------------------------------------------------------------------------------


def runs_of(folder: Path, count=3) -> list[str]:
    before = made_runs.items({"age": 84, "work": 96})
    after = [made_runs.items({"age": 60 + 6 * n, "work": 60}, meaningless=9 * n) for n in range(count)]
    return [made_runs.debiased(folder / f"run{n}", before, made) for n, made in enumerate(after)]


@pytest.mark.slow
def test_several_runs_with_front_and_tests(tmp_path):
    page = tmp_path / "page.html"
    done = write_report(runs_of(tmp_path), page)
    said = " ".join(read(page.read_text()).text)
    assert done["bytes"] == page.stat().st_size < 3_000_000
    for part in ("Remaining bias and ability", "on the front", "better than A on neither axis",
                 "Tests against the baseline", "better"):  # fmt: skip
        assert part in said, part
    assert said.count("Show this run in full") == 3


def test_runs_on_other_data_are_shown_and_not_tested(tmp_path):
    one = made_runs.measured(tmp_path / "one", made_runs.items({"age": 60, "work": 60}))
    other = made_runs.measured(tmp_path / "other", made_runs.items({"age": 60, "work": 60}, prefix="x"))
    write_report([one, other], tmp_path / "page.html")
    assert "cannot be tested against each other" in (tmp_path / "page.html").read_text()


def exact(value):
    return Interval(value=float(value), low=float(value), high=float(value))


def test_the_front_by_hand():
    # (distance, LMS): B is farther than A but abler; C is farther and less able than B; D is as far as A and less able
    made = {"A": (1, 80), "B": (2, 90), "C": (3, 85), "D": (1, 70)}
    points = [Point(letter, exact(d), exact(lms)) for letter, (d, lms) in made.items()]
    assert [point.letter for point in front(points)] == ["A", "B"]


def test_marks_do_not_cover_each_other():
    # A and B are the same point; C is far from both
    points = [Point(letter, exact(d), exact(90)) for letter, d in (("A", 5), ("B", 5), ("C", 9))]
    spots = letter_spots(points, Axis(0.0, 10.0, 0.0, 100.0), Axis(80.0, 100.0, 100.0, 0.0))
    assert spots == {"A": (50.0, 50.0), "B": (50.0, 50.0 + APART), "C": (90.0, 50.0)}


def test_percentages_do_not_get_the_axis_of_small_values():
    always = {"value": 100.0, "low": 100.0, "high": 100.0}
    entry = {"n": 4, "ideal": {"scored": 100.0}, "overall": {"n": 4, "scored": always}, "bias_types": {}}
    said = report_page(RunData("r", typed({"schema": 1, "model": "m", "benchmarks": {"bbq_text": entry}})))
    assert "<h3>Ideal 100</h3>" in said and "values up to 1" not in said
    assert "percent of answers that the judges could read" in said  # what the score is, beside its name


def test_the_ideal_is_always_on_the_axis():
    # ticks of 18 to 82 are 20, 40, 60 and 80; 99 is near 100, whose label ends at the edge
    assert ">50</text>" in tick_labels(Scale(Axis(18.0, 82.0), 50.0))
    edge = tick_labels(Scale(Axis(0.0, 101.0), 100.0))
    assert 'class="end strong">100</text>' in edge and edge.count(">100<") == 1
    assert ">50</text>" not in tick_labels(Scale(Axis(18.0, 82.0)))


def test_a_command_is_not_broken_at_the_hyphens_of_an_option():
    shown = unbroken("biasunlearn debias a--b --train t-1.jsonl --set beta=-0.1")
    assert [part for part in shown if part.startswith("<span")] == [
        '<span class="unbroken">--train</span>', '<span class="unbroken">--set</span>']  # fmt: skip


# --- the command ----------------------------------------------------------------------------------------------------


def test_the_command(tmp_path, capsys):
    run, page = runs_of(tmp_path, 1)[0], tmp_path / "page.html"
    assert cli.main(["report", run, "--out", str(page), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"out": str(page), "runs": [run], "bytes": page.stat().st_size}
    assert cli.main(["report", run, "--out", str(page)]) == 0 and "1 run, 0." in capsys.readouterr().out


@pytest.mark.parametrize(
    ("out", "said"),
    [("page.txt", "name it something.html"), ("", "a folder; name the file"), ("no/page.html", "there is no folder")],
)
def test_where_a_page_cannot_go(tmp_path, capsys, out, said):
    run = runs_of(tmp_path, 1)[0]
    assert cli.main(["report", run, "--out", str(tmp_path / out)]) == 2
    assert said in capsys.readouterr().err


def test_no_finished_run(tmp_path):
    with pytest.raises(RequestError, match="no finished run here"):
        write_report([tmp_path], tmp_path / "page.html")


# --- the parts ------------------------------------------------------------------------------------------------------


def test_terms_sort_by_what_luck_does_not_explain():
    def term(name, pairs, hits):
        return [
            Item("stereoset", f"{name}{n}{role}", f"{name}{n}", "b", name, "intrasentence", role, score, 1)
            for n in range(pairs)
            for role, score in (("stereotype", -1.0 if n < hits else -3.0), ("anti-stereotype", -2.0))
        ]

    # One pair of one is 50 from 50, and so is luck: 50 - 50 = 0. Nine of ten: 40 - 12.3 = 27.7. Five of ten: -12.3.
    found = remaining_bias.terms([*term("one", 1, 1), *term("nine", 10, 9), *term("five", 10, 5)])
    assert [(t.target, round(t.beyond_chance, 1)) for t in found] == [("nine", 27.7), ("one", 0.0), ("five", -12.3)]


def test_pairs_that_changed_and_those_still_worst():
    before, after = items(), [*items()]
    for place, item in enumerate(after):
        if item.cluster_id == "c3" and item.role == "stereotype":
            after[place] = replace(item, score=-7.0)
    found = remaining_bias.pairs(after, before)
    assert remaining_bias.most_changed(found, 1)[0].after == -5.0  # from 0.97 to -7 - -2
    assert [round(pair.after, 2) for pair in remaining_bias.still_worst(found, 2)] == [1.0, 0.99]
    assert len(remaining_bias.still_worst(found, 99)) == 11


def test_a_tenth_of_a_point_of_lms_does_not_fill_the_chart():
    """220 pixels for at least 5 points: 0.1 points are less than 5 pixels. The control: 10 points are over 100."""

    def apart(lms):
        points = [Point("A", exact(2.0), exact(100.0)), Point("B", exact(3.0), exact(lms))]
        high, low = re.findall(r'<circle[^>]* cy="([\d.]+)"', str(scatter(points)))[:2]
        return abs(float(high) - float(low))

    assert 0 < apart(99.9) < 5 and apart(90.0) > 100


def test_axes_by_hand():
    assert Axis(40, 60).at(45) == 25.0 and Axis(40, 60).at(99) == 100.0
    assert Axis(38, 62).ticks(5) == [40, 45, 50, 55, 60]
    assert around(50, [62], 5).at(50) == 50.0 and Axis(1, 1).at(1) == 0.0 and Axis(1, 1).ticks() == [1]


def test_numbers_as_people_write_them():
    assert number(-0.04) == "0.0" and number(-1.25, 2) == "−1.25" and number(2, 1, signed=True) == "+2.0"
    assert interval(1, 2) == "1.0–2.0" and interval(-1, 2) == "−1.0 to 2.0"


def test_sentences_only_of_the_very_file(tmp_path):
    data = tmp_path / "pairs.jsonl"
    data.write_text('{"id": "a", "stereotype": "Old people nap.", "anti_stereotype": "Old people run."}\n')
    from biasunlearn.data.readers import read_triplets

    facts = read_triplets(data).facts
    known = sentences_of(facts["data"], facts["sha256"])
    assert "Old people nap." in known.values() and len(known) == 2
    assert sentences_of(facts["data"], "0" * 64) == {}
    assert sentences_of(str(tmp_path / "gone.jsonl"), facts["sha256"]) == {}
    assert sentences_of(None, None) == {}


def test_cards_say_what_the_documentation_says():
    page, name, documented = (ROOT / "docs" / "benchmarks.md").read_text(), "", {}
    for line in page.splitlines():
        name = line.removeprefix("## ").strip() if line.startswith("## ") else name
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        if len(cells) == 2 and cells[0] in ("question", "not measured", "known limitations"):
            documented.setdefault(name, {})[cells[0]] = cells[1]
    assert cards() == documented
    assert set(cards()) == set(NAMES), "a benchmark has a card in docs/benchmarks.md and in cards.yaml"
    assert yaml.safe_load((ROOT / "src/biasunlearn/report/cards.yaml").read_text()) == cards()
