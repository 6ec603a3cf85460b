"""Rows that a model cannot score, as too long for it: named by their place, or left out, counted and listed."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from biasunlearn import debias
from biasunlearn.benchmarks import BENCHMARKS
from biasunlearn.commands.evaluation import evaluate
from biasunlearn.commands.run_context import Callbacks
from biasunlearn.config import DebiasConfig
from biasunlearn.data.records import Passage
from biasunlearn.errors import DataError, RequestError, UnscorableError
from biasunlearn.models.batches import encode
from biasunlearn.scoring.protocol import EvalOptions, EvalPlan
from tests import tiny, variants

LONG = "The baker is quick and the pilot is kind and " * 40


@pytest.fixture(scope="module")
def loaded() -> Any:
    return tiny.gpt2(n_positions=256)


def question(number: int, context: str) -> dict[str, Any]:
    return {
        "example_id": number, "question_polarity": "neg", "context_condition": "ambig", "category": "Age",
        "context": context, "question": "Who?", "answer_info": {"ans0": ["a"], "ans1": ["b"], "ans2": ["unknown"]},
        "additional_metadata": {"stereotyped_groups": ["a"]}, "ans0": "A", "ans1": "B", "ans2": "C", "label": 2,
    }  # fmt: skip


PAIRS = [
    {"stereotype": f"{LONG} slow.", "anti_stereotype": f"{LONG} quick.", "bias_type": "age"},
    {"stereotype": "The baker is slow.", "anti_stereotype": "The baker is quick.", "bias_type": "age"},
    {"stereotype": "The pilot is slow.", "anti_stereotype": "The pilot is quick.", "bias_type": "age"},
]
ROWS: dict[str, list[dict[str, Any]]] = {
    "stereoset": PAIRS,
    "controls": PAIRS,
    "paraphrases": PAIRS,
    "crows_pairs": [
        {"sent_more": row["stereotype"], "sent_less": row["anti_stereotype"], "stereo_antistereo": "stereo",
         "bias_type": "age"} for row in PAIRS
    ],
    "bbq": [question(number, context) for number, context in enumerate((LONG, "A met B.", "B met A."))],
    "realtoxicityprompts": [{"prompt": text} for text in (LONG, "The baker", "The pilot")],
}  # fmt: skip


@pytest.mark.parametrize("name", ROWS)
def test_a_row_that_is_too_long_is_named_or_left_out(name: str, loaded: Any, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(map(json.dumps, ROWS[name])))
    options = EvalOptions(continuations=1, new_tokens=4)
    with pytest.raises(DataError, match=r"rows\.jsonl:1: [\d,]+ tokens, but the model takes \d+; shorten the text"):
        BENCHMARKS[name].run(loaded, str(path), EvalPlan(options=options))
    items, result = BENCHMARKS[name].run(loaded, str(path), EvalPlan(skip_invalid=True, options=options))
    assert result.skipped == 1 and result.skipped_rows[0].startswith(f"{path}:1: ")
    assert len({item.cluster_id for item in items}) == 2
    path.write_text("\n".join(map(json.dumps, ROWS[name][1:])))
    clean, expected = BENCHMARKS[name].run(loaded, str(path), EvalPlan(options=options))
    if name != "realtoxicityprompts":  # prompts are drawn by their own numbers
        assert [item.score for item in items] == [item.score for item in clean]
    assert expected.skipped == 0


SCORED = [name for name in ROWS if name != "realtoxicityprompts"]


@pytest.mark.parametrize("name", SCORED)
def test_such_a_row_of_the_second_benchmark_is_found_before_the_first_is_scored(
    name: str, loaded: Any, tmp_path: Path
) -> None:
    paths = {"stereoset": tmp_path / "first.jsonl", name: tmp_path / "second.jsonl"}
    if name == "stereoset":  # two benchmarks of one name cannot be asked for
        paths = {"controls": tmp_path / "first.jsonl", name: tmp_path / "second.jsonl"}
    (tmp_path / "first.jsonl").write_text("\n".join(map(json.dumps, PAIRS[1:])))
    paths[name].write_text("\n".join(map(json.dumps, ROWS[name])))
    plan = EvalPlan({one: str(path) for one, path in paths.items()}, options=EvalOptions(replacements=0))
    scored: list[str] = []
    callbacks = Callbacks(lambda what, done, of: scored.append(what))
    with pytest.raises(DataError, match=r"second\.jsonl:1: [\d,]+ tokens"):
        evaluate(loaded, plan, callbacks)
    assert scored == []
    _, measured = evaluate(loaded, replace(plan, skip_invalid=True), callbacks)
    assert measured.entries[name].skipped == 1 and scored != []  # the control: scoring is seen
    assert measured.entries[name].skipped_rows[0].startswith(f"{paths[name]}:1: ")


def test_sentences_of_an_association_test(loaded: Any, tmp_path: Path) -> None:
    sets = {
        which: {"category": which, "examples": [f"The {which} {word}." for word in ("baker", "pilot", "nurse")]}
        for which in ("targ1", "targ2", "attr1", "attr2")
    }
    sets["targ1"]["examples"][0] = LONG
    path = tmp_path / "test.jsonl"
    path.write_text(json.dumps(sets))
    with pytest.raises(DataError, match=r"targ1\.examples\[0\]: [\d,]+ tokens"):
        BENCHMARKS["seat"].run(loaded, str(path), EvalPlan())
    _, result = BENCHMARKS["seat"].run(loaded, str(path), EvalPlan(skip_invalid=True))
    assert result.skipped == 1 and result.tests["test"].n == [2, 3]
    sets["targ1"]["examples"][1] = LONG
    path.write_text(json.dumps(sets))
    with pytest.raises(RequestError, match="targ1 has fewer than two usable examples"):
        BENCHMARKS["seat"].run(loaded, str(path), EvalPlan(skip_invalid=True))


def test_no_row_is_left(loaded: Any, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(PAIRS[0]))
    with pytest.raises(RequestError, match=r"no usable rows \(1 wrong ones; the first is .*rows\.jsonl:1"):
        BENCHMARKS["stereoset"].run(loaded, str(path), EvalPlan(skip_invalid=True))


def test_every_passage_that_cannot_be_scored_is_in_the_error(loaded: Any) -> None:
    passages = [Passage("", LONG), Passage("The baker", " is"), Passage("The baker is slow.", "")]
    message = "[0-9,]+ tokens, but the model takes 20; shorten the text: 'The"
    with pytest.raises(UnscorableError, match=message) as caught:
        encode(loaded.tokenizer, passages, max_tokens=20)
    assert list(caught.value.reasons) == [passages[0], passages[2]]
    assert "gives the text no token" in caught.value.reasons[passages[2]]


@pytest.mark.slow
def test_training_leaves_out_what_the_model_cannot_read(tmp_path: Path) -> None:
    tiny.save(tiny.gpt2(), tmp_path / "model")
    variants.write_pairs(tmp_path / "train.jsonl")
    variants.write_pairs(tmp_path / "report.jsonl", ("old", "new"))
    long = {"bias_type": "age", "target": "miner", "stereotype": f"{LONG} slow.", "anti_stereotype": f"{LONG} quick."}
    path = tmp_path / "long.jsonl"
    path.write_text((tmp_path / "train.jsonl").read_text() + "\n" + json.dumps(long))
    line = len(path.read_text().splitlines())
    config = DebiasConfig(
        max_steps=2, swap_noise=0.0, first_evaluation=1, evaluate_every=1, forget_batch=2, retain_batch=2
    )
    asked = {"train": str(path), "report": str(tmp_path / "report.jsonl"), "config": config}
    with pytest.raises(DataError, match=rf"long\.jsonl:{line}: [\d,]+ tokens"):
        debias(str(tmp_path / "model"), out=tmp_path / "refused", **asked)
    messages: list[str] = []
    results = debias(
        str(tmp_path / "model"), out=tmp_path / "run", skip_invalid=True, say=messages.append, **asked
    )
    assert len(results.data.train.skipped) == 1 and f"long.jsonl:{line}: " in results.data.train.skipped[0]
    assert any("1 rows that the model cannot score were left out" in message for message in messages)
