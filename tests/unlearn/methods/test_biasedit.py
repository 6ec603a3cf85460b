"""BiasEdit: its loss by hand, which matrices it edits, and that both sentences of a pair become equally likely."""

import itertools
import math
from typing import Any

import pytest
import torch

from biasunlearn.errors import RequestError
from biasunlearn.models.adapters import trainable
from biasunlearn.scoring.log_prob import score
from biasunlearn.unlearn.checkpoint import Checkpointer
from biasunlearn.unlearn.losses import biasedit_loss
from biasunlearn.unlearn.methods import biasedit
from biasunlearn.unlearn.methods.task import Task
from tests import tiny
from tests.unlearn.test_objectives import settings
from tests.unlearn.test_trainer import SETS, scores

PAIRS = [pair for b in SETS.bias_types for pair in SETS.pairs[b] if pair[0] != pair[1]]


def test_the_loss_by_hand_and_against_two_divergences() -> None:
    margin = torch.tensor([0.0, math.log(3), -math.log(3)], requires_grad=True)
    found = biasedit_loss(margin)
    assert found.tolist() == pytest.approx([0.0, math.log(3), math.log(3)], abs=1e-6)
    (slope,) = torch.autograd.grad(found.sum(), margin)
    assert slope[0] == 0 and slope[1] > 0 and slope[2] == -slope[1]
    p = torch.tensor([0.75, 0.25])
    both = (p * (p / p.flip(0)).log()).sum() + (p.flip(0) * (p.flip(0) / p).log()).sum()
    assert both.item() == pytest.approx(math.log(3))


def margins(model: Any) -> list[float]:
    loaded = tiny.gpt2().with_model(model)
    one, other = (score(loaded, [pair[side] for pair in PAIRS]) for side in (0, 1))
    return [a.mean - b.mean for a, b in zip(one, other, strict=True)]


def edited(**changes: Any) -> Any:
    """The model after a run in which every evaluation is better than the one before, so that the last is kept."""
    chosen = settings("biasedit", **{"max_steps": 10, "average": 0.0, "batch_allocation": "even", **changes})
    script = (scores(60.0 - number / 10) for number in itertools.count(1))
    task = Task(tiny.gpt2(), SETS, chosen, Checkpointer(None), lambda _model: next(script), scores(60.0))
    return biasedit.run(task).model


@pytest.mark.slow
def test_margins_shrink_from_either_side_and_not_without_the_debiasing_loss() -> None:
    before = margins(tiny.gpt2().model)
    assert min(before) < 0 < max(before)
    after, control = margins(edited(learning_rate=5e-3)), margins(edited(learning_rate=5e-3, forget_weight=0.0))
    assert sum(map(abs, after)) < 0.9 * sum(map(abs, before))
    assert sum(map(abs, control)) == pytest.approx(sum(map(abs, before)), rel=0.02)


def test_only_the_mlps_of_the_last_blocks_are_edited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(biasedit, "BLOCKS", 1)
    names = {name.partition(".lora_")[0] for name in trainable(edited(max_steps=1))}
    assert {name.rpartition("model.")[2] for name in names} == {"transformer.h.1.mlp.c_proj"}
    own = {name.partition(".lora_")[0] for name in trainable(edited(max_steps=1, lora_targets=["attn.c_proj"]))}
    assert {name.rpartition(".h.")[2] for name in own} == {"0.attn.c_proj", "1.attn.c_proj"}


def test_it_needs_an_adapter() -> None:
    with pytest.raises(RequestError, match="method: biasedit edits the MLPs of the last blocks by LoRA"):
        edited(lora_rank=0)
