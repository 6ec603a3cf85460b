"""Masked models of three shapes in training: scores, losses by hand, resuming, and SS that falls."""

import copy
import functools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from biasunlearn.benchmarks.stereoset import score_triplets
from biasunlearn.data.records import Passage, Sentence, Triplet
from biasunlearn.models.adapters import reference, with_lora
from biasunlearn.models.load import Loaded
from biasunlearn.models.packed_forward import RowCache, read_rows
from biasunlearn.scoring.log_prob import score
from biasunlearn.stats.stereoset import comparisons
from biasunlearn.unlearn.checkpoint import Checkpointer
from biasunlearn.unlearn.evaluation import StopScores, stop_scores
from biasunlearn.unlearn.reference import ReferenceStore, live_reference, stored_reference
from biasunlearn.unlearn.sampler import StepBatch
from biasunlearn.unlearn.sets import training_sets
from biasunlearn.unlearn.trainer import TrainingOutcome, loss_terms, train
from tests import tiny
from tests.unlearn.test_trainer import CLUSTERS, config, same, weights_of

SHAPES = sorted(tiny.MASKED)
SHE, HE = (Passage("The nurse said that", f" {word}", " was tired.") for word in ("she", "he"))
PASSAGES = (SHE, HE, Passage("", "It rains."), Passage("My neighbour is a poet,", " and my neighbour is kind."))


@functools.cache
def base(shape: str) -> Loaded:
    """Built once: the trainer of its tokenizer numbers tokens of equal frequency differently each time."""
    return tiny.MASKED[shape]()


def adapted(shape: str, **changes: Any) -> Loaded:
    loaded = base(shape)
    return loaded.with_model(with_lora(copy.deepcopy(loaded.model), config(**changes)))


def log_probs_by_hand(loaded: Loaded, passage: Passage) -> torch.Tensor:
    """[scored tokens, vocabulary] log p at the mask, by one plain forward pass for each token, and the tokens."""
    tokenizer = loaded.tokenizer
    before, text, after = (
        tokenizer.encode(part, add_special_tokens=False) for part in (passage.prefix, passage.text, passage.suffix)
    )
    whole = [tokenizer.cls_token_id, *before, *text, *after, tokenizer.sep_token_id]
    rows = []
    for place in range(1 + len(before), 1 + len(before) + len(text)):
        hidden = [*whole[:place], tokenizer.mask_token_id, *whole[place + 1 :]]
        rows.append(loaded.model(input_ids=torch.tensor([hidden])).logits[0, place].log_softmax(-1))
    return torch.stack(rows)


def by_hand(loaded: Loaded, passage: Passage) -> torch.Tensor:
    """The pseudo-log-likelihood of the text."""
    ids = loaded.tokenizer.encode(passage.text, add_special_tokens=False)
    return log_probs_by_hand(loaded, passage)[range(len(ids)), ids].sum()


@pytest.mark.parametrize("shape", SHAPES)
def test_training_scores_are_the_measured_ones(shape: str) -> None:
    loaded = adapted(shape)
    tiny.perturb(loaded.model)
    found = read_rows(loaded.model, RowCache(loaded.tokenizer, loaded.model).rows(PASSAGES))
    measured = score(loaded, PASSAGES)
    assert found.tokens.tolist() == [one.tokens for one in measured]
    for trained, one, passage in zip(found.log_probs.tolist(), measured, PASSAGES, strict=True):
        assert trained == pytest.approx(one.log_prob, abs=1e-4)
        with torch.no_grad():
            assert trained == pytest.approx(float(by_hand(loaded, passage)), abs=1e-4)
    with torch.no_grad():  # what follows is seen: without it the score is another one
        assert abs(float(by_hand(loaded, Passage(SHE.prefix, SHE.text))) - found.log_probs[0].item()) > 0.01


