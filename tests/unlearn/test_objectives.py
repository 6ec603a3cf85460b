"""Every method's loss against a number derived by hand, and what each of them does to a pair when it is descended."""

import dataclasses
import itertools
import math
from typing import Any

import pytest
import torch

from biasunlearn.config import DebiasConfig, config_from
from biasunlearn.errors import RequestError
from biasunlearn.method_defaults import SETTINGS
from biasunlearn.models.adapters import base_dropout, with_lora
from biasunlearn.models.lm_head import OutputLayer
from biasunlearn.models.packed_forward import Read, RowCache
from biasunlearn.scoring.log_prob import score
from biasunlearn.unlearn import losses
from biasunlearn.unlearn.checkpoint import Checkpointer
from biasunlearn.unlearn.layer_states import LayerStates
from biasunlearn.unlearn.objectives import BOTH_REFERENCES, OBJECTIVES, PAIRED
from biasunlearn.unlearn.roles import RoleLogProbs
from biasunlearn.unlearn.sampler import BatchSampler
from biasunlearn.unlearn.sets import training_sets
from biasunlearn.unlearn.trainer import loss_terms, train
from tests import tiny
from tests.unlearn.test_trainer import CLUSTERS, SETS, config, fresh, scores, weights_of

LOG2 = math.log(2)


def close(found: torch.Tensor, *expected: float) -> bool:
    return torch.allclose(found, torch.tensor(expected, dtype=found.dtype), atol=1e-5)


def test_dpo_at_the_reference_is_log_2_and_its_margin_counts_by_beta():
    # beta 0.1, margin 10: -log sigmoid(1) = log(1 + 1/e) = 0.31326
    assert close(losses.dpo_loss(torch.tensor([0.0, 10.0, -10.0]), 0.1), LOG2, 0.313262, 1.313262)


def test_ipo_aims_at_a_margin_of_1_over_2_beta():
    assert close(losses.ipo_loss(torch.tensor([0.0, 1.0, 2.0]), 0.5), 1.0, 0.0, 1.0)


def test_kto_at_the_reference_is_one_half_on_both_sides():
    for found in losses.kto_losses(torch.zeros(3), torch.zeros(3), 0.1):
        assert close(found, 0.5, 0.5, 0.5)


def test_kto_measures_each_role_from_the_mean_of_the_other():
    undesired, desired = torch.tensor([-2.0, -4.0]), torch.tensor([1.0, 3.0])
    forget, retain = losses.kto_losses(undesired, desired, 1.0)
    # The retained mean is 2, the forgotten one -3, which counts as 0.
    assert close(forget, 1 - 1 / (1 + math.exp(-4)), 1 - 1 / (1 + math.exp(-6)))
    assert close(retain, 1 - 1 / (1 + math.exp(-1)), 1 - 1 / (1 + math.exp(-3)))


def test_simnpo_of_a_certain_sentence_and_of_an_impossible_one():
    assert close(losses.simnpo_loss(torch.tensor([0.0, -1000.0]), 1.0), 2 * LOG2, 0.0)


def test_orpo_by_hand():
    # p = 0.5: odds 1; p = 0.25: odds 1/3. -log sigmoid(log 3) = log(4/3) = 0.28768
    half, quarter = torch.tensor([0.5]).log(), torch.tensor([0.25]).log()
    assert close(losses.odds_ratio_loss(half, quarter), math.log(4 / 3))
    assert close(losses.odds_ratio_loss(half, half), LOG2)


def test_equalize_is_0_at_margin_0_and_pulls_to_it_from_both_sides():
    margin = torch.tensor([0.0, 0.1, 1.0, -1.0], requires_grad=True)
    found = losses.equal_loss(margin, 0.1)
    assert close(found.detach(), 0.0, 0.05, 0.95, 0.95)
    (slope,) = torch.autograd.grad(found.sum(), margin)
    assert close(slope, 0.0, 1.0, 1.0, -1.0)


def test_the_best_common_shift_of_equalize_puts_half_of_the_pairs_on_each_side():
    """The claim of its docstring, against the square: SS after the best shift of ten skewed margins."""
    margins = torch.tensor([-0.4, -0.3, -0.2, 0.1, 0.2, 0.3, 0.4, 0.5, 5.0, 9.0])

    def ss_after(loss: Any) -> float:
        shifts = torch.linspace(-3, 10, 13_001)
        best = float(shifts[loss(margins - shifts[:, None]).sum(1).argmin()])
        return 100 * float((margins > best).double().mean())

    assert ss_after(lambda m: losses.equal_loss(m, 0.1)) == pytest.approx(50, abs=1)
    assert ss_after(torch.square) == pytest.approx(20)


# --- the methods ---------------------------------------------------------------------------------------------------


