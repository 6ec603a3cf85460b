"""The three losses of BiasUnlearn (arXiv 2509.25673) as pure functions of log-probabilities.

None of them knows a model. Each returns one value per sentence; the caller weighs and averages.
`log_prob` of a sentence is log p(y | x): the sum over the tokens of its supervised part, in nats.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def npo_loss(log_prob: Tensor, reference: Tensor, beta: float) -> Tensor:
    """Negative preference optimisation, L_forget, per sentence.

    -(2 / beta) log sigmoid(-beta r) with r = log p_theta(y|x) - log p_ref(y|x). At theta = ref this is
    (2 / beta) log 2 with gradient +1 on log_prob (gradient ascent); as r falls the gradient fades to 0.

    By hand, beta = 0.1: r = 0 -> 20 log 2 = 13.8629; r = -10 -> 20 log(1 + e^-1) = 6.2652.

    Args:
        log_prob: [sentences] under the model that learns.
        reference: [sentences] under the reference; carries no gradient.
    Returns:
        [sentences]
    """
    ratio = log_prob - reference.detach()
    return -(2 / beta) * F.logsigmoid(-beta * ratio)


def npo_loss_batch_mean(log_prob: Tensor, reference: Tensor, tokens: Tensor, beta: float) -> Tensor:
    """The released code's form: one ratio per batch, of token means averaged over the sentences.

    A deviation from the equation, kept as an option (`npo_ratio: batch_mean`). Returns [1].
    """
    ratio = (log_prob / tokens).mean() - (reference.detach() / tokens).mean()
    return -(2 / beta) * F.logsigmoid(-beta * ratio).reshape(1)


def retention_loss(log_prob: Tensor) -> Tensor:
    """L_retention per sentence: the cross-entropy of y given x, -log p(y | x). Returns [sentences]."""
    return -log_prob


def kl_loss(logits: Tensor, reference_logits: Tensor) -> Tensor:
    """L_KL per real token: KL(p_ref || p_theta) over the vocabulary. There is no padding to average over.

    Args:
        logits, reference_logits: [tokens, vocabulary], unnormalised; the reference carries no gradient.
    Returns:
        [tokens], each >= 0 and 0 where the two agree.
    """
    log_p = F.log_softmax(logits.float(), dim=-1)
    log_ref = F.log_softmax(reference_logits.detach().float(), dim=-1)
    return F.kl_div(log_p, log_ref, reduction="none", log_target=True).sum(-1)


def cross_entropy_to_reference(logits: Tensor, reference_logits: Tensor) -> Tensor:
    """The released code's "KL": -sum p_ref log p_theta per token. Its gradient is that of the KL. [tokens]"""
    log_p = F.log_softmax(logits.float(), dim=-1)
    return -(reference_logits.detach().float().softmax(-1) * log_p).sum(-1)


def token_log_probs(logits: Tensor, targets: Tensor) -> Tensor:
    """log p(target) at each position, in float32. logits [tokens, vocabulary], targets [tokens] -> [tokens]."""
    return -F.cross_entropy(logits.float(), targets, reduction="none")


def sum_by_row(values: Tensor, owners: Tensor, rows: int) -> Tensor:
    """Adds per-token values up by the row that owns them. values, owners [tokens] -> [rows]."""
    return torch.zeros(rows, dtype=values.dtype, device=values.device).index_add(0, owners, values)


def npo_at_reference(beta: float) -> float:
    """The value of L_forget where training starts: (2 / beta) log 2."""
    return 2 / beta * math.log(2)
