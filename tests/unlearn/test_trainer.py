"""The loop on a tiny GPT-2: its first numbers, what it keeps, when it stops, and that a resumed run is the same run."""

import math
import os
import signal
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, BinaryIO

import pytest
import torch
from torch.nn.functional import logsigmoid

from biasunlearn.benchmarks.stereoset import score_triplets
from biasunlearn.config import DebiasConfig
from biasunlearn.data.records import Passage, Sentence, Triplet
from biasunlearn.errors import RequestError, WriteError
from biasunlearn.models.adapters import reference, trainable, with_lora
from biasunlearn.models.load import Loaded
from biasunlearn.models.packed_forward import RowCache, read
from biasunlearn.scoring.log_prob import score
from biasunlearn.stats.stereoset import comparisons
from biasunlearn.unlearn.checkpoint import Checkpointer
from biasunlearn.unlearn.evaluation import StopScores, stop_scores
from biasunlearn.unlearn.reference import ReferenceValues, live_reference, precomputed_reference
from biasunlearn.unlearn.sampler import BatchSampler, StepBatch
from biasunlearn.unlearn.sets import TrainingSets, training_sets
from biasunlearn.unlearn.trainer import TrainingOutcome, loss_terms, rate_at, train
from tests import tiny
from tests.unlearn.evaluations import score as score_of

PEOPLE = ("nurse", "poet", "doctor", "neighbour", "town")
PAIRS = (("tired", "quiet"), ("loud", "kind"))
CLUSTERS = [
    Triplet(
        id=f"{bias_type}-{who}",
        bias_type=bias_type,
        kind="intrasentence",
        context=f"The {who} is BLANK.",
        stereotype=Sentence(f"{bias_type}-{who}-s", f"The {who} is {pair[0]}."),
        anti_stereotype=Sentence(f"{bias_type}-{who}-a", f"The {who} is {pair[1]}."),
        unrelated=Sentence(f"{bias_type}-{who}-u", f"The {who} is table."),
        target=who,
    )
    for bias_type, pair in zip(("gender", "race"), PAIRS, strict=True)
    for who in PEOPLE
]
SETS = training_sets(CLUSTERS, tiny.TEXTS[3:], adversarial_share=0.25, seed=0)


def config(**changes: Any) -> DebiasConfig:
    """Pinned, so that no default matters: few steps, small batches, no stop before max_steps."""
    pinned = {
        "seed": 0, "forget_batch": 3, "retain_batch": 4, "unrelated_batch": 2, "beta": 0.1, "forget_weight": 0.4,
        "retain_weight": 0.4, "kl_weight": 0.2, "npo_ratio": "sentence", "retain_mean": "sentence", "kl": "real_tokens",
        "lora_rank": 4, "lora_alpha": 8, "lora_dropout": 0.0, "dropout_after_evaluation": "kept", "focus": "all",
        "lora_targets": ("all-linear",), "learning_rate": 1e-3, "weight_decay": 0.0, "schedule": "constant",
        "batch_pairs": "independent", "batch_allocation": "even", "warmup": 0, "optimizer_at_swap": "kept",
        "max_grad_norm": 1.0,
        "average": 0.9, "max_steps": 6,
        "evaluate_every": 2, "first_evaluation": 2, "swap": "proportional", "swap_band": 6.0, "stop_rule": "point",
        "margin": 1e-6, "confirm": 99, "lms_floor": 1.5, "collapse_lms": 1000.0, "collapse_ratio": 1000.0,
    }  # fmt: skip
    return DebiasConfig(**{**pinned, **changes})


def fresh(settings: DebiasConfig) -> Loaded:
    """The model before the first step, of one layer: with an adapter, or bare where all weights are to be trained."""
    loaded = tiny.gpt2(n_layer=1)
    return loaded.with_model(with_lora(loaded.model, settings)) if settings.lora_rank else loaded


def scores(ss: float, lms: float | None = 90.0) -> StopScores:
    """The scores of an evaluation, with the same SS for both bias types."""
    return StopScores(dict.fromkeys(("gender", "race"), score_of(ss, width=1.0)), lms)


def real_evaluation(loaded: Loaded) -> Callable[[], StopScores]:
    return lambda: stop_scores(comparisons(score_triplets(loaded, CLUSTERS)), seed=0)