def test_every_method_of_the_configuration_has_settings_and_something_that_runs_it():
    from typing import get_args, get_type_hints

    from biasunlearn.unlearn.methods import METHODS

    names = get_args(get_type_hints(DebiasConfig)["method"])
    assert set(names) == set(SETTINGS) == set(METHODS)
    assert set(OBJECTIVES) <= set(METHODS) and set(PAIRED) | set(BOTH_REFERENCES) <= set(OBJECTIVES)


def test_settings_of_a_method_give_way_to_the_user_s():
    assert config_from({"method": "dpo"}).kl_weight == 0.0
    assert config_from({"method": "dpo", "kl_weight": 0.7}).kl_weight == 0.7
    assert config_from({}) == DebiasConfig() == config_from({"method": "biasunlearn"})


def test_an_unknown_method_is_named_with_the_known_ones():
    with pytest.raises(RequestError, match="method: 'dop'; must be one of biasunlearn, biasunlearn_orthogonal, npo"):
        config_from({"method": "dop"})


def settings(method: str, **changes: Any) -> DebiasConfig:
    pinned = {"lora_rank": 4, "lora_alpha": 8, "max_steps": 2, "evaluate_every": 9,
              "first_evaluation": 9, "confirm": 99, "average": 0.0,
              "forget_batch": 4, "unrelated_batch": 2, "warmup": 0, "margin": 1e-6, "schedule": "constant",
              "collapse_lms": 1000.0, "collapse_ratio": 1000.0, "learning_rate": 5e-3}  # fmt: skip
    return config_from({"method": method, **pinned, **changes})


def trained(chosen: DebiasConfig) -> Any:
    loaded = tiny.gpt2()
    loaded = loaded.with_model(with_lora(loaded.model, chosen))
    sets = training_sets(CLUSTERS, tiny.TEXTS[3:], adversarial_share=chosen.adversarial_share, seed=0)
    script = (scores(60.0 - number / 10) for number in itertools.count())  # every look is better: the last is kept
    train(loaded.model, loaded.tokenizer, sets, lambda: next(script), chosen, Checkpointer(None))
    return loaded


def mean_of(loaded: Any, role: str) -> float:
    passages = [passage for group in getattr(SETS, role).values() for passage in group[:5]]
    return sum(found.log_prob for found in score(loaded, passages)) / len(passages)


UNTRAINED = {role: mean_of(fresh(config()), role) for role in ("forget", "retain")}


@pytest.mark.parametrize(
    ("method", "forgotten", "retained"),
    [
        ("npo", -1, 0),
        ("simnpo", -1, 0),
        ("gradient_ascent", -1, 0),
        ("gradient_difference", -1, 1),
        ("orpo", 0, 1),
        ("sft", 0, 1),
    ],
)
def test_what_becomes_of_the_two_sets(method: str, forgotten: int, retained: int) -> None:
    loaded = trained(settings(method))
    for role, sign in (("forget", forgotten), ("retain", retained)):
        if sign:
            assert sign * (mean_of(loaded, role) - UNTRAINED[role]) > 0.2, role


@pytest.mark.parametrize("method", ["dpo", "ipo", "kto", "orpo"])
def test_preference_methods_widen_the_margin(method: str) -> None:
    loaded = trained(settings(method))
    before = UNTRAINED["retain"] - UNTRAINED["forget"]
    assert mean_of(loaded, "retain") - mean_of(loaded, "forget") > before + 0.2


def test_the_swap_weight_shifts_the_target_of_equalize() -> None:
    """set_point 0.5 at weight 0.4: the loss is 0 where the retain sentence is likelier by 0.2 nats per token."""
    chosen = settings("equalize", set_point=0.5)
    tokens, weights = torch.tensor([2.0, 4.0]), torch.tensor([0.4, 0.4])
    values = torch.tensor([-6.0, -8.0])
    retain = RoleLogProbs(values, tokens)
    at_target = RoleLogProbs((values / tokens - 0.2) * tokens, tokens, swap_weights=weights)
    found, retention = OBJECTIVES["equalize"](at_target, retain, chosen)
    assert found.tolist() == pytest.approx([0.0, 0.0], abs=1e-6) and retention.tolist() == [6.0, 8.0]
    even, _ = OBJECTIVES["equalize"](RoleLogProbs(values, tokens, swap_weights=weights), retain, chosen)
    assert even.tolist() == pytest.approx([0.15, 0.15])  # by hand: Huber of 0.2 with delta 0.1 is 0.2 - 0.05


