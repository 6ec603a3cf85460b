"""BiasUnlearn: the loop. Batch, three losses, step; every N steps look at the stop split and ask unlearn/swap.py."""

import contextlib
import dataclasses
import math
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from biasunlearn.config import DebiasConfig
from biasunlearn.errors import RequestError
from biasunlearn.models.adapters import adapter_dropout, base_dropout, trainable
from biasunlearn.models.distributed import average_gradients, count, is_split, mean, summed
from biasunlearn.models.libraries import accelerate, on_cpu
from biasunlearn.models.logprobs import sum_by_row
from biasunlearn.models.packed_forward import Read
from biasunlearn.unlearn.checkpoint import Average, Keeper, State
from biasunlearn.unlearn.decision import decide, first_decision
from biasunlearn.unlearn.evaluation import Evaluation, StopScores
from biasunlearn.unlearn.losses import cross_entropy_to_reference, kl_loss
from biasunlearn.unlearn.objectives import BOTH_REFERENCES, OBJECTIVES, PAIRED, SHIFTED
from biasunlearn.unlearn.reference import Reference, live_reference, precomputed_reference, stored_reference
from biasunlearn.unlearn.roles import log_probs_by_role
from biasunlearn.unlearn.sampler import Feed, StepBatch
from biasunlearn.unlearn.sets import TrainingSets
from biasunlearn.unlearn.stop import distance, is_best


@dataclass(frozen=True, slots=True)
class LossTerms:
    """The three losses of a step, the role losses weighed by the push of each sentence's bias type.

    With several processes each holds its part of every mean; the parts add up to it.
    """

    forget: Tensor
    retain: Tensor
    kl: Tensor
    raw_forget: Tensor
    raw_retain: Tensor
    log_ratio: Tensor
    """Mean r of the forget sentences, in nats."""

    def total(self, config: DebiasConfig) -> Tensor:
        """L = w_f L_forget + w_r L_retention + w_kl L_KL."""
        return config.forget_weight * self.forget + config.retain_weight * self.retain + config.kl_weight * self.kl

    def log(self) -> dict[str, float]:
        """What metrics.jsonl stores: the losses without any weight, as the equations have them."""
        parts = {
            "loss_forget": self.raw_forget, "loss_retain": self.raw_retain, "loss_kl": self.kl,
            "log_ratio": self.log_ratio,
        }  # fmt: skip
        return {name: float(summed(part)) for name, part in parts.items()}


def loss_terms(
    model: Any, tokenizer: Any, batch: StepBatch, config: DebiasConfig, reference: Reference | None = None
) -> LossTerms:
    """The role losses of the method's objective (default: L_forget and L_retention) and L_KL of a batch.

    The loss of a sentence is multiplied by the swap weight of its bias type.
    """
    both = config.method in BOTH_REFERENCES
    ref = (reference or live_reference(model, tokenizer, retain=both))(batch)
    log_probs = log_probs_by_role(
        model, tokenizer, forget=batch.forget, retain=batch.retain, unrelated=batch.unrelated
    )
    device = log_probs.unrelated.device
    weights, retain_weights = (torch.tensor(w, device=device) for w in (batch.forget_weights, batch.retain_weights))
    forget_losses, retain_losses = OBJECTIVES[config.method](
        replace(log_probs.forget, reference=ref.forget, swap_weights=weights),
        replace(log_probs.retain, reference=ref.retain),
        config,
    )
    if config.method in SHIFTED:
        weights = torch.ones_like(weights)
    if config.npo_ratio == "batch_mean" and len(forget_losses) == 1:
        weights = weights.mean()
    kl = kl_losses(log_probs.unrelated, ref.unrelated, config)
    return LossTerms(
        forget=mean(forget_losses * weights),
        retain=mean(retain_losses * retain_weights),
        kl=mean(kl),
        raw_forget=mean(forget_losses),
        raw_retain=mean(retain_losses),
        log_ratio=mean((log_probs.forget.values - ref.forget).detach()),
    )


