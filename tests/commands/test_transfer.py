"""A debiasing taken to other models: what it does there, that scale 0 is the target itself, and what is refused."""

import json
import shutil
from pathlib import Path

import pytest
import torch
import yaml
from peft import PeftModel

from biasunlearn.cli import main
from biasunlearn.data.records import Passage
from biasunlearn.errors import RequestError
from biasunlearn.models.adapter_target import debiased, open_target
from biasunlearn.models.forward import max_tokens
from biasunlearn.models.load import load
from biasunlearn.models.spec import ModelSpec
from biasunlearn.runs.items import read_items
from biasunlearn.scoring.log_prob import score
from tests import tiny, variants
from tests.variants import transfer

pytestmark = pytest.mark.slow

KINDS = {"tuned": "full", "lora": "LoRA", "prefix": "prefix tuning", "prompt": "prompt tuning"}
PASSAGES = [Passage("", text) for text in tiny.TEXTS]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return variants.make(tmp_path_factory.mktemp("variants"))


def scores(path, stage):
    return {item.item_id: item.score for item in read_items(Path(path) / "items.parquet")[stage]}


def close(first, second, tolerance=1e-4):
    assert first.keys() == second.keys()
    return max(abs(first[key] - second[key]) for key in first) < tolerance


def test_to_the_base_itself_all_of_it_arrives(place, tmp_path, capsys):
    results = transfer(place, "model", tmp_path / "out", "--scale", "1")
    told, run = results["transferred"], json.loads((place / "run/results.json").read_text())
    assert {"schema", "model", "adapter", "before", "benchmarks"} <= results.keys()
    for key in ("before", "benchmarks"):
        assert results[key]["stereoset"]["overall"]["ss"] == pytest.approx(run[key]["stereoset"]["overall"]["ss"])
        stage = "before" if key == "before" else "after"
        assert close(scores(tmp_path / "out", stage), scores(place / "run", stage))
    assert set(told["compatibility"]["distances"].values()) == {0.0} and told["scales"] == []
    assert told["effect"]["n"] == 64 and "Effect transferred" in capsys.readouterr().out
    assert yaml.safe_load((tmp_path / "out/config.yaml").read_text())["transfer"]["scales"] == [1.0]
    for name in ("adapter_model.safetensors", "training_data.json"):
        assert (tmp_path / "out/adapter" / name).read_bytes() == (place / "run/adapter" / name).read_bytes()
    assert main(["compare", f"{tmp_path / 'out'}:before", str(tmp_path / "out")]) == 0


@pytest.mark.parametrize("to", KINDS)
def test_before_is_the_target_alone_and_after_has_both(place, tmp_path, to):
    results = transfer(place, to, tmp_path / "out", "--scale", "0.5")
    assert results["transferred"]["target_kind"] == KINDS[to] and results["model"] == str(place / to)
    target = open_target(str(place / to))
    own = target.loaded.model
    if to in ("prefix", "prompt"):
        own = PeftModel.from_pretrained(own, str(place / to)).eval()
    clusters = [json.loads(line) for line in (place / "report.jsonl").read_text().splitlines()]
    ids = target.loaded.tokenizer(clusters[0]["stereotype"], add_special_tokens=False)["input_ids"]
    ids = torch.tensor([[target.loaded.tokenizer.bos_token_id, *ids]])
    with torch.no_grad():  # plain peft, token by token: no hooks, no batches
        log_p = own(ids, attention_mask=torch.ones_like(ids)).logits[0, -ids.shape[1] :].log_softmax(-1)
    plain = float(log_p[:-1].gather(1, ids[0, 1:, None]).mean())
    before, after = (scores(tmp_path / "out", stage) for stage in ("before", "after"))
    first = next(iter(before))
    assert before[first] == pytest.approx(plain, abs=1e-4)
    assert not close(before, after, 0.01)  # and the adapter does something