class ScriptedEvaluations:
    """Evaluations with given scores; remembers the adapter at each of them."""

    def __init__(self, loaded: Loaded, script: Iterable[StopScores]):
        self._model = loaded.model
        self._script = iter(script)
        self.weights: list[dict[str, torch.Tensor]] = []

    def __call__(self) -> StopScores:
        self.weights.append(weights_of(self._model))
        return next(self._script)


def weights_of(model: Any) -> dict[str, torch.Tensor]:
    return {name: parameter.detach().clone() for name, parameter in trainable(model).items()}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def run(
    settings: DebiasConfig,
    script: Iterable[StopScores] | None = None,
    keep: Checkpointer | None = None,
    *,
    sets: TrainingSets = SETS,
    on_step: Callable[[dict[str, Any]], None] | None = None,
) -> tuple[Loaded, TrainingOutcome, Checkpointer, ScriptedEvaluations | None]:
    loaded, keep = fresh(settings), keep or Checkpointer(None)
    scripted = ScriptedEvaluations(loaded, script) if script is not None else None
    look = scripted or real_evaluation(loaded)
    outcome = train(loaded.model, loaded.tokenizer, sets, look, settings, keep, on_step=on_step)
    return loaded, outcome, keep, scripted


# --- the first numbers ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("beta", [0.1, 1.0])
def test_the_first_step_has_the_losses_of_an_untrained_adapter(beta: float) -> None:
    settings = config(beta=beta, max_steps=1, first_evaluation=1, swap="hard")  # full push from the start
    loaded, _, keep, _ = run(settings)
    first = keep.rows[1]
    assert first["step"] == 1
    assert first["loss_forget"] == pytest.approx(2 / beta * math.log(2), rel=1e-5)
    assert first["loss_kl"] == pytest.approx(0, abs=1e-6)
    assert first["log_ratio"] == pytest.approx(0, abs=1e-4)
    batch = BatchSampler(SETS, settings).next({"gender": 1.0, "race": 1.0})
    with reference(loaded.model):
        plain = [-found.log_prob for found in score(loaded, batch.retain)]
    assert first["loss_retain"] == pytest.approx(sum(plain) / len(plain), abs=1e-4)


def test_training_changes_the_adapter_and_nothing_else() -> None:
    settings = config(retain_weight=0.0)
    untouched = {name: p for name, p in fresh(settings).model.named_parameters() if not p.requires_grad}
    # The last look is the best, so that the trained weights are the ones that are kept.
    loaded, outcome, keep, _ = run(settings, map(scores, (60.0, 59.0, 58.0, 57.0)))
    assert (outcome.step, outcome.best_step, outcome.collapsed, outcome.interrupted) == (6, 6, False, False)
    assert outcome.reason == "reached 6 steps"
    start = weights_of(fresh(settings).model)
    assert all(not torch.equal(start[name], value) for name, value in weights_of(loaded.model).items())
    for name, parameter in loaded.model.named_parameters():
        if name in untouched:
            assert torch.equal(parameter, untouched[name]), name
    assert [row["step"] for row in keep.rows] == list(range(7))
    assert keep.rows[-1]["log_ratio"] < -0.02  # the forget set became less likely than under the reference
    assert not any(module.training for module in loaded.model.modules())


@pytest.mark.slow
def test_forgetting_forgets_and_no_weights_do_nothing() -> None:
    passages = [*SETS.forget["gender"], *SETS.retain["race"], *SETS.unrelated]
    before = [found.log_prob for found in score(fresh(config()), passages)]

    def moved(**weights: float) -> float:
        settings = config(learning_rate=1e-4, **weights)
        loaded, *_ = run(settings, map(scores, (60.0, 59.0, 58.0, 57.0)))
        after = [found.log_prob for found in score(loaded, passages)]
        return max(abs(a - b) for a, b in zip(after, before, strict=True))

    assert moved(forget_weight=0.0, retain_weight=0.0, kl_weight=0.0) == 0.0
    held = moved(forget_weight=0.0, retain_weight=0.0)
    assert held < 0.03  # the KL begins at its minimum; AdamW makes steps of the rounding of its gradient
    assert moved() > 5 * held  # the control: with the role losses it does move


