"""--arguments FILE: the same values as typed ones, and every mistake named by file and line."""

from pathlib import Path
from typing import Any

import pytest

from biasunlearn.cli.app import build
from biasunlearn.cli.arguments_file import with_arguments
from biasunlearn.errors import RequestError
from tests.cli.words import given


def words(tmp_path: Path, text: str, *typed: str) -> list[str]:
    path = tmp_path / "a.yaml"
    path.write_text(text)
    return with_arguments(build(), [*typed, "--arguments", str(path)])


def values(tmp_path: Path, text: str, *typed: str) -> dict[str, Any]:
    return given(*words(tmp_path, text, *typed))


def test_a_file_stands_for_all_arguments(tmp_path: Path) -> None:
    text = (
        "MODEL: my model\nbenchmark: {stereoset: dev.json, bbq: bbq/}\nbatch-tokens: 64\nlm_eval: [a, b]\n"
        "resume: true\nquiet: false\ndevice: null\nout: o\nseed: 0\n"
    )
    found = values(tmp_path, text, "measure")
    typed = given("measure", "my model", "--benchmark", "stereoset=dev.json", "--benchmark", "bbq=bbq/",
                  "--batch-tokens", "64", "--lm-eval", "a", "--lm-eval", "b", "--resume", "--out", "o",
                  "--seed", "0")  # fmt: skip
    assert found == typed and found["benchmark"] == ("stereoset=dev.json", "bbq=bbq/")


def test_the_command_line_takes_precedence(tmp_path: Path) -> None:
    text = "MODEL: m\nout: o\nseed: 1\n"
    assert values(tmp_path, text, "measure", "--seed", "2")["seed"] == 2
    assert values(tmp_path, text, "measure", "--out=p")["out"] == "p"
    assert values(tmp_path, text, "measure", "other", "--quiet")["model"] == "other"
    assert values(tmp_path, text, "measure", "--quiet", "other")["model"] == "other"


def test_positional_arguments_in_small_letters_and_several(tmp_path: Path) -> None:
    assert values(tmp_path, "run: [a, b]\n", "compare")["runs"] == ("a", "b")
    found = values(tmp_path, "run: r\nto: m\nreport: d\nout: o\nscale: [0.5, 1]\n", "transfer")
    assert (found["run"], found["scale"]) == ("r", ("0.5", "1"))
    found = values(tmp_path, "MODEL: http://h/v1\nmodel: served\nout: o\n", "measure")
    assert (found["model"], found["served_model"]) == ("http://h/v1", "served")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("out: o\nbatch-token: 3\n", "a.yaml:2: unknown argument 'batch-token' of measure; did you mean batch-tokens?"),
        ("out: o\nzzz: 3\n", "a.yaml:2: unknown argument 'zzz' of measure; known: .*adapter"),
        ("out: o\nout: p\n", "a.yaml:2: the key 'out' occurs twice"),
        ("- out\n", "a.yaml: must hold `option: value` lines"),
        ("resume: maybe\n", "a.yaml:1: resume is on or off; write true or false"),
        ("benchmark:\n  stereoset: [a]\n", "a.yaml:1: a value in a list or a mapping must be a single word"),
        ("out: [\n", "a.yaml:2: not YAML"),
    ],
)
def test_a_mistake_is_named_by_file_and_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        words(tmp_path, text, "measure")


def test_a_file_alone_twice_and_gone(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="belongs to a command"):
        words(tmp_path, "out: o\n")
    with pytest.raises(RequestError, match="--arguments: given twice"):
        words(tmp_path, "out: o\n", "measure", "--arguments", "b.yaml")
    with pytest.raises(RequestError, match="--arguments: needs a value"):
        with_arguments(build(), ["measure", "--arguments"])
    with pytest.raises(RequestError, match="gone.yaml: no such file"):
        with_arguments(build(), ["measure", "--arguments", "gone.yaml"])
    assert with_arguments(build(), ["measure", "m"]) == ["measure", "m"]
