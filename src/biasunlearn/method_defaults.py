"""The settings in which each method of `debias --method` differs from the default recipe, and why.

A value that the user gives, in a file or by `--set`, takes precedence. Sets, splits, evaluations of the stop split, the
number of steps and the rule for the best checkpoint are the same for all methods.
"""

from collections.abc import Mapping
from typing import Any

PUBLISHED: dict[str, Any] = {"swap": "none", "adversarial_share": 0.0, "kl_weight": 0.0, "invariance_weight": 0.0}
"""A baseline as in its paper, without the parts of BiasUnlearn and of the default recipe: swap, adversarial subset, KL
on unrelated sentences, invariance loss."""

WITHOUT_LOSSES = {"invariance_weight": 0.0, "swap_by": "bias_type"}
"""A method that does not train by the losses of a step: no counterfactual contexts are built for it."""

ALONE = {**PUBLISHED, "forget_weight": 1.0, "retain_weight": 0.0}
"""One loss only."""

SETTINGS: Mapping[str, Mapping[str, Any]] = {
    "biasunlearn": {},
    # The weight was not tuned.
    "biasunlearn_orthogonal": {"orthogonal_weight": 10.0},
    # unlearning
    "npo": ALONE,
    # The gradient of SimNPO is multiplied by sigmoid(beta log p-bar): at 6 nats per token, the beta of the paper (2.5
    # on TOFU) leaves 1e-6 of it.
    "simnpo": {**ALONE, "beta": 0.1},
    "gradient_ascent": ALONE,
    "gradient_difference": {**PUBLISHED, "forget_weight": 1.0, "retain_weight": 1.0},
    # Weights and exponents as published.
    "wga": {**PUBLISHED, "forget_weight": 1.0, "retain_weight": 1.0, "beta": 1.0},
    "satimp": {**PUBLISHED, "forget_weight": 1.0, "retain_weight": 0.1, "beta": 5.0},
    "undial": {**ALONE, "beta": 10.0},
    "ceu": ALONE,
    "pdu": {**PUBLISHED, "forget_weight": 1.0, "retain_weight": 50.0, "beta": 1.0},
    "rmu": {**PUBLISHED, "forget_weight": 1.0, "retain_weight": 100.0, "beta": 5.0},
    # preference
    "dpo": ALONE,
    "ipo": {**ALONE, "beta": 0.5},  # target margin per token: 1 / (2 beta) = 1 nat
    "kto": {**PUBLISHED, "forget_weight": 1.0, "retain_weight": 1.0},
    "orpo": {**PUBLISHED, "forget_weight": 0.1, "retain_weight": 1.0},  # lambda = 0.1
    # Swap, retention and KL as in the default recipe.
    "equalize": {"adversarial_share": 0.0, "forget_weight": 1.0, "set_point": 1.0, "invariance_weight": 0.0},
    # Only what depends on the group. The forget and retain examples of a step have no weight.
    "invariance": {
        "swap": "none", "adversarial_share": 0.0, "forget_weight": 0.0, "retain_weight": 0.0, "forget_batch": 1,
        "kl_weight": 1.0, "invariance_weight": 5.0, "context_batch": 8,
    },
    # data
    "sft": {**PUBLISHED, "forget_weight": 0.0, "retain_weight": 1.0},
    "cda": {**PUBLISHED, "forget_weight": 1.0, "retain_weight": 1.0},
    "dropout": {**PUBLISHED, "forget_weight": 1.0, "retain_weight": 1.0},
    # weights
    "task_vector": {**ALONE, "average": 0.0},  # cross-entropy on the stereotypes
    # lambda as in the configuration of the authors.
    "biasedit": {**ALONE, "kl_weight": 4.0},
    "mlp_edit": WITHOUT_LOSSES,
    "bias_neurons": WITHOUT_LOSSES,
    # representation
    "sentence_debias": WITHOUT_LOSSES,
    "inlp": WITHOUT_LOSSES,
    "leace": WITHOUT_LOSSES,
    "steering": WITHOUT_LOSSES,
    "steering_gated": WITHOUT_LOSSES,
    # decoding
    "self_debias": WITHOUT_LOSSES,
    "debiasing_prompt": WITHOUT_LOSSES,
    # Trainers of TRL, with the beta of the methods here; they read whole sentences.
    "trl:dpo": {**ALONE, "supervised_to": "end"},
    "trl:orpo": {**ALONE, "supervised_to": "end"},  # beta is the lambda of the paper
    "trl:kto": {**ALONE, "supervised_to": "end"},
}
"""Method -> its defaults where they differ from the default recipe."""

