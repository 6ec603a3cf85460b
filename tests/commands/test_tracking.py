"""What trackers are told, and what stands beside the bar."""

import io
import typing

import pytest

from biasunlearn.commands.tracking import Tracker, scalars, tracked
from biasunlearn.errors import RequestError
from biasunlearn.report.terminal import progress
from tests.cli.words import given

ROW = {"step": 2, "of": 4, "loss_forget": 13.9, "loss_retain": 3.0, "loss_kl": 0.5, "log_ratio": -0.1, "lr": 1e-3}
CHECK = {**ROW, "step": 4, "ss": {"age": 60.0}, "lms": None, "decision": {"swap_weights": {"age": 0.5}}}


def test_a_row_as_flat_numbers():
    assert scalars(ROW) == {"loss/forget": 13.9, "loss/retain": 3.0, "loss/kl": 0.5, "log_ratio": -0.1, "lr": 1e-3}
    assert scalars(CHECK) == scalars(ROW) | {"ss/age": 60.0, "swap_weight/age": 0.5}


def test_tensorboard_gets_every_step(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    seen, config = [], {"seed": 0, "lora_targets": ["a"], "stop_items": None}
    with tracked(["tensorboard"], tmp_path, config, seen.append) as step:
        step(ROW)
        step(CHECK)
    assert seen == [ROW, CHECK]
    (folder,) = {path.parent for path in (tmp_path / "logs").rglob("events*") if path.parent.name == "biasunlearn"}
    events = EventAccumulator(str(folder))
    events.Reload()
    assert [(e.step, round(e.value, 4)) for e in events.Scalars("loss/forget")] == [(2, 13.9), (4, 13.9)]
    assert [e.value for e in events.Scalars("ss/age")] == [60.0]


def test_no_tracker_is_no_detour(tmp_path):
    def on_step(row):
        raise AssertionError

    with tracked((), tmp_path, {}, on_step) as step:
        assert step is on_step


def test_a_tracker_that_is_not_installed_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(RequestError, match="--track wandb: not installed; pip install wandb"):
        with tracked(["wandb"], tmp_path, {}, print):
            pass


def test_a_tracker_that_cannot_be_started_is_one_line(tmp_path, monkeypatch):
    pytest.importorskip("tensorboard")

    def refuse(*_given, **_named):
        raise OSError("no such account\nask somebody")

    monkeypatch.setattr("accelerate.Accelerator.init_trackers", refuse)
    with tracked(["tensorboard"], tmp_path, {}, lambda row: None) as step:
        with pytest.raises(RequestError, match="--track tensorboard: cannot be started: no such account$"):
            step(ROW)


def test_the_command_knows_the_same_trackers():
    words = ["debias", "m", "--train", "t", "--report", "r", "--out", "o"]
    names = typing.get_args(Tracker)
    assert given(*words, *(word for name in names for word in ("--track", name)))["track"] == names


def test_beside_the_bar_and_plain_lines(monkeypatch):
    assert progress.step_note(ROW, {}) == "forget 13.9  retain 3  kl 0.5"
    assert progress.step_note(CHECK, {"age": 60.0}) == "forget 13.9  retain 3  kl 0.5  SS  age 60"
    monkeypatch.setattr("sys.stderr", plain := io.StringIO())
    with progress.lines() as (_, step):
        step(ROW)
        step(CHECK)
    steps, look = plain.getvalue().splitlines()
    assert steps == "training: step: 2/4"
    assert look == "step 4: SS on the stop split  age 60.0  forget 13.900  retain 3.000  kl 0.500"


def test_bars_survive_names_that_look_like_markup(monkeypatch):
    monkeypatch.setattr("sys.stderr", io.StringIO())
    with progress.bars() as (count, step):
        count("[/bold] benchmark", 1, 2)
        step({**CHECK, "ss": {"[/red]": 50.0}})
