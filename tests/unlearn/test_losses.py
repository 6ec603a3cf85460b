"""The three losses: every number is worked out by hand beside it."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import tensor

from biasunlearn.models.logprobs import sum_by_row, token_log_probs
from biasunlearn.unlearn.losses import (
    cross_entropy_to_reference,
    invariance_loss,
    kl_loss,
    npo_loss,
    npo_loss_batch_mean,
    retention_loss,
)

LOG2 = math.log(2)


# --- L_forget ------------------------------------------------------------------------------------------------------


def test_npo_by_hand() -> None:
    """-(2 / 0.1) log sigmoid(-0.1 r) = 20 log(1 + e^(0.1 r)), with r = log p - log p_ref."""
    found = npo_loss(tensor([-5.0, -15.0, -3.0]), tensor([-5.0, -5.0, -13.0]), beta=0.1)
    expected = [
        13.862944,  # r = 0:   20 log 2
        6.265234,  #  r = -10: 20 log(1 + e^-1) = 20 * 0.3132617
        26.265234,  # r = +10: 20 log(1 + e^1) = 20 * 1.3132617
    ]
    assert found.tolist() == pytest.approx(expected, abs=1e-4)
    # log(1 + e^x) - log(1 + e^-x) = x: the loss of +r exceeds that of -r by (2 / beta) beta r = 2 r.
    assert float(found[2] - found[1]) == pytest.approx(2 * 10, abs=1e-4)


@pytest.mark.parametrize("beta", [0.01, 0.1, 0.5, 1.0, 5.0])
def test_npo_starts_at_two_over_beta_log_two_with_gradient_one(beta: float) -> None:
    log_prob = tensor([-0.5, -7.0, -40.0], requires_grad=True)
    loss = npo_loss(log_prob, log_prob.detach().clone(), beta)
    assert loss.tolist() == pytest.approx([2 / beta * LOG2] * 3, rel=1e-6)
    loss.sum().backward()
    assert log_prob.grad is not None
    # d/dr (2 / beta) log(1 + e^(beta r)) = 2 sigmoid(beta r) = 1 at r = 0: gradient ascent on the cross-entropy.
    assert log_prob.grad.tolist() == pytest.approx([1.0] * 3)


def test_npo_gradient_fades_as_the_sentence_is_forgotten() -> None:
    log_prob = tensor([20.0, 0.0, -10.0, -20.0, -200.0], requires_grad=True)
    npo_loss(log_prob, torch.zeros(5), beta=0.1).sum().backward()
    assert log_prob.grad is not None
    # 2 sigmoid(0.1 r): r = 20: 2 / (1 + e^-2); 0: 1; -10: 2 / (1 + e); -20: 2 / (1 + e^2); -200: 2 e^-20
    expected = [1.7615942, 1.0, 0.5378828, 0.2384058, 4.1223e-9]
    assert log_prob.grad.tolist() == pytest.approx(expected, rel=1e-4)


def test_npo_becomes_gradient_ascent_as_beta_goes_to_zero() -> None:
    """2 sigmoid(beta r) -> 1 for every r: the constant gradient of ascent, whatever was forgotten already."""
    log_prob = tensor([5.0, 0.0, -30.0], requires_grad=True)
    npo_loss(log_prob, torch.zeros(3), beta=1e-5).sum().backward()
    assert log_prob.grad is not None
    assert log_prob.grad.tolist() == pytest.approx([1.0] * 3, abs=1e-3)


def test_npo_sends_no_gradient_into_the_reference_and_stays_finite_far_out() -> None:
    log_prob, ref = tensor([-1e4, 1e4], requires_grad=True), tensor([0.0, 0.0], requires_grad=True)
    loss = npo_loss(log_prob, ref, beta=0.1)
    assert loss.tolist() == pytest.approx([0.0, 2e4], abs=1e-3)  # 20 * 0 and 20 * 1000
    loss.sum().backward()
    assert ref.grad is None
    assert log_prob.grad is not None and bool(log_prob.grad.isfinite().all())


def test_npo_is_per_sentence_and_its_batch_mean_form_is_not() -> None:
    log_prob, ref, tokens = tensor([-4.0, -12.0]), tensor([-2.0, -6.0]), tensor([2.0, 3.0])
    # Sentence ratios -2 and -6: 20 log(1 + e^-0.2) = 20 * 0.5981389, 20 log(1 + e^-0.6) = 20 * 0.4374878
    assert npo_loss(log_prob, ref, 0.1).tolist() == pytest.approx([11.962778, 8.749756], abs=1e-4)
    # Token means: now (-2, -4) -> -3, reference (-1, -2) -> -1.5; one ratio, -1.5: 20 log(1 + e^-0.15)
    #   = 20 * 0.6209575
    found = npo_loss_batch_mean(log_prob, ref, tokens, 0.1)
    assert found.shape == (1,)
    assert float(found) == pytest.approx(12.419150, abs=1e-4)


@pytest.mark.parametrize("beta", [0.05, 1.0])
def test_the_batch_mean_form_at_the_reference(beta: float) -> None:
    log_prob, tokens = tensor([-4.0, -12.0], requires_grad=True), tensor([2.0, 3.0])
    loss = npo_loss_batch_mean(log_prob, log_prob.detach().clone(), tokens, beta)
    assert float(loss.detach()) == pytest.approx(2 / beta * LOG2)
    loss.backward()
    assert log_prob.grad is not None
    assert log_prob.grad.tolist() == pytest.approx([1 / 4, 1 / 6])  # 1 / (sentences * tokens)


# --- L_retention ---------------------------------------------------------------------------------------------------


def test_retention_is_the_cross_entropy() -> None:
    log_prob = tensor([-3.0, -0.25], requires_grad=True)
    loss = retention_loss(log_prob)
    assert loss.tolist() == [3.0, 0.25]
    loss.sum().backward()
    assert log_prob.grad is not None
    assert log_prob.grad.tolist() == [-1.0, -1.0]  # minimising it raises the log-probability


# --- L_KL ----------------------------------------------------------------------------------------------------------

HALF = [0.0, 0.0]  # p = (1/2, 1/2)
QUARTER = [0.0, math.log(3)]  # p = (1/4, 3/4)


def test_kl_by_hand_on_two_tokens() -> None:
    found = kl_loss(tensor([QUARTER, HALF, HALF]), tensor([HALF, QUARTER, HALF]))
    expected = [
        0.143841,  # ref (1/2, 1/2), now (1/4, 3/4): 1/2 log(2) + 1/2 log(2/3) = 1/2 log(4/3)
        0.130812,  # ref (1/4, 3/4), now (1/2, 1/2): 1/4 log(1/2) + 3/4 log(3/2): the other direction differs
        0.0,
    ]
    assert found.tolist() == pytest.approx(expected, abs=1e-6)
    assert expected[0] == pytest.approx(0.5 * math.log(4 / 3), abs=1e-6)


def test_cross_entropy_to_reference_by_hand() -> None:
    found = cross_entropy_to_reference(tensor([QUARTER, HALF]), tensor([HALF, QUARTER]))
    expected = [
        0.836988,  # -1/2 log(1/4) - 1/2 log(3/4)
        0.693147,  # log 2, whatever the reference
    ]
    assert found.tolist() == pytest.approx(expected, abs=1e-6)


LOGITS = st.lists(st.floats(-20, 20, width=32), min_size=5, max_size=5)


@given(LOGITS, LOGITS)
def test_kl_is_never_negative_and_zero_at_the_reference(one: list[float], other: list[float]) -> None:
    a, b = tensor([one]), tensor([other])
    assert float(kl_loss(a, b)) >= -1e-5
    assert float(kl_loss(a, a)) == pytest.approx(0, abs=1e-6)
    assert float(kl_loss(a + 3.0, b)) == pytest.approx(float(kl_loss(a, b)), abs=1e-3)  # logits are unnormalised


@given(LOGITS, LOGITS)
def test_the_cross_entropy_has_the_gradient_of_the_kl(one: list[float], other: list[float]) -> None:
    first, second = tensor([one], requires_grad=True), tensor([one], requires_grad=True)
    ref = tensor([other], requires_grad=True)
    kl, cross = kl_loss(first, ref), cross_entropy_to_reference(second, ref)
    (kl.sum() + cross.sum()).backward()
    assert ref.grad is None
    assert first.grad is not None and second.grad is not None
    assert torch.allclose(first.grad, second.grad, atol=1e-5)
    p = ref.detach().softmax(-1)
    # d KL / d logits = p_theta - p_ref
    assert torch.allclose(first.grad, first.detach().softmax(-1) - p, atol=1e-5)
    entropy = -(p * ref.detach().log_softmax(-1)).sum(-1)
    assert torch.allclose(cross - kl, entropy, atol=1e-3)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_losses_of_half_precision_logits_are_reckoned_in_full(dtype: torch.dtype) -> None:
    logits, ref = tensor([QUARTER, HALF]).to(dtype), tensor([HALF, QUARTER]).to(dtype)
    for loss in (kl_loss, cross_entropy_to_reference):
        found = loss(logits, ref)
        assert found.dtype == torch.float32
        assert torch.allclose(found, loss(logits.float(), ref.float()))
    assert token_log_probs(logits, tensor([0, 1])).dtype == torch.float32


# --- sums ----------------------------------------------------------------------------------------------------------


def test_token_log_probs_by_hand() -> None:
    found = token_log_probs(tensor([QUARTER, QUARTER, HALF]), tensor([0, 1, 1]))
    assert found.tolist() == pytest.approx([math.log(1 / 4), math.log(3 / 4), math.log(1 / 2)], abs=1e-6)


def test_sum_by_row() -> None:
    values = tensor([1.0, 2.0, 4.0, 8.0], requires_grad=True)
    sums = sum_by_row(values, tensor([0, 0, 2, 0]), 4)
    assert sums.tolist() == [11.0, 0.0, 4.0, 0.0]  # a row that owns nothing sums to 0
    sums[0].backward()
    assert values.grad is not None
    assert values.grad.tolist() == [1.0, 1.0, 0.0, 1.0]


# --- L_invariance --------------------------------------------------------------------------------------------------


def test_invariance_by_hand() -> None:
    """d = +-(log(0.8 / 0.4), log(0.2 / 0.6)) / 2; q = (0.6, 0.4), so that the weights are as sqrt(0.6) to sqrt(0.4)."""
    found = tensor([[[0.8, 0.2], [0.4, 0.6]]]).log()
    first, second = (math.log(2) / 2) ** 2, (math.log(3) / 2) ** 2
    root = math.sqrt(0.6) + math.sqrt(0.4)
    expected = (math.sqrt(0.6) * first + math.sqrt(0.4) * second) / root / 2
    assert expected == pytest.approx(0.1009, abs=1e-4)
    assert invariance_loss(found, found).tolist() == pytest.approx([expected], abs=1e-6)


def test_invariance_is_zero_where_the_members_are_equal_and_only_there() -> None:
    reference = tensor([[[0.8, 0.2], [0.4, 0.6]]]).log()
    assert invariance_loss(tensor([[[0.7, 0.3], [0.7, 0.3]]]).log(), reference).item() == pytest.approx(0.0, abs=1e-7)
    assert invariance_loss(tensor([[[0.7, 0.3], [0.69, 0.31]]]).log(), reference).item() > 1e-5


def test_invariance_weights_rare_tokens_more_than_a_divergence_does() -> None:
    """A difference in a token of probability 0.01 counts 0.1 / 1.0950 of a whole one, and not 0.01."""
    reference = tensor([[[0.99, 0.01], [0.99, 0.01]]]).log()
    apart = reference + tensor([[[0.0, 0.02], [0.0, -0.02]]])
    share = math.sqrt(0.01) / (math.sqrt(0.01) + math.sqrt(0.99))
    assert invariance_loss(apart, reference).item() == pytest.approx(share * 0.02**2 / 2, rel=0.03)


def test_invariance_pulls_the_groups_together_and_carries_no_gradient_to_the_reference() -> None:
    logits = tensor([[[0.8, 0.2], [0.4, 0.6]]]).log().requires_grad_()
    reference = logits.detach().clone().requires_grad_()
    invariance_loss(logits, reference).sum().backward()
    assert reference.grad is None and logits.grad is not None
    # One step against the gradient: the first member likes the first token less, the second more.
    assert logits.grad[0, 0, 0] > 0 and logits.grad[0, 1, 0] < 0
    # A number that is added to all logits of a member changes no probability.
    assert torch.allclose(logits.grad.sum(-1), torch.zeros(1, 2), atol=1e-7)
