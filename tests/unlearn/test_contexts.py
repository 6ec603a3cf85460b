"""Counterfactual contexts: which sentences become one, which tokens its members share, and what training on it does."""

import dataclasses
import json
from pathlib import Path

import pytest
import torch

from biasunlearn.config import DebiasConfig
from biasunlearn.data.records import Passage, Sentence, Triplet
from biasunlearn.errors import DataError
from biasunlearn.models.adapters import trainable
from biasunlearn.models.batches import TokenRow
from biasunlearn.models.packed_forward import RowCache, read
from biasunlearn.scoring.log_prob import score
from biasunlearn.unlearn.contexts import aligned, counterfactual_contexts, term_families
from biasunlearn.unlearn.prepare import prepare
from biasunlearn.unlearn.sampler import BatchSampler
from biasunlearn.unlearn.trainer import loss_terms
from tests import tiny
from tests.unlearn.test_trainer import SETS, config, fresh


def pair(target: str, stereotype: str, anti: str, bias_type: str = "religion") -> Triplet:
    return Triplet(
        id=stereotype, bias_type=bias_type, kind="intrasentence", context="", target=target,
        stereotype=Sentence("s", stereotype), anti_stereotype=Sentence("a", anti),
    )  # fmt: skip


def test_both_sentences_of_a_pair_become_contexts_about_others() -> None:
    triplet = pair("Muslim", "The Muslim man is strict.", "The Muslim man is kind.")
    (first, second) = counterfactual_contexts([triplet], count=3, seed=0)["religion"]
    assert first[0] == Passage("", "The Muslim man is strict.") and second[0] == Passage("", "The Muslim man is kind.")
    assert len(first) == len(second) == 4 and len(set(first)) == 4
    for one, other in zip(first, second, strict=True):  # the same person in both sentences
        assert one.text.removesuffix("strict.") == other.text.removesuffix("kind.")
    assert not any("Muslim" in passage.text for passage in first[1:])


def test_term_families_later_data_are_not_used_and_what_cannot_be_replaced_has_no_context() -> None:
    triplet = pair("Muslim", "The Muslim man is strict.", "The Muslim man is kind.")
    many = counterfactual_contexts([triplet], count=50, seed=0)["religion"][0]
    assert any("Christian" in passage.text for passage in many)  # the control: without the rule they are used
    later = term_families([pair("Christian", "A Christian is strict.", "A Christian is kind.")])
    rest = counterfactual_contexts([triplet], count=50, seed=0, without=later)["religion"][0]
    assert len(rest) > 1 and not any("Christian" in passage.text for passage in rest)
    absent = pair("Muslim", "He is strict.", "He is kind.")
    assert counterfactual_contexts([absent], count=3, seed=0) == {}
    assert counterfactual_contexts([dataclasses.replace(triplet, kind="intersentence")], count=3, seed=0) == {}


def files(folder: Path) -> tuple[str, str]:
    """Eight training pairs about four groups, and two report pairs about another."""
    for name, targets in (("train", ("Muslim", "Hindu", "Jewish", "Catholic")), ("report", ("Christian",))):
        rows = [
            {"bias_type": "religion", "target": who, "stereotype": f"The {who} man is {bad}.",
             "anti_stereotype": f"The {who} man is {good}.", "unrelated": f"The {who} man is of {bad}."}
            for who in targets for bad, good in (("strict", "kind"), ("rude", "calm"))
        ]  # fmt: skip
        (folder / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return str(folder / "train.jsonl"), str(folder / "report.jsonl")


def test_of_a_large_file_the_contexts_of_some_pairs_are_made_and_their_number_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = *files(tmp_path), None, DebiasConfig()
    whole = prepare(*given)
    assert len(whole.train) > 3 and len(whole.sets.contexts) == 2 * len(whole.train)  # the control: all of them
    assert not any("drawn with the seed" in line for line in whole.facts.findings)
    monkeypatch.setattr("biasunlearn.unlearn.prepare.MOST_PAIRS", 3)
    some = prepare(*given)
    assert len(some.sets.contexts) == 6 and set(some.sets.contexts) < set(whole.sets.contexts)
    said = f"the invariance loss uses versions of 6 sentences, from 3 of the {len(whole.train)} training pairs"
    assert any(line.startswith(said) for line in some.facts.findings)
    assert prepare(*given).sets == some.sets and some.train == whole.train


def test_a_context_that_the_model_cannot_score_is_left_out_and_costs_no_pair(tmp_path: Path) -> None:
    """The rows of the file are scorable; only a version that was built from one is too long."""
    given = *files(tmp_path), None, DebiasConfig()
    whole = prepare(*given)
    context = whole.sets.contexts[0]
    found = prepare(*given, unscorable={context[1]: "has 99 tokens"})
    assert found.train == whole.train and found.stop == whole.stop
    assert found.sets.contexts == tuple(one for one in whole.sets.contexts if context[1] not in one)
    used = f"{len(found.sets.contexts)} of {2 * len(whole.train)} training sentences have versions about other groups"
    assert any(line.startswith(used) for line in found.facts.findings)
    with pytest.raises(DataError, match="has 99 tokens"):  # the control: a row of the file is refused
        prepare(*given, unscorable={context[0]: "has 99 tokens"})


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        # 0 is the start token and is not scored; 7 comes first behind the difference and is left out
        ([(0, 5, 7, 8), (0, 6, 7, 8)], [[2, 2]]),
        # a term of two tokens: what follows is shifted
        ([(0, 5, 7, 8, 9), (0, 6, 9, 7, 8, 9)], [[2, 3], [3, 4]]),
        # what comes before the term is not compared: the members agree there by construction
        ([(0, 1, 2, 5, 7, 8), (0, 1, 2, 6, 7, 8)], [[4, 4]]),
        # a second difference, and the first token behind it, are left out; what follows is not
        ([(0, 5, 7, 3, 8, 9), (0, 6, 7, 4, 8, 9)], [[4, 4]]),
        ([(0, 5), (0, 6)], []),
    ],
)
def test_the_tokens_that_members_share_by_hand(rows: list[tuple[int, ...]], expected: list[list[int]]) -> None:
    found = aligned(tuple(TokenRow(ids, 1) for ids in rows))
    assert [list(one) for one in found] == expected