@pytest.mark.parametrize("shape", SHAPES)
def test_the_losses_of_one_pair_by_hand(shape: str) -> None:
    loaded, other = adapted(shape), PASSAGES[2]
    tiny.perturb(loaded.model)
    settings = config(beta=0.5)
    terms = loss_terms(
        loaded.model, RowCache(loaded.tokenizer, loaded.model), StepBatch((SHE,), (HE,), (other,), (1.0,), (1.0,)),
        settings,
    )  # fmt: skip
    with torch.no_grad():
        ratio, retained = float(by_hand(loaded, SHE)), float(by_hand(loaded, HE))
        now = log_probs_by_hand(loaded, other)
        with reference(loaded.model):
            ratio -= float(by_hand(loaded, SHE))
            base = log_probs_by_hand(loaded, other)
    assert abs(ratio) > 0.01  # the adapter does something
    assert terms.log_ratio.item() == pytest.approx(ratio, abs=1e-4)
    assert terms.forget.item() == pytest.approx(2 / 0.5 * math.log(1 + math.exp(0.5 * ratio)), abs=1e-4)
    assert terms.retain.item() == pytest.approx(-retained, abs=1e-4)
    assert terms.kl.item() == pytest.approx(float((base.exp() * (base - now)).sum(-1).mean()), abs=1e-4)
    read_once = len(loaded.tokenizer.encode("The nurse said that she was tired.")) * 2  # she and he: one token each
    assert terms.log()["tokens"] == read_once + len(now) * len(loaded.tokenizer.encode("It rains."))


def test_one_mask_hides_what_follows_in_the_supervised_part() -> None:
    loaded, passage = tiny.masked(), Passage("The nurse", " said that she", " was tired.")
    (row,) = RowCache(loaded.tokenizer, loaded.model, "one_mask").rows([passage])
    ids = loaded.tokenizer.encode(passage.text, add_special_tokens=False)
    head = [loaded.tokenizer.cls_token_id, *loaded.tokenizer.encode("The nurse", add_special_tokens=False)]
    tail = [*loaded.tokenizer.encode("was tired.", add_special_tokens=False), loaded.tokenizer.sep_token_id]
    mask = loaded.tokenizer.mask_token_id
    assert len(ids) > 1
    assert [list(copy.ids) for copy in row.copies] == [[*head, *ids[:n], mask, *tail] for n in range(len(ids))]
    assert all(copy.ids[copy.first_scored] == mask for copy in row.copies)
    (in_turn,) = RowCache(loaded.tokenizer, loaded.model).rows([passage])
    assert [len(copy.ids) for copy in in_turn.copies] == [len(head) + len(ids) + len(tail)] * len(ids)


def test_a_causal_model_does_not_see_what_follows() -> None:
    loaded = tiny.gpt2()
    loaded = loaded.with_model(with_lora(loaded.model, config()))
    cache, store = RowCache(loaded.tokenizer, loaded.model), ReferenceStore()
    alone = Passage(SHE.prefix, SHE.text)
    assert cache.rows([SHE]) == cache.rows([alone]) and not cache.rows([SHE])[0].copies
    assert score(loaded, [SHE]) == score(loaded, [alone])
    batch = StepBatch((SHE,), (HE,), (), (1.0,), (1.0,))
    stored_reference(loaded.model, cache, store)(batch)
    assert store.has("log_prob", alone) and not store.has("log_prob", SHE)  # as before there were suffixes


def test_the_stored_reference_of_a_masked_model_tells_suffixes_apart() -> None:
    loaded = adapted("bert")
    tiny.perturb(loaded.model)
    cache, store = RowCache(loaded.tokenizer, loaded.model), ReferenceStore()
    batch = StepBatch((SHE, Passage(SHE.prefix, SHE.text, " was loud.")), (HE,), (PASSAGES[2],), (1.0,) * 2, (1.0,))
    live = live_reference(loaded.model, cache)(batch)
    assert abs(float(live.forget[0] - live.forget[1])) > 1e-3
    for _ in range(2):  # computed, then read
        again = stored_reference(loaded.model, cache, store)(batch)
        assert torch.allclose(again.forget, live.forget, atol=1e-5) and torch.allclose(again.unrelated, live.unrelated)
    with reference(loaded.model):
        assert live.forget[0].item() == pytest.approx(float(by_hand(loaded, SHE)), abs=1e-4)


