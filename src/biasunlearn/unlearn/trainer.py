"""The training loop of BiasUnlearn (arXiv 2509.25673) and of all methods with a gradient.

A step draws a batch, computes the three losses and updates the adapter. Every `evaluate_every` steps the stop split is
evaluated, and unlearn/decision.py determines how training goes on.
"""

import contextlib
import dataclasses
import functools
import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from biasunlearn.config import DebiasConfig
from biasunlearn.data.records import Passage
from biasunlearn.errors import RequestError
from biasunlearn.models.adapters import adapter_dropout, base_dropout, trainable
from biasunlearn.models.batches import TokenRow
from biasunlearn.models.distributed import average_gradients, count, is_split, mean, summed
from biasunlearn.models.forward import unwrapped
from biasunlearn.models.libraries import accelerate, on_cpu
from biasunlearn.models.logprobs import sum_by_row
from biasunlearn.models.packed_forward import Read, RowCache
from biasunlearn.unlearn.bias_directions import DirectionPenalty, direction_penalty
from biasunlearn.unlearn.checkpoint import Checkpointer, TrainingState
from biasunlearn.unlearn.contexts import aligned
from biasunlearn.unlearn.decision import decide, first_decision
from biasunlearn.unlearn.evaluation import Evaluation, StopScores, lms_fall_error
from biasunlearn.unlearn.interruption import interruptible
from biasunlearn.unlearn.layer_states import layer_states
from biasunlearn.unlearn.learning_rate import with_rate
from biasunlearn.unlearn.losses import cross_entropy_to_reference, invariance_loss, kl_loss
from biasunlearn.unlearn.objectives import (
    BOTH_REFERENCES,
    CONSTRAINED,
    HIDDEN_STATES,
    OBJECTIVES,
    PAIRED,
    REFERENCE_LOGITS,
    SHIFTED,
    WITHOUT_PAIRS,
)
from biasunlearn.unlearn.reference import (
    Reference,
    forget_states,
    live_reference,
    precomputed_reference,
    stored_reference,
)
from biasunlearn.unlearn.roles import log_probs_by_role
from biasunlearn.unlearn.sampler import BatchSampler, StepBatch
from biasunlearn.unlearn.sequential import SequentialEvaluator
from biasunlearn.unlearn.sets import TrainingSets
from biasunlearn.unlearn.small_data import fitted, pair_count
from biasunlearn.unlearn.stop import distance, is_best
from biasunlearn.unlearn.swap import noise
from biasunlearn.unlearn.token_losses import dual_step
from biasunlearn.unlearn.weight_average import WeightAverage


@dataclass(frozen=True, slots=True)
class LossTerms:
    """The losses of a step; in the role losses each sentence has the swap weight of its bias type.

    With several processes each has its part of every mean; the parts add up to the mean.
    """

    forget: Tensor
    retain: Tensor
    kl: Tensor
    invariance: Tensor | None
    """None in a step without counterfactual contexts."""
    raw_forget: Tensor
    raw_retain: Tensor
    log_ratio: Tensor
    """Mean of r = log p_theta - log p_ref over the forget sentences, in nats."""
    tokens: Tensor
    """Tokens that the model read (`Read.tokens_read`); what the reference read is not counted."""
    orthogonal: Tensor | None = None
    """The penalty of bias_directions.py; None where it has no weight."""

    def total(self, config: DebiasConfig) -> Tensor:
        """L = w_f L_forget + w_r L_retention + w_kl L_KL + w_i L_invariance + w_o L_orthogonal.

        The paper has the first three.
        """
        total = config.forget_weight * self.forget + config.retain_weight * self.retain + config.kl_weight * self.kl
        if self.invariance is not None:
            total = total + config.invariance_weight * self.invariance
        return total if self.orthogonal is None else total + config.orthogonal_weight * self.orthogonal

    def log(self) -> dict[str, float]:
        """What metrics.jsonl stores: the losses without any weight, as in the equations, and the tokens read."""
        parts = {
            "loss_forget": self.raw_forget, "loss_retain": self.raw_retain, "loss_kl": self.kl,
            "log_ratio": self.log_ratio, "loss_invariance": self.invariance, "loss_orthogonal": self.orthogonal,
            "tokens": self.tokens,
        }  # fmt: skip
        return {name: float(summed(part)) for name, part in parts.items() if part is not None}

    def scaled(self, forget: float, retain: float, unrelated: float, context: float) -> "LossTerms":
        """These terms as parts of the means of a larger batch, of which each role has this share here."""
        return replace(
            self, forget=self.forget * forget, raw_forget=self.raw_forget * forget, log_ratio=self.log_ratio * forget,
            retain=self.retain * retain, raw_retain=self.raw_retain * retain, kl=self.kl * unrelated,
            invariance=None if self.invariance is None else self.invariance * context,
        )  # fmt: skip