def test_the_swap_weight_does_not_multiply_the_loss_of_equalize() -> None:
    """With a set point of 0, half the weight changes nothing in the loss of the pairs and halves the retention loss."""
    chosen = settings("equalize", set_point=0.0, batch_allocation="even")
    loaded = fresh(chosen)
    full, half = (BatchSampler(SETS, chosen).next({"gender": weight, "race": weight}) for weight in (1.0, 0.5))
    cache = RowCache(loaded.tokenizer, loaded.model)
    one, other = (loss_terms(loaded.model, cache, batch, chosen) for batch in (full, half))
    assert other.forget.item() == pytest.approx(one.forget.item())
    assert other.retain.item() == pytest.approx(one.retain.item() / 2)


@pytest.mark.slow
def test_equalize_narrows_the_margins_whichever_side_they_are_on() -> None:
    def margins(loaded: Any) -> list[float]:
        pairs = [pair for b in SETS.bias_types for pair in SETS.pairs[b] if pair[0] != pair[1]]
        forget, retain = (score(loaded, [pair[side] for pair in pairs]) for side in (0, 1))
        return [one.mean - other.mean for one, other in zip(forget, retain, strict=True)]

    before = margins(fresh(config()))
    alone = settings("equalize", kl_weight=0.0, max_steps=4, set_point=0.0, retain_weight=0.0)
    after = margins(trained(alone))
    assert min(before) < 0 < max(before)
    assert sum(map(abs, after)) < 0.8 * sum(map(abs, before))


def test_at_the_reference_the_loss_of_dpo_is_log_2_in_the_loop_as_well() -> None:
    chosen = settings("dpo")
    loaded = fresh(chosen)
    batch = BatchSampler(SETS, chosen).next({"gender": 1.0, "race": 1.0})
    terms = loss_terms(loaded.model, RowCache(loaded.tokenizer, loaded.model), batch, chosen)
    assert terms.raw_forget.item() == pytest.approx(LOG2, abs=1e-5)
    assert terms.raw_retain.item() == 0.0 and float(terms.log_ratio) == pytest.approx(0, abs=1e-4)
    assert terms.total(chosen).item() == pytest.approx(LOG2, abs=1e-5)


def test_dpo_in_the_loop_is_the_dpo_of_a_plain_reckoning() -> None:
    chosen = settings("dpo")
    loaded = fresh(chosen)
    tiny.perturb(loaded.model)
    batch = BatchSampler(SETS, chosen).next({"gender": 1.0, "race": 1.0})
    passages = [*batch.retain, *batch.forget]
    now = torch.tensor([found.log_prob for found in score(loaded, passages)])
    with loaded.model.disable_adapter():
        ref = torch.tensor([found.log_prob for found in score(loaded, passages)])
    retain, forget = (now - ref).chunk(2)
    terms = loss_terms(loaded.model, RowCache(loaded.tokenizer, loaded.model), batch, chosen)
    assert terms.raw_forget.item() == pytest.approx(float(losses.dpo_loss(retain - forget, 0.1).mean()), abs=1e-4)


def test_a_paired_objective_refuses_sentences_that_are_no_partners() -> None:
    with pytest.raises(RequestError, match="batch_pairs=matched"):
        trained(settings("dpo", batch_pairs="independent"))


def test_the_gradient_of_an_objective_reaches_no_reference() -> None:
    values = torch.zeros(3, requires_grad=True)
    role = RoleLogProbs(torch.zeros(3), torch.ones(3), values)
    layer = LayerStates(torch.zeros(3, 2), torch.zeros(3, 2, requires_grad=True), torch.arange(3), 3)
    states = torch.zeros(3, 4)
    read = Read(states, torch.zeros(3, dtype=torch.long), torch.arange(3), 3, OutputLayer())
    role = dataclasses.replace(role, layer=layer, read=read, reference_states=states.clone().requires_grad_())
    for objective in OBJECTIVES.values():
        for found in objective(role, role, DebiasConfig()):
            assert not found.requires_grad


def test_without_looks_the_last_weights_are_kept_and_stored() -> None:
    chosen = settings("task_vector", max_steps=3)
    loaded, keep = fresh(chosen), Checkpointer(None)
    begun = weights_of(loaded.model)
    outcome = train(loaded.model, loaded.tokenizer, SETS, None, chosen, keep, base_scores=scores(60.0))
    assert (outcome.step, outcome.reason) == (3, "reached 3 steps")
    assert any(not torch.equal(begun[name], value) for name, value in weights_of(loaded.model).items())
    assert [row["step"] for row in keep.rows] == [0, 1, 2, 3]


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_base_dropout_makes_noise_and_leaves_no_trace(family: str) -> None:
    model = tiny.causal(family).model
    ids = torch.arange(12)[None]
    quiet = model(ids).logits
    with base_dropout(model, 0.5):
        assert not torch.equal(model(ids).logits, model(ids).logits)
    assert torch.equal(model(ids).logits, quiet)
    assert not any(module.training for module in model.modules())