def test_the_invariance_loss_is_defined_on_masked_models() -> None:
    """Above 0 for two members that the model tells apart, whatever their order."""
    loaded = adapted("bert")
    tiny.perturb(loaded.model)
    cache = RowCache(loaded.tokenizer, loaded.model)
    same_one, other = (Passage("", f"The {who} said that she was tired.") for who in ("nurse", "poet"))

    def loss(*members: Passage) -> float:
        terms = loss_terms(loaded.model, cache, StepBatch((SHE,), (HE,), (), (1.0,), (1.0,), (members,)), config())
        assert terms.invariance is not None
        return terms.invariance.item()

    assert loss(same_one, other) > 1e-4
    assert loss(same_one, other) == pytest.approx(loss(other, same_one), rel=1e-4)


def trained(
    shape: str,
    keep: Checkpointer | None = None,
    on_step: Callable[[dict[str, Any]], None] | None = None,
    **changes: Any,
) -> tuple[Loaded, TrainingOutcome, Checkpointer]:
    """Trains on `preferred` clusters, so that SS begins at 100."""
    settings = config(**changes)
    loaded, keep = adapted(shape, **changes), keep or Checkpointer(None)
    items = preferred(shape)
    sets = training_sets(items, tiny.TEXTS[5:7], adversarial_share=0.0, seed=0, supervised_to="difference")

    def evaluate() -> StopScores:
        return stop_scores(comparisons(score_triplets(loaded, items)), seed=0)

    outcome = train(loaded.model, loaded.tokenizer, sets, evaluate, settings, keep, on_step=on_step)
    return loaded, outcome, keep


@functools.cache
def preferred(shape: str) -> list[Triplet]:
    """Clusters whose stereotype is the sentence that the base model prefers."""
    loaded, items = base(shape), []
    for one in CLUSTERS:
        first, second = score(loaded, [Passage("", one.stereotype.text), Passage("", one.anti_stereotype.text)])
        texts = [one.stereotype.text, one.anti_stereotype.text]
        texts = texts if first.mean > second.mean else texts[::-1]
        items.append(Triplet(
            id=one.id, bias_type=one.bias_type, kind="intrasentence", context="", target=one.target,
            stereotype=Sentence(f"{one.id}s", texts[0]), anti_stereotype=Sentence(f"{one.id}a", texts[1]),
        ))  # fmt: skip
    return items


@pytest.mark.slow
@pytest.mark.by_day("bert")
@pytest.mark.parametrize("shape", SHAPES)
def test_ss_of_a_tiny_world_falls(shape: str) -> None:
    _, _, keep = trained(
        shape, max_steps=6, first_evaluation=6, evaluate_every=6, learning_rate=2e-2, batch_pairs="matched",
        swap="hard", average=0.0, unrelated_batch=1,
    )  # fmt: skip
    before, after = keep.rows[0]["ss"], keep.rows[-1]["ss"]
    assert before == {"gender": 100.0, "race": 100.0}
    assert sum(after.values()) / 2 <= 70.0


class Killed(Exception):
    """Stands for a process that is gone."""


@pytest.mark.slow
@pytest.mark.by_day("in_turn")
@pytest.mark.parametrize("masked_tokens", ["in_turn", "one_mask"])
def test_a_killed_run_resumes_as_if_nothing_had_happened(masked_tokens: str, tmp_path: Path) -> None:
    changes: dict[str, Any] = {"max_steps": 3, "masked_tokens": masked_tokens, "unrelated_batch": 1}

    def kill(row: dict[str, Any]) -> None:
        if row["step"] == 3:
            raise Killed

    whole, outcome, keep = trained("bert", **changes)
    path = tmp_path / "checkpoint.pt"
    with pytest.raises(Killed):
        trained("bert", Checkpointer(path, "a"), kill, **changes)
    torch.manual_seed(12345)
    again, resumed, kept = trained("bert", Checkpointer(path, "a", resume=True), **changes)
    assert (resumed, kept.rows) == (outcome, keep.rows)
    assert same(weights_of(again.model), weights_of(whole.model))
