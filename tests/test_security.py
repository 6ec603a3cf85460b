"""The claims of SECURITY.md, one by one: every claim of its table names tests, and every test named there exists."""

import io
import json
import os
import pickle
import re
import shutil
import socket
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest
import torch

from biasunlearn.cli import main
from biasunlearn.cli.options import Output
from biasunlearn.cli.output import emit, show
from biasunlearn.config import DebiasConfig
from biasunlearn.errors import RequestError
from biasunlearn.models.adapters import with_lora
from biasunlearn.models.load import load, load_classifier
from biasunlearn.models.spec import ModelSpec
from biasunlearn.report.model_card import Published, model_card
from biasunlearn.report.terminal.progress import check_line, lines
from biasunlearn.runs.results import Results
from tests import tiny, variants
from tests.warm_client import Warm

ROOT = Path(__file__).parents[1]
ROW = re.compile(r"^\| (?P<claim>[^|]+) \| (?P<tests>[^|]+) \|$", re.M)
TEST = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")

BAD = "evil\x1b]0;title\x07\x1b[2J\x9b31m\u202e"
"""A name that sets the title of a terminal, clears it, colours it and turns the direction of writing round."""

STEERING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def rows() -> list[tuple[str, list[tuple[str, str]]]]:
    found = ROW.findall((ROOT / "SECURITY.md").read_text(encoding="utf-8"))
    return [(claim, TEST.findall(tests)) for claim, tests in found if not set(claim) <= {"-", " "} and claim != "claim"]


def test_every_claim_names_tests_and_every_test_that_is_named_exists() -> None:
    assert len(rows()) >= 15
    for claim, named in rows():
        assert named, f"no test is named for: {claim}"
        for path, name in named:
            source = (ROOT / path).read_text(encoding="utf-8")
            assert re.search(rf"^\s*def {name}\(", source, re.M), f"{path}::{name} does not exist (claim: {claim})"


# --- code in the files of others -------------------------------------------------------------------------------------


class Evil:
    """Unpickled, it makes a folder."""

    def __init__(self, mark: Path):
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.mark),)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    tiny.save(tiny.gpt2(n_layer=1), tmp_path / "model")
    return tmp_path / "model"


def test_the_pickle_of_these_tests_does_run_code(tmp_path: Path) -> None:
    """The control: it would be seen if any of the readers unpickled it."""
    pickle.loads(pickle.dumps(Evil(tmp_path / "ran")))
    assert (tmp_path / "ran").is_dir()


def test_a_model_of_pickles_is_refused_and_not_opened(model: Path, tmp_path: Path) -> None:
    (model / "model.safetensors").unlink()
    torch.save(Evil(tmp_path / "ran"), model / "pytorch_model.bin")
    with pytest.raises(RequestError, match="only pytorch_model.bin; save it as safetensors"):
        load(str(model))
    with pytest.raises(RequestError):
        load_classifier(str(model))
    assert not (tmp_path / "ran").exists()


def test_pickles_beside_safetensors_are_not_opened(model: Path, tmp_path: Path) -> None:
    torch.save(Evil(tmp_path / "ran"), model / "pytorch_model.bin")
    load(str(model))
    assert not (tmp_path / "ran").exists()


def test_a_pickled_adapter_runs_no_code(model: Path, tmp_path: Path) -> None:
    adapter = tmp_path / "adapter"
    with_lora(tiny.gpt2(n_layer=1).model, DebiasConfig()).save_pretrained(adapter)
    (adapter / "adapter_model.safetensors").unlink()
    torch.save({"a": Evil(tmp_path / "ran")}, adapter / "adapter_model.bin")
    with pytest.raises(RequestError):
        load(ModelSpec(str(model), adapter=adapter))
    assert not (tmp_path / "ran").exists()


CODE = "import os\nos.mkdir({mark!r})\nfrom transformers import GPT2Config as Config\n"
CODE += "from transformers import GPT2LMHeadModel as Model, PreTrainedTokenizerFast as Tokenizer\n"
AUTO = {"AutoConfig": "evil.Config", "AutoModelForCausalLM": "evil.Model",
        "AutoModelForSequenceClassification": "evil.Model"}  # fmt: skip


def with_code(model: Path, mark: Path, *, tokenizer: bool) -> str:
    """The model with code in its folder, for its configuration and its class or for its tokenizer."""
    (model / "evil.py").write_text(CODE.format(mark=str(mark)))
    name, auto = ("tokenizer_config.json", {"AutoTokenizer": ["evil.Tokenizer", "evil.Tokenizer"]}) if tokenizer else (
        "config.json", AUTO)  # fmt: skip
    content = json.loads((model / name).read_text())
    content |= {"auto_map": auto} | ({"tokenizer_class": "Tokenizer"} if tokenizer else {"model_type": "evil"})
    (model / name).write_text(json.dumps(content))
    return str(model)