def loss_terms(
    model: Any, cache: RowCache, batch: StepBatch, config: DebiasConfig, reference: Reference | None = None
) -> LossTerms:
    """The role losses of the method's objective (default: L_forget and L_retention) and L_KL of a batch.

    The loss of a sentence is multiplied by the swap weight of its bias type.
    """
    both = config.method in BOTH_REFERENCES
    ref = (reference or live_reference(model, cache, retain=both))(batch)
    log_probs = log_probs_by_role(
        model,
        cache,
        forget=batch.forget,
        retain=batch.retain,
        unrelated=batch.unrelated,
        contexts=batch.context_members,
    )
    device = log_probs.unrelated.device
    weights, retain_weights = (torch.tensor(w, device=device) for w in (batch.forget_weights, batch.retain_weights))
    forget, retain = log_probs.forget, log_probs.retain
    if config.method in REFERENCE_LOGITS:
        forget = replace(forget, reference_states=forget_states(unwrapped(model), cache, batch))
    if config.method in HIDDEN_STATES:
        forget = replace(forget, layer=layer_states(model, cache, batch.forget))
        retain = replace(retain, layer=layer_states(model, cache, batch.retain))
    forget_losses, retain_losses = OBJECTIVES[config.method](
        replace(forget, reference=ref.forget, swap_weights=weights), replace(retain, reference=ref.retain), config
    )
    if config.method in SHIFTED:
        weights = torch.ones_like(weights)
    if config.npo_ratio == "batch_mean" and len(forget_losses) == 1:
        weights = weights.mean()
    kl = kl_losses(log_probs.unrelated, ref.unrelated, config)
    invariance = invariance_losses(log_probs.contexts, ref.contexts, batch.contexts, cache)
    return LossTerms(
        forget=mean(forget_losses * weights),
        retain=mean(retain_losses * retain_weights),
        kl=mean(kl),
        invariance=mean(invariance) if batch.contexts else None,
        raw_forget=mean(forget_losses),
        raw_retain=mean(retain_losses),
        log_ratio=mean((log_probs.forget.values - ref.forget).detach()),
        tokens=torch.tensor(float(log_probs.tokens_read), device=device),
    )


def kl_losses(unrelated: Read, reference: Tensor, config: DebiasConfig) -> Tensor:
    """L_KL per token; or, as in the released code, the cross-entropy per sentence over mostly padded positions."""
    if not unrelated.rows:
        return torch.zeros(0, device=unrelated.device)
    if config.kl == "real_tokens":
        return unrelated.compared(reference, kl_loss)
    per_token = unrelated.compared(reference, cross_entropy_to_reference)
    return sum_by_row(per_token, unrelated.owners, unrelated.rows) / config.padded_to


def invariance_losses(
    members: Read, reference: Tensor, contexts: Sequence[Sequence[Passage | TokenRow]], cache: RowCache
) -> Tensor:
    """L_invariance of each context, [contexts]: the mean over the tokens that all its members have in common.

    Args:
        members: all members of all contexts, in order.
        reference: the states of the reference at the same tokens.
    """
    losses, begin = [], 0
    for context in contexts:
        rows = cache.rows(context)
        starts = list(itertools.accumulate((row.scored for row in rows), initial=begin))
        begin = starts.pop()
        if common := aligned(tuple(rows)):
            where = torch.tensor(common, device=members.device) + torch.tensor(starts, device=members.device)
            now, before = (members.output.logits(states[where]) for states in (members.states, reference))
            losses.append(invariance_loss(now, before).mean())
    return torch.stack(losses) if losses else torch.zeros(0, device=members.device)


@dataclass(frozen=True, slots=True)
class TrainingOutcome:
    """How training ended. The model has the weights of the best checkpoint."""

    step: int
    reason: str
    best_step: int
    collapsed: bool
    interrupted: bool = False