@pytest.mark.parametrize(("weights", "sign"), [({"retain_weight": 0.0}, -1), ({"forget_weight": 0.0}, 1)])
def test_each_role_loss_moves_its_sentences_its_way(weights: dict[str, float], sign: int) -> None:
    passages = [passage for b in SETS.bias_types for passage in SETS.retain[b]]
    itself = {b: tuple((p, p) for p in SETS.retain[b]) for b in SETS.bias_types}
    sets = TrainingSets(SETS.retain, SETS.retain, itself, SETS.unrelated)  # the same sentences in both roles
    before = sum(found.log_prob for found in score(fresh(config()), passages))
    loaded, *_ = run(config(**weights), map(scores, (60.0, 59.0, 58.0, 57.0)), sets=sets)
    assert sign * (sum(found.log_prob for found in score(loaded, passages)) - before) > 1.0


# --- the losses of a batch against a plain reckoning ---------------------------------------------------------------

FORGET = (Passage("The nurse is", " tired."), Passage("The poet", " said that she was loud."), Passage("", "It rains."))
RETAIN = (Passage("The nurse is", " quiet."), Passage("A doctor came", " to the house and to the town."))
UNRELATED = (Passage("", "Green ideas sleep furiously."), Passage("", "It rains."))
BATCH = StepBatch(FORGET, RETAIN, UNRELATED, (1.0, 0.5, 0.25), (0.75, 1.0))


def plain_logits(loaded: Loaded, passage: Passage) -> tuple[torch.Tensor, torch.Tensor]:
    """One forward of one sentence: the logits that predict its text, and the text's tokens."""
    tokenizer = loaded.tokenizer
    ids = [tokenizer.bos_token_id, *tokenizer.encode(passage.prefix + passage.text)]
    given = 1 + (len(tokenizer.encode(passage.prefix)) if passage.prefix else 0)
    logits = loaded.model(torch.tensor([ids])).logits[0]
    return logits[given - 1 : -1], torch.tensor(ids[given:])


def plain_log_prob(loaded: Loaded, passage: Passage) -> tuple[torch.Tensor, int]:
    logits, targets = plain_logits(loaded, passage)
    return logits.log_softmax(-1)[range(len(targets)), targets].sum(), len(targets)


def plain_losses(loaded: Loaded, batch: StepBatch, settings: DebiasConfig) -> list[torch.Tensor]:
    """The equations, sentence by sentence."""
    beta, adapter_off = settings.beta, loaded.model.disable_adapter
    now = [plain_log_prob(loaded, passage) for passage in batch.forget]
    with torch.no_grad(), adapter_off():
        ref = [plain_log_prob(loaded, passage)[0] for passage in batch.forget]
        ref_logits = [plain_logits(loaded, passage)[0] for passage in batch.unrelated]
    weights = batch.forget_weights
    if settings.npo_ratio == "sentence":
        ratios = torch.stack([p - q for (p, _), q in zip(now, ref, strict=True)])
        forget = (-2 / beta * logsigmoid(-beta * ratios) * torch.tensor(weights)).mean()
    else:
        ratio = torch.stack([(p - q) / n for (p, n), q in zip(now, ref, strict=True)]).mean()
        forget = -2 / beta * logsigmoid(-beta * ratio) * sum(weights) / len(weights)

    kept = []
    for passage, weight in zip(batch.retain, batch.retain_weights, strict=True):
        log_prob, tokens = plain_log_prob(loaded, passage)
        kept.append(-log_prob * weight / (tokens if settings.retain_mean == "token" else 1))
    retain = torch.stack(kept).mean()

    per_token = []
    for passage, q in zip(batch.unrelated, ref_logits, strict=True):
        log_p, log_q = plain_logits(loaded, passage)[0].log_softmax(-1), q.log_softmax(-1)
        if settings.kl == "real_tokens":
            per_token += list((log_q.exp() * (log_q - log_p)).sum(-1))
        else:
            per_token += list(-(log_q.exp() * log_p).sum(-1))
    whole = torch.stack(per_token)
    kl = whole.mean() if settings.kl == "real_tokens" else whole.sum() / (len(batch.unrelated) * settings.padded_to)
    return [forget, retain, kl]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"beta": 1.0},
        {"npo_ratio": "batch_mean", "retain_mean": "token", "kl": "padded_cross_entropy", "padded_to": 30},
    ],
    ids=["paper", "beta", "released-code"],
)
def test_loss_terms_and_their_gradients_are_those_of_a_plain_reckoning(changes: dict[str, Any]) -> None:
    settings = config(**changes)
    loaded = fresh(settings)
    tiny.perturb(loaded.model)
    parameters = list(trainable(loaded.model).values())
    terms = loss_terms(loaded.model, RowCache(loaded.tokenizer, loaded.model), BATCH, settings)
    expected = plain_losses(loaded, BATCH, settings)
    for found, by_hand in zip((terms.forget, terms.retain, terms.kl), expected, strict=True):
        assert found.item() == pytest.approx(by_hand.item(), abs=1e-4)
        pair = [torch.autograd.grad(loss, parameters, retain_graph=True) for loss in (found, by_hand)]
        for one, other in zip(*pair, strict=True):
            assert torch.allclose(one, other, atol=1e-4, rtol=1e-4)
    f, r, k = (value.item() for value in expected)
    assert terms.total(settings).item() == pytest.approx(0.4 * f + 0.4 * r + 0.2 * k, abs=1e-4)
    assert terms.log().keys() == {"loss_forget", "loss_retain", "loss_kl", "log_ratio", "tokens"}