LARGEST_RATE = 1e-3
"""Peak learning rate of a small model, where `RATES` has no other for the method. It was chosen on a model of 16 M."""

RATES: Mapping[str, float] = {
    # Without a retention loss, LMS is lost before the first evaluation at a rate of 1e-3.
    "npo": 2e-4, "simnpo": 2e-4, "gradient_ascent": 1e-4, "gradient_difference": 5e-4,
    # ceu loses LMS at 2e-4 as well; rmu moves SS at none of the rates (docs/methods_results.md).
    "wga": 5e-4, "undial": 2e-4, "ceu": 1e-4, "pdu": 5e-4, "rmu": 5e-4,
    "dpo": 5e-4, "kto": 5e-4, "cda": 2e-4, "dropout": 2e-4, "task_vector": 2e-4,
    "trl:dpo": 5e-4, "trl:kto": 5e-4,  # as of the methods here
}  # fmt: skip
"""Method -> peak learning rate of a small model, where it is not `LARGEST_RATE`.

Of 2e-4, 5e-4 and 1e-3 the one whose best checkpoint had the smallest distance from the goal on the stop split of a
model of 16 M parameters (60 steps, one seed). For a larger model they fall as that of the default method does
(`unlearn/learning_rate.py`).
"""

SUMMARIES: Mapping[str, str] = {
    "biasunlearn": "NPO on stereotypes, cross-entropy on anti-stereotypes and KL on unrelated text, swap (default)",
    "biasunlearn_orthogonal": "the same with a penalty on changes along the bias directions of other bias types",
    "npo": "negative preference optimization on stereotypes only",
    "simnpo": "NPO without a reference model, on the mean log-probability",
    "gradient_ascent": "raises the loss of the stereotypes",
    "gradient_difference": "raises the loss of the stereotypes and lowers that of the anti-stereotypes",
    "wga": "gradient ascent in which unlikely tokens count little, and cross-entropy on the anti-stereotypes",
    "satimp": "gradient ascent weighted by saturation and importance, and cross-entropy on the anti-stereotypes",
    "undial": "self-distillation to the base model with the logits of the stereotypes lowered",
    "ceu": "cross-entropy to the model's own distribution without the token of the stereotype",
    "pdu": "flat logits on the stereotypes under a constraint on the loss of the anti-stereotypes",
    "rmu": "moves hidden states of the stereotypes to a random direction and keeps those of the anti-stereotypes",
    "dpo": "direct preference optimization: the anti-stereotype is preferred",
    "ipo": "DPO with a target for the margin",
    "kto": "Kahneman-Tversky optimization: each sentence is good or bad on its own",
    "orpo": "cross-entropy on the anti-stereotype with an odds ratio against the stereotype",
    "equalize": "moves the margin of each pair to a target value from either side",
    "invariance": "what is expected behind a target term must not depend on the group",
    "sft": "cross-entropy on the anti-stereotypes",
    "cda": "training on ordinary text and on the same text with its groups exchanged",
    "dropout": "training on ordinary text with higher dropout",
    "task_vector": "subtracts what training on the stereotypes changes",
    "biasedit": "makes both sentences of a pair equally likely by LoRA on the last MLPs (without a hyper-network)",
    "mlp_edit": "edits the output matrix of one MLP in closed form",
    "bias_neurons": "suppresses the MLP neurons that make the gap of the pairs, or doubles those that close it",
    "sentence_debias": "projects out the first principal component of paired differences",
    "inlp": "projects out the directions of successive linear classifiers",
    "leace": "the smallest change after which no linear classifier finds the label (extra erasure)",
    "steering": "adds the mean difference of hidden states, anti-stereotype minus stereotype, to one layer",
    "steering_gated": "the same, only where a linear probe of the hidden state finds the stereotype",
    "self_debias": "makes tokens less likely that a prompt about discrimination makes more likely",
    "debiasing_prompt": "an instruction before every text",
    "trl:dpo": "DPO by the trainer of TRL, as an outside check of dpo (extra trl)",
    "trl:orpo": "ORPO by the trainer of TRL (extra trl)",
    "trl:kto": "KTO by the trainer of TRL (extra trl)",
}
"""Method -> what it does, for `list methods`."""
