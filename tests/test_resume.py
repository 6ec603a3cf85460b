"""`--resume`, `--out` and signals of the command line: what is the same run, what is refused, and what is saved."""

import json
import os
import shutil
import signal
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from biasunlearn.cli import main
from biasunlearn.config import DebiasConfig
from biasunlearn.models.adapters import with_lora
from biasunlearn.models.weights_hash import weights_hash
from biasunlearn.unlearn.interruption import interruptible
from tests import tiny, variants
from tests.warm_client import Warm


@pytest.fixture(scope="module")
def unchanged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model, two adapters and report pairs, as every test finds them."""
    folder = tmp_path_factory.mktemp("unchanged")
    tiny.save(tiny.gpt2(n_layer=1), folder / "model")
    for seed in (1, 2):
        adapted = with_lora(tiny.gpt2(n_layer=1).model, DebiasConfig())
        tiny.perturb(adapted, seed=seed)
        adapted.save_pretrained(folder / f"adapter-{seed}")
    shutil.copytree(folder / "adapter-1", folder / "adapter")
    variants.write_pairs(folder / "report.jsonl", ("old", "new"))
    return folder


@pytest.fixture
def place(unchanged: Path, tmp_path: Path) -> Path:
    """A copy, which the test may change."""
    return Path(shutil.copytree(unchanged, tmp_path, dirs_exist_ok=True))


def measure(place: Path, *more: str, model: str = "model", data: str = "report.jsonl", out: str = "run") -> int:
    return main(["measure", str(place / model), "--adapter", str(place / "adapter"), "--benchmark",
                 f"stereoset={place / data}", "--replacements", "1", "--out", str(place / out), *more])  # fmt: skip


def error(capsys: pytest.CaptureFixture[str]) -> str:
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("biasunlearn:")]
    assert len(lines) == 1, lines
    return lines[0]


def replace_adapter(place: Path) -> None:
    shutil.rmtree(place / "adapter")
    shutil.copytree(place / "adapter-2", place / "adapter")


def upper_case(place: Path) -> None:
    path = place / "report.jsonl"
    path.write_text(path.read_text().replace("The old", "the old"))


def other_bias_type(place: Path) -> None:
    path = place / "report.jsonl"
    path.write_text(path.read_text().replace('"bias_type": "old"', '"bias_type": "Old"'))


def other_unrelated(place: Path) -> None:
    path = place / "report.jsonl"
    path.write_text(path.read_text().replace("is of slow", "is of snow"))


def other_tokenizer(place: Path) -> None:
    path = place / "model" / "tokenizer_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "bos_token": "</s>"}))


def permuted_weights(place: Path) -> None:
    path = place / "model" / "model.safetensors"
    weights = load_file(path)
    name = next(name for name in weights if name.endswith("c_fc.weight"))
    weights[name] = weights[name].flip(0).contiguous()
    save_file(weights, path, {"format": "pt"})


CHANGES = {
    "adapter": replace_adapter, "letter case": upper_case, "bias type": other_bias_type,
    "unrelated sentences": other_unrelated, "tokenizer": other_tokenizer, "permuted weights": permuted_weights,
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.by_day("adapter-True", "bias type-False", "tokenizer-True", "permuted weights-False")
@pytest.mark.parametrize("finished", [True, False])
@pytest.mark.parametrize("change", CHANGES)
def test_a_run_is_not_resumed_after_a_change_of_what_it_reads(
    change: str, finished: bool, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert measure(place) == 0
    if not finished:
        (place / "run" / "results.json").unlink()
    assert measure(place, "--resume") == 0  # the control
    if not finished:
        (place / "run" / "results.json").unlink()
    capsys.readouterr()
    CHANGES[change](place)
    assert measure(place, "--resume") == 2
    message = error(capsys)
    assert "run of another request" in message and "its content has changed" in message


@pytest.mark.slow
def test_a_run_of_another_version_is_not_resumed(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert measure(place) == 0
    path = place / "run" / "config.yaml"
    path.write_text(path.read_text().replace("version: ", "version: 0.0."))
    capsys.readouterr()
    assert measure(place, "--resume") == 2
    assert "it was begun with version 0.0." in error(capsys)


@pytest.mark.slow
def test_moved_folders_and_other_spellings_of_a_path_are_the_same_run(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert measure(place) == 0
    stored = (place / "run" / "results.json").read_bytes()
    for name, other in (("run", "moved"), ("model", "base"), ("report.jsonl", "data.jsonl")):
        (place / name).rename(place / other)
    assert measure(place, "--resume", model="base", data="data.jsonl", out="moved") == 0
    monkeypatch.chdir(place)
    assert main(["measure", "base", "--adapter", "./adapter", "--benchmark", "stereoset=data.jsonl", "--out",
                 "../" + place.name + "/moved", "--replacements", "1", "--resume"]) == 0  # fmt: skip
    assert (place / "moved" / "results.json").read_bytes() == stored


def test_permuted_weights_have_another_hash() -> None:
    loaded = tiny.gpt2()
    before = weights_hash(loaded.model)
    assert weights_hash(tiny.gpt2().model) == before  # the control
    weight = loaded.model.transformer.h[0].mlp.c_fc.weight
    with torch.no_grad():
        weight.copy_(weight.flip(0).clone())
    assert weights_hash(loaded.model) != before
    with torch.no_grad():  # and back, with two single numbers exchanged
        weight.copy_(weight.flip(0).clone())
        assert weights_hash(loaded.model) == before
        weight[0, 0], weight[3, 5] = weight[3, 5].item(), weight[0, 0].item()
    assert weights_hash(loaded.model) != before


# --- places ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("out", "message"),
    [("", "--out: is empty"), ("n" * 300, "a name of 300 characters"), ("model", "the folder of a model"),
     ("model/run", "the folder of a model"), ("adapter", "the folder of a model"), ("report.jsonl", "a file")],
)  # fmt: skip
def test_a_place_that_no_run_should_be_written_to(
    out: str, message: str, place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place)
    before = {str(path): path.stat().st_mtime_ns for path in place.rglob("*")}
    command = ["measure", "model", "--adapter", "adapter", "--benchmark", "stereoset=report.jsonl", "--out", out]
    assert main(command) == 2
    assert message in error(capsys)
    assert {str(path): path.stat().st_mtime_ns for path in place.rglob("*")} == before


@pytest.mark.parametrize("command", [["report", "run"], ["compare", "a", "b"], ["export", "run"], ["demo"]])
@pytest.mark.parametrize("out", ["", "n" * 300])
def test_every_command_refuses_such_a_name(out: str, command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*command, "--out", out]) == 2
    assert "--out" in error(capsys)


def test_a_model_whose_name_is_too_long_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = variants.write_pairs(tmp_path / "report.jsonl")
    command = ["measure", "m" * 5000, "--benchmark", f"stereoset={report}", "--out", str(tmp_path / "run")]
    assert main(command) == 2
    assert len(error(capsys)) < 400


# --- signals ---------------------------------------------------------------------------------------------------------

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@pytest.mark.parametrize("one", SIGNALS)
def test_training_notes_the_first_signal_and_ends_at_the_second(one: signal.Signals) -> None:
    former = signal.signal(one, signal.default_int_handler)  # in the background, a shell ignores Ctrl-C
    try:
        with interruptible() as asked:
            assert not asked()
            os.kill(os.getpid(), one)
            assert asked()
            with pytest.raises(KeyboardInterrupt):
                os.kill(os.getpid(), one)
        assert signal.getsignal(one) == signal.default_int_handler
    finally:
        signal.signal(one, former)


def test_a_signal_that_is_ignored_stays_ignored() -> None:
    """nohup: the run goes on after the terminal is closed."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with interruptible() as asked:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not asked()
    finally:
        signal.signal(signal.SIGHUP, before)


