"""Effect sizes and p-values by hand, and against a second reckoning written here: one sentence a forward."""

import itertools
import json

import numpy as np
import pytest
import torch

from biasunlearn.benchmarks import seat
from biasunlearn.benchmarks.seat import associations, weigh
from biasunlearn.cli import main
from biasunlearn.errors import DataError, RequestError
from biasunlearn.models.batches import start_token
from biasunlearn.scoring.protocol import EvalPlan
from tests import tiny
from tests.shared_data import SHARED, needs_shared

TEST = {
    "targ1": {"category": "MaleNames", "examples": ["The poet is here.", "A doctor is here.", "It rains."]},
    "targ2": {"category": "FemaleNames", "examples": ["The nurse is here.", "My neighbour is here.", "She is kind."]},
    "attr1": {"category": "Career", "examples": ["the town", "the table", "the house"]},
    "attr2": {"category": "Family", "examples": ["ideas", "tired"]},
}


def write(folder, name="sent-weat6", **changes):
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.jsonl").write_text(json.dumps({**TEST, **changes}, indent=1))
    return str(folder)


def test_by_hand():
    # Difference of means 1.5 - -0.5 = 2; deviation of (1, 2, -1, 0) with n - 1: sqrt(5 / 3); 1 of 6 divisions.
    found = weigh(np.array([1.0, 2.0]), np.array([-1.0, 0.0]))
    assert found.effect_size == pytest.approx(2 / np.sqrt(5 / 3))
    assert (found.p, found.exact, found.divisions) == (pytest.approx(1 / 6), True, 6)
    # Divisions differ by 2, 1, 0, 0, -1, -2: mean |difference| 1.
    assert found.by_chance == pytest.approx(1 / np.sqrt(5 / 3))
    swapped = weigh(np.array([-1.0, 0.0]), np.array([1.0, 2.0]))
    assert swapped.effect_size == pytest.approx(-found.effect_size) and swapped.p == 1.0
    # cos of (1, 0) with (1, 0) is 1 and with (0, 2) is 0; of (1, 1) with both sqrt(1 / 2).
    rows = associations(np.array([[1.0, 0], [3.0, 3.0]]), np.array([[1.0, 0]]), np.array([[0, 2.0]]))
    np.testing.assert_allclose(rows, [1.0, 0.0], atol=1e-12)


def test_ties_count_and_nothing_to_tell_apart_is_no_fairness():
    found = weigh(np.array([1.0, 1.0]), np.array([1.0, 1.0]))
    assert found.effect_size is None and found.p == 1.0
    assert weigh(np.array([1.0, 0.0]), np.array([1.0, 0.0])).p == pytest.approx(5 / 6)  # all but one division: >= 0


def test_drawn_divisions_agree_with_all_of_them(monkeypatch):
    rng = np.random.default_rng(3)
    first, second = rng.normal(0.4, 1, 7), rng.normal(0, 1, 7)  # 3,432 divisions
    every = weigh(first, second)
    monkeypatch.setattr(seat, "EXACT", 10)
    seat._first_groups.cache_clear()
    drawn = weigh(first, second)
    seat._first_groups.cache_clear()
    assert every.exact and not drawn.exact and drawn.divisions == seat.DRAWN
    assert drawn.p == pytest.approx(every.p, abs=4 * np.sqrt(every.p * (1 - every.p) / seat.DRAWN))
    assert drawn.effect_size == every.effect_size


def test_without_an_association_p_is_even():
    """Negative control: targets drawn alike; a p below 0.2 about one time in five."""
    rng = np.random.default_rng(0)
    ps = [weigh(rng.normal(size=5), rng.normal(size=5)).p for _ in range(400)]
    assert np.mean(np.array(ps) <= 0.2) == pytest.approx(0.2, abs=0.06)


def vector(loaded, sentence, pooling):
    own = loaded.tokenizer.encode(sentence, add_special_tokens=False)
    if loaded.masked:
        ids, begin = [loaded.tokenizer.cls_token_id, *own, loaded.tokenizer.sep_token_id], 1
    else:
        start = start_token(loaded.tokenizer)
        ids, begin = ([start, *own], 1) if start is not None else (own, 0)
    with torch.no_grad():
        hidden = loaded.model(torch.tensor([ids]), output_hidden_states=True).hidden_states[-1][0].numpy()
    mine = hidden[begin : begin + len(own)].astype(np.float64)
    return mine.mean(0) if pooling == "mean" else mine[-1]


def again(loaded, test, pooling):
    """WEAT as Caliskan et al. write it, pair by pair."""

    def cosine(a, b):
        return float(np.dot(a, b) / np.sqrt(np.dot(a, a) * np.dot(b, b)))

    sets = {which: [vector(loaded, s, pooling) for s in test[which]["examples"]] for which in seat.SETS}
    score = [
        sum(cosine(w, a) for a in sets["attr1"]) / len(sets["attr1"])
        - sum(cosine(w, b) for b in sets["attr2"]) / len(sets["attr2"])
        for w in [*sets["targ1"], *sets["targ2"]]
    ]
    n = len(sets["targ1"])
    difference = sum(score[:n]) / n - sum(score[n:]) / (len(score) - n)
    mean = sum(score) / len(score)
    spread = (sum((s - mean) ** 2 for s in score) / (len(score) - 1)) ** 0.5
    as_large = total = 0
    for chosen in itertools.combinations(range(len(score)), n):
        rest = [i for i in range(len(score)) if i not in chosen]
        value = sum(score[i] for i in chosen) / n - sum(score[i] for i in rest) / len(rest)
        as_large += value >= difference - 1e-9
        total += 1
    return difference / spread, as_large / total


