"""Official prediction files that cannot be used: one line each."""

import gzip
import json
from pathlib import Path

import pytest

from biasunlearn.commands.measure import rescore
from biasunlearn.errors import RequestError

ITEM = {
    "id": "c1", "target": "A", "bias_type": "x", "context": "A is BLANK.",
    "sentences": [{"id": "s0", "sentence": "A is bad.", "gold_label": "stereotype"},
                  {"id": "s1", "sentence": "A is good.", "gold_label": "anti-stereotype"}],
}  # fmt: skip
SCORES = [{"id": "s0", "score": 0.5}, {"id": "s1", "score": 0.25}]


def data(tmp_path: Path) -> dict[str, str]:
    path = tmp_path / "set.json"
    path.write_text(json.dumps({"data": {"intrasentence": [ITEM]}}))
    return {"stereoset": str(path)}


def test_predictions_are_read_through_gz(tmp_path: Path) -> None:
    path = tmp_path / "p.json.gz"
    path.write_bytes(gzip.compress(json.dumps({"intrasentence": SCORES}).encode(), mtime=0))
    assert rescore(data(tmp_path), str(path)).benchmarks.stereoset.overall.ss.value == 100


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\x1f\x8bbroken", "the compressed file is damaged or cut short"),
        (gzip.compress(b"{", mtime=0), r"p\.json\.gz:1: not JSON"),
        (gzip.compress(b"[" * 100_000, mtime=0), "nested too deeply"),
        (gzip.compress(b'{"intrasentence": 5}', mtime=0), "not a prediction file"),
        (gzip.compress(b'{"intrasentence": [{"id": "s0"}]}', mtime=0), r"intrasentence\[0\]: needs an id and a score"),
        (
            gzip.compress(b'{"intrasentence": [{"id": "s0", "score": 1' + b"0" * 400 + b"}]}", mtime=0),
            "needs an id and a score",
        ),
        (gzip.compress(b'{"intrasentence": [{"id": ["s0"], "score": 1}]}', mtime=0), "needs an id and a score"),
        (gzip.compress(b'{"intrasentence": [{"id": "s0", "score": NaN}]}', mtime=0), "the score is nan"),
        (
            gzip.compress(json.dumps({"intrasentence": SCORES * 2}).encode(), mtime=0),
            r"\[2\]: the id 's0' occurs twice",
        ),
        (gzip.compress(b'{"intrasentence": [{"id": "other", "score": 1}]}', mtime=0), "none of its ids"),
    ],
)
def test_wrong_predictions(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "p.json.gz"
    path.write_bytes(content)
    with pytest.raises(RequestError, match=message):
        rescore(data(tmp_path), str(path))
