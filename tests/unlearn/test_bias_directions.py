"""The penalty of biasunlearn_orthogonal: by hand, for each sentence by itself, and in training beside a control."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch

from biasunlearn.config import DebiasConfig, config_from
from biasunlearn.data.records import Passage
from biasunlearn.errors import RequestError
from biasunlearn.models.adapters import reference, with_lora
from biasunlearn.models.batches import collate
from biasunlearn.models.forward import evaluating, hidden_states
from biasunlearn.models.load import Loaded
from biasunlearn.models.packed_forward import RowCache
from biasunlearn.unlearn.bias_directions import DirectionPenalty, Subspace, projected_change, subspace
from biasunlearn.unlearn.checkpoint import Checkpointer
from biasunlearn.unlearn.evaluation import StopScores
from biasunlearn.unlearn.prepare import prepare
from biasunlearn.unlearn.sampler import BatchSampler, StepBatch
from biasunlearn.unlearn.sets import TrainingSets
from biasunlearn.unlearn.trainer import check_settings, train
from tests import tiny
from tests.test_cli import write_pairs
from tests.unlearn.test_trainer import SETS, config, fresh, scores

ONLY_GENDER = dataclasses.replace(
    SETS,
    forget={"gender": SETS.forget["gender"]},
    retain={"gender": SETS.retain["gender"]},
    pairs={"gender": SETS.pairs["gender"]},
    protected={"race": tuple(pair for pair in SETS.pairs["race"] if pair[0] != pair[1])},
)


def test_the_directions_by_hand() -> None:
    found = subspace([torch.tensor([[2.0, 0.0], [2.0, 0.0]], dtype=torch.float64)])
    assert found.basis.abs().tolist() == [[1.0], [0.0]] and found.scale.item() == 4.0
    # The mean is (2, 0, 0), the rest differs along the second axis; the third is left alone.
    both = subspace([torch.tensor([[2.0, 1.0, 0.0], [2.0, -1.0, 0.0]], dtype=torch.float64)])
    assert (both.basis @ both.basis.T).round(decimals=6).tolist() == torch.diag(torch.tensor([1.0, 1.0, 0.0])).tolist()
    assert both.scale.item() == 5.0


def test_the_change_along_them_by_hand() -> None:
    first = Subspace(torch.tensor([[1.0], [0.0]]), torch.tensor(2.0))
    assert projected_change(torch.tensor([[3.0, 4.0], [0.0, 9.0]]), first).tolist() == [4.5, 0.0]


def penalty_of(loaded: Loaded, sets: TrainingSets = ONLY_GENDER) -> DirectionPenalty:
    return DirectionPenalty(loaded.model, RowCache(loaded.tokenizer, loaded.model), sets)


def whole_batch(sets: TrainingSets) -> StepBatch:
    pairs = [pair for own in sets.pairs.values() for pair in own if pair[0] != pair[1]]
    kept = tuple(side for own in sets.protected.values() for pair in own for side in pair)
    ones = (1.0,) * len(pairs)
    return StepBatch(tuple(p[0] for p in pairs), tuple(p[1] for p in pairs), (), ones, ones, (), kept)


@pytest.mark.slow
def test_a_new_adapter_has_no_penalty_and_another_has_that_of_each_sentence_by_itself() -> None:
    base = tiny.gpt2(n_layer=2)
    loaded = base.with_model(with_lora(base.model, config()))
    penalty, batch = penalty_of(loaded), whole_batch(ONLY_GENDER)
    assert penalty(loaded.model, batch).abs().max().item() == 0.0
    tiny.perturb(loaded.model)
    found = penalty(loaded.model, batch)
    passages = (*batch.forget, *batch.retain, *batch.protected)
    directions = {layer: directions_at(loaded, layer) for layer in (1, 2)}
    expected = [by_itself(loaded, passage, directions) for passage in passages]
    assert found.tolist() == pytest.approx(expected, rel=1e-3) and min(expected) > 0


def states_at(loaded: Loaded, passage: Passage, layer: int) -> torch.Tensor:
    """[tokens, width] of one sentence, read by itself."""
    rows = RowCache(loaded.tokenizer, loaded.model).rows([passage])
    with evaluating(loaded.model):
        return hidden_states(loaded.model, collate(rows))[layer][0]


def directions_at(loaded: Loaded, layer: int) -> torch.Tensor:
    """The directions of race in the states of the base model, each sentence read by itself."""
    cache = RowCache(loaded.tokenizer, loaded.model)
    with reference(loaded.model):
        sides = [
            [states_at(loaded, side, layer)[row.first_scored :].double().mean(0)
             for side, row in zip(pair, cache.rows(list(pair)), strict=True)]
            for pair in ONLY_GENDER.protected["race"]
        ]  # fmt: skip
    return subspace([torch.stack([one - other for one, other in sides])])


def by_itself(loaded: Loaded, passage: Passage, directions: dict[int, torch.Tensor]) -> float:
    """The penalty of one sentence along the directions of race, which is the only other bias type for all of them."""
    total = 0.0
    for layer, along in directions.items():
        with reference(loaded.model):
            before = states_at(loaded, passage, layer)
        total += projected_change(states_at(loaded, passage, layer) - before, along)[1:].mean().item() / 2
    return total


def test_other_bias_types_are_those_that_the_sentence_is_not_of() -> None:
    loaded = fresh(config())
    only, both = penalty_of(loaded), penalty_of(loaded, SETS)
    assert only.others(SETS.pairs["gender"][0][0]) == only.others(SETS.pairs["race"][0][0]) == ("race",)
    assert both.others(SETS.pairs["gender"][0][0]) == ("race",)
    assert both.others(SETS.pairs["race"][0][0]) == ("gender",)


def test_protected_sentences_are_drawn_and_none_where_there_are_none() -> None:
    drawn = BatchSampler(ONLY_GENDER, config()).next({"gender": 1.0})
    assert len(drawn.protected) == 3 and set(drawn.protected) <= {p for pair in SETS.pairs["race"] for p in pair}
    assert BatchSampler(SETS, config()).next({"gender": 1.0, "race": 1.0}).protected == ()


def trained(tmp_path: Path, weight: float) -> tuple[Any, list[dict[str, Any]]]:
    settings = config(method="biasunlearn_orthogonal", orthogonal_weight=weight, max_steps=12, average=0.0,
                      learning_rate=5e-3, swap="none", kl_weight=0.0, invariance_weight=0.0)  # fmt: skip
    loaded, rows = fresh(settings), []
    keep = Checkpointer(tmp_path / str(weight))
    gender = StopScores({"gender": scores(60.0).bias_types["gender"]}, 90.0)
    train(loaded.model, loaded.tokenizer, ONLY_GENDER, None, settings, keep, base_scores=gender, on_step=rows.append)
    return loaded, rows


@pytest.mark.slow
def test_in_training_it_keeps_those_directions_and_not_others(tmp_path: Path) -> None:
    """The control has the same seed, the same batches and no weight."""
    (free, _), (kept, rows) = trained(tmp_path, 0.0), trained(tmp_path, 100.0)
    batch = whole_batch(ONLY_GENDER)
    along = [penalty_of(loaded)(loaded.model, batch).mean().item() for loaded in (free, kept)]
    assert along[1] < along[0] / 4
    assert rows[0]["loss_orthogonal"] == 0.0 and rows[-1]["loss_orthogonal"] > 0
    moved = [whole_change(loaded, batch) for loaded in (free, kept)]
    assert moved[1] / moved[0] > 2 * along[1] / along[0]  # states still move, but elsewhere
    forgotten = [margin(loaded) for loaded in (fresh(config()), free, kept)]
    assert forgotten[1] < forgotten[0] and forgotten[2] < forgotten[0]  # and gender is still unlearned


def whole_change(loaded: Loaded, batch: StepBatch) -> float:
    """The mean squared change of the states in all directions."""
    cache = RowCache(loaded.tokenizer, loaded.model)
    tokens = collate(cache.rows([*batch.forget, *batch.retain, *batch.protected]))
    with evaluating(loaded.model):
        after = hidden_states(loaded.model, tokens)[-1]
        with reference(loaded.model):
            before = hidden_states(loaded.model, tokens)[-1]
    return float((after - before)[tokens.attention_mask.bool()].square().sum(-1).mean())


def margin(loaded: Loaded) -> float:
    from biasunlearn.scoring.log_prob import score

    pairs = [pair for pair in SETS.pairs["gender"] if pair[0] != pair[1]]
    one, other = (score(loaded, [pair[side] for pair in pairs]) for side in (0, 1))
    return sum(a.mean - b.mean for a, b in zip(one, other, strict=True)) / len(pairs)


def test_only_the_trained_types_are_in_the_sets_and_the_others_are_protected(tmp_path: Path) -> None:
    pairs, report = write_pairs(tmp_path / "t.jsonl"), write_pairs(tmp_path / "r.jsonl", bias_types=("old", "new"))

    def made(**values: Any) -> Any:
        return prepare(pairs, report, None, config_from({"method": "biasunlearn_orthogonal", **values}))

    found = made(trained_types="age")
    assert found.sets.bias_types == ("age",) and set(found.sets.protected) == {"work"}
    assert {triplet.bias_type for triplet in (*found.train, *found.stop)} == {"age"}
    assert any("pairs of work are only used to keep their bias directions" in line for line in found.facts.findings)
    every = made()
    assert every.sets.bias_types == ("age", "work") and every.sets.protected == {}
    unused = prepare(pairs, report, None, config_from({"trained_types": ["age"]}))
    assert unused.sets.protected == {} and any("pairs of work are not used" in line for line in unused.facts.findings)
    with pytest.raises(RequestError, match="trained_types: odd: the training pairs have no such bias type"):
        made(trained_types="odd")
    one = write_pairs(tmp_path / "one.jsonl", bias_types=("age",))
    with pytest.raises(RequestError, match="orthogonal_weight: the training pairs have one bias type, age"):
        prepare(one, report, None, config_from({"method": "biasunlearn_orthogonal"}))


def test_settings_that_it_cannot_be_combined_with() -> None:
    for changes, said in (
        ({"lora_rank": 0, "invariance_weight": 0.0}, "needs an adapter"),
        ({"swap_by": "subgroup"}, "needs an adapter"),
        ({"method": "cda"}, "method: cda is not trained on pairs"),
    ):
        with pytest.raises(RequestError, match=said):
            check_settings(config(orthogonal_weight=1.0, **changes), SETS)
    with pytest.raises(RequestError, match="orthogonal_weight: -1.0; must not be negative"):
        DebiasConfig(orthogonal_weight=-1.0)