def test_the_log_ratio_is_the_mean_of_the_forget_sentences() -> None:
    loaded = fresh(config())
    tiny.perturb(loaded.model)
    now = [found.log_prob for found in score(loaded, FORGET)]
    with reference(loaded.model):
        ref = [found.log_prob for found in score(loaded, FORGET)]
    terms = loss_terms(loaded.model, RowCache(loaded.tokenizer, loaded.model), BATCH, config())
    assert float(terms.log_ratio) == pytest.approx((sum(now) - sum(ref)) / 3, abs=1e-4)
    assert not terms.log_ratio.requires_grad


def test_a_sentence_s_loss_does_not_depend_on_its_neighbours() -> None:
    """Padding and batching never change a loss: a batch is the mean of its sentences' losses."""
    loaded, settings = fresh(config()), config()
    tiny.perturb(loaded.model)

    def forget(*chosen: int) -> float:
        batch = StepBatch(tuple(FORGET[i] for i in chosen), RETAIN, UNRELATED, (1.0,) * len(chosen), (1.0, 1.0))
        cache = RowCache(loaded.tokenizer, loaded.model)
        return float(loss_terms(loaded.model, cache, batch, settings).forget.detach())

    alone = [forget(i) for i in range(3)]
    assert forget(0, 1, 2) == pytest.approx(sum(alone) / 3, abs=1e-4)
    assert forget(2, 0) == pytest.approx((alone[2] + alone[0]) / 2, abs=1e-4)


def test_without_unrelated_sentences_the_kl_is_zero() -> None:
    loaded = fresh(config())
    batch = StepBatch(FORGET, RETAIN, (), (1.0,) * 3, (1.0,) * 2)
    terms = loss_terms(loaded.model, RowCache(loaded.tokenizer, loaded.model), batch, config())
    assert float(terms.kl) == 0.0
    terms.total(config()).backward()


def test_read_keeps_the_order_given_however_it_sorts_by_length() -> None:
    loaded = fresh(config())
    passages = (*RETAIN, *FORGET, *UNRELATED, *RETAIN)
    with torch.no_grad():
        found = read(loaded.model, loaded.tokenizer, passages)
    expected = score(loaded, passages)
    assert found.rows == len(passages)
    assert found.log_probs.tolist() == pytest.approx([entry.log_prob for entry in expected], abs=1e-4)
    assert found.tokens.tolist() == [entry.tokens for entry in expected]
    part = found.part(2, 5)
    assert part.rows == 3
    assert part.log_probs.tolist() == pytest.approx([entry.log_prob for entry in expected[2:5]], abs=1e-4)
    assert found.part(0, len(passages)).log_probs.tolist() == found.log_probs.tolist()


# --- best, stop, collapse ------------------------------------------------------------------------------------------


def test_the_best_checkpoint_is_kept_and_not_the_last() -> None:
    loaded, outcome, _, look = run(config(), map(scores, (60.0, 53.0, 58.0, 61.0)))
    assert (outcome.step, outcome.best_step) == (6, 2)
    assert look is not None and same(weights_of(loaded.model), look.weights[1])
    assert not same(look.weights[1], look.weights[3])