@pytest.mark.parametrize("family", ["llama", "gemma2", "gemma3"])
def test_other_architectures_carry_an_adapter_as_peft_does(tmp_path, family):
    """GPT-2 is what all other tests here have. The instruct model is the base with slightly other weights."""
    variants.write_pairs(tmp_path / "train.jsonl")
    variants.write_pairs(tmp_path / "report.jsonl", ("old", "new"))
    base, instruct = tiny.causal(family), tiny.causal(family)
    tiny.save(base, tmp_path / "model")
    tiny.perturb(instruct.model, spread=0.01)
    tiny.save(instruct, tmp_path / "instruct")
    variants.debias(tmp_path, "run", str(tmp_path / "model"), "--set", "seed=1")  # better than the base model
    transfer(tmp_path, "instruct", tmp_path / "out", "--scale", "1")
    sentence = json.loads((tmp_path / "report.jsonl").read_text().splitlines()[0])["stereotype"]
    target = open_target(str(tmp_path / "instruct")).loaded
    ids = [target.tokenizer.bos_token_id, *target.tokenizer(sentence, add_special_tokens=False)["input_ids"]]
    plain = [mean_log_probability(target.model, ids)]
    adapted = PeftModel.from_pretrained(target.model, str(tmp_path / "run/adapter")).eval()
    plain.append(mean_log_probability(adapted, ids))
    stored = [next(iter(scores(tmp_path / "out", stage).values())) for stage in ("before", "after")]
    assert stored == pytest.approx(plain, abs=1e-4) and abs(plain[0] - plain[1]) > 0.01


def mean_log_probability(model, ids):
    """Of the tokens behind the first one: without hooks and without batches."""
    rows = torch.tensor([ids])
    with torch.no_grad():
        log_p = model(rows, attention_mask=torch.ones_like(rows)).logits[0].float().log_softmax(-1)
    return float(log_p[:-1].gather(1, rows[0, 1:, None]).mean())


def test_a_stacked_lora_and_a_merged_one_come_to_the_same(place, tmp_path):
    merged = open_target(str(place / "lora")).loaded
    tiny.save(merged.with_model(merged.model.merge_and_unload()), place / "merged")
    transfer(place, "lora", tmp_path / "stacked", "--scale", "1")
    transfer(place, "merged", tmp_path / "merged", "--scale", "1")
    for stage in ("before", "after"):
        assert close(scores(tmp_path / "stacked", stage), scores(tmp_path / "merged", stage))


def test_scales_are_looked_at_on_the_stop_split_and_the_adapter_is_saved_at_the_best(place, tmp_path, capsys):
    results = transfer(place, "tuned", tmp_path / "out", "--scale", "0", "0.5", "1", "1.5")
    told = results["transferred"]
    assert [look["scale"] for look in told["scales"]] == [0, 0.5, 1, 1.5]
    allowed = [look for look in told["scales"] if look["lms"] >= told["scales"][0]["lms"] - 1.5]
    assert told["scale"] == min(allowed, key=lambda look: (look["distance"], look["scale"]))["scale"]
    assert "Scales of the adapter, on the stop split" in capsys.readouterr().out
    searched = transfer(place, "tuned", tmp_path / "searched", "--json")["transferred"]
    assert len(searched["scales"]) >= 8 and json.loads(capsys.readouterr().out)["transferred"] == searched
    again = load(ModelSpec(str(place / "tuned"), adapter=tmp_path / "searched/adapter"))
    stored = scores(tmp_path / "searched", "after")
    clusters = [json.loads(line) for line in (place / "report.jsonl").read_text().splitlines()]
    found = score(again, [Passage("", clusters[0]["stereotype"])])[0].mean
    assert found == pytest.approx(next(iter(stored.values())), abs=1e-4)


