"""44 pairs in two languages train to the end: no collapse that is noise, and steps and a rate that fit."""

from pathlib import Path
from typing import Any

import pytest

from biasunlearn.commands.debias import debias
from biasunlearn.config import DebiasConfig
from biasunlearn.scoring.protocol import EvalOptions
from tests import tiny

EXAMPLES = Path(__file__).parents[2] / "examples"

FEWER_TERMS = {"unrelated_batch": 2, "invariance_weight": 0.0}
"""By day; at night the whole default recipe. The steps depend on the sizes of the other batches."""


@pytest.mark.slow
@pytest.mark.parametrize("changes", [FEWER_TERMS, pytest.param({}, marks=pytest.mark.exhaustive)])
def test_44_pairs_in_two_languages_train_without_a_collapse(changes: dict[str, Any], tmp_path: Path) -> None:
    """Without `swap_noise`, so that the tiny model trains whatever its SS; with it, it would be held at 50."""
    tiny.save(tiny.gpt2(n_layer=1), tmp_path / "model")
    results = debias(
        str(tmp_path / "model"),
        train=str(EXAMPLES / "two_languages_train.csv"),
        report=str(EXAMPLES / "two_languages_report.csv"),
        out=tmp_path / "run",
        config=DebiasConfig(swap_noise=0.0, lora_rank=2, **changes),
        options=EvalOptions(replacements=0),
    )
    assert results.stopped is not None and results.data is not None
    assert not results.collapsed and 0 < results.stopped.step <= 49
    assert any("26 training pairs: at most 49 steps" in line for line in results.data.findings)