Evaluate = Callable[[], StopScores] | SequentialEvaluator
"""Scores the stop split with the model as it is: the whole of it, or as much as the decision needs."""


@dataclass(slots=True)
class _Training:
    """Everything that a step reads or changes."""

    model: Any
    learner: Any  # the model, wrapped by accelerate if there are several processes
    split: bool  # whether the weights of the base are split over the processes
    cache: RowCache
    config: DebiasConfig
    parameters: list[torch.nn.Parameter]
    optimizer: Any
    accelerator: Any
    average: WeightAverage
    sampler: BatchSampler
    reference: Reference
    state: TrainingState
    penalty: DirectionPenalty | None = None

    @property
    def finished(self) -> bool:
        return self.state.decision.stop or self.state.step >= self.config.max_steps

    def step(self) -> dict[str, Any]:
        """One optimizer step. Returns its row of metrics.jsonl."""
        state, config = self.state, self.config
        state.step += 1
        for group in self.optimizer.param_groups:
            group["lr"] = rate_at(state.step, config)
        batch = self.sampler.next(state.decision.swap_weights).share()
        with step_dropout(self.model, state, config):
            terms = loss_terms(self.learner, self.cache, batch, config, self.reference)
            if self.penalty is not None:
                terms = replace(terms, orthogonal=mean(self.penalty(self.learner, batch)))
        loss = terms.total(step_weights(state, config))
        self.accelerator.backward(loss * count())  # gradients are averaged, our parts of a mean add up
        if self.split:
            average_gradients(self.parameters)
        self.accelerator.clip_grad_norm_(self.parameters, config.max_grad_norm)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.average.update(self.model)
        row = add_row(state, terms.log(), self.optimizer.param_groups[0]["lr"])
        update_dual(state, row["loss_retain"], config)
        return row

    def save(self, checkpointer: Checkpointer) -> None:
        checkpointer.save(self.state, self.model, self.optimizer, self.average, self.sampler)


def train(
    model: Any,
    tokenizer: Any,
    sets: TrainingSets,
    evaluate: Evaluate | None,
    config: DebiasConfig,
    checkpointer: Checkpointer,
    *,
    base_scores: StopScores | None = None,
    on_step: Callable[[dict[str, Any]], None] | None = None,
) -> TrainingOutcome:
    """Trains until the stop rule is met, a collapse, Ctrl-C or `max_steps` (fewer on small data, small_data.py).

    Args:
        evaluate: None for a method whose goal is not an SS of 50 (task_vector): the last weights are the result.
        checkpointer: where checkpoints are; with the state to resume from, if there is one.
        base_scores: what `evaluate` gives before the first step, where it is known; required without `evaluate`.
        on_step: called with every row of metrics.jsonl, and with `of`, the number of steps.
    Raises:
        RequestError: settings that exclude each other; a checkpoint that cannot be resumed.
    """
    config = fitted(with_rate(config, model), sets)
    training = _start(model, tokenizer, sets, evaluate, config, checkpointer, base_scores)
    state, schedule = training.state, evaluation_schedule(sets, config)
    with interruptible() as interrupted:
        while not training.finished and not interrupted():
            row = training.step()
            if schedule.due(state.step):
                _evaluate(training, row, evaluate, checkpointer)
            if on_step:
                on_step({**row, "of": config.max_steps})
        stopped_by_hand = interrupted() and not training.finished
        if stopped_by_hand or state.step == 0:
            training.save(checkpointer)
    if not stopped_by_hand:
        checkpointer.restore_best(model)
    reason = state.decision.reason or ("interrupted" if stopped_by_hand else f"reached {config.max_steps} steps")
    return TrainingOutcome(state.step, reason, state.best_step, state.decision.collapsed, stopped_by_hand)


