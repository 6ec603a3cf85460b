"""What the gradient methods minimise: from the log-probabilities of a step's sentences to one loss per sentence.

The loop is the same for all of them (unlearn/trainer.py); so is the total,

    L = w_forget mean(forget losses) + w_retain mean(retain losses) + w_kl L_KL,

of which a method uses the parts that its settings give a weight (method_defaults.py). A loss of a pair stands with the
forget losses. What is published of a method and how it is used here stands in docs/methods.md.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from biasunlearn.config import DebiasConfig
from biasunlearn.unlearn.losses import (
    ascent_loss,
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


@dataclass(frozen=True, slots=True)
class Side:
    """log p(y | x) of the sentences of one role, now and under the reference: all [sentences]."""

    log_probs: Tensor
    tokens: Tensor
    reference: Tensor | None = None
    """None where the objective does not ask for it."""
    push: Tensor | None = None
    """Of the forget sentences: the weight of each in the batch, 0 to 1: how far its type is to be pushed."""

    @property
    def means(self) -> Tensor:
        """Of a token, in nats."""
        return self.log_probs / self.tokens

    @property
    def ratios(self) -> Tensor:
        """r = log p_theta - log p_ref; the reference carries no gradient."""
        assert self.reference is not None
        return self.log_probs - self.reference.detach()


Losses = tuple[Tensor, Tensor]
"""Per sentence of the forget and of the retain set."""

Objective = Callable[[Side, Side, DebiasConfig], Losses]
"""From the forget and the retain sentences of a step. In a paired objective the i-th of both are one pair."""


def unlearn(forget: Side, retain: Side, config: DebiasConfig) -> Losses:
    """NPO on what is forgotten, cross-entropy on what is retained: BiasUnlearn, and with other weights plain NPO."""
    assert forget.reference is not None
    if config.npo_ratio == "batch_mean":
        npo = npo_loss_batch_mean(forget.log_probs, forget.reference, forget.tokens, config.beta)
    else:
        npo = npo_loss(forget.log_probs, forget.reference, config.beta)
    return npo, _retention(retain, config)


def simnpo(forget: Side, retain: Side, config: DebiasConfig) -> Losses:
    return simnpo_loss(forget.means, config.beta), _retention(retain, config)


def difference(forget: Side, retain: Side, config: DebiasConfig) -> Losses:
    """Gradient ascent on what is forgotten; with a weight on what is retained, gradient difference."""
    return ascent_loss(forget.log_probs), _retention(retain, config)


def dpo(forget: Side, retain: Side, config: DebiasConfig) -> Losses:
    """The retained sentence of each pair is preferred to the forgotten one."""
    return dpo_loss(retain.ratios - forget.ratios, config.beta), _none(retain)


def ipo(forget: Side, retain: Side, config: DebiasConfig) -> Losses:
    """Ratios of token means, as the authors confirmed to TRL: sums would make the target depend on the length."""
    return ipo_loss(retain.ratios / retain.tokens - forget.ratios / forget.tokens, config.beta), _none(retain)


def kto(forget: Side, retain: Side, config: DebiasConfig) -> Losses:
    """Weights of the two roles are KTO's lambda_U and lambda_D."""
    return kto_losses(forget.ratios, retain.ratios, config.beta)


def orpo(forget: Side, retain: Side, config: DebiasConfig) -> Losses:
    """Cross-entropy (token mean, as ORPO has it) on the preferred sentence; forget_weight is ORPO's lambda."""
    return odds_ratio_loss(retain.means, forget.means), -retain.means


def equalize(forget: Side, retain: Side, config: DebiasConfig) -> Losses:
    """Ours: neither sentence of a pair is preferred; beta is where the loss turns from a square into a line.

    Pairs that are trained on come to rest sooner than unseen ones, so the point of rest moves with the push: by what
    the stop split says is missing. The retained sentence is held up, or both would be made unlikely.
    """
    push = 1.0 if forget.push is None else forget.push
    return equal_loss(forget.means - retain.means + config.set_point * push, config.beta), _retention(retain, config)


def imitate(forget: Side, retain: Side, config: DebiasConfig) -> Losses:
    """Cross-entropy on both roles; which of them are trained on is for the weights and the sets to say."""
    return retention_loss(forget.log_probs), _retention(retain, config)


def _retention(retain: Side, config: DebiasConfig) -> Tensor:
    kept = retention_loss(retain.log_probs)
    return kept / retain.tokens if config.retain_mean == "token" else kept


def _none(side: Side) -> Tensor:
    return torch.zeros_like(side.log_probs)


OBJECTIVES: dict[str, Objective] = {
    "biasunlearn": unlearn,
    "npo": unlearn,
    "simnpo": simnpo,
    "gradient_ascent": difference,
    "gradient_difference": difference,
    "dpo": dpo,
    "ipo": ipo,
    "kto": kto,
    "orpo": orpo,
    "equalize": equalize,
    "sft": imitate,
    "cda": imitate,
    "dropout": imitate,
    "task_vector": imitate,
}
"""Method -> what its gradient descends."""

PAIRED = ("dpo", "ipo", "orpo", "equalize")
"""Objectives of pairs: the sentences of a step must be partners."""

MOVED = ("equalize",)
"""Objectives whose forget losses the push moves to another point of rest; those of the others it weighs."""

BOTH_REFERENCES = ("dpo", "ipo", "kto")
"""Objectives that compare the retained sentences with the reference as well."""