@pytest.mark.parametrize("build", [tiny.gpt2, tiny.masked, lambda: tiny.causal("llama")])
def test_a_test_agrees_with_the_second_reckoning(build, tmp_path):
    loaded = build()
    _, entry = seat.run(loaded, write(tmp_path / "seat"), EvalPlan())
    entry = entry.to_dict()
    found = entry["tests"]["sent-weat6"]
    for pooling, suffix in seat.SUFFIX.items():
        d, p = again(loaded, TEST, pooling)
        assert found[f"effect_size{suffix}"] == pytest.approx(d, abs=1e-4)
        assert found[f"p{suffix}"] == pytest.approx(p) and found[f"exact{suffix}"]
    assert found["bias_type"] == "gender" and found["attributes"] == "Career / Family" and found["sentences"]
    assert abs(found["effect_size"] - found["effect_size_last"]) > 1e-3  # the two poolings are not the same


@pytest.mark.slow
@needs_shared
def test_a_published_test_on_a_real_model_agrees_too():
    from biasunlearn.models.load import load

    loaded = load(str(SHARED / "models/minilm-clm"))
    file = SHARED / "data/seat/weat6.jsonl"
    _, entry = seat.run(loaded, str(file), EvalPlan())
    entry = entry.to_dict()
    d, p = again(loaded, json.loads(file.read_text()), "mean")
    assert entry["tests"]["weat6"]["effect_size"] == pytest.approx(d, abs=1e-4)
    assert entry["tests"]["weat6"]["p"] == pytest.approx(p) and entry["tests"]["weat6"]["divisions"] == 12870


def test_means_leave_words_out_where_there_are_sentences_and_controls_out_of_the_overall(tmp_path):
    folder = write(tmp_path / "seat")
    words = {which: {**TEST[which], "examples": ["poet", "nurse", "doctor"]} for which in ("targ1", "targ2")}
    words["targ2"] = {**words["targ2"], "examples": ["town", "table", "year"]}
    write(tmp_path / "seat", "weat6", **words)
    write(tmp_path / "seat", "sent-weat1", targ1={**TEST["targ1"], "category": "Flowers"})
    write(tmp_path / "seat", "own", bias_type="age")
    items, entry = seat.run(tiny.gpt2(), folder, EvalPlan())
    entry = entry.to_dict()
    tests = entry["tests"]
    assert {name: row["bias_type"] for name, row in tests.items()} == {
        "own": "age", "sent-weat1": "control", "sent-weat6": "gender", "weat6": "gender",
    }  # fmt: skip
    assert not tests["weat6"]["sentences"]
    mean = entry["bias_types"]["gender"]["abs_effect_size"]["value"]
    assert mean == pytest.approx(abs(tests["sent-weat6"]["effect_size"]))
    expected = (abs(tests["sent-weat6"]["effect_size"]) + abs(tests["own"]["effect_size"])) / 2
    assert entry["overall"]["abs_effect_size"]["value"] == pytest.approx(expected)
    assert "control" in entry["bias_types"]
    assert {o.unit for o in seat.outcomes(items)} == {"own", "sent-weat6"}
    again_from_items = seat.entry(items).to_dict()
    assert {key: entry[key] for key in again_from_items} == again_from_items


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"targ1": {"category": "x"}}, "not a SEAT test"),
        ({"attr2": {"category": "x", "examples": ["a"]}}, "attr2 has fewer than two"),
    ],
)
def test_files_of_another_shape_are_named(change, message, tmp_path):
    with pytest.raises(RequestError, match=message):
        seat.read(write(tmp_path / "seat", **change))


def test_bad_examples_are_named_and_can_be_dropped(tmp_path):
    broken = {**TEST["targ1"], "examples": [*TEST["targ1"]["examples"], "", 7]}
    folder = write(tmp_path / "seat", targ1=broken)
    with pytest.raises(DataError, match=r"sent-weat6.jsonl: targ1.examples\[3\]: field example: empty"):
        seat.read(folder)
    _, entry = seat.run(tiny.gpt2(), folder, EvalPlan(skip_invalid=True))
    entry = entry.to_dict()
    assert entry["skipped"] == 2 and len(entry["skipped_rows"]) == 2 and entry["tests"]["sent-weat6"]["n"] == [3, 3]


def test_from_the_command_line(tmp_path, capsys):
    model = tiny.save(tiny.gpt2(), tmp_path / "model")
    arguments = ["measure", model, "--benchmark", f"seat={write(tmp_path / 'seat')}", "--out", str(tmp_path / "run")]
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    assert "sent-weat6" in printed and "shuffled targets" in printed
    again_ = ["rescore", "--scores", str(tmp_path / "run/items.parquet"), "--out", str(tmp_path / "again")]
    assert main(again_) == 0
    stored = [
        json.loads((tmp_path / out / "results.json").read_text())["benchmarks"]["seat"] for out in ("run", "again")
    ]
    assert stored[0] == stored[1]
    (tmp_path / "empty").mkdir()
    assert main(["measure", model, "--benchmark", f"seat={tmp_path / 'empty'}", "--out", str(tmp_path / "no")]) == 2