def kl_losses(unrelated: Read, reference: Tensor, config: DebiasConfig) -> Tensor:
    """L_KL per token; or, as in the released code, the cross-entropy per sentence over mostly padded positions."""
    if not unrelated.rows:
        return torch.zeros(0, device=unrelated.device)
    if config.kl == "real_tokens":
        return unrelated.compared(reference, kl_loss)
    per_token = unrelated.compared(reference, cross_entropy_to_reference)
    return sum_by_row(per_token, unrelated.owners, unrelated.rows) / config.padded_to


@dataclass(frozen=True, slots=True)
class Outcome:
    """How training ended. The model holds the best checkpoint's weights."""

    step: int
    reason: str
    best_step: int
    collapsed: bool
    interrupted: bool = False


def train(
    model: Any,
    tokenizer: Any,
    sets: TrainingSets,
    look: Callable[[], StopScores] | None,
    config: DebiasConfig,
    keep: Keeper,
    *,
    first: StopScores | None = None,
    on_step: Callable[[dict[str, Any]], None] | None = None,
) -> Outcome:
    """Trains the adapter until the stop rule, a collapse, Ctrl-C or `max_steps`.

    Args:
        look: scores the stop split with the model as it is. None: nobody looks, and the
            last weights are kept (for a method that is not after 50, as task_vector).
        keep: where checkpoints live; holds the state to resume from, if there is one.
        first: what `look` gives before the first step, where the caller knows it already (without `look` he must).
    """
    accelerator = accelerate().Accelerator(cpu=on_cpu(), device_placement=False)  # the model is on its device
    if config.npo_ratio == "batch_mean" and count() > 1:
        raise RequestError("npo_ratio: batch_mean is one ratio of a whole batch; run it in one process")
    if config.method in PAIRED and config.batch_pairs != "matched":
        raise RequestError(f"method: {config.method} compares the sentences of a pair; --set batch_pairs=matched")
    parameters = list(trainable(model).values())
    optimizer = torch.optim.AdamW(parameters, lr=config.learning_rate, weight_decay=config.weight_decay)
    average, feed = Average(model, config.average), Feed(sets, config)
    both = config.method in BOTH_REFERENCES
    refer = (
        stored_reference(model, tokenizer, keep.references, retain=both)
        if config.lora_rank
        else precomputed_reference(model, tokenizer, sets, retain=both)
    )
    state = keep.restore(model, optimizer, average, feed) or _begin(first or _base_scores(look), config)
    first_check, check_every = looks(sets, config)
    if state.step == 0:
        keep.best(model)
    split = is_split(model)  # then the adapter is the same in every process, and there is nothing to wrap
    learner, optimizer = (model, optimizer) if split else accelerator.prepare(model, optimizer)

    with _interruptible() as interrupted:
        while state.step < config.max_steps and not state.decision.stop and not interrupted():
            state.step += 1
            _set_rate(optimizer, rate_at(state.step, config))
            with _dropout(model, state, config):
                terms = loss_terms(learner, tokenizer, feed.next(state.decision.swap_weights).share(), config, refer)
            accelerator.backward(terms.total(config) * count())  # the engine averages gradients, our parts add up
            if split:
                average_gradients(parameters)
            accelerator.clip_grad_norm_(parameters, config.max_grad_norm)
            optimizer.step()
            optimizer.zero_grad()
            average.update(model)
            row = _note_step(state, terms, optimizer)
            if _check_due(state.step, first_check, check_every, config.max_steps):
                with average.applied(model) if look else contextlib.nullcontext():
                    if look:
                        _check(state, row, look(), config)
                    if state.best_step == state.step or not look:
                        keep.best(model)
                if state.decision.swapped and config.optimizer_at_swap == "rebuilt":
                    optimizer.state.clear()
                keep.save(state, model, optimizer, average, feed)
            if on_step:
                on_step({**row, "of": config.max_steps})
        stopped_by_hand = interrupted() and not state.decision.stop and state.step < config.max_steps
        if stopped_by_hand:
            keep.save(state, model, optimizer, average, feed)
    if not stopped_by_hand:
        keep.restore_best(model)
    reason = state.decision.reason or ("interrupted" if stopped_by_hand else f"reached {config.max_steps} steps")
    return Outcome(state.step, reason, state.best_step, state.decision.collapsed, stopped_by_hand)