def test_through_the_chat_template_as_well(place, tmp_path):
    raw = transfer(place, "tuned", tmp_path / "raw", "--scale", "1")
    chat = transfer(place, "tuned", tmp_path / "chat", "--scale", "1", "--chat-template")
    assert [r["protocol"]["text"] for r in (raw, chat)] == ["raw", "chat template"]
    assert chat["transferred"]["effect"]["protocols"] == {"base": "raw", "target": "chat template"}
    assert not close(scores(tmp_path / "raw", "after"), scores(tmp_path / "chat", "after"), 0.01)


def test_trained_on_the_target_itself_beside_it(place, tmp_path):
    results = transfer(place, "tuned", tmp_path / "out", "--scale", "1", "--also-train")
    direct = json.loads((tmp_path / "out/direct/results.json").read_text())
    assert direct["model"] == str(place / "tuned") and results["direct"]["benchmarks"] == direct["benchmarks"]
    assert close(scores(tmp_path / "out/direct", "before"), scores(tmp_path / "out", "before"))


def test_a_killed_transfer_goes_on(place, tmp_path):
    asked = place, "tuned", tmp_path / "out", "--scale", "0.5", "1"
    done = transfer(*asked)
    (tmp_path / "out/results.json").unlink()
    assert transfer(*asked, "--resume")["benchmarks"] == done["benchmarks"]
    assert transfer(*asked, "--resume")["transferred"] == done["transferred"]


@pytest.mark.by_day("4bit")
@pytest.mark.parametrize("dtype", ["4bit", "8bit"])
def test_quantised_targets(place, tmp_path, dtype):
    """GPT-2 of a width of 32: less than one of the blocks that 4 bits have."""
    pytest.importorskip("bitsandbytes")
    results = transfer(place, "model", tmp_path / "out", "--scale", "1", "--dtype", dtype, "--also-train")
    assert results["protocol"]["dtype"] == results["protocol"]["quantised"]["kind"] == dtype
    assert 0.001 < results["transferred"]["compatibility"]["distances"]["adapted"] < 0.2
    direct = json.loads((tmp_path / "out/direct/results.json").read_text())
    # The adapter of four steps on the target itself may have been worse than the target, and a note then says so.
    for one in (direct, results):
        one["protocol"].pop("notes", None)
    assert direct["protocol"] == results["protocol"] and direct["before"] == results["before"]
    assert not close(scores(tmp_path / "out", "before"), scores(tmp_path / "out", "after"), 0.01)