@pytest.mark.parametrize("tokenizer", [False, True], ids=["auto_map of the model", "of the tokenizer"])
def test_code_in_a_models_folder_is_not_run(
    tokenizer: bool, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("builtins.input", lambda *_: "y")  # nor is the user asked on the terminal
    name = with_code(model, tmp_path / "ran", tokenizer=tokenizer)
    for opened in (load, load_classifier):
        try:
            opened(name)
        except RequestError as error:
            assert "\n" not in str(error)
        assert not (tmp_path / "ran").exists()


@pytest.mark.slow
def test_code_in_a_models_folder_is_run_where_that_is_asked_for(model: Path, tmp_path: Path, warm: Warm) -> None:
    """The control, in a process of its own: with the option, the same folder does run its code."""
    name = with_code(model, tmp_path / "ran", tokenizer=False)
    script = tmp_path / "script.py"
    script.write_text(
        "from biasunlearn.models.load import load\nfrom biasunlearn.models.spec import ModelSpec\n"
        f"load(ModelSpec({name!r}, trust_remote_code=True))"
    )
    warm.run(tmp_path / "process", [], script=script)
    assert (tmp_path / "ran").exists()


@pytest.fixture(scope="module")
def debiased(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Any]]:
    """A folder with a model, its data and a run of it, made without a network; and the hosts that the run asked for."""
    place, asked = tmp_path_factory.mktemp("debiased"), []

    def refuse(self: Any, address: Any, *_: Any) -> Any:
        asked.append(address)
        raise OSError("no network")

    tiny.save(tiny.gpt2(n_layer=1), place / "model")
    variants.write_pairs(place / "train.jsonl")
    variants.write_pairs(place / "report.jsonl", ("old", "new"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", refuse)
        patch.setattr(socket.socket, "connect_ex", refuse)
        patch.setattr(socket, "getaddrinfo", lambda *given, **_: refuse(None, given))
        with pytest.raises(OSError, match="no network"):  # the control
            socket.create_connection(("127.0.0.1", 9))
        asked.clear()
        variants.debias(place, "run", str(place / "model"))
    return place, asked


@pytest.mark.slow
def test_a_checkpoint_runs_no_code(
    debiased: tuple[Path, list[Any]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(debiased[0], tmp_path, dirs_exist_ok=True)
    run = tmp_path / "run"
    command = [line for line in json.loads((run / "results.json").read_text())["environment"]["command"].split()]
    assert command
    (run / "results.json").unlink()
    for name in ("checkpoint.pt", "checkpoint-before.pt"):
        torch.save({"state": Evil(tmp_path / "ran")}, run / name)
    capsys.readouterr()
    with pytest.raises(AssertionError):  # exit code 2
        variants.debias(tmp_path, "run", str(tmp_path / "model"), "--resume")
    assert "broken checkpoint" in capsys.readouterr().err
    assert not (tmp_path / "ran").exists()


# --- what leaves the machine, and what a run folder holds ------------------------------------------------------------


@pytest.mark.slow
def test_nothing_is_sent_to_other_hosts_and_a_run_holds_no_sentences(debiased: tuple[Path, list[Any]]) -> None:
    place, asked = debiased
    assert asked == []
    for path in (place / "run").rglob("*"):
        if not path.is_file() or path.suffix in (".html", ".safetensors"):
            continue
        text = str(pyarrow.parquet.read_table(path).to_pylist()) if path.suffix == ".parquet" else path.read_text()
        assert "pilot is slow" not in text and "is kind" not in text, path.name
    assert "pilot is slow" in (place / "report.jsonl").read_text()  # the control


# --- names of others on the terminal and in what is published --------------------------------------------------------


def test_no_name_steers_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    emit(f"first {BAD}\n\tsecond")
    show({"name": BAD}, Output(json=True), lambda _: "")
    with lines() as (count, step):
        count(BAD, 1, 1)
        step({"step": 1, "of": 1, "ss": {BAD: 50.0}, "lms": None})
    assert not STEERING.search(check_line({"step": 1, "ss": {BAD: 50.0}, "lms": None}))
    out, err = capsys.readouterr()
    assert not STEERING.search(out) and not STEERING.search(err)
    assert "first evil" in out and "\n\tsecond" in out
    assert json.loads(out[out.index("{") :])["name"] == BAD  # in JSON it is still the same


def test_an_error_message_does_not_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["measure", BAD, "--benchmark", f"stereoset={BAD}", "--out", BAD]) == 2
    err = capsys.readouterr().err
    assert "evil" in err and not STEERING.search(err)


HOSTILE = "# Heading\n\n<script>alert(1)</script> ![x](https://evil.example/x.png) [y](javascript:z) ```\n---\n| a |"


def test_a_model_card_takes_no_markup_from_a_run() -> None:
    stored = json.loads((ROOT / "tests/runs/schema_1/results.json").read_text())
    for place in (stored["benchmarks"]["stereoset"], stored["before"]["stereoset"]):
        row = next(iter(place["bias_types"].values()))
        place["bias_types"] = {HOSTILE: row}
    stored["model"] = HOSTILE
    stored["stopped"] = {"step": 1, "reason": HOSTILE}
    stored["environment"] = {**stored["environment"], "versions": {HOSTILE: HOSTILE}}
    stored["protocol"] = {"notes": [HOSTILE]}
    stored["config"] = {**stored.get("config", {}), "method": HOSTILE}
    stored.setdefault("data", {})["train"] = {"path": HOSTILE, "sha256": HOSTILE}
    card = model_card(Results.model_validate(stored), Published(False, HOSTILE, HOSTILE, license_id="mit"))
    head, _, body = card.removeprefix("---").partition("\n---\n")
    recipe = body[body.index("```yaml") : body.index("```", body.index("```yaml") + 7)] if "```yaml" in body else ""
    outside = body.replace(recipe, "")
    assert "# Heading" not in outside.replace("_ Heading", "").split("\n")
    for mark in ("<script", "](", "![", "https://evil", "\n---\n| a"):
        assert mark not in outside, mark
    assert body.count("```") % 2 == 0 and "\n# Heading" not in body
    assert HOSTILE not in head


@pytest.mark.slow
@pytest.mark.by_day("True")
@pytest.mark.parametrize("merge", [False, True])
def test_what_is_published_names_no_path_and_no_file_of_this_machine(
    merge: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "private-place"
    tiny.save(tiny.gpt2(n_layer=1), place / "private-owner" / "private-base")
    variants.write_pairs(place / "train.jsonl")
    variants.write_pairs(place / "report.jsonl", ("old", "new"))
    (place / "train.jsonl").rename(place / "private-train.jsonl")
    shutil.copy(place / "private-train.jsonl", place / "train.jsonl")
    monkeypatch.chdir(place)  # a relative folder has the form of a hub name
    run = variants.debias(place, "private-run", "private-owner/private-base", "--train", "private-train.jsonl")
    monkeypatch.chdir(tmp_path)  # and from elsewhere it is not there any more
    assert main(["export", run, "--out", str(tmp_path / "out"), *(["--merge"] if merge else [])]) == (2 if merge else 0)
    if merge:
        monkeypatch.chdir(place)
        assert main(["export", run, "--out", str(tmp_path / "out"), "--merge"]) == 0
    files = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert {"README.md", "training_data.json"} <= {path.name for path in files}
    for path in files:
        content = path.read_bytes()
        for name in (b"private", bytes(tmp_path), b"report.jsonl", b".jsonl"):
            assert name not in content, f"{path.name} holds {name!r}"
    if not merge:
        config = json.loads((tmp_path / "out/adapter_config.json").read_text())
        assert config["base_model_name_or_path"] is None
    manifest = json.loads((tmp_path / "out/training_data.json").read_text())
    assert len(manifest["pairs"]) > 10 and len(manifest["train"]["sha256"]) == 64


@pytest.mark.slow
def test_export_follows_no_link(
    debiased: tuple[Path, list[Any]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = debiased[0] / "run"
    (tmp_path / "secret").write_text("a secret")
    for name in ("training_data.json", "adapter_model.safetensors"):
        copy = tmp_path / f"with-{name}"
        shutil.copytree(run, copy)
        (copy / "adapter" / name).unlink()
        (copy / "adapter" / name).symlink_to(tmp_path / "secret")
        capsys.readouterr()
        assert main(["export", str(copy), "--out", str(tmp_path / "out")]) == 2
        assert "a symbolic link" in capsys.readouterr().err
        assert not (tmp_path / "out").exists()


def test_warnings_are_notes_in_one_line() -> None:
    from biasunlearn.cli.output import print_warning

    found = io.StringIO(print_warning(UserWarning(f"a name {BAD}"))).read()
    assert found.startswith("note: a name evil") and found.count("\n") == 1 and not STEERING.search(found)
