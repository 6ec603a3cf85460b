"""Losses of unlearning methods that are defined on single tokens, on whole distributions or on hidden states.

Like those in losses.py they are pure functions. Each returns one value per token; the caller adds the values of a
sentence up or averages them (objectives.py), as the published method does.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def wga_loss(log_prob: Tensor, alpha: float) -> Tensor:
    """Weighted gradient ascent, WGA (arXiv 2502.19301, section 5), per token: p^alpha log p, p^alpha without gradient.

    A token that is unlikely already has a small weight, so that ascent ends by itself. alpha = 0 is gradient ascent.

    By hand, alpha = 1: p = 0.5 -> 0.5 log 0.5 = -0.346574, with gradient 0.5 in log p.

    Args:
        log_prob: [tokens] log p of the token of the forget sentence, in nats.
    """
    return (alpha * log_prob.detach()).exp() * log_prob


def satimp_loss(log_prob: Tensor, saturation: float, importance: float) -> Tensor:
    """SatImp (arXiv 2505.11953, section 5) per token: p^beta1 (1 - p)^beta2 log p, the weight without gradient.

    The first factor is the saturation weight: little for tokens that are unlikely already. The second is the importance
    weight: little for tokens that are certain whatever was learned.

    By hand, beta1 = 5, beta2 = 1: p = 0.5 -> 0.03125 * 0.5 * log 0.5 = -0.010830; p = 1 -> 0.

    Args:
        log_prob: [tokens] log p of the token of the forget sentence, in nats.
        saturation, importance: beta1 and beta2.
    """
    fixed = log_prob.detach()
    weight = (saturation * fixed).exp() * (-torch.expm1(fixed)).clamp(min=0) ** importance
    return weight * log_prob


def undial_loss(logits: Tensor, reference_logits: Tensor, targets: Tensor, gamma: float) -> Tensor:
    """UNDIAL (arXiv 2402.10052, section 3): self-distillation with adjusted logits, per token.

    The cross-entropy -sum_v q(v) log p(v) to q = softmax(z_ref - gamma e_y), the distribution of the reference with the
    logit of the token y lowered by gamma. The target is fixed, so that training has an end.

    By hand, two words, z_ref = (log 3, 0), y the first, gamma = log 3: q = (1/2, 1/2); p = (3/4, 1/4) -> loss
    -(log 0.75 + log 0.25) / 2 = 0.836988.

    Args:
        logits, reference_logits: [tokens, vocabulary]; the reference carries no gradient.
        targets: [tokens] the tokens of the forget sentence.
        gamma: by how much the logit is lowered, in nats.
    Returns:
        [tokens]
    """
    lowered = reference_logits.detach().float()
    lowered = lowered.scatter_add(-1, targets[:, None], torch.full_like(lowered[:, :1], -gamma))
    return -(lowered.softmax(-1) * F.log_softmax(logits.float(), dim=-1)).sum(-1)


def ceu_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """CE-U (arXiv 2503.01224, section 3): cross-entropy to the own distribution without the token, per token.

    -sum_v q(v) log p(v) with q = softmax of the model's own logits in which the logit of the token is minus infinity;
    q carries no gradient.

    By hand, p = (0.5, 0.25, 0.25), the token is the first: q = (0, 1/2, 1/2), loss -log 0.25 = 1.386294, gradient in
    the logits p - q = (0.5, -0.25, -0.25).

    Args:
        logits: [tokens, vocabulary]
        targets: [tokens] the tokens of the forget sentence.
    Returns:
        [tokens]
    """
    without = logits.detach().float().scatter(-1, targets[:, None], float("-inf"))
    return -(without.softmax(-1) * F.log_softmax(logits.float(), dim=-1)).sum(-1)


def logit_margin_loss(logits: Tensor) -> Tensor:
    """The forget loss of PDU (arXiv 2506.05314, section 3), logit-margin flattening, per token: (max z - mean z)^2.

    It is 0 for equal logits, that is for the uniform distribution. Which word the sentence has does not matter to it.

    By hand: z = (3, 0, 0) -> (3 - 1)^2 = 4.

    Args:
        logits: [tokens, vocabulary]
    Returns:
        [tokens]
    """
    own = logits.float()
    return (own.amax(-1) - own.mean(-1)).square()


def dual_step(dual: float, excess: float, rate: float) -> float:
    """The dual update of PDU (arXiv 2506.05314, section 3): max(0, lambda + rate (L_retain - epsilon)).

    By hand: lambda 1, excess 0.5, rate 2 -> 2; excess -1 -> 0.
    """
    return max(0.0, dual + rate * excess)


def squared_distance(states: Tensor, targets: Tensor) -> Tensor:
    """The two losses of RMU (arXiv 2403.03218, section 4), per token: the mean over the coordinates of (h - h')^2.

    In the forget loss h' is a fixed random direction times a coefficient, in the retain loss the state of the reference
    at the same token. The paper has the sum over the coordinates, the authors' code the mean, as here.

    By hand: h = (3, 0), h' = (0, 4) -> (9 + 16) / 2 = 12.5.

    Args:
        states: [tokens, hidden]
        targets: [tokens, hidden] or [hidden]; no gradient.
    Returns:
        [tokens]
    """
    return (states.float() - targets.detach().float()).square().mean(-1)