SHORT = ("max_steps=6", "swap_noise=0", "first_evaluation=2", "evaluate_every=2", "forget_batch=4", "retain_batch=4",
         "unrelated_batch=2", "confirm=99", "learning_rate=0.001", "lms_floor=100")  # fmt: skip


def debias(place: Path, *more: str) -> list[str]:
    variants.write_pairs(place / "train.jsonl")
    return ["debias", str(place / "model"), "--train", str(place / "train.jsonl"), "--report",
            str(place / "report.jsonl"), "--replacements", "1", "--out", "run",
            *(part for value in SHORT for part in ("--set", value)), *more]  # fmt: skip


def state(pid: int) -> str:
    """T: stopped, Z: ended (man 5 proc)."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


@pytest.mark.slow
@pytest.mark.by_day("15")
@pytest.mark.parametrize("one", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_saves_what_ctrl_c_saves(one: signal.Signals, warm: Warm, place: Path) -> None:
    command = debias(place)
    assert warm.run(place / "whole", command) == 0
    folder = place / one.name
    pid = warm.start(folder, command, stop_at="checkpoint.pt")  # it stands still before every save
    while state(pid) not in "TZ":
        time.sleep(0.005)
    os.kill(pid, one)
    while state(pid) != "Z":
        os.kill(pid, signal.SIGCONT)
        time.sleep(0.01)
    assert warm.wait(pid) == 130, (folder / "stderr").read_text()[-2000:]
    assert "everything is saved" in (folder / "stderr").read_text()
    assert not (folder / "run" / ".lock").exists() and (folder / "run" / "checkpoint.pt").exists()
    assert warm.run(folder, [*command, "--resume"]) == 0
    for name in ("metrics.jsonl", "adapter/adapter_model.safetensors"):
        assert (folder / "run" / name).read_bytes() == (place / "whole/run" / name).read_bytes()


@pytest.mark.slow
def test_a_signal_in_the_middle_of_a_measurement_is_one_line(warm: Warm, place: Path) -> None:
    command = ["measure", str(place / "model"), "--benchmark", f"stereoset={place / 'report.jsonl'}", "--out", "run"]
    folder = place / "stopped"
    pid = warm.start(folder, command, tokens=60)
    while not (folder / "run" / "scored.jsonl").exists():
        time.sleep(0.002)
    os.kill(pid, signal.SIGTERM)
    assert warm.wait(pid) == 130
    assert (folder / "stderr").read_text().splitlines()[-1] == "biasunlearn: interrupted"
    assert warm.run(folder, [*command, "--resume"], tokens=60) == 0


# --- processes and threads -------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_run_goes_on_with_another_number_of_threads(warm: Warm, place: Path) -> None:
    command = ["measure", str(place / "model"), "--benchmark", f"stereoset={place / 'report.jsonl'}", "--out", "run"]
    folder = place / "threads"
    assert warm.run(folder, command, tokens=60, kill_after_keep=2) == -signal.SIGKILL
    assert warm.run(folder, [*command, "--resume"], tokens=60, environment={"OMP_NUM_THREADS": "2"}) == 0
    assert warm.run(place / "whole", command, tokens=60) == 0
    first, second = (json.loads((one / "run/results.json").read_text()) for one in (folder, place / "whole"))
    assert first["benchmarks"] == second["benchmarks"]


@pytest.mark.slow
@pytest.mark.by_day("1")
@pytest.mark.parametrize("killed", [0, 1])
def test_of_two_processes_one_killed_ends_the_other_within_30_seconds(killed: int, warm: Warm, place: Path) -> None:
    """gloo on the CPU, without a launcher that would end the other process itself."""
    import socket

    command = debias(place, "--set", "max_steps=2000")
    command[command.index("run")] = str(place / "run")
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port = held.getsockname()[1]
    of_all = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    folders = [place / f"rank-{rank}" for rank in range(2)]
    pids = [warm.start(folder, command, environment={**of_all, "RANK": str(rank), "LOCAL_RANK": str(rank)})
            for rank, folder in enumerate(folders)]  # fmt: skip
    deadline = time.monotonic() + 240
    while not (place / "run" / "checkpoint.pt").exists():
        assert time.monotonic() < deadline, (folders[0] / "stderr").read_text()[-2000:]
        time.sleep(0.02)
    os.kill(pids[killed], signal.SIGKILL)
    begun = time.monotonic()
    code = warm.wait(pids[1 - killed])
    seconds = time.monotonic() - begun
    warm.wait(pids[killed])
    text = (folders[1 - killed] / "stderr").read_text()
    assert code not in (0, -signal.SIGKILL) and seconds < 30, (code, seconds)
    lines = [line for line in text.splitlines() if line.startswith("biasunlearn:")]
    assert len(lines) == 1 and "Traceback" not in text, text[-3000:]
    assert "another process of this run has ended" in lines[0] and "--resume" in lines[0]
    print(f"rank {killed} killed: the other ended after {seconds:.1f} s with: {lines[0]}")
