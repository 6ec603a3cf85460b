"""The objectives of the gradient methods: from the log-probabilities of a step's sentences to one loss per sentence.

The training loop is the same for all of them (unlearn/trainer.py), and so is the total loss,

    L = w_forget mean(forget losses) + w_retain mean(retain losses) + w_kl L_KL,

of which a method uses the terms to which its defaults give a weight (method_defaults.py). The loss of a pair counts as
a forget loss. What was published about each method, and how it is used here, is in docs/methods.md.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from biasunlearn.config import DebiasConfig
from biasunlearn.unlearn.layer_states import control_direction
from biasunlearn.unlearn.losses import (
    ascent_loss,
    biasedit_loss,
    dpo_loss,
    equal_loss,
    ipo_loss,
    kto_losses,
    npo_loss,
    npo_loss_batch_mean,
    odds_ratio_loss,
    retention_loss,
    simnpo_loss,
)
from biasunlearn.unlearn.roles import RoleLogProbs
from biasunlearn.unlearn.token_losses import (
    ceu_loss,
    logit_margin_loss,
    satimp_loss,
    squared_distance,
    undial_loss,
    wga_loss,
)

Losses = tuple[Tensor, Tensor]
"""[sentences] of the forget set and of the retain set."""

Objective = Callable[[RoleLogProbs, RoleLogProbs, DebiasConfig], Losses]
"""From the forget and the retain sentences of a step; in a paired objective the i-th sentences of both are a pair."""


def unlearn(forget: RoleLogProbs, retain: RoleLogProbs, config: DebiasConfig) -> Losses:
    """NPO on the forget sentences, cross-entropy on the retain sentences: BiasUnlearn and, with other weights, NPO.

    The penalty of biasunlearn_orthogonal is no role loss: it is added to the total (bias_directions.py).
    """
    assert forget.reference is not None
    if config.npo_ratio == "batch_mean":
        npo = npo_loss_batch_mean(forget.values, forget.reference, forget.tokens, config.beta)
    else:
        npo = npo_loss(forget.values, forget.reference, config.beta)
    return npo, _retention(retain, config)


def simnpo(forget: RoleLogProbs, retain: RoleLogProbs, config: DebiasConfig) -> Losses:
    return simnpo_loss(forget.means, config.beta), _retention(retain, config)


def difference(forget: RoleLogProbs, retain: RoleLogProbs, config: DebiasConfig) -> Losses:
    """Gradient ascent on the forget sentences; with a weight on the retain sentences, gradient difference."""
    return ascent_loss(forget.values), _retention(retain, config)


def dpo(forget: RoleLogProbs, retain: RoleLogProbs, config: DebiasConfig) -> Losses:
    """The retain sentence of each pair is preferred to the forget sentence."""
    return dpo_loss(retain.ratios - forget.ratios, config.beta), _none(retain)


def ipo(forget: RoleLogProbs, retain: RoleLogProbs, config: DebiasConfig) -> Losses:
    """Ratios of token means, as the authors confirmed to TRL: sums would make the target depend on the length."""
    return ipo_loss(retain.ratios / retain.tokens - forget.ratios / forget.tokens, config.beta), _none(retain)


def kto(forget: RoleLogProbs, retain: RoleLogProbs, config: DebiasConfig) -> Losses:
    """forget_weight and retain_weight are KTO's lambda_U and lambda_D."""
    return kto_losses(forget.ratios, retain.ratios, config.beta)


def orpo(forget: RoleLogProbs, retain: RoleLogProbs, config: DebiasConfig) -> Losses:
    """Cross-entropy (token mean, as in ORPO) on the preferred sentence; forget_weight is ORPO's lambda."""
    return odds_ratio_loss(retain.means, forget.means), -retain.means


def equalize(forget: RoleLogProbs, retain: RoleLogProbs, config: DebiasConfig) -> Losses:
    """Developed in this project: neither sentence of a pair is preferred. beta is the delta of the Huber loss.

    Trained pairs reach a margin of 0 before unseen pairs do. The target margin is therefore shifted by the swap weight,
    that is by the distance from 50 on the stop split, in favor of the retain sentence. The retention term keeps the
    retain sentence likely; without it both sentences would become unlikely.
    """
    weights = 1.0 if forget.swap_weights is None else forget.swap_weights
    margin = forget.means - retain.means
    return equal_loss(margin + config.set_point * weights, config.beta), _retention(retain, config)


def biasedit(forget: RoleLogProbs, retain: RoleLogProbs, config: DebiasConfig) -> Losses:
    """The probabilities of both sentences of a pair are made equal; its retention loss is the KL term."""
    return biasedit_loss(forget.means - retain.means), _none(retain)


def imitate(forget: RoleLogProbs, retain: RoleLogProbs, config: DebiasConfig) -> Losses:
    """Cross-entropy on both roles; the weights and the sets determine which of them is trained on."""
    return retention_loss(forget.values), _retention(retain, config)


def wga(forget: RoleLogProbs, retain: RoleLogProbs, config: DebiasConfig) -> Losses:
    """The sum over the tokens of a sentence, as in the paper. beta is its alpha."""
    assert forget.read is not None
    return forget.read.sums(wga_loss(forget.read.token_log_probs, config.beta)), _retention(retain, config)