def _start(
    model: Any,
    tokenizer: Any,
    sets: TrainingSets,
    evaluate: Evaluate | None,
    config: DebiasConfig,
    checkpointer: Checkpointer,
    base_scores: StopScores | None,
) -> _Training:
    """Everything before the next step: new, or restored from the checkpoint."""
    accelerator = accelerate().Accelerator(cpu=on_cpu(), device_placement=False)  # the model is on its device
    check_settings(config, sets)
    parameters = list(trainable(model).values())
    optimizer = torch.optim.AdamW(parameters, lr=config.learning_rate, weight_decay=config.weight_decay)
    average, sampler = WeightAverage(model, config.average), BatchSampler(sets, config)
    cache, both = RowCache(tokenizer, model, config.masked_tokens), config.method in BOTH_REFERENCES
    if config.lora_rank:
        reference = stored_reference(model, cache, checkpointer.references, retain=both)
    else:
        reference = precomputed_reference(model, cache, sets, retain=both)
    state = checkpointer.restore(model, optimizer, average, sampler)
    if state is None:
        if base_scores is None:
            assert evaluate is not None, "without evaluations the caller gives the scores of the base model"
            base_scores = evaluate.base_scores() if isinstance(evaluate, SequentialEvaluator) else evaluate()
        state = first_state(base_scores, config, invariance=bool(sets.contexts))
    if state.step == 0:
        checkpointer.mark_best(model)
    split = is_split(model)  # then the adapter is the same in every process, and there is nothing to wrap
    learner, optimizer = (model, optimizer) if split else accelerator.prepare(model, optimizer)
    return _Training(
        model=model, learner=learner, split=split, cache=cache, config=config, parameters=parameters,
        optimizer=optimizer, accelerator=accelerator, average=average, sampler=sampler, reference=reference,
        state=state, penalty=direction_penalty(model, cache, sets, config),
    )  # fmt: skip


def check_settings(config: DebiasConfig, sets: TrainingSets) -> None:
    """RequestError for settings that exclude each other."""
    if config.npo_ratio == "batch_mean" and count() > 1:
        raise RequestError("npo_ratio: batch_mean is one ratio of a whole batch; run it in one process")
    if config.invariance_weight and sets.contexts and not config.lora_rank:
        raise RequestError(
            "lora_rank: 0: the invariance loss needs an adapter, which can be switched off; set lora_rank above 0, or "
            "invariance_weight to 0"
        )
    if config.method in (*REFERENCE_LOGITS, *HIDDEN_STATES) and not config.lora_rank:
        raise RequestError(
            f"lora_rank: 0: method: {config.method} reads the base model by switching the adapter off; set lora_rank "
            "above 0"
        )
    if config.orthogonal_weight and (not config.lora_rank or config.swap_by == "subgroup"):
        raise RequestError(
            "orthogonal_weight: needs an adapter, which can be switched off, and whole bias types; set lora_rank above "
            "0 and swap_by to bias_type"
        )
    if config.orthogonal_weight and config.method in WITHOUT_PAIRS:
        raise RequestError(f"orthogonal_weight: method: {config.method} is not trained on pairs; set it to 0")
    if config.method in PAIRED and config.batch_pairs != "matched":
        raise RequestError(f"method: {config.method} compares the sentences of a pair; --set batch_pairs=matched")


def first_state(scores: StopScores, config: DebiasConfig, *, invariance: bool = False) -> TrainingState:
    """The state before the first step. The base model is the best so far: training must come nearer to the goal.

    Where no bias type can be told from 50, it must not come farther from 50 than the noise of the stop split.

    Args:
        invariance: whether there are sentences for the invariance loss.
    """
    evaluation = Evaluation(0, scores, lms_before=scores.lms)
    decision, gap = first_decision(evaluation, config, invariance=invariance), distance(evaluation, config)
    if not any(decision.swap_weights.values()):
        gap = max(gap, *(noise(score, config) for score in scores.controlled.values()))
    row = {"step": 0, **scores.to_dict()}
    return TrainingState(0, decision, [row], scores.lms, scores.meaningful, best_distance=gap)


def step_dropout(model: Any, state: TrainingState, config: DebiasConfig) -> contextlib.AbstractContextManager[None]:
    """The dropout of a step. In the released code evaluation switches it off and nothing switches it on again."""
    if config.method == "dropout":
        return base_dropout(model)
    disabled = state.evaluated and config.dropout_after_evaluation == "disabled"
    return adapter_dropout(model) if config.lora_dropout > 0 and not disabled else contextlib.nullcontext()


def step_weights(state: TrainingState, config: DebiasConfig) -> DebiasConfig:
    """The weights of the losses of the next step: those of the recipe, or with a dual variable for L_retain."""
    return config if state.dual is None else replace(config, retain_weight=state.dual)


def update_dual(state: TrainingState, excess: float, config: DebiasConfig) -> None:
    """Updates the dual variable of a method with a constraint, from the retain loss of a step. It begins as weight."""
    if config.method in CONSTRAINED:
        dual = config.retain_weight if state.dual is None else state.dual
        state.dual = dual_step(dual, excess, config.beta)


