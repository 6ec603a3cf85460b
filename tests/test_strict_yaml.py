"""YAML that is wrong, too deep, too large or ambiguous is one line; all files of YAML are read so."""

import os
import time
from pathlib import Path

import pytest

from biasunlearn import strict_yaml
from biasunlearn.cli import main
from biasunlearn.config import load_config
from biasunlearn.data.families import load_families
from biasunlearn.data.term_lists import load_term_list
from biasunlearn.errors import RequestError
from biasunlearn.runs.folder import RunFolder
from biasunlearn.strict_yaml import parse_yaml, read_yaml

NINE_LEVELS = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{'abcdefghi'[n]}: &{'abcdefghi'[n]} [{','.join(['*' + 'abcdefghi'[n - 1]] * 9)}]\n" for n in range(1, 9)
)
"""Nine levels of nine aliases each: 400 bytes for 387 million values."""


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3", "f:3: the key 'a' occurs twice"),
        ("x:\n  a: 1\n  a: 1", "f:3: the key 'a' occurs twice"),
        (NINE_LEVELS, "more than 200,000 values"),
        ("a: &a [1, *a]", "f:1: .* an alias stands for what it is part of"),
        ("[" * 100_000, "f:1: .*nested more than 50 levels deep"),
        ("{a: " * 100_000, "f:1: .*nested more than 50 levels deep"),
        ("- " * 100_000, "f:1: .*nested more than 50 levels deep"),
        ("a: " + "9" * 5000, "a value that cannot be read"),
        ("a: 2026-02-31", "a value that cannot be read"),
        ("a: !!bool perhaps", "a value that cannot be read"),
        ("a: !!int ''", "a value that cannot be read"),
        ("a: !!timestamp soon", "a value that cannot be read"),
        ("a: !!python/object/apply:os.getcwd []", "f:1: not YAML: could not determine a constructor"),
        ("? [1, 2]\n: 3", "f:1: not YAML"),
        ("a: b: c", "f:1: not YAML"),
        ("a: 1\n---\na: 2", "f:2: not YAML"),
        ("a: \x07", "f: not YAML"),
        ("a: \ud83d", "half of a character"),
    ],
)
def test_what_cannot_be_used_is_one_line_and_soon(text: str, message: str) -> None:
    begun = time.process_time()
    with pytest.raises(RequestError, match=message) as caught:
        parse_yaml(text, "f")
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 300
    assert time.process_time() - begun < 5


def test_what_is_right_is_as_pyyaml_reads_it() -> None:
    assert parse_yaml("", "f") is None
    assert parse_yaml("a: &x {b: 1}\nc: {<<: *x, d: [2, 3.5, yes, null, 2026-02-28]}", "f")["c"]["d"][:4] == [
        2, 3.5, True, None,
    ]  # fmt: skip
    fifty = parse_yaml("[" * 50 + "]" * 50, "f")
    for _ in range(49):
        fifty = fifty[0]
    assert fifty == []


def test_a_file_that_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    (tmp_path / "latin.yaml").write_bytes("a: caf\u00e9".encode("latin-1"))
    (tmp_path / "large.yaml").write_text("a: 1\n")
    monkeypatch.setattr(strict_yaml, "MAX_BYTES", 4)
    for name, message in {
        "pipe.yaml": "a pipe or a device",
        "latin.yaml": "larger than",
        "large.yaml": "larger than",
        ".": "it is a folder",
        "gone.yaml": "no such file",
        "x" * 300: "File name too long",
        "nul\0.yaml": "no such file",
    }.items():
        with pytest.raises(RequestError, match=message):
            read_yaml(tmp_path / name)
    monkeypatch.undo()
    with pytest.raises(RequestError, match="not UTF-8 at byte 6"):
        read_yaml(tmp_path / "latin.yaml")


@pytest.mark.parametrize("text", [NINE_LEVELS, "seed: 1\nseed: 2", "[" * 100_000])
def test_every_yaml_file_is_read_so(text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(text)
    readers = (load_config, load_families, load_term_list, lambda path: RunFolder(path.parent).read_config())
    for read in readers:
        with pytest.raises(RequestError, match="occurs twice|more than"):
            read(path)
    assert main(["gate", "no-run", "--policy", str(path)]) == 2
    assert "config.yaml:" in capsys.readouterr().err
    with pytest.raises(RequestError, match="the value is not YAML"):
        load_config(None, [f"seed={text}"])


@pytest.mark.parametrize(
    "text",
    ["seed: .inf", "max_steps: 1e3", f"seed: {10**30}", f"beta: {10**400}", "learning_rate: .nan", "beta: [1]"],
)
def test_numbers_that_a_recipe_cannot_have(text: str, tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text(text)
    with pytest.raises(RequestError, match="must be a"):
        load_config(tmp_path / "r.yaml")


@pytest.mark.parametrize(
    "limit",
    [
        "ss: {at_most: .inf}", "ss: {at_most: .nan}", f"ss: {{at_least: -{10**400}}}", "ss: {within: [-.inf, 60]}",
        "minimum_n: -5", "minimum_n: 0", "minimum_n: 2.0",
    ],
)  # fmt: skip
def test_limits_that_would_let_everything_pass(
    limit: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "p.yaml").write_text(f"stereoset:\n  overall:\n    {limit}\n")
    assert main(["gate", "no-run", "--policy", str(tmp_path / "p.yaml")]) == 2
    assert "must be" in capsys.readouterr().err
