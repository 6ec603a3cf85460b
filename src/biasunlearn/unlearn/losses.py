"""Losses as pure functions of log-probabilities: the three of BiasUnlearn (arXiv 2509.25673), and those of others.

None of them uses a model. Each returns one value per sentence; the caller multiplies by weights and averages.
`log_prob` of a sentence is log p(y | x): the sum over the tokens of its supervised part, in nats.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def npo_of_ratio(ratio: Tensor, beta: float) -> Tensor:
    """-(2 / beta) log sigmoid(-beta r), the form of NPO and SimNPO. At r = 0: (2 / beta) log 2."""
    return -(2 / beta) * F.logsigmoid(-beta * ratio)


def npo_loss(log_prob: Tensor, reference: Tensor, beta: float) -> Tensor:
    """Negative preference optimisation (NPO), L_forget, per sentence.

    -(2 / beta) log sigmoid(-beta r) with r = log p_theta(y|x) - log p_ref(y|x). At theta = ref the gradient in log_prob
    is +1, as in gradient ascent; as r falls, it decreases to 0.

    By hand, beta = 0.1: r = 0 -> 20 log 2 = 13.8629; r = -10 -> 20 log(1 + e^-1) = 6.2652.

    Args:
        log_prob: [sentences] under the model that is trained.
        reference: [sentences] under the reference; it carries no gradient.
    Returns:
        [sentences]
    """
    return npo_of_ratio(log_prob - reference.detach(), beta)


def npo_loss_batch_mean(log_prob: Tensor, reference: Tensor, tokens: Tensor, beta: float) -> Tensor:
    """The form of the released code: one ratio per batch, of token means averaged over the sentences. Returns [1].

    It differs from the equation of the paper and is an option (`npo_ratio: batch_mean`).
    """
    ratio = (log_prob / tokens).mean() - (reference.detach() / tokens).mean()
    return npo_of_ratio(ratio, beta).reshape(1)


def retention_loss(log_prob: Tensor) -> Tensor:
    """L_retention per sentence: the cross-entropy of y given x, -log p(y | x). Returns [sentences]."""
    return -log_prob


def simnpo_loss(mean_log_prob: Tensor, beta: float) -> Tensor:
    """SimNPO (arXiv 2410.07163, eq. 6) per sentence, with its margin gamma at 0: NPO without a reference.

    -(2 / beta) log sigmoid(-beta log p(y|x) / |y|). By hand, beta = 1: p = 1 -> 2 log 2 = 1.3863.

    Args:
        mean_log_prob: [sentences] log p(y|x) / |y|, in nats per token.
    """
    return npo_of_ratio(mean_log_prob, beta)


def ascent_loss(log_prob: Tensor) -> Tensor:
    """Gradient ascent (Jang et al., arXiv 2210.01504): the log-likelihood is minimised, without a lower bound."""
    return log_prob


def dpo_loss(margin: Tensor, beta: float) -> Tensor:
    """DPO (arXiv 2305.18290, eq. 7) per pair: -log sigmoid(beta margin). At theta = ref: log 2 = 0.6931.

    Args:
        margin: [pairs] r of the preferred sentence minus r of the other one, in nats.
    """
    return -F.logsigmoid(beta * margin)


def ipo_loss(margin: Tensor, beta: float) -> Tensor:
    """IPO (arXiv 2310.12036, eq. 17) per pair: (margin - 1 / (2 beta))^2. At theta = ref, beta = 0.5: 1."""
    return (margin - 1 / (2 * beta)).square()


def kto_losses(undesired: Tensor, desired: Tensor, beta: float) -> tuple[Tensor, Tensor]:
    """KTO on pairs (arXiv 2402.01306, eq. 8): 1 - sigmoid(beta (z - r)) and 1 - sigmoid(beta (r - z)).

    The reference point z is the mean ratio of the other role in the batch, at least 0 and without a gradient: the
    pairwise estimate in the code of the authors, which also has one from mismatched texts. At theta = ref both are 0.5.

    Args:
        undesired, desired: [sentences] r of the forget and of the retain sentences, in nats.
    """
    above, below = (other.detach().mean().clamp(min=0) for other in (desired, undesired))
    return 1 - torch.sigmoid(beta * (above - undesired)), 1 - torch.sigmoid(beta * (desired - below))


def odds_ratio_loss(preferred: Tensor, other: Tensor) -> Tensor:
    """ORPO's second term (arXiv 2403.07691, eq. 7) per pair: -log sigmoid(log odds(preferred) - log odds(other)).

    odds(p) = p / (1 - p) with p = exp(mean log-probability per token). For equal sentences: log 2.

    Args:
        preferred, other: [pairs] mean log-probabilities per token, in nats; below 0.
    """
    return -F.logsigmoid(_log_odds(preferred) - _log_odds(other))


def _log_odds(log_p: Tensor) -> Tensor:
    return log_p - torch.log(-torch.expm1(log_p.clamp(max=-1e-6)))  # log(1 - p), exact for small and for large p


def biasedit_loss(margin: Tensor) -> Tensor:
    """L_d of BiasEdit (arXiv 2503.08588) per pair: the symmetric KL divergence of P and P with its sentences exchanged.

    With p = sigmoid(margin) the probability of the first sentence of the two, it is KL((p, 1 - p) || (1 - p, p)) twice,
    2 (2 p - 1) margin = 2 margin tanh(margin / 2). It is 0 if and only if both sentences are equally likely.

    By hand: margin log 3, p = 3/4 -> 2 * 0.5 * log 3 = 1.098612.

    Args:
        margin: [pairs] mean log-probability per token of one sentence minus that of the other, in nats.
    """
    return 2 * margin * torch.tanh(margin / 2)


def equal_loss(margin: Tensor, delta: float) -> Tensor:
    """The loss of `equalize`, developed in this project, per pair: the Huber loss of the margin of the pair.

    margin^2 / 2 up to delta, then delta (|margin| - delta / 2), both divided by delta, so that the linear part has
    slope 1. It is 0 if both sentences are equally likely.

    SS is the share of margins above 0. Of all shifts that are common to all pairs, the squared loss is smallest where
    the mean margin is 0, and the absolute loss where the median is 0, that is where half of the pairs lie on each side
    and SS is 50. Delta is therefore small. The target margin for unseen pairs is set in objectives.equalize.

    By hand, delta = 0.1: margin 0 -> 0; 0.1 -> 0.05; 1 or -1 -> 0.95.

    Args:
        margin: [pairs] mean log-probability per token of one sentence minus that of the other, in nats.
    """
    return F.huber_loss(margin, torch.zeros_like(margin), reduction="none", delta=delta) / delta


def kl_loss(logits: Tensor, reference_logits: Tensor) -> Tensor:
    """L_KL per real token: KL(p_ref || p_theta) over the vocabulary. There is no padding to average over.

    Args:
        logits, reference_logits: [tokens, vocabulary], unnormalised; the reference carries no gradient.
    Returns:
        [tokens], each at least 0, and 0 where the two distributions are equal.
    """
    log_p = F.log_softmax(logits.float(), dim=-1)
    log_ref = F.log_softmax(reference_logits.detach().float(), dim=-1)
    return F.kl_div(log_p, log_ref, reduction="none", log_target=True).sum(-1)


def invariance_loss(logits: Tensor, reference_logits: Tensor) -> Tensor:
    """What the model expects next is the same whichever group the sentence is about. Developed in this project.

    With p_j the distribution of the next token in the sentence about term j, and d_j = log p_j - mean_k log p_k:
    mean_j sum_v w(v) d_j(v)^2 / 2. The group part of a margin is a difference of such log-probabilities, and the loss
    is 0 if and only if it is 0 for every two tokens. The weights w are proportional to the square root of
    q = mean_j p_ref,j, the mixture of the reference model: with w = q the loss is, to second order, the Jensen-Shannon
    divergence of the p_j, in which a few function words outweigh the many words that describe a person. Flat
    distributions have no loss either; the KL term keeps them near the reference.

    The members are compared with each other and not with q: q depends on which terms were drawn, and this noise in the
    target left more than half of the group part (docs/methods.md). The weights are those of the reference, so that the
    loss cannot be lowered by moving probability to where members agree.

    By hand, two members, a vocabulary of two, (0.8, 0.2) and (0.4, 0.6) in both models: d = +-(0.3466, -0.5493), q =
    (0.6, 0.4), w = (0.5505, 0.4495), loss (0.5505 * 0.1201 + 0.4495 * 0.3017) / 2 = 0.1009.

    Args:
        logits, reference_logits: [tokens, members, vocabulary], unnormalised; the reference carries no gradient.
    Returns:
        [tokens], each at least 0.
    """
    mixture = torch.logsumexp(F.log_softmax(reference_logits.detach().float(), dim=-1), dim=1)
    weights = torch.softmax(mixture / 2, dim=-1).unsqueeze(1)  # softmax normalises, whatever the number of members
    log_p = F.log_softmax(logits.float(), dim=-1)
    return (weights * (log_p - log_p.mean(1, keepdim=True)).square()).sum(-1).mean(1) / 2


def cross_entropy_to_reference(logits: Tensor, reference_logits: Tensor) -> Tensor:
    """The "KL" of the released code: -sum p_ref log p_theta, [tokens]. Its gradient is that of the KL."""
    log_p = F.log_softmax(logits.float(), dim=-1)
    return -(reference_logits.detach().float().softmax(-1) * log_p).sum(-1)