def refusals(place, tmp_path):
    def asked(to="tuned", *more, run="run"):
        return ["transfer", str(place / run), "--to", str(to if "/" in str(to) else place / to),
                "--report", str(place / "report.jsonl"), "--out", str(tmp_path / "new"), *more]  # fmt: skip

    main(["measure", str(place / "model"), "--benchmark", f"stereoset={place / 'report.jsonl'}", "--out",
          str(place / "measured")])  # fmt: skip
    shutil.copytree(place / "run", place / "moved", dirs_exist_ok=True)
    config = yaml.safe_load((place / "moved/config.yaml").read_text())
    config["debias"]["train"] = str(place / "report.jsonl")
    (place / "moved/config.yaml").write_text(yaml.safe_dump(config))
    tiny.save(tiny.masked(), place / "masked")
    ia3 = json.loads((place / "lora/adapter_config.json").read_text()) | {"peft_type": "IA3"}
    (place / "ia3").mkdir(exist_ok=True)
    (place / "ia3/adapter_config.json").write_text(json.dumps(ia3))
    (place / "model.gguf").write_bytes(b"GGUF")
    (place / "gguf").mkdir(exist_ok=True)
    (place / "gguf/model.gguf").write_bytes(b"GGUF")
    for name, source in (("weightless", place / "lora"), ("run-weightless/adapter", place / "run/adapter")):
        shutil.copytree(source, place / name, dirs_exist_ok=True)
        (place / name / "adapter_model.safetensors").unlink()
    for name in ("config.yaml", "results.json", "items.parquet"):
        shutil.copy(place / "run" / name, place / "run-weightless")
    for name in ("cut", "unreadable"):
        shutil.copytree(place / "lora", place / name, dirs_exist_ok=True)
    (place / "cut/adapter_model.safetensors").write_bytes((place / "lora/adapter_model.safetensors").read_bytes()[:99])
    (place / "unreadable/adapter_config.json").write_text('{"peft_type": "LORA", ')
    return {
        "gguf": (asked("model.gguf"), "a GGUF model, which cannot be changed here; give the safetensors model"),
        "gguf folder": (asked("gguf"), "a GGUF model"),
        "a file": (asked("report.jsonl"), "a file; give the model's folder"),
        "no weights": (asked("weightless"), "an adapter without weights (adapter_model.safetensors is missing)"),
        "run without": (asked(run="run-weightless"), "an adapter without weights"),
        "cut": (asked("cut"), "adapter_model.safetensors: damaged or cut off; copy it again"),
        "unreadable": (asked("unreadable"), "adapter_config.json: cannot be read"),
        "another family": (asked("other", "--force"), "the adapter cannot work there: another family (llama"),
        "another size": (asked("smaller", "--force"), "another size (hidden_size 16; its base has 32)"),
        "far": (asked("far"), "doubtful: its weights are far from the adapter's base"),
        "masked": (asked("masked"), "another family (bert; its base is gpt2)"),
        "no target": (asked("./nowhere"), "no such folder"),
        "another adapter": (asked("ia3"), "a IA3 adapter; merge it into its base"),
        "no run": (asked(run="model"), "no finished run here"),
        "a measurement": (asked(run="measured"), "not a debias run"),
        "data changed": (asked(run="moved"), "its stop split cannot be made again; give one --scale"),
        "scale": (asked("tuned", "--scale", "11"), "--scale 11: must lie between 0 (off) and 10"),
        "no number": (asked("tuned", "--scale", "much"), "--scale much: write numbers"),
        "train an adapter": (asked("lora", "--also-train"), "--also-train:"),
        "finished": ([*asked(), "--out", str(place / "run")], "already holds a finished run"),
    }  # fmt: skip


def test_refusals_are_one_line_and_exit_code_2(place, tmp_path, capsys):
    for name, (arguments, message) in refusals(place, tmp_path).items():
        capsys.readouterr()
        assert main(arguments) == 2, name
        lines = [line for line in capsys.readouterr().err.splitlines() if not line.startswith(("note:", "before:"))]
        assert len(lines) == 1 and message in lines[0], (name, lines)
        assert not (tmp_path / "new/results.json").exists()


def test_a_doubtful_target_may_be_forced_and_the_result_says_so(place, tmp_path):
    told = transfer(place, "far", tmp_path / "out", "--scale", "1", "--force")["transferred"]
    assert told["forced"] and told["compatibility"]["doubts"]


def test_a_tuned_prompt_takes_places_of_the_longest_row(place):
    target = open_target(str(place / "prompt"))
    assert max_tokens(target.loaded.model) == tiny.LONGEST
    loaded = debiased(target, place / "run/adapter")
    assert max_tokens(loaded.model) == tiny.LONGEST - 3
    with pytest.raises(RequestError, match="tokens"):  # and not an index error of the embeddings
        score(loaded, [Passage("", " ".join(["tired"] * 200))])


def test_the_target_s_own_lora_is_untouched(place):
    alone, target = open_target(str(place / "lora")), open_target(str(place / "lora"))
    both = debiased(target, place / "run/adapter")
    assert both.model.base_model.active_adapters == ["default", "debiasing"]
    stored = dict(both.model.named_parameters())
    own = {name: weight for name, weight in alone.loaded.model.named_parameters() if ".default." in name}
    assert own and all(torch.equal(weight, stored[name]) for name, weight in own.items())
