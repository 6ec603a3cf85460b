"""Whether a run is the same run: what it reads counts by its content, and nothing else about it does."""

from pathlib import Path
from typing import Any

import pytest

from biasunlearn.runs.identity import content_of, first_difference, identity


def request(place: Path, **changes: Any) -> dict[str, Any]:
    values = {"model": str(place / "model"), "benchmarks": {"stereoset": str(place / "data.csv")}, "dtype": "float32"}
    return {"measure": {**values, **changes}}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "model").mkdir()
    for name in ("config.json", "tokenizer.json", "chat_template.jinja", "model.safetensors"):
        (tmp_path / "model" / name).write_text(name)
    (tmp_path / "data.csv").write_text("a,b\n")
    return tmp_path


def test_the_same_request_is_the_same(place: Path) -> None:
    assert first_difference(identity(request(place)), identity(request(place))) == ""


def test_moved_and_relative_names_are_the_same(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = identity(request(place))
    monkeypatch.chdir(place)
    (place / "data.csv").rename(place / "moved.csv")
    (place / "model").rename(place / "elsewhere")
    after = identity(request(Path(), model="elsewhere", benchmarks={"stereoset": "moved.csv"}))
    assert first_difference(before, after) == ""


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "chat_template.jinja", "model.safetensors"])
def test_a_changed_model_or_tokenizer_is_another_run(name: str, place: Path) -> None:
    before = identity(request(place))
    (place / "model" / name).write_text("other")
    assert first_difference(before, identity(request(place))) == "model: its content has changed"


def test_changed_data_is_another_run(place: Path) -> None:
    before = identity(request(place))
    (place / "data.csv").write_text("A,b\n")  # letter case alone
    assert first_difference(before, identity(request(place))) == "benchmarks, stereoset: its content has changed"


def test_a_file_that_no_result_depends_on_may_change(place: Path) -> None:
    before = identity(request(place))
    (place / "model" / "README.md").write_text("new")
    assert first_difference(before, identity(request(place))) == ""


def test_another_value_and_another_version_are_said(place: Path) -> None:
    before = identity(request(place))
    assert first_difference(before, identity(request(place, dtype="float16"))) == (
        "dtype: it was float32, and is float16 now"
    )
    assert "it was begun with version 0.0.9" in first_difference({**before, "version": "0.0.9"}, before)


def test_a_name_that_is_no_file_stays_a_name() -> None:
    assert content_of("owner/a-model-that-nobody-has") == "owner/a-model-that-nobody-has"
    assert content_of("x" * 5000) == "x" * 5000
