"""The losses of WGA, SatImp, UNDIAL, CE-U, PDU and RMU by hand, in the loop, and what each does to a tiny model."""

import dataclasses
import itertools
import math
from typing import Any

import pytest
import torch
from torch import tensor

from biasunlearn.config import config_from
from biasunlearn.errors import RequestError
from biasunlearn.models.adapters import reference, with_lora
from biasunlearn.models.packed_forward import RowCache, read
from biasunlearn.scoring.log_prob import score
from biasunlearn.unlearn import token_losses as losses
from biasunlearn.unlearn.checkpoint import Checkpointer, TrainingState
from biasunlearn.unlearn.decision import Decision
from biasunlearn.unlearn.layer_states import control_direction, layer_states
from biasunlearn.unlearn.sampler import BatchSampler
from biasunlearn.unlearn.trainer import check_settings, loss_terms, step_weights, train, update_dual
from tests import tiny
from tests.unlearn.test_objectives import UNTRAINED, mean_of, settings, trained
from tests.unlearn.test_trainer import SETS, fresh, scores, weights_of

NEW = ("wga", "satimp", "undial", "ceu", "pdu", "rmu")


def close(found: torch.Tensor, *expected: float) -> bool:
    return torch.allclose(found, torch.tensor(expected, dtype=found.dtype), atol=1e-5)


# --- formulas ------------------------------------------------------------------------------------------------------


def test_wga_weights_each_token_by_its_probability() -> None:
    log_prob = tensor([0.5, 0.25, 1.0]).log().requires_grad_()
    found = losses.wga_loss(log_prob, 1.0)
    assert close(found.detach(), -0.346574, -0.346574, 0.0)  # 0.5 log 0.5 = 0.25 log 0.25
    (slope,) = torch.autograd.grad(found.sum(), log_prob)
    assert close(slope, 0.5, 0.25, 1.0)  # the weight has no gradient of its own
    assert close(losses.wga_loss(log_prob, 0.0).detach(), *log_prob.tolist())  # alpha 0 is gradient ascent


def test_satimp_has_no_loss_for_certain_and_for_impossible_tokens() -> None:
    log_prob = tensor([0.0, math.log(0.5), -60.0], requires_grad=True)
    found = losses.satimp_loss(log_prob, 5.0, 1.0)
    assert close(found.detach(), 0.0, 0.03125 * 0.5 * math.log(0.5), 0.0)
    (slope,) = torch.autograd.grad(found.sum(), log_prob)
    assert close(slope, 0.0, 0.03125 * 0.5, 0.0)


def test_undial_by_hand_and_its_target_is_fixed() -> None:
    logits = tensor([[math.log(3), 0.0]], requires_grad=True)
    found = losses.undial_loss(logits, tensor([[math.log(3), 0.0]]), tensor([0]), math.log(3))
    assert close(found.detach(), -(math.log(0.75) + math.log(0.25)) / 2)
    (slope,) = torch.autograd.grad(found.sum(), logits)
    assert close(slope, 0.75 - 0.5, 0.25 - 0.5)  # softmax - target
    reached = losses.undial_loss(
        tensor([[0.0, 0.0]], requires_grad=True), tensor([[math.log(3), 0.0]]), tensor([0]), math.log(3)
    )
    assert close(reached.detach(), math.log(2))  # the entropy of the target: nothing is left to learn


def test_ceu_by_hand() -> None:
    logits = tensor([[0.5, 0.25, 0.25]]).log().requires_grad_()
    found = losses.ceu_loss(logits, tensor([0]))
    assert close(found.detach(), math.log(4))
    (slope,) = torch.autograd.grad(found.sum(), logits)
    assert close(slope, 0.5, -0.25, -0.25)


def test_the_logit_margin_is_0_only_for_equal_logits() -> None:
    assert close(losses.logit_margin_loss(tensor([[3.0, 0.0, 0.0], [7.0, 7.0, 7.0]])), 4.0, 0.0)


def test_the_dual_variable_never_becomes_negative() -> None:
    assert losses.dual_step(1.0, 0.5, 2.0) == 2.0
    assert losses.dual_step(1.0, -1.0, 2.0) == 0.0