def _base_scores(look: Callable[[], StopScores] | None) -> StopScores:
    assert look is not None, "without evaluations the caller gives the scores of the base model"
    return look()


def _begin(scores: StopScores, config: DebiasConfig) -> State:
    """The state before the first step. The base model is the best so far: training must be nearer to the goal."""
    evaluation = Evaluation(0, scores, lms_before=scores.lms)
    state = State(0, first_decision(evaluation, config), [], scores.lms, best_distance=distance(evaluation, config))
    state.rows.append({"step": 0, **scores.to_dict()})
    return state


def _dropout(model: Any, state: State, config: DebiasConfig) -> contextlib.AbstractContextManager[None]:
    """The dropout of a step. Released code: evaluation switches it off, and nothing switches it on again."""
    if config.method == "dropout":
        return base_dropout(model)
    lost = state.checked and config.dropout_after_check == "lost"
    return adapter_dropout(model) if config.lora_dropout > 0 and not lost else contextlib.nullcontext()


def _note_step(state: State, terms: LossTerms, optimizer: Any) -> dict[str, Any]:
    losses = terms.log()
    state.finite = state.finite and all(math.isfinite(value) for value in losses.values())
    state.log_ratios.append(losses["log_ratio"])
    state.rows.append({"step": state.step, **losses, "lr": optimizer.param_groups[0]["lr"]})
    return state.rows[-1]


def looks(sets: TrainingSets, config: DebiasConfig) -> tuple[int, int]:
    """The step of the first look at the stop split, and the steps between two looks: never more than an epoch.

    A run on a few dozen pairs would else have read each of them ten times before anybody looked.
    """
    epoch = max(1, sum(len(pairs) for pairs in sets.pairs.values()) // config.forget_batch)
    return min(config.first_check, epoch), min(config.check_every, epoch)


def _check_due(step: int, first: int, every: int, last: int) -> bool:
    return step >= first and (step - first) % every == 0 or step == last


def _check(state: State, row: dict[str, Any], scores: StopScores, config: DebiasConfig) -> None:
    """Decides, notes the decision in the row of the step, and marks the step as the best so far if it is."""
    ratio = sum(state.log_ratios) / max(1, len(state.log_ratios))
    evaluation = Evaluation(state.step, scores, state.lms_before, log_ratio=ratio, finite=state.finite)
    state.decision = decide(state.decision, evaluation, config)
    state.log_ratios, state.finite, state.checked = [], True, True
    far = distance(evaluation, config)
    if not state.decision.collapsed:
        if is_best(far, state.best_distance, config, trained=state.best_step > 0):
            state.best_step = state.step
        state.best_distance = min(far, state.best_distance)
    row |= {**scores.to_dict(), "decision": dataclasses.asdict(state.decision)}


def rate_at(step: int, config: DebiasConfig) -> float:
    """Learning rate of a step (counted from 1): linear warm-up, then constant or a cosine down to 2 % of the peak."""
    warm = min(1.0, step / max(1, config.warmup))
    if config.schedule == "constant":
        return config.learning_rate * warm
    share = min(1.0, max(0, step - config.warmup) / max(1, config.max_steps - config.warmup))
    return config.learning_rate * warm * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * share)))


def _set_rate(optimizer: Any, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate


@contextlib.contextmanager
def _interruptible() -> Iterator[Callable[[], bool]]:
    """Ctrl-C ends the loop between two steps, so that what is saved is whole. A second one ends it at once."""
    asked = False

    def note(_signal: int, _frame: Any) -> None:
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True

    try:
        before = signal.signal(signal.SIGINT, note)
    except ValueError:  # not the main thread (a notebook server, a test): Ctrl-C stays as it is
        yield lambda: False
        return
    try:
        yield lambda: asked
    finally:
        signal.signal(signal.SIGINT, before)
