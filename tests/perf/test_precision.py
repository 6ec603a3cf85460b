"""The table of precisions on a tiny model: float32 is itself, and a lower precision is near but not equal."""

import sys
from pathlib import Path

import pytest

from biasunlearn.data.readers import read_triplets
from tests import tiny, variants

SCRIPT = Path(__file__).parents[2] / "perf/precision.py"


@pytest.fixture
def precision(monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    import precision

    yield precision
    sys.modules.pop("precision")


def test_scores_in_bfloat16_are_near_those_in_float32_and_the_table_says_how_near(precision, tmp_path):
    model = tiny.save(tiny.causal("llama"), tmp_path / "model")
    variants.write_pairs(tmp_path / "pairs.jsonl")
    triplets = read_triplets(str(tmp_path / "pairs.jsonl")).triplets[:6]
    exact, half = (precision.scored(model, triplets, dtype) for dtype in ("float32", "bfloat16"))
    assert 0 < abs(exact.scores - half.scores).max() < 0.1
    assert exact.note == "" and "nats per token" in half.note
    rows = list(precision.lines(model, triplets, ["float32"]))
    assert rows[-1].startswith("| float32 |") and "+0.00 +- 0.00 | 0.0 % | 0.0000" in rows[-1]
