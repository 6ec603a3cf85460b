"""Exported runs: they load in plain transformers and peft, score the same, and say what they are."""

import json
from pathlib import Path

import pytest
import torch
import yaml
from huggingface_hub import ModelCard
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

from biasunlearn.cli import main
from biasunlearn.commands.merge import SAME, convert, find_converter, merge
from biasunlearn.errors import RequestError
from biasunlearn.models.spec import ModelSpec
from biasunlearn.report.model_card import Published, model_card
from biasunlearn.runs.results import Results
from tests import fake_hub, tiny, variants

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return variants.make(tmp_path_factory.mktemp("variants"))


def export(run, out, *more, code=0):
    assert main(["export", str(run), "--out", str(out), *more]) == code
    return Path(out)


def log_probs(model, tokenizer):
    """[texts], mean log-probability of every text's tokens: transformers alone."""
    found = []
    for text in tiny.TEXTS:
        ids = torch.tensor([tokenizer(text)["input_ids"]])
        with torch.no_grad():
            log_p = model(ids).logits[0].float().log_softmax(-1)
        found.append(float(log_p[:-1].gather(1, ids[0, 1:, None]).mean()))
    return torch.tensor(found)


def plain(folder, adapter=None):
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    model = PeftModel.from_pretrained(model, adapter) if adapter else model
    return log_probs(model.eval(), AutoTokenizer.from_pretrained(folder))


def test_an_exported_adapter_loads_in_plain_peft(place, tmp_path):
    out = export(place / "run", tmp_path / "out", "--base-name", "owner/base", "--license", "apache-2.0")
    assert {p.name for p in out.iterdir()} == {
        "README.md", "adapter_config.json", "adapter_model.safetensors", "training_data.json",
    }  # fmt: skip
    assert torch.equal(plain(place / "model", out), plain(place / "model", place / "run/adapter"))
    assert json.loads((out / "adapter_config.json").read_text())["base_model_name_or_path"] == "owner/base"
    card = ModelCard.load(out / "README.md")
    assert (card.data.license, card.data.base_model, card.data.library_name) == ("apache-2.0", "owner/base", "peft")


def test_a_merged_model_scores_as_the_adapter_and_lasts(place, tmp_path, capsys):
    """adapter -> merge -> reload: the same scores; and the adapter does something (the control)."""
    out = export(place / "run", tmp_path / "out", "--merge", "--json")
    told = json.loads(capsys.readouterr().out)
    assert told["dtype"] == "float32" and told["largest_difference"] < SAME
    expected = plain(place / "model", place / "run/adapter")
    assert (plain(out) - expected).abs().max() < SAME
    assert (plain(place / "model") - expected).abs().max() > 0.01
    arguments = ["measure", str(out), "--benchmark", f"stereoset={place / 'train.jsonl'}", "--out"]
    assert main([*arguments, str(tmp_path / "m")]) == 0
    assert json.loads((tmp_path / "m/results.json").read_text())["benchmarks"]["stereoset"]["contaminated"]


def test_the_precision_is_the_base_s(place, tmp_path):
    half = tiny.gpt2()
    half.model.to(torch.bfloat16)
    tiny.save(half, tmp_path / "half")
    (tmp_path / "out").mkdir()
    dtype, largest = merge(ModelSpec(str(tmp_path / "half")), place / "run/adapter", tmp_path / "out")
    stored = AutoModelForCausalLM.from_pretrained(tmp_path / "out", dtype="auto")
    assert dtype == "bfloat16" and {p.dtype for p in stored.parameters()} == {torch.bfloat16}
    assert largest < 0.1  # rounded once; a missing adapter is further off
    assert (plain(tmp_path / "out") - plain(tmp_path / "half", place / "run/adapter")).abs().max() < 0.1


def test_transfers_are_exported_with_whatever_the_target_is(place, tmp_path):
    for to in ("tuned", "lora"):
        arguments = ["transfer", str(place / "run"), "--to", str(place / to), "--report", str(place / "report.jsonl")]
        assert main([*arguments, "--scale", "0.5", "--out", str(tmp_path / to)]) == 0
        out = export(tmp_path / to, tmp_path / f"{to}-out", "--merge")
        base = place / "model" if to == "lora" else place / to
        model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
        for adapter in ([place / "lora"] if to == "lora" else []) + [tmp_path / to / "adapter"]:
            model = PeftModel.from_pretrained(model, adapter).merge_and_unload()
        assert (plain(out) - log_probs(model.eval(), AutoTokenizer.from_pretrained(base))).abs().max() < SAME
        assert "transferred at scale 0.5" in (out / "README.md").read_text()
    arguments = ["transfer", str(place / "run"), "--to", str(place / "prefix"), "--report", str(place / "report.jsonl")]
    assert main([*arguments, "--scale", "1", "--out", str(tmp_path / "prefix")]) == 0
    export(tmp_path / "prefix", tmp_path / "no", "--merge", code=2)