def test_what_is_kept_is_what_the_look_saw_the_running_average() -> None:
    after: list[dict[str, torch.Tensor]] = []
    settings = config(average=0.9)
    loaded = fresh(settings)
    look = ScriptedEvaluations(loaded, map(scores, (60.0, 59.0, 58.0, 57.0)))
    keep = Checkpointer(None)
    train(
        loaded.model, loaded.tokenizer, SETS, look, settings, keep,
        on_step=lambda _row: after.append(weights_of(loaded.model)),
    )  # fmt: skip
    assert same(weights_of(loaded.model), look.weights[-1])
    assert not same(weights_of(loaded.model), after[-1])  # training itself went on with its own weights
    # By hand: the decay of step n is min(0.9, n / (n + 10)), from the untrained weights on.
    expected = look.weights[0]
    for step, weights in enumerate(after, 1):
        decay = min(0.9, step / (step + 10))
        expected = {name: decay * value + (1 - decay) * weights[name] for name, value in expected.items()}
    for name, value in look.weights[-1].items():
        assert torch.allclose(value, expected[name], atol=1e-6)


def test_without_averaging_the_look_sees_the_weights_themselves() -> None:
    after: list[dict[str, torch.Tensor]] = []
    settings = config(average=0.0)
    loaded = fresh(settings)
    look = ScriptedEvaluations(loaded, map(scores, (60.0, 59.0, 58.0, 57.0)))
    train(
        loaded.model, loaded.tokenizer, SETS, look, settings, Checkpointer(None),
        on_step=lambda _row: after.append(weights_of(loaded.model)),
    )  # fmt: skip
    assert same(look.weights[-1], after[-1])


def test_training_that_only_makes_it_worse_gives_back_the_untrained_adapter() -> None:
    loaded, outcome, _, _ = run(config(), map(scores, (52.0, 58.0, 60.0, 40.0)))
    assert outcome.best_step == 0
    assert same(weights_of(loaded.model), weights_of(fresh(config()).model))


def test_a_fair_looking_checkpoint_that_broke_the_model_is_not_the_best() -> None:
    _, outcome, _, _ = run(config(), [scores(60.0), scores(55.0), scores(50.0, 86.0), scores(57.0)])
    assert outcome.best_step == 2  # 50 with LMS 4 points down: 10 * (4 - 1.5) = 25 away


def test_the_stop_rule_ends_the_run() -> None:
    _, outcome, keep, _ = run(config(margin=2.0, confirm=2), map(scores, (60.0, 51.0, 49.0)))
    assert (outcome.step, outcome.collapsed) == (4, False)
    assert outcome.reason == "all bias types within 2 of 50"
    assert keep.rows[-1]["decision"]["stop"] is True


def test_a_fall_of_lms_is_a_collapse_and_the_last_good_adapter_is_kept() -> None:
    script = [scores(60.0), scores(55.0), scores(50.0, 70.0)]
    loaded, outcome, _, look = run(config(collapse_lms=8.0), script)
    assert (outcome.step, outcome.best_step, outcome.collapsed) == (4, 2, True)
    assert "LMS fell by 20.0 points" in outcome.reason
    assert look is not None and same(weights_of(loaded.model), look.weights[1])


def test_a_loss_that_is_no_number_is_a_collapse_and_the_last_good_adapter_is_kept() -> None:
    settings = config()
    loaded = fresh(settings)
    look = ScriptedEvaluations(loaded, map(scores, (60.0, 55.0, 50.0)))

    def poison(row: dict[str, Any]) -> None:
        if row["step"] == 3:
            next(iter(trainable(loaded.model).values())).data.fill_(math.nan)

    keep = Checkpointer(None)
    outcome = train(loaded.model, loaded.tokenizer, SETS, look, settings, keep, on_step=poison)
    assert (outcome.step, outcome.best_step, outcome.collapsed) == (4, 2, True)
    assert "not finite" in outcome.reason
    assert same(weights_of(loaded.model), look.weights[1])
    assert all(bool(value.isfinite().all()) for value in weights_of(loaded.model).values())


def test_a_forget_loss_that_runs_away_is_a_collapse() -> None:
    settings = config(collapse_ratio=0.5, retain_weight=0.0, kl_weight=0.0, learning_rate=2e-2)
    _, outcome, _, _ = run(settings, map(scores, (60.0, 59.0, 58.0, 57.0)))
    assert outcome.collapsed and "the forget loss diverged" in outcome.reason


