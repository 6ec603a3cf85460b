"""`completion`: the script of each shell is printed, names the commands and options, and a shell accepts it."""

import shutil
import subprocess

import pytest

from biasunlearn.cli import main
from tests.cli.test_help import NAMES

CHECKS = {"bash": ["bash", "-n"], "zsh": ["zsh", "-n"], "fish": ["fish", "--no-execute"], "powershell": None}


@pytest.mark.slow
@pytest.mark.by_day("bash", "zsh")
@pytest.mark.parametrize("shell", CHECKS)
def test_a_script_is_printed(shell: str, tmp_path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    for word in (*NAMES, "limit-prompts", "trust-remote-code", "bfloat16"):
        assert word in script, word
    check = CHECKS[shell]
    if check and shutil.which(check[0]):
        (tmp_path / "script").write_text(script)
        done = subprocess.run([*check, str(tmp_path / "script")], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(("words", "expected"), [
    (["biasunlearn", "mea"], {"measure"}),
    (["biasunlearn", "debias", "--lim"], {"--limit", "--limit-prompts"}),
    (["biasunlearn", "measure", "MODEL", "--dtype", "b"], {"bfloat16"}),
])  # fmt: skip
def test_bash_completes(words: list[str], expected: set[str], tmp_path, capsys: pytest.CaptureFixture[str]) -> None:
    if not shutil.which("bash"):
        pytest.skip("needs bash")
    assert main(["completion", "bash"]) == 0
    (tmp_path / "script").write_text(capsys.readouterr().out)
    quoted = " ".join(f"'{word}'" for word in words)
    code = (
        f"source {tmp_path / 'script'}; COMP_WORDS=({quoted}); COMP_CWORD={len(words) - 1}; "
        f"COMP_LINE='{' '.join(words)}'; COMP_POINT=${{#COMP_LINE}}; "
        "complete -p biasunlearn | sed -n 's/.*-F \\([^ ]*\\).*/\\1/p' > /dev/null; "
        "name=$(complete -p biasunlearn | sed -n 's/.*-F \\([^ ]*\\) .*/\\1/p'); "
        "$name 2>/dev/null; printf '%s\\n' \"${COMPREPLY[@]}\""
    )
    done = subprocess.run(["bash", "--norc", "-c", code], capture_output=True, text=True)
    assert {line.strip() for line in done.stdout.splitlines()} == expected, done


def test_an_unknown_shell_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", "csh"]) == 2
    refused = "SHELL csh: not one of bash, zsh, fish, powershell"
    assert capsys.readouterr().err == f"biasunlearn: completion: {refused} (see biasunlearn completion --help)\n"
