"""Help: quick to load, written for every command and option, and with examples that are real commands."""

import re
import shlex
import subprocess
import sys

import pytest

from biasunlearn.cli import main
from biasunlearn.cli.app import COMMANDS, build
from biasunlearn.config import load_config
from tests.cli.words import SMALLEST, given

NAMES = [name for commands in COMMANDS.values() for name in commands]
HEAVY = {"torch", "transformers", "peft", "datasets", "pydantic", "numpy", "scipy", "pyarrow", "pandas", "rich", "yaml"}


def help_of(capsys: pytest.CaptureFixture[str], *command: str) -> str:
    assert main([*command, "--help"]) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    return printed.out


def examples(text: str) -> list[list[str]]:
    """The commands of the section Examples, as words; a shell's redirection is taken off."""
    block = text.partition("\nExamples:\n")[2].partition("\n\n")[0].replace("\\\n", " ")
    found = []
    for line in block.splitlines():
        words = shlex.split(re.sub(r">.*", "", line))
        assert words[0] == "biasunlearn", line
        found.append(words[1:])
    return found


@pytest.mark.slow
def test_no_help_imports_anything_heavy() -> None:
    code = (
        "import sys; from biasunlearn.cli import main\n"
        f"for words in ([], *([name] for name in {NAMES})):\n"
        "    assert main([*words, '--help']) == 0\n"
        f"    found = {HEAVY} & set(sys.modules)\n"
        "    assert not found, (words, found)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_command_imports_only_its_own_file() -> None:
    code = (
        "import sys; from biasunlearn.cli import main\n"
        "assert main(['gate', '--help']) == 0\n"
        "print(sorted(n for n in sys.modules if n.startswith('biasunlearn.cli.')), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "biasunlearn.cli.stored" in done.stderr
    for other in ("adapters", "experiments", "measure", "tools", "train"):
        assert f"biasunlearn.cli.{other}" not in done.stderr


def test_the_list_of_commands_has_every_command_with_what_it_does(capsys: pytest.CaptureFixture[str]) -> None:
    text = help_of(capsys)
    for name in NAMES:
        assert re.search(rf"^  {name} +[A-Z]", text, re.M), name
    for arguments in (["-h"], ["--help"]):
        assert main(arguments) == 0 and capsys.readouterr().out == text
    found = examples(text)
    assert len(found) == 3
    for words in found:
        given(*words)


@pytest.mark.parametrize("name", NAMES)
def test_a_help_ends_with_examples_that_are_commands(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = help_of(capsys, name)
    assert text.rindex("\n\n") < text.index("\nExamples:\n"), "something stands below the examples"
    found = examples(text)
    assert found
    for words in found:
        assert words[0] == name
        values = given(*words)
        load_config(values.get("config"), values.get("set", ()))  # recipe and keys exist


@pytest.mark.parametrize("name", NAMES)
def test_every_option_is_explained_in_plain_lines(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    command = build()[name]
    text = help_of(capsys, name)
    assert [line for line in text.splitlines() if len(line) > 80] == []
    for argument in command.assemble_argument_collection(parse_docstring=True).filter_by(show=True):
        explanation = " ".join((argument.parameter.help or "").split())
        assert explanation[:1].isupper() and explanation.endswith((".", ")")), argument.name
        assert explanation in " ".join(text.split())
        takes_value = argument.token_count()[0] > 0 and argument.index is None
        assert not takes_value or argument.parameter.metavar, f"{name} {argument.name}: no name for its value"


def test_help_names_choices_defaults_and_what_is_required(capsys: pytest.CaptureFixture[str]) -> None:
    text = " ".join(help_of(capsys, "measure").split())
    assert "(default: float32, or that of the recipe or the run). One of float32, bfloat16, float16, 8bit," in text
    assert "--out DIR Run folder to write. (required)" in text
    assert "(default: 0 25 50 100 200)" in help_of(capsys, "relearn")
    assert help_of(capsys, "compare").startswith("Usage: biasunlearn compare [OPTIONS] RUN...\n")
    assert help_of(capsys, "export").startswith("Usage: biasunlearn export --out DIR [OPTIONS] RUN\n")


def test_help_may_be_asked_for_anywhere_in_a_request(capsys: pytest.CaptureFixture[str]) -> None:
    text = help_of(capsys, "gate")
    for words in (["gate", "-h"], ["gate", *SMALLEST["gate"], "--help"], ["gate", "--nonsense", "--help"]):
        assert main(words) == 0 and capsys.readouterr().out == text
    assert main(["gaet", "--help"]) == 2
    assert "unknown command gaet; did you mean gate?" in capsys.readouterr().err


def test_help_is_as_wide_as_the_terminal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    prose = help_of(capsys, "debias").partition("Examples:")[0]
    assert max(map(len, prose.splitlines())) <= 60
    monkeypatch.setenv("COLUMNS", "9")
    assert help_of(capsys, "debias").startswith("Usage: biasunlearn debias")
    monkeypatch.setenv("COLUMNS", "300")
    assert 80 < max(map(len, help_of(capsys, "debias").splitlines())) <= 110