def test_rmu_by_hand_and_its_direction_has_length_1() -> None:
    assert close(losses.squared_distance(tensor([[3.0, 0.0], [0.0, 4.0]]), tensor([0.0, 4.0])), 12.5, 0.0)
    direction = control_direction(64, 3)
    assert direction.norm().item() == pytest.approx(1) and (direction >= 0).all()
    assert torch.equal(direction, control_direction(64, 3)) and not torch.equal(direction, control_direction(64, 4))


# --- in the loop ---------------------------------------------------------------------------------------------------


def terms_of(method: str, loaded: Any, **changes: Any) -> Any:
    chosen = settings(method, **changes)
    batch = BatchSampler(SETS, chosen).next({"gender": 1.0, "race": 1.0})
    return batch, loss_terms(loaded.model, RowCache(loaded.tokenizer, loaded.model), batch, chosen)


def logits_and_targets(loaded: Any, passage: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """The logits before each supervised token of a sentence, from a plain forward pass of this sentence alone."""
    (row,) = RowCache(loaded.tokenizer, loaded.model).rows([passage])
    with torch.no_grad():
        logits = loaded.model(torch.tensor([row.ids])).logits[0]
    begin = row.first_scored
    return logits[begin - 1 : len(row.ids) - 1], torch.tensor(row.ids[begin:])


@pytest.mark.parametrize("method", ["wga", "satimp", "undial", "ceu", "pdu"])
def test_the_losses_in_the_loop_are_those_of_one_sentence_at_a_time(method: str) -> None:
    loaded = fresh(settings(method))
    tiny.perturb(loaded.model)
    batch, terms = terms_of(method, loaded)
    expected = []
    for passage in batch.forget:
        logits, targets = logits_and_targets(loaded, passage)
        log_probs = logits.log_softmax(-1).gather(-1, targets[:, None])[:, 0]
        with reference(loaded.model):
            before, _ = logits_and_targets(loaded, passage)
        expected.append({
            "wga": lambda p=log_probs: losses.wga_loss(p, 1.0).sum(),
            "satimp": lambda p=log_probs: losses.satimp_loss(p, 5.0, 1.0).sum(),
            "undial": lambda z=logits, b=before, t=targets: losses.undial_loss(z, b, t, 10.0).mean(),
            "ceu": lambda z=logits, t=targets: losses.ceu_loss(z, t).mean(),
            "pdu": lambda z=logits: losses.logit_margin_loss(z).mean(),
        }[method]())  # fmt: skip
    assert terms.raw_forget.item() == pytest.approx(torch.stack(expected).mean().item(), rel=1e-4)


def test_the_constraint_of_pdu_is_met_by_the_base_model_with_its_tolerance_to_spare() -> None:
    loaded = fresh(settings("pdu"))
    batch, terms = terms_of("pdu", loaded)
    found = score(loaded, list(batch.retain))
    loss = -sum(one.mean for one in found) / len(found)
    assert terms.raw_retain.item() == pytest.approx(-0.1 * loss, rel=1e-4)


def test_at_the_base_rmu_has_no_retain_loss_and_reads_every_token_but_the_first() -> None:
    loaded = fresh(settings("rmu"))
    _, terms = terms_of("rmu", loaded)
    assert terms.raw_retain.item() == pytest.approx(0, abs=1e-9) and terms.raw_forget.item() > 1
    cache = RowCache(loaded.tokenizer, loaded.model)
    passages = SETS.forget["gender"][:3]
    found = layer_states(loaded.model, cache, passages)
    assert len(found.states) == sum(len(row.ids) - 1 for row in cache.rows(passages))
    tiny.perturb(loaded.model)
    changed = layer_states(loaded.model, cache, passages)
    assert torch.allclose(changed.reference, found.reference) and not torch.allclose(changed.states, found.states)


def test_the_dual_variable_follows_the_retain_loss_and_is_part_of_a_checkpoint() -> None:
    chosen = config_from({"method": "pdu", "retain_weight": 3.0, "beta": 2.0})
    state = TrainingState(0, Decision({}), [], None)
    assert step_weights(state, chosen).retain_weight == 3.0
    update_dual(state, 0.5, chosen)
    assert state.dual == 4.0 and step_weights(state, chosen).retain_weight == 4.0
    assert TrainingState.from_dict(state.to_dict()).dual == 4.0
    other = TrainingState(0, Decision({}), [], None)
    update_dual(other, 0.5, settings("wga"))
    assert other.dual is None


@pytest.mark.parametrize("method", ["undial", "rmu"])
def test_methods_that_read_the_base_model_need_an_adapter(method: str) -> None:
    with pytest.raises(RequestError, match=f"method: {method} reads the base model"):
        check_settings(settings(method, lora_rank=0), SETS)


@pytest.mark.parametrize("method", ["wga", "satimp", "ceu", "pdu"])
def test_descent_moves_ss_away_from_the_stereotype(method: str) -> None:
    """The margin of the pairs, whose sign SS counts, falls. SatImp's weights of unlikely tokens are tiny: beta 0.5."""
    changes = {"satimp": {"beta": 0.5}}.get(method, {})
    loaded = trained(settings(method, max_steps=4, learning_rate=1e-2, **changes))
    before = UNTRAINED["forget"] - UNTRAINED["retain"]
    assert mean_of(loaded, "forget") - mean_of(loaded, "retain") < before - 0.2


@pytest.mark.slow
def test_undial_unlearns_stereotypes_that_the_base_model_has_learned() -> None:
    """Its target lowers only what the base model finds likely, so the base model is first taught the stereotypes."""
    chosen = settings("undial", max_steps=5, learning_rate=2e-2)
    loaded = tiny.gpt2()
    learned = [passage for group in SETS.forget.values() for passage in group[:5]]
    optimizer = torch.optim.Adam(loaded.model.parameters(), lr=1e-2)
    for _ in range(8):
        (-read(loaded.model, loaded.tokenizer, learned).log_probs.mean()).backward()
        optimizer.step()
        optimizer.zero_grad()
    loaded = loaded.with_model(with_lora(loaded.model, chosen))
    before = mean_of(loaded, "forget")
    script = (scores(60.0 - number / 10) for number in itertools.count())
    train(loaded.model, loaded.tokenizer, SETS, lambda: next(script), chosen, Checkpointer(None))
    assert before > -10 and mean_of(loaded, "forget") < before - 2


def test_descent_of_rmu_moves_forget_states_to_the_direction_and_spares_retain_states() -> None:
    """RMU knows no words, only sentences, so that the test is about states and not about SS."""
    loaded = trained(settings("rmu", max_steps=4, learning_rate=1e-2))
    cache = RowCache(loaded.tokenizer, loaded.model)
    direction = control_direction(tiny.WIDTH, 0)
    shares = {}
    for role in ("forget", "retain"):
        found = layer_states(loaded.model, cache, [p for group in getattr(SETS, role).values() for p in group[:5]])
        moved = found.states - found.reference
        shares[role] = (moved @ direction).mean().item()
    assert shares["forget"] > 0 and shares["forget"] > shares["retain"]


@pytest.mark.parametrize("method", NEW)
def test_without_weights_nothing_changes_bit_for_bit(method: str) -> None:
    """The negative control: the same steps with both weights 0. The dual variable of PDU is kept at 0 by its bound."""
    chosen = settings(method, forget_weight=0.0, retain_weight=0.0)
    loaded = fresh(chosen)
    before = {name: value.clone() for name, value in weights_of(loaded.model).items()}
    script = (scores(60.0 - number / 10) for number in itertools.count())
    train(loaded.model, loaded.tokenizer, SETS, lambda: next(script), chosen, Checkpointer(None))
    assert all(torch.equal(before[name], value) for name, value in weights_of(loaded.model).items())


def test_pdu_with_its_sets_exchanged_moves_ss_the_other_way() -> None:
    """Roles are data: with stereotypes as the retain set, the constraint protects them."""
    chosen = settings("pdu", max_steps=4, learning_rate=1e-2)
    exchanged = dataclasses.replace(
        SETS, forget=SETS.retain, retain=SETS.forget,
        pairs={b: tuple((r, f) for f, r in pairs) for b, pairs in SETS.pairs.items()},
    )  # fmt: skip
    loaded = fresh(chosen)
    script = (scores(60.0 - number / 10) for number in itertools.count())
    train(loaded.model, loaded.tokenizer, exchanged, lambda: next(script), chosen, Checkpointer(None))
    before = UNTRAINED["forget"] - UNTRAINED["retain"]
    assert mean_of(loaded, "forget") - mean_of(loaded, "retain") > before