def test_lms_that_is_not_measured_stands_in_no_way() -> None:
    _, outcome, keep, _ = run(config(margin=2.0, confirm=1), [scores(60.0, None), scores(51.0, None)])
    assert outcome.step == 2 and not outcome.collapsed
    assert keep.rows[-1]["lms"] is None


# --- the course of a run -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "every", "most", "checks"),
    [(2, 2, 6, [0, 2, 4, 6]), (3, 2, 6, [0, 3, 5, 6]), (1, 4, 6, [0, 1, 5, 6]), (9, 1, 4, [0, 4])],
)
def test_when_the_stop_split_is_looked_at(first: int, every: int, most: int, checks: list[int]) -> None:
    settings = config(first_evaluation=first, evaluate_every=every, max_steps=most)
    _, _, keep, _ = run(settings, (scores(60.0) for _ in range(9)))
    assert [row["step"] for row in keep.rows if "ss" in row] == checks


@pytest.mark.parametrize(
    ("schedule", "warmup", "rates"),
    [
        # max_steps 10, peak 1
        ("constant", 0, {1: 1.0, 10: 1.0}),
        ("constant", 4, {1: 0.25, 2: 0.5, 4: 1.0, 10: 1.0}),
        # cosine from the end of the warm-up: (step - 2) / 8 of half a turn, from 1 down to 0.02
        ("cosine", 2, {1: 0.5, 2: 1.0, 6: 0.51, 10: 0.02}),
        ("cosine", 0, {5: 0.51, 10: 0.02}),
    ],
)
def test_rate_at(schedule: str, warmup: int, rates: dict[int, float]) -> None:
    settings = config(schedule=schedule, warmup=warmup, max_steps=10, learning_rate=1.0)
    assert {step: pytest.approx(rate_at(step, settings)) for step in rates} == rates


def test_the_rate_of_each_step_is_noted() -> None:
    settings = config(warmup=3)
    _, _, keep, _ = run(settings, map(scores, (60.0, 59.0, 58.0, 57.0)))
    assert [row["lr"] for row in keep.rows[1:]] == pytest.approx([rate_at(step, settings) for step in range(1, 7)])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "dropped"),
    [
        ({"lora_dropout": 0.2}, [True] * 6),
        ({"lora_dropout": 0.2, "dropout_after_evaluation": "disabled"}, [True, True, False, False, False, False]),
        ({"lora_dropout": 0.0}, [None] * 6),  # no dropout layers at all
    ],
)
def test_dropout_of_the_adapter_through_checks(changes: dict[str, Any], dropped: list[bool | None]) -> None:
    settings = config(**changes)
    loaded = fresh(settings)
    seen: list[bool] = []
    layers = [module for name, module in loaded.model.named_modules() if "lora_dropout.default" in name]
    for layer in [layer for layer in layers if isinstance(layer, torch.nn.Dropout)][:1]:
        layer.register_forward_pre_hook(lambda m, _: seen.append(m.training) if torch.is_grad_enabled() else None)
    by_step: list[bool | None] = []

    def note(_row: dict[str, Any]) -> None:
        by_step.append(all(seen) if seen else None)
        seen.clear()

    train(loaded.model, loaded.tokenizer, SETS, real_evaluation(loaded), settings, Checkpointer(None), on_step=note)
    assert by_step == dropped
    assert not any(module.training for module in loaded.model.modules())


