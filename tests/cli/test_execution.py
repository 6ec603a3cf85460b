"""Options that every command has which reads a model: one declaration, and no command that lacks one of them."""

import dataclasses

import pytest

from biasunlearn.cli import main
from biasunlearn.cli.app import COMMANDS, build
from biasunlearn.cli.options import Evaluation, Execution
from biasunlearn.errors import RequestError
from tests.cli.words import SMALLEST, given

MEASURES = {
    "measure", "probe", "debias", "survey", "ablate", "disentangle", "sweep", "study", "transfer", "relearn", "combine",
}  # fmt: skip
"""Commands that read a model of the user's and measure it."""

LOADS = {"export", "playground", "verify"}
"""Commands that load the model of a run. They refuse, with the reason, what has no meaning for them."""

OPTIONS = {
    "device": "cpu", "dtype": "bfloat16", "batch-tokens": "64", "seed": "3", "revision": "main", "limit": "5",
    "resume": None, "overwrite": None, "quiet": None, "verbose": None,
}  # fmt: skip


def names_of(command: str) -> set[str]:
    _, apps, _ = build().parse_commands([command])
    return {name for one in apps[-1].assemble_argument_collection() for name in one.names}


def test_every_command_that_measures_a_model_has_all_of_them() -> None:
    every = {name for commands in COMMANDS.values() for name in commands}
    assert MEASURES <= every
    for command in every:
        wanted = {f"--{name}" for name in OPTIONS}
        found = names_of(command) & wanted
        assert found == wanted if command in MEASURES | LOADS else "--limit" not in found, command
    assert {name.replace("-", "_") for name in OPTIONS} == {one.name for one in dataclasses.fields(Execution)}


@pytest.mark.parametrize("command", sorted(MEASURES | LOADS))
def test_their_values_arrive(command: str) -> None:
    for name, value in OPTIONS.items():
        words = [f"--{name}"] if value is None else [f"--{name}", value]
        found = given(command, *SMALLEST[command], *words)[name.replace("-", "_")]
        assert found == (True if value is None else int(value) if value.isdigit() else value)


def test_an_option_that_stands_for_a_setting_of_the_recipe() -> None:
    execution = Execution(seed=3, dtype="bfloat16", batch_tokens=64)
    assert execution.settings(("beta=1",)) == ["dtype=bfloat16", "batch_tokens=64", "seed=3", "beta=1"]
    assert Execution().settings(("seed=1",)) == ["seed=1"]
    with pytest.raises(RequestError, match="--batch-tokens: also given as --set batch_tokens; keep one of them"):
        execution.settings(("batch_tokens=1",))


def test_seed_and_seeds() -> None:
    assert Execution(seed=3).seeds(None, (0, 1)) == (3,)
    assert Execution().seeds(None, (0, 1)) == (0, 1) and Execution().seeds((5,), (0, 1)) == (5,)
    with pytest.raises(RequestError, match="--seed: also given as --seeds"):
        Execution(seed=3).seeds((5,), (0,))


def test_seed_and_limit_reach_the_evaluation() -> None:
    options = Evaluation().to_options(Execution(seed=3, limit=7))
    assert (options.seed, options.limit) == (3, 7)
    assert Evaluation(sampling_seed=1).to_options(Execution(seed=3)).seed == 1
    assert Evaluation().to_options(Execution()).seed == 0
    with pytest.raises(RequestError, match="--limit 0: must be at least 1"):
        Evaluation().to_options(Execution(limit=0))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["relearn", *SMALLEST["relearn"], "--dtype", "bfloat16"], "--dtype: training in half precision loses small"),
        (["relearn", *SMALLEST["relearn"], "--revision", "x"], "--revision: both models are those of the run"),
        (["combine", *SMALLEST["combine"], "--revision", "x"], "--revision: the base is that of the runs"),
        (["export", *SMALLEST["export"], "--limit", "5"], "--limit: an exported run was measured before"),
        (["export", *SMALLEST["export"], "--evidence", "--device", "cpu"], "--device: no model is loaded"),
        (["playground", *SMALLEST["playground"], "--overwrite"], "--overwrite: the playground stores nothing"),
        (["verify", *SMALLEST["verify"], "--resume"], "--resume: verify stores nothing"),
        (["probe", *SMALLEST["probe"], "--dtype", "4bit"], "--dtype: hidden states of a quantized model"),
        (["measure", *SMALLEST["measure"], "--quiet", "--verbose"], "--quiet: cannot be combined with --verbose"),
        (["measure", *SMALLEST["measure"], "--resume", "--overwrite"], "--overwrite: cannot be combined with --resume"),
    ],
)
def test_what_has_no_meaning_is_refused(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    assert message in capsys.readouterr().err
