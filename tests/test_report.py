"""The page is self-contained, complete, and treats every name as hostile."""

from html.parser import HTMLParser

from biasunlearn.metrics import Triplet, stereoset_scores
from biasunlearn.report import report_page

EVIL = '"><script>alert(1)</script>‮' + "x" * 10_000


class Reader(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.text, self.attributes = [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data):
        self.text.append(data)


def results(name="m", bias_type="gender"):
    rows = [Triplet(bias_type, f"t{n % 12}", float(n % 3 > 0), 1.0, 1.0) for n in range(48)]
    entry = {"skipped": 0, "formulation": name, **stereoset_scores(rows)}
    text = {"version": 1, "per_token": 10.0, "per_byte": 1.5, "tokens": 9, "bytes": 30}
    return {
        "schema": 1, "model": name, "before": {"stereoset": entry, "perplexity": text},
        "benchmarks": {"stereoset": {**entry, "intersentence": entry, "data": name}, "perplexity": text},
        "stopped": {"step": 3, "best_step": 2, "reason": name},
        "data": {"findings": [name], "train": {"path": name, "sha256": "ab"}},
        "environment": {"command": name, "versions": {name: "1"}, "python": "3", "platform": name},
        "config": {"a": name},
    }  # fmt: skip


def read(page):
    reader = Reader()
    reader.feed(page)
    return reader


def test_self_contained_with_the_numbers_and_the_picture():
    metrics = [{"step": n, "ss": {"gender": 60.0 - n}, "lms": 90.0} for n in range(3)]
    page = report_page(results(), metrics)
    reader = read(page)
    assert reader.tags.count("svg") == 2 and "table" in reader.tags
    assert not {"script", "link", "img", "iframe"} & set(reader.tags)
    assert not any(name in ("src", "href") for name, _ in reader.attributes)
    assert "66.7" in " ".join(reader.text) and "(+0.00 %" in " ".join(reader.text)


def test_hostile_names_stay_text():
    page = report_page(results(EVIL, EVIL), [{"step": n, "ss": {EVIL: 50.0}, "lms": None} for n in range(2)])
    reader = read(page)
    assert "script" not in reader.tags
    assert "<script>" in "".join(reader.text)  # there, as text
    assert not any(name.startswith("on") for name, _ in reader.attributes)