@pytest.mark.parametrize(("option", "cleared"), [("kept", False), ("rebuilt", True)])
def test_the_optimizer_at_a_swap(option: str, cleared: bool, tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    settings = config(optimizer_at_swap=option, max_steps=2)
    run(settings, map(scores, (60.0, 45.0)), Checkpointer(path))  # 45: both bias types are exchanged
    assert (torch.load(path, weights_only=True)["optimizer"]["state"] == {}) is cleared


def test_a_bias_type_below_fifty_has_its_sets_exchanged_from_the_next_step_on() -> None:
    """After SS 40 the push is -1: what was forgotten becomes likelier again."""
    _, _, keep, _ = run(config(swap="hard"), map(scores, (60.0, 40.0, 40.0, 40.0)))
    assert keep.rows[2]["decision"]["swap_weights"] == {"gender": -1.0, "race": -1.0}
    assert keep.rows[2]["decision"]["swapped"] == ["gender", "race"]
    assert keep.rows[4]["decision"]["swapped"] == []


def test_the_first_look_may_be_given() -> None:
    loaded, settings = fresh(config()), config(max_steps=2)
    look, keep = ScriptedEvaluations(loaded, [scores(59.0)]), Checkpointer(None)
    train(loaded.model, loaded.tokenizer, SETS, look, settings, keep, base_scores=scores(60.0))
    assert [row["ss"]["race"] for row in keep.rows if "ss" in row] == [60.0, 59.0]


# --- all weights ---------------------------------------------------------------------------------------------------


def test_full_fine_tuning_starts_at_the_same_losses_and_trains_all_weights() -> None:
    settings = config(lora_rank=0, learning_rate=1e-4)
    loaded, _, keep, _ = run(settings, map(scores, (60.0, 59.0, 58.0, 57.0)))
    first, adapted = keep.rows[1], run(config(), map(scores, (60.0, 59.0, 58.0, 57.0)))[2].rows[1]
    for name in ("loss_forget", "loss_retain", "loss_kl", "log_ratio"):
        assert first[name] == pytest.approx(adapted[name], abs=1e-3), name
    start = weights_of(fresh(settings).model)
    assert all(not torch.equal(start[name], value) for name, value in weights_of(loaded.model).items())


def test_the_stored_reference_is_the_untrained_model() -> None:
    """After the weights have moved, the losses are those of the same move against a second, untouched model."""
    settings, loaded = config(lora_rank=0), tiny.gpt2()
    refer = precomputed_reference(loaded.model, RowCache(loaded.tokenizer, loaded.model), SETS)
    untouched = adapted_from(tiny.gpt2())
    batch = BatchSampler(SETS, settings).next({"gender": 1.0, "race": -1.0})
    before, after = refer(batch), untouched(batch)
    assert torch.allclose(before.forget, after.forget, atol=1e-4)
    logits = loaded.model.get_output_embeddings()(after.unrelated)  # of an adapter the states are kept, not the logits
    assert torch.allclose(before.unrelated.float(), logits, atol=1e-2)  # stored in half precision
    tiny.perturb(loaded.model)
    assert torch.equal(refer(batch).forget, before.forget)
    assert torch.equal(refer(batch).unrelated, before.unrelated)


def adapted_from(loaded: Loaded) -> Callable[[StepBatch], ReferenceValues]:
    """The reference with an adapter that does nothing."""
    model = with_lora(loaded.model, config())
    return live_reference(model, RowCache(loaded.tokenizer, model))


def test_stored_reference_logits_have_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("biasunlearn.unlearn.reference.PRECOMPUTED_LIMIT", 1000)
    loaded = tiny.gpt2()
    with pytest.raises(RequestError, match="lora_rank"):
        precomputed_reference(loaded.model, RowCache(loaded.tokenizer, loaded.model), SETS)


@pytest.mark.slow
def test_a_killed_full_fine_tuning_resumes_against_the_same_reference(tmp_path: Path) -> None:
    settings, path = config(lora_rank=0, learning_rate=1e-4), tmp_path / "checkpoint.pt"
    loaded, outcome, keep, _ = run(settings)
    with pytest.raises(Killed):
        run(settings, keep=Checkpointer(path), on_step=kill_at(5))
    again, resumed, kept, _ = run(settings, keep=Checkpointer(path, resume=True))
    assert (resumed, kept.rows) == (outcome, keep.rows)
    assert same(weights_of(again.model), weights_of(loaded.model))


# --- interrupted and resumed ---------------------------------------------------------------------------------------

LONG = {"max_steps": 8, "lora_dropout": 0.2, "schedule": "cosine", "warmup": 2}


class Killed(Exception):
    """Stands for a process that is gone."""


def kill_at(step: int) -> Callable[[dict[str, Any]], None]:
    def on_step(row: dict[str, Any]) -> None:
        if row["step"] == step:
            raise Killed

    return on_step


def interrupt_at(step: int) -> Callable[[dict[str, Any]], None]:
    def on_step(row: dict[str, Any]) -> None:
        if row["step"] == step:
            os.kill(os.getpid(), signal.SIGINT)

    return on_step


@pytest.fixture(scope="module")
def whole() -> tuple[dict[str, torch.Tensor], TrainingOutcome, list[dict[str, Any]]]:
    loaded, outcome, keep, _ = run(config(**LONG))
    return weights_of(loaded.model), outcome, keep.rows


@pytest.mark.slow
@pytest.mark.by_day("5")
@pytest.mark.parametrize("step", [2, 5, 7])
def test_a_killed_run_resumes_from_its_last_check_as_if_nothing_had_happened(
    step: int, tmp_path: Path, whole: tuple[dict[str, torch.Tensor], TrainingOutcome, list[dict[str, Any]]]
) -> None:
    path = tmp_path / "checkpoint.pt"
    with pytest.raises(Killed):
        run(config(**LONG), keep=Checkpointer(path, "a"), on_step=kill_at(step))
    torch.manual_seed(12345)  # another process begins with another state
    seen: list[int] = []
    resumed = Checkpointer(path, "a", resume=True)
    loaded, outcome, keep, _ = run(config(**LONG), keep=resumed, on_step=lambda row: seen.append(row["step"]))
    assert seen[0] == step // 2 * 2 + 1
    assert (outcome, keep.rows) == whole[1:]
    assert same(weights_of(loaded.model), whole[0])


@pytest.mark.slow
def test_ctrl_c_ends_between_two_steps_and_resumes_with_the_next(
    tmp_path: Path, whole: tuple[dict[str, torch.Tensor], TrainingOutcome, list[dict[str, Any]]]
) -> None:
    path, handler = tmp_path / "checkpoint.pt", signal.getsignal(signal.SIGINT)
    _, outcome, keep, _ = run(config(**LONG), keep=Checkpointer(path), on_step=interrupt_at(5))
    assert (outcome.step, outcome.interrupted, outcome.reason) == (5, True, "interrupted")
    assert [row["step"] for row in keep.rows] == list(range(6))
    assert signal.getsignal(signal.SIGINT) is handler
    torch.manual_seed(12345)
    loaded, outcome, keep, _ = run(config(**LONG), keep=Checkpointer(path, resume=True))
    assert (outcome, keep.rows) == whole[1:]
    assert same(weights_of(loaded.model), whole[0])


def test_a_second_ctrl_c_ends_at_once() -> None:
    def twice(_row: dict[str, Any]) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        run(config(), on_step=twice)
    assert signal.getsignal(signal.SIGINT) is handler


def test_ctrl_c_in_the_last_step_is_a_finished_run() -> None:
    _, outcome, _, _ = run(config(), on_step=interrupt_at(6))
    assert (outcome.step, outcome.interrupted) == (6, False)


@pytest.mark.slow
def test_a_finished_run_resumes_to_the_same_end_and_the_same_metrics(
    tmp_path: Path, whole: tuple[dict[str, torch.Tensor], TrainingOutcome, list[dict[str, Any]]]
) -> None:
    """Killed after training, before the results were written: the checkpoint is all there is."""
    path = tmp_path / "checkpoint.pt"
    run(config(**LONG), keep=Checkpointer(path))
    loaded, outcome, keep, _ = run(config(**LONG), keep=Checkpointer(path, resume=True))
    assert outcome == whole[1]
    assert same(weights_of(loaded.model), whole[0])
    assert keep.rows == whole[2]


def test_without_resume_a_checkpoint_is_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    run(config(max_steps=2), map(scores, (60.0, 59.0)), Checkpointer(path))
    _, _, keep, _ = run(config(max_steps=2), map(scores, (60.0, 59.0)), Checkpointer(path))
    assert [row["step"] for row in keep.rows] == [0, 1, 2]


def test_a_checkpoint_of_something_else_and_a_broken_one_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    run(config(max_steps=2), map(scores, (60.0, 59.0)), Checkpointer(path, "this"))
    with pytest.raises(RequestError, match="another configuration or other data"):
        run(config(max_steps=2), keep=Checkpointer(path, "that", resume=True))
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(RequestError, match="broken checkpoint"):
        run(config(max_steps=2), keep=Checkpointer(path, "this", resume=True))


def test_a_failed_save_leaves_the_checkpoint_before_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "checkpoint.pt"
    run(config(max_steps=2), map(scores, (60.0, 59.0)), Checkpointer(path))
    before = path.read_bytes()

    def full(_content: Any, target: BinaryIO) -> None:
        target.write(b"half")
        raise OSError("no space left")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(WriteError, match="checkpoint.pt: cannot be written: no space left; what was saved"):
        run(config(max_steps=2), map(scores, (60.0, 59.0)), Checkpointer(path))
    assert path.read_bytes() == before
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["checkpoint.pt", "metrics.jsonl", "reference.bin"]
