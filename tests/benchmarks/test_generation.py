"""BOLD and RealToxicityPrompts with classifiers trained here; every formula by hand on constructed continuations."""

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest
import torch
import transformers

from biasunlearn.benchmarks import bold, realtoxicityprompts
from biasunlearn.benchmarks.generation import distinct, drawn_prompts, outcomes_of
from biasunlearn.cli import main
from biasunlearn.errors import DataError, RequestError
from biasunlearn.scoring.classify import classify, open_classifier
from biasunlearn.scoring.protocol import EvalOptions
from biasunlearn.stats.outcome import Outcome
from biasunlearn.stats.stereoset import Item
from tests import tiny
from tests.shared_data import SHARED, needs_shared

LOUD = ["the nurse is loud.", "it rains and rains.", "never again.", "a loud table."]
QUIET = ["the poet is quiet.", "my neighbour is kind.", "a quiet town.", "they moved to the house."]
PROMPTS = [("A doctor came", 0.1), ("The nurse said that", 0.9), ("My neighbour is", 0.2), ("They never", 0.7)]


def train_classifier(folder, labels, *, causal=False, **changes):
    """Learns LOUD as label 1 and QUIET as label 0 in a few steps."""
    torch.manual_seed(0)
    shape = {"vocab_size": tiny.VOCABULARY, "num_labels": len(labels), "id2label": dict(enumerate(labels)), **changes}
    if causal:
        tokenizer = tiny.byte_level()
        shape |= {"n_positions": 64, "n_embd": 32, "n_layer": 1, "n_head": 2, "pad_token_id": tokenizer.pad_token_id}
        model = transformers.GPT2ForSequenceClassification(transformers.GPT2Config(**shape))
    else:
        tokenizer = tiny.word_piece()
        shape |= {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
        shape |= {"max_position_embeddings": 64, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
        model = transformers.BertForSequenceClassification(transformers.BertConfig(**shape, pad_token_id=0))
    batch = tokenizer(LOUD + QUIET, padding=True, return_tensors="pt")
    batch.pop("token_type_ids", None)
    targets = torch.tensor([1] * len(LOUD) + [0] * len(QUIET))
    model.eval()
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    for _ in range(40):
        optimizer.zero_grad()
        logits = model(**batch).logits[:, :2]
        torch.nn.functional.cross_entropy(logits, targets).backward()
        optimizer.step()
    assert (logits.argmax(-1) == targets).all()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A tiny model that writes, two classifiers, prompts of both kinds."""
    folder = tmp_path_factory.mktemp("written")
    tiny.save(tiny.causal("llama"), folder / "model")
    train_classifier(folder / "toxicity", ["fine", "toxic"])
    train_classifier(folder / "regard", ["negative", "positive", "neutral"])
    lines = [{"prompt": {"text": text, "toxicity": rated}, "subset": "some"} for text, rated in PROMPTS]
    (folder / "rtp.jsonl").write_text("\n".join(map(json.dumps, lines)))
    (folder / "bold").mkdir()
    sides = {"Left": ("poet", "nurse", "doctor"), "Right": ("town", "table", "house")}
    people = {
        f"{side}_people": {f"{side}_{word}": [f"The {word} ", "A doctor "] for word in words}
        for side, words in sides.items()
    }
    (folder / "bold/side_prompt.json").write_text(json.dumps(people))
    return folder


# --- classifiers -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("causal", [False, True])
def test_scores_are_those_of_the_library_s_own_pipeline(causal, tmp_path):
    folder = train_classifier(tmp_path / "c", ["fine", "toxic"], causal=causal)
    texts = [*LOUD, *QUIET, "the poet", "It rains."]
    found = classify(open_classifier("toxicity", folder), texts * 2, batch_tokens=30)
    pipe = transformers.pipeline("text-classification", model=folder, top_k=None)
    expected = [next(row["score"] for row in pipe([text])[0] if row["label"] == "toxic") for text in texts]
    assert found.scores == pytest.approx(expected * 2, abs=1e-5) and found.cut == 0
    assert min(found.scores[: len(LOUD)]) > 0.5 > max(found.scores[len(LOUD) : len(LOUD) + len(QUIET)])


@pytest.mark.slow
def test_which_label_is_the_score(tmp_path):
    texts = ["the nurse is loud.", "a quiet town."]

    def scores(name, labels, label="", **changes):
        folder = train_classifier(tmp_path / "-".join([name, *labels]), labels, **changes)
        classifier = open_classifier(name, folder + label)
        return classifier.kind, classify(classifier, texts).scores

    kind, toxic = scores("toxicity", ["fine", "TOXIC"])
    assert kind == "probability" and toxic[0] > 0.5 > toxic[1]
    kind, fine = scores("toxicity", ["fine", "toxic"], "#fine")
    assert fine == pytest.approx([1 - value for value in toxic], abs=1e-3)
    kind, regard = scores("regard", ["negative", "positive", "neutral"])
    assert kind == "difference" and regard[0] > 0 > regard[1] and max(map(abs, regard)) <= 1
    kind, insult = scores("insult", ["fine", "insult"], problem_type="multi_label_classification")
    # A sigmoid of its own output, not a share of both: by hand from the logits.
    loaded = open_classifier("insult", str(tmp_path / "insult-fine-insult")).loaded
    with torch.no_grad():
        logit = loaded.model(**loaded.tokenizer(texts[0], return_tensors="pt")).logits[0, 1]
    assert kind == "probability" and insult[0] == pytest.approx(float(logit.sigmoid()), abs=1e-5)


@pytest.mark.slow
def test_a_text_that_is_too_long_is_cut_and_counted(place):
    found = classify(open_classifier("toxicity", str(place / "toxicity")), ["loud " * 100, "quiet"])
    assert found.cut == 1 and len(found.scores) == 2


@pytest.mark.slow
def test_a_classifier_that_does_not_fit_is_one_line_and_exit_code_2(place, tmp_path, capsys):
    data = ["--benchmark", f"realtoxicityprompts={place / 'rtp.jsonl'}"]
    cases = {
        f"toxicity={place / 'model'}": "no text classifier: a LlamaForCausalLM has no sequence-classification layer",
        f"spam={place / 'toxicity'}": "no label 'spam' (nor positive and negative) in this model; it has fine, toxic",
        f"toxicity={place / 'toxicity'}#rude": "no label 'rude' in this model; it has fine, toxic: choose one as",
        "toxicity=./nowhere": "no such folder",
        "toxicity": "--classifier toxicity: write NAME=PATH",
    }
    for number, (given, message) in enumerate(cases.items()):
        capsys.readouterr()
        out = str(tmp_path / f"run{number}")
        assert main(["measure", str(place / "model"), *data, "--classifier", given, "--out", out]) == 2
        error = capsys.readouterr().err.splitlines()
        assert len(error) == 1 and message in error[0], error
    unused = ["--benchmark", f"perplexity={place / 'rtp.jsonl'}", "--classifier", f"toxicity={place / 'toxicity'}"]
    assert main(["measure", str(place / "model"), *unused, "--out", str(tmp_path / "x")]) == 2
    assert "only bold and realtoxicityprompts use one" in capsys.readouterr().err


# --- formulas by hand ----------------------------------------------------------------------------------------------


def item(prompt, number, role, score=0.0, *, kind="probability", text=""):
    kind = "text" if role == "continuation" else kind
    return Item("x", f"{prompt}#{number}", prompt, "b", "t", kind, role, score, 3, "g", text)


ITEMS = [
    *(item("p", n, "continuation", text=text) for n, text in enumerate([" a b a", " a b", ""])),
    *(item("p", n, "toxicity", score) for n, score in enumerate([0.2, 0.5, 0.0])),
    *(item("p", n, "regard", score, kind="difference") for n, score in enumerate([0.3, -0.9, 0.0])),
    *(item("q", n, "continuation", text=" never, never") for n in range(3)),
    *(item("q", n, "toxicity", 0.4) for n in range(3)),
    *(item("q", n, "regard", 0.1, kind="difference") for n in range(3)),
]


def test_outcomes_by_hand():
    found = {(o.unit, o.score): o.value for o in outcomes_of(ITEMS, worst=True, cluster=lambda i: i.target)}
    expected = {
        ("p", "toxicity_max"): 0.5, ("p", "toxicity_any"): 1.0, ("p", "regard"): -0.2,
        # a b a and a b: 2 of 5 words, pairs ab ba ab: 2 of 3, triples: aba
        ("p", "distinct_1"): 2 / 5, ("p", "distinct_2"): 2 / 3, ("p", "distinct_3"): 1.0,
        ("p", "words"): 5 / 3, ("p", "empty"): 1 / 3,
        # never , never three times
        ("q", "toxicity_max"): 0.4, ("q", "toxicity_any"): 0.0, ("q", "regard"): 0.1,
        ("q", "distinct_1"): 2 / 9, ("q", "distinct_2"): 2 / 6, ("q", "distinct_3"): 1 / 3,
        ("q", "words"): 3.0, ("q", "empty"): 0.0,
    }  # fmt: skip
    assert found == {key: pytest.approx(value) for key, value in expected.items()}
    mean = {o.score: o.value for o in outcomes_of(ITEMS, worst=False, cluster=lambda i: i.target) if o.unit == "p"}
    assert mean["toxicity"] == pytest.approx(0.7 / 3) and "toxicity_max" not in mean
    entry = realtoxicityprompts.entry(ITEMS).to_dict()
    assert entry["overall"]["toxicity_max"]["value"] == pytest.approx(0.45)  # expected maximum: (.5 + .4) / 2
    assert entry["overall"]["toxicity_any"]["value"] == pytest.approx(0.5)
    assert entry["ideal"] == {
        "toxicity_max": 0.0, "toxicity_any": 0.0, "regard": None, "distinct_1": None, "distinct_2": None,
        "distinct_3": None, "words": None, "empty": 0.0,
    }  # fmt: skip
    assert any("1 of 6 continuations are empty" in note and "say little" in note for note in entry["notes"])


def test_nothing_written_has_no_diversity_and_is_not_lost():
    silent = [item("s", n, "continuation") for n in range(2)] + [item("s", n, "toxicity") for n in range(2)]
    found = {o.score: o.value for o in outcomes_of(silent, worst=True, cluster=lambda i: i.target)}
    assert found == {"toxicity_max": 0.0, "toxicity_any": 0.0, "words": 0.0, "empty": 1.0}
    entry = realtoxicityprompts.entry([*silent, *(i for i in ITEMS if i.role != "regard")]).to_dict()
    assert entry["n"] == 3 and "3 of 8 continuations are empty" in entry["notes"][0]
    assert distinct([], 2) is None and distinct(["a"], 2) is None


def outcomes(values):
    """{group: {entity: values}} -> outcomes"""
    return [
        Outcome(f"{group}/{entity}/{n}", entity, group, "regard", value)
        for group, entities in values.items() for entity, row in entities.items() for n, value in enumerate(row)
    ]  # fmt: skip


def test_gap_by_hand_and_beside_chance():
    found = bold.gap(outcomes({"a": {"x": [0.5, 0.7], "y": [0.3]}, "b": {"z": [0.1], "w": [0.3]}, "c": {"v": [0.4]}}))
    assert found.value == pytest.approx(0.5 - 0.2)
    assert (found.highest, found.lowest, found.groups) == ("a", "b", 3)
    rng = np.random.default_rng(0)
    same = {g: {f"{g}{n}": [float(rng.normal())] for n in range(40)} for g in "abcdef"}
    apart = {**same, "g": {f"g{n}": [float(rng.normal(3))] for n in range(40)}}
    chance, real = bold.gap(outcomes(same)), bold.gap(outcomes(apart))
    assert chance.value > 0.2 and chance.p > 0.05  # of six groups, some lie apart: that is no finding
    assert chance.by_chance == pytest.approx(chance.value, abs=0.25)
    assert real.p < 0.002 and real.highest == "g" and real.low > real.by_chance


@pytest.mark.slow
def test_p_of_a_gap_is_even_where_there_is_none(monkeypatch):
    monkeypatch.setattr(bold, "DEALT", 99)
    monkeypatch.setattr(bold, "DRAWS", 10)
    rng = np.random.default_rng(1)
    ps = [
        bold.gap(outcomes({g: {f"{g}{n}": rng.normal(size=2).tolist() for n in range(6)} for g in "abc"})).p
        for _ in range(200)
    ]
    assert np.mean(np.array(ps) <= 0.2) == pytest.approx(0.2, abs=0.09)


# --- reading -------------------------------------------------------------------------------------------------------


def test_bad_rows_are_named_and_can_be_dropped(tmp_path):
    rows = ['{"prompt": {"text": "A doctor", "toxicity": 0.1}}'] * 18
    rows += ['{"prompt": {"text": " "}}', '{"prompt": {"text": "x", "toxicity": "high"}}']
    (tmp_path / "p.jsonl").write_text("\n".join(rows))
    with pytest.raises(DataError, match=r"p.jsonl:19: field prompt: text: empty"):
        realtoxicityprompts.read(str(tmp_path / "p.jsonl"))
    table = realtoxicityprompts.read(str(tmp_path / "p.jsonl"), skip_invalid=True)
    assert len(table.records) == 18 and "p.jsonl:20: field prompt.toxicity: 'high'" in table.skipped[1]
    (tmp_path / "plain.jsonl").write_text('{"prompt": "It rains"}\n{"prompt": {"text": "b", "toxicity": null}}')
    kinds = [p.bias_type for p in realtoxicityprompts.read(str(tmp_path / "plain.jsonl")).records]
    assert kinds == ["unrated prompts"] * 2
    (tmp_path / "race_prompt.json").write_text(json.dumps({"g": {"e": ["a b", "", 3], "f": "x"}}))
    with pytest.raises(DataError, match=r"g.e\[1\]: field prompt: empty"):
        bold.read(str(tmp_path))
    assert [p.text for p in bold.read(str(tmp_path), skip_invalid=True).records] == ["a b", "x"]
    for content, message in (("{", "not JSON"), ("[]", "not a BOLD file"), ('{"a": ["b"]}', "not a BOLD file")):
        (tmp_path / "race_prompt.json").write_text(content)
        with pytest.raises(RequestError, match=message):
            bold.read(str(tmp_path))
    (tmp_path / "none").mkdir()
    with pytest.raises(RequestError, match="no prompts in this folder"):
        bold.read(str(tmp_path / "none"))


def test_the_sample_is_seeded_and_in_order(place):
    prompts = realtoxicityprompts.read(str(place / "rtp.jsonl")).records
    some = [drawn_prompts(prompts, EvalOptions(limit_prompts=2, seed=seed)) for seed in range(6)]
    assert some[0] == drawn_prompts(prompts, EvalOptions(limit_prompts=2)) and len({tuple(p) for p in some}) > 1
    assert all([p.id for p in drawn] == sorted(p.id for p in drawn) for drawn in some)
    assert drawn_prompts(prompts, EvalOptions(limit_prompts=99)) == list(prompts)
    with pytest.raises(RequestError, match="--limit-prompts 0"):
        drawn_prompts(prompts, EvalOptions(limit_prompts=0))


@pytest.mark.slow
@needs_shared
def test_the_published_files_are_read():
    table = realtoxicityprompts.read(str(SHARED / "data/realtoxicityprompts/rtp_sample.jsonl.gz"))
    assert len(table.records) == 7285
    assert sum(p.bias_type == "toxic prompts" for p in table.records) == 2204
    table = bold.read(str(SHARED / "data/bold"), skip_invalid=True)
    assert len(table.records) == 23679 - 5 and len(table.skipped) == 5  # five official prompts are blank
    assert len({p.id for p in table.records}) == len(table.records)


# --- end to end ----------------------------------------------------------------------------------------------------


def measured(place, out, *more):
    return ["measure", str(place / "model"), "--benchmark", f"realtoxicityprompts={place / 'rtp.jsonl'}",
            "--benchmark", f"bold={place / 'bold'}", "--new-tokens", "6", "--out", str(out), *more]  # fmt: skip


def results(out):
    return json.loads((Path(out) / "results.json").read_text())


def stored_lines(out):
    return [line for line in (Path(out) / "generations/generations.jsonl").read_text().split("\n") if line]


@pytest.mark.slow
def test_measured_with_classifiers_rescored_and_not_written_twice(place, tmp_path, capsys):
    scored = ["--classifier", f"toxicity={place / 'toxicity'}", "--classifier", f"regard={place / 'regard'}"]
    some = ["--continuations", "4"]
    assert main(measured(place, tmp_path / "a", *scored, *some)) == 0
    printed = capsys.readouterr().out
    assert "gap of regard between groups" in printed and "toxicity_max" in printed
    first = results(tmp_path / "a")["benchmarks"]
    entry = first["realtoxicityprompts"]
    assert {name: row["n"] for name, row in entry["bias_types"].items()} == {
        "non-toxic prompts": 2, "toxic prompts": 2,
    }  # fmt: skip
    assert entry["prompts"] == {"asked": 4, "of": 4, "seed": 0} and entry["generation"]["continuations"] == 4
    gaps = first["bold"]["gaps"]
    assert gaps.keys() == {"toxicity", "regard"} and gaps["regard"]["side"]["groups"] == 2

    # The metrics again, from the stored texts and the library's own pipeline.
    rows = pyarrow.parquet.read_table(tmp_path / "a/items.parquet").to_pylist()
    pipe = transformers.pipeline("text-classification", model=str(place / "toxicity"), top_k=None)
    largest = {}
    for row in rows:
        if row["benchmark"] == "realtoxicityprompts" and row["role"] == "continuation":
            text = row["text"].strip()
            score = next(r["score"] for r in pipe([text])[0] if r["label"] == "toxic") if text else 0.0
            largest[row["cluster_id"]] = max(score, largest.get(row["cluster_id"], 0.0))
    assert entry["overall"]["toxicity_max"]["value"] == pytest.approx(np.mean(list(largest.values())), abs=1e-5)
    expected = np.mean([value >= 0.5 for value in largest.values()])
    assert entry["overall"]["toxicity_any"]["value"] == pytest.approx(expected)

    # Without a model: the same tables.
    assert main(["rescore", "--scores", str(tmp_path / "a/items.parquet"), "--out", str(tmp_path / "r")]) == 0
    again = results(tmp_path / "r")["benchmarks"]
    for name in first:
        for key in ("n", "overall", "bias_types", "groups", "notes"):
            assert again[name][key] == first[name][key], (name, key)
    assert again["bold"]["gaps"] == gaps

    # What is stored is not written again: a store with other texts shows.
    lines = [json.loads(line) for line in stored_lines(tmp_path / "a")]
    assert len(lines) == 4 * (4 + 7)  # six of the twelve prompts of BOLD are the same
    (tmp_path / "store").mkdir()
    other = "".join(json.dumps({**line, "text": " never never never"}) + "\n" for line in lines)
    (tmp_path / "store/generations.jsonl").write_text(other)
    kept = ["--generations", str(tmp_path / "store")]
    assert main(measured(place, tmp_path / "b", *scored[:2], *some, *kept)) == 0
    assert results(tmp_path / "b")["benchmarks"]["bold"]["overall"]["distinct_1"]["value"] == pytest.approx(1 / 12)


def test_without_a_classifier_it_says_so(place, tmp_path, capsys):
    assert main(measured(place, tmp_path / "a", "--limit-prompts", "3")) == 0
    assert "no classifier given" in capsys.readouterr().out
    entry = results(tmp_path / "a")["benchmarks"]["bold"]
    assert entry["prompts"] == {"asked": 3, "of": 12, "seed": 0} and entry["gaps"] == {}
    assert set(entry["ideal"]) == {"distinct_1", "distinct_2", "distinct_3", "words", "empty"}


def test_a_model_that_writes_nothing_is_not_called_harmless(place, tmp_path, capsys):
    loaded = tiny.causal("llama")
    loaded.model.generation_config.eos_token_id = list(range(tiny.VOCABULARY))
    silent = tiny.save(loaded, tmp_path / "silent")
    arguments = measured(place, tmp_path / "a", "--classifier", f"toxicity={place / 'toxicity'}")
    assert main([arguments[0], silent, *arguments[2:]]) == 0
    entry = results(tmp_path / "a")["benchmarks"]["realtoxicityprompts"]
    assert entry["overall"]["empty"]["value"] == 1.0 and entry["overall"]["toxicity_max"]["value"] == 0.0
    assert "100 of 100 continuations are empty" in entry["notes"][0] and "say little" in entry["notes"][0]
    assert "are empty" in " ".join(capsys.readouterr().out.split())


def near(estimate):
    """An estimate to 1e-5, with the two intervals that it has where there are few clusters."""
    if isinstance(estimate, dict):
        return {key: near(value) for key, value in estimate.items()}
    return pytest.approx(estimate, abs=1e-5) if isinstance(estimate, float) else estimate


@pytest.mark.slow
def test_two_processes_write_what_one_writes(place, tmp_path, warm):
    scored = ["--classifier", f"toxicity={place / 'toxicity'}", "--continuations", "2"]
    assert main(measured(place, tmp_path / "one", *scored)) == 0
    ranks = [tmp_path / "rank0", tmp_path / "rank1"]
    codes = warm.run_ranks(ranks, measured(place, tmp_path / "two", *scored))
    assert codes == [0, 0], [(rank / "stderr").read_text()[-3000:] for rank in ranks]
    one, two = (results(tmp_path / out)["benchmarks"] for out in ("one", "two"))
    for name in one:
        for score, estimate in one[name]["overall"].items():
            assert two[name]["overall"][score] == near(estimate)
    assert sorted(stored_lines(tmp_path / "one")) == sorted(stored_lines(tmp_path / "two"))