def test_a_run_that_trained_all_weights_is_exported_whole(place, tmp_path, capsys):
    run = variants.debias(place, "full-run", str(place / "model"), "--set", "lora_rank=0")
    out = export(run, tmp_path / "out", "--merge")
    assert torch.equal(plain(out), plain(Path(run) / "model"))
    capsys.readouterr()
    export(run, tmp_path / "no", code=2)
    assert "changed all weights, so there is no adapter; add --merge" in capsys.readouterr().err


def test_the_card_tells_what_a_reader_must_know(place):
    results = json.loads((place / "run/results.json").read_text())
    card = model_card(Results.model_validate(results), Published(True, "o/b", "float32", largest=2e-7))
    for part in ("## Before and after", "## Intended use", "## Limits", "## Licence", "SS before | SS after"):
        assert part in card
    for name in ("train", "report"):
        assert results["data"][name]["sha256"] in card
    ss = results["benchmarks"]["stereoset"]["bias_types"]["old"]["ss"]
    assert f"{ss['value']:.1f} ({ss['low']:.1f} to {ss['high']:.1f})" in card
    front = yaml.safe_load(card.split("---")[1])
    assert front["base_model"] == "o/b" and "license" not in front
    assert str(place) not in card  # nobody's folders are published
    assert yaml.safe_load(card.split("```yaml")[1].split("```")[0]) == results["config"]
    hostile = {**results, "model": "x`|\n<script>"}
    text = model_card(Results.model_validate(hostile), Published(False, hostile["model"], ""))
    assert "<script>" not in text and yaml.safe_load(text.split("---")[1]).get("base_model") is None


def test_push_makes_a_private_repository_and_uploads_everything(place, tmp_path, monkeypatch, capsys):
    base = ["--base-name", "owner/base"]
    with fake_hub.fake_hub() as (address, hub):
        monkeypatch.setenv("HF_ENDPOINT", address)
        monkeypatch.setenv("HF_TOKEN", "hf_" + "x" * 30)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)  # tests run offline; this hub is here
        out = export(place / "run", tmp_path / "out", "--push", "owner/name", *base)
        assert hub.visibility == {"owner/name": "private"}
        assert hub.files == {path.name: path.read_bytes() for path in out.iterdir()}
        assert f"url: {address}" in capsys.readouterr().out
        export(place / "run", tmp_path / "public", "--push", "owner/other", "--public", *base)
        assert hub.visibility["owner/other"] == "public"
        hub.files.clear()
        export(place / "run", tmp_path / "unasked", "--push", "owner/other", *base, code=2)
        assert "is public; add --public" in capsys.readouterr().err and not hub.files
        hub.refuses = True
        export(place / "run", tmp_path / "refused", "--push", "owner/name", *base, code=2)
        assert "--push owner/name: the hub refused:" in capsys.readouterr().err
        assert (tmp_path / "refused/README.md").exists()  # what was made is not lost


SCRIPT = """import sys, pathlib
folder, out = sys.argv[1], sys.argv[sys.argv.index("--outfile") + 1]
if "fail" in pathlib.Path(__file__).parent.name:
    sys.exit("Model GPT2 is not supported")
pathlib.Path(out).write_text("GGUF of " + folder)
"""


def test_gguf_goes_through_llama_cpp_s_converter(place, tmp_path, monkeypatch, capsys):
    for name in ("llama.cpp", "fails"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "convert_hf_to_gguf.py").write_text(SCRIPT)
        (tmp_path / name / "convert_hf_to_gguf.py").chmod(0o755)
    out = export(place / "run", tmp_path / "out", "--merge", "--gguf", str(tmp_path / "llama.cpp"))
    assert (out / "model.gguf").read_text().startswith("GGUF of") and "gguf:" in capsys.readouterr().out
    with pytest.raises(RequestError, match="Model GPT2 is not supported"):
        convert(out, tmp_path / "fails/convert_hf_to_gguf.py")
    monkeypatch.setenv("PATH", str(tmp_path / "llama.cpp"))
    assert find_converter() == tmp_path / "llama.cpp/convert_hf_to_gguf.py"
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RequestError, match="convert_hf_to_gguf.py is not on PATH; get llama.cpp"):
        find_converter()
    monkeypatch.setenv("LLAMA_CPP", str(tmp_path / "llama.cpp"))
    assert find_converter().parent == tmp_path / "llama.cpp"
    wrong = {"add --merge": ["--gguf"], "no convert_hf_to_gguf.py there": ["--merge", "--gguf", "./no"]}
    for message, more in wrong.items():
        capsys.readouterr()
        export(place / "run", tmp_path / "no", *more, code=2)
        assert message in capsys.readouterr().err


def test_wrong_requests(place, tmp_path, capsys):
    for arguments, message in (
        ([place / "model", tmp_path / "x"], "no finished run here"),
        ([place / "run", place / "model"], "already exists"),
        ([place / "run", tmp_path / "x", "--push", "name"], "--push name: write OWNER/NAME"),
        ([place / "run", tmp_path / "x", "--push", "owner/name"], "add --base-name OWNER/NAME"),
    ):
        capsys.readouterr()
        export(*arguments, code=2)
        assert message in capsys.readouterr().err
        assert not (tmp_path / "x").exists()