CONTEXTS = tuple(
    tuple(Passage("", f"The {who} is {word}.") for who in ("nurse", "poet", "doctor")) for word in ("tired", "quiet")
)
WITH_CONTEXTS = dataclasses.replace(SETS, contexts=CONTEXTS)


def test_the_loss_is_that_of_a_plain_computation() -> None:
    settings = config(invariance_weight=5.0, context_batch=2)
    loaded = fresh(settings)
    tiny.perturb(loaded.model)
    cache = RowCache(loaded.tokenizer, loaded.model)
    batch = BatchSampler(WITH_CONTEXTS, settings).next({"gender": 1.0, "race": 1.0})
    terms = loss_terms(loaded.model, cache, batch, settings)
    expected = []
    for context in batch.contexts:
        rows = cache.rows(context)
        where = aligned(tuple(rows))
        now = [read(loaded.model, loaded.tokenizer, [p]).logits.log_softmax(-1) for p in context]
        with loaded.model.disable_adapter():
            before = [read(loaded.model, loaded.tokenizer, [p]).logits.softmax(-1) for p in context]
        per_token = []
        for positions in where:
            q = sum(before[j][k] for j, k in enumerate(positions)) / len(positions)
            weights = q.sqrt() / q.sqrt().sum()
            found = torch.stack([now[j][k] for j, k in enumerate(positions)])
            per_token.append((weights * (found - found.mean(0)) ** 2).sum() / len(positions) / 2)
        expected.append(sum(per_token) / len(per_token))
    assert terms.invariance is not None
    assert terms.invariance.item() == pytest.approx(float(sum(expected) / len(expected)), abs=1e-5)
    without = dataclasses.replace(settings, invariance_weight=0.0)
    plain = loss_terms(loaded.model, cache, dataclasses.replace(batch, contexts=()), without)
    assert plain.invariance is None and "loss_invariance" not in plain.log()
    difference = terms.total(settings).item() - plain.total(without).item()
    assert difference == pytest.approx(5 * terms.invariance.item(), abs=1e-4)


@pytest.mark.slow
def test_training_removes_what_depends_on_the_group() -> None:
    """Beside it the control: the same steps with weight 0 leave the difference between the groups as it is."""
    spread = {}
    for weight in (0.0, 5.0):
        settings = config(invariance_weight=weight, forget_weight=0.0, retain_weight=0.0, kl_weight=0.0)
        loaded = fresh(settings)
        cache = RowCache(loaded.tokenizer, loaded.model)
        optimizer = torch.optim.AdamW(list(trainable(loaded.model).values()), lr=3e-2)
        sampler = BatchSampler(WITH_CONTEXTS, settings)
        for _ in range(8):
            terms = loss_terms(loaded.model, cache, sampler.next({"gender": 1.0, "race": 1.0}), settings)
            if terms.total(settings).requires_grad:
                terms.total(settings).backward()
            optimizer.step()
            optimizer.zero_grad()
        margins = [
            a.log_prob - b.log_prob
            for a, b in zip(score(loaded, CONTEXTS[0]), score(loaded, CONTEXTS[1]), strict=True)
        ]
        spread[weight] = max(margins) - min(margins)
    assert spread[0.0] > 1e-4 and spread[5.0] < 0.5 * spread[0.0]


def test_guard_sentences_join_the_kl_term_of_every_step() -> None:
    settings = config(invariance_weight=5.0, context_batch=2, guard_batch=2)
    guard = tuple(Passage("", f"The {who} is a town.") for who in ("nurse", "poet", "doctor"))
    sets = dataclasses.replace(WITH_CONTEXTS, guard=guard)
    sampler, drawn = BatchSampler(sets, settings), []
    for _ in range(3):
        batch = sampler.next({"gender": 1.0, "race": 1.0})
        assert len(batch.unrelated) == settings.unrelated_batch + 2
        drawn += [passage for passage in batch.unrelated if passage in guard]
    assert len(drawn) == 6 and set(drawn) == set(guard)  # each once an epoch
    plain = BatchSampler(WITH_CONTEXTS, settings).next({"gender": 1.0, "race": 1.0})
    assert len(plain.unrelated) == settings.unrelated_batch and not set(plain.unrelated) & set(guard)
