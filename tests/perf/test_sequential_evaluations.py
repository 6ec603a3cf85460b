"""The simulation of sequential evaluations, small: fewer items are read, and a run that reads all is the same."""

import sys
from pathlib import Path

import pytest

from biasunlearn.config import DebiasConfig

SCRIPT = Path(__file__).parents[2] / "perf/sequential_evaluations.py"


@pytest.fixture
def simulation(monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    import sequential_evaluations

    monkeypatch.setattr(sequential_evaluations, "SIZES", {"race": (12, 240, 300), "gender": (6, 120, 200)})
    monkeypatch.setattr(sequential_evaluations, "BASE", {"race": 62.0, "gender": 58.0})
    yield sequential_evaluations
    sys.modules.pop("sequential_evaluations")


def test_a_simulated_run_reads_a_part_and_ends_as_near_to_50(simulation):
    full, part = (simulation.run(1, 8.0, DebiasConfig(), reach) for reach in (None, 1.645))
    assert set(full.read) == {1.0}
    assert min(part.read) < 0.8
    assert abs(part.distance - full.distance) < 6


def test_a_run_that_is_never_sure_is_the_full_one(simulation):
    """The negative control: every evaluation reads all items, and nothing differs."""
    assert simulation.run(1, 8.0, DebiasConfig(), 1e6) == simulation.run(1, 8.0, DebiasConfig())


@pytest.mark.slow
def test_the_table_has_a_row_for_each_spread_and_rule(simulation):
    rows = list(simulation.lines(1, [1.645]))
    assert len(rows) == 2 + 2 * len(simulation.SPREADS)