def add_row(state: TrainingState, losses: dict[str, float], rate: float) -> dict[str, Any]:
    """Adds the losses of a step to the state, for the next evaluation and for metrics.jsonl. Returns the row."""
    state.finite = state.finite and all(math.isfinite(value) for value in losses.values())
    state.log_ratios.append(losses["log_ratio"])
    state.rows.append({"step": state.step, **losses, "lr": rate})
    return state.rows[-1]


@dataclass(frozen=True, slots=True)
class EvaluationSchedule:
    """The steps after which the stop split is evaluated and a checkpoint saved."""

    first: int
    every: int
    last: int

    def due(self, step: int) -> bool:
        return step >= self.first and (step - self.first) % self.every == 0 or step == self.last


def evaluation_schedule(sets: TrainingSets, config: DebiasConfig) -> EvaluationSchedule:
    """As configured, but at least once an epoch, or ten times if an epoch is shorter than a tenth of the steps."""
    epoch = max(1, math.ceil(pair_count(sets) / config.forget_batch), config.max_steps // 10)
    return EvaluationSchedule(min(config.first_evaluation, epoch), min(config.evaluate_every, epoch), config.max_steps)


def _evaluate(training: _Training, row: dict[str, Any], evaluate: Evaluate | None, checkpointer: Checkpointer) -> None:
    """Evaluates the averaged weights, decides, marks the best weights and saves. Without evaluations the last are."""
    model, state, config = training.model, training.state, training.config
    if evaluate is None:
        state.best_step = state.step
        checkpointer.mark_best(model)
    else:
        with training.average.applied(model):
            decide_step(state, row, scores_now(evaluate, state, config), config)
            if state.best_step == state.step:
                checkpointer.mark_best(model)
    if state.decision.swapped and config.optimizer_at_swap == "rebuilt":
        training.optimizer.state.clear()
    training.save(checkpointer)


def scores_now(evaluate: Evaluate, state: TrainingState, config: DebiasConfig) -> StopScores:
    """The scores of the model as it is. A sequential evaluation also notes the answers in the state."""
    if not isinstance(evaluate, SequentialEvaluator):
        return evaluate()
    make = functools.partial(evaluation_of, state)
    scores, state.answers = evaluate.evaluate(state.step, state.decision, state.answers, make, config)
    return scores


def evaluation_of(state: TrainingState, scores: StopScores) -> Evaluation:
    """The scores with what the rules compare them with, at the present step."""
    log_ratio = sum(state.log_ratios) / max(1, len(state.log_ratios))
    return Evaluation(
        state.step, scores, state.lms_before, log_ratio=log_ratio, finite=state.finite,
        fall_error=lms_fall_error(state.meaningful_before, scores.meaningful),
    )  # fmt: skip


def decide_step(state: TrainingState, row: dict[str, Any], scores: StopScores, config: DebiasConfig) -> None:
    """Decides from an evaluation, adds the decision to the row of the step, and notes whether the step is the best."""
    evaluation = evaluation_of(state, scores)
    state.decision = decide(state.decision, evaluation, config)
    state.log_ratios, state.finite, state.evaluated = [], True, True
    gap = distance(evaluation, config)
    if not state.decision.collapsed:
        if is_best(gap, state.best_distance, config, trained=state.best_step > 0):
            state.best_step = state.step
        state.best_distance = min(gap, state.best_distance)
    row |= {**scores.to_dict(), "decision": dataclasses.asdict(state.decision)}


def rate_at(step: int, config: DebiasConfig) -> float:
    """Learning rate of a step, from 1: linear warm-up, then constant, or cosine decay to 2 % of the peak."""
    warm, decay = _warm_and_decay(step, config)
    return config.learning_rate * warm * decay


def share_of_peak(step: int, config: DebiasConfig) -> float:
    """Learning rate of a step as a share of its peak."""
    warm, decay = _warm_and_decay(step, config)
    return warm * decay


def _warm_and_decay(step: int, config: DebiasConfig) -> tuple[float, float]:
    warm = min(1.0, step / max(1, config.warmup))
    if config.schedule == "constant":
        return warm, 1.0
    done = min(1.0, max(0, step - config.warmup) / max(1, config.max_steps - config.warmup))
    return warm, 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * done))