def satimp(forget: RoleLogProbs, retain: RoleLogProbs, config: DebiasConfig) -> Losses:
    """The sum over the tokens of a sentence, as in the paper. beta is its beta1; its beta2 is `SATIMP_IMPORTANCE`."""
    assert forget.read is not None
    found = satimp_loss(forget.read.token_log_probs, config.beta, SATIMP_IMPORTANCE)
    return forget.read.sums(found), _retention(retain, config)


def undial(forget: RoleLogProbs, retain: RoleLogProbs, config: DebiasConfig) -> Losses:
    """The mean over the tokens of a sentence. beta is gamma, by how much the logit is lowered."""
    assert forget.read is not None
    found = forget.read.token_losses(
        lambda logits, before, targets: undial_loss(logits, before, targets, config.beta), forget.reference_states
    )
    return forget.read.sums(found) / forget.tokens, _retention(retain, config)


def ceu(forget: RoleLogProbs, retain: RoleLogProbs, config: DebiasConfig) -> Losses:
    """The mean over the tokens of a sentence."""
    assert forget.read is not None
    found = forget.read.token_losses(lambda logits, _, targets: ceu_loss(logits, targets))
    return forget.read.sums(found) / forget.tokens, _retention(retain, config)


def pdu(forget: RoleLogProbs, retain: RoleLogProbs, config: DebiasConfig) -> Losses:
    """Flat logits on the forget sentences under the constraint L_retain <= (1 + PDU_TOLERANCE) L_retain of the base.

    The retain losses are what L_retain (token means) exceeds its bound by; the dual variable that multiplies them is
    updated after every step (trainer.py), with beta as its step size and retain_weight as its first value.
    """
    assert forget.read is not None and retain.reference is not None
    found = forget.read.token_losses(lambda logits, _, __: logit_margin_loss(logits))
    bound = -(1 + PDU_TOLERANCE) * retain.reference.detach() / retain.tokens
    return forget.read.sums(found) / forget.tokens, -retain.means - bound


def rmu(forget: RoleLogProbs, retain: RoleLogProbs, config: DebiasConfig) -> Losses:
    """States of the forget sentences go to c u, those of the retain sentences stay.

    The coefficient c is beta times the mean norm of the reference's states, as in adaptive RMU (arXiv 2408.06223):
    a fixed number would be another one for every model.
    """
    assert forget.layer is not None and retain.layer is not None
    before = forget.layer.reference.float()
    size = config.beta * before.norm(dim=-1).mean() if len(before) else before.sum()
    target = size * control_direction(before.shape[-1], config.seed).to(before.device)
    away = forget.layer.means(squared_distance(forget.layer.states, target))
    return away, retain.layer.means(squared_distance(retain.layer.states, retain.layer.reference))


def _retention(retain: RoleLogProbs, config: DebiasConfig) -> Tensor:
    loss = retention_loss(retain.values)
    return loss / retain.tokens if config.retain_mean == "token" else loss


def _none(role: RoleLogProbs) -> Tensor:
    return torch.zeros_like(role.values)


OBJECTIVES: dict[str, Objective] = {
    "biasunlearn": unlearn,
    "biasunlearn_orthogonal": unlearn,
    "npo": unlearn,
    "simnpo": simnpo,
    "gradient_ascent": difference,
    "gradient_difference": difference,
    "wga": wga,
    "satimp": satimp,
    "undial": undial,
    "ceu": ceu,
    "pdu": pdu,
    "rmu": rmu,
    "dpo": dpo,
    "ipo": ipo,
    "kto": kto,
    "orpo": orpo,
    "equalize": equalize,
    "biasedit": biasedit,
    "invariance": imitate,
    "sft": imitate,
    "cda": imitate,
    "dropout": imitate,
    "task_vector": imitate,
}
"""Method -> its objective."""

PAIRED = ("dpo", "ipo", "orpo", "equalize", "biasedit")
"""Objectives of pairs: the i-th forget and the i-th retain sentence of a step must belong together."""

WITHOUT_PAIRS = ("cda", "dropout", "invariance", "task_vector")
"""Methods that do not train on the pairs of each bias type, but on sets that `debias` makes of other sentences."""

SHIFTED = ("equalize",)
"""Objectives whose target the swap weight shifts; the forget losses of all others are multiplied by it."""

BOTH_REFERENCES = ("dpo", "ipo", "kto", "pdu")
"""Objectives that compare the retain sentences with the reference as well."""

REFERENCE_LOGITS = ("undial",)
"""Objectives that need the whole distributions of the reference at the forget sentences; they need an adapter."""

HIDDEN_STATES = ("rmu",)
"""Objectives of the hidden states of one layer (layer_states.py); they need an adapter."""

CONSTRAINED = ("pdu",)
"""Objectives whose retain losses have a dual variable as their weight, which changes after every step."""

SATIMP_IMPORTANCE = 1.0
"""beta2 of SatImp, as in the paper."""

PDU_TOLERANCE = 0.1
"""By which share the retain loss of PDU may exceed that of the base model."""
