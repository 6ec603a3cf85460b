"""Every option is accepted as it is spelt, no option is abbreviated, and a wrong request is one line with its fix."""

import typing

import pytest

from biasunlearn.cli import main
from biasunlearn.cli.app import COMMANDS
from biasunlearn.commands.tracking import Tracker
from biasunlearn.config import Dtype
from biasunlearn.errors import RequestError
from tests.cli.words import SMALLEST, given

PRINTS = "--json --traceback"
LOADS = "--skip-invalid --trust-remote-code"
EVALUATES = (
    "--chat-template --classifier=toxicity=owner/name --limit-prompts=5 --continuations=2 --new-tokens=9 "
    "--sampling-seed=1 --generations=g --lm-eval=mmlu,glue --lm-eval-limit=7"
)
TRAINS = "--train=t --unrelated=u --report=r --out=o --config=biasunlearn --set=seed=1 --benchmark=perplexity=x.txt"
OPTIONS = {
    "demo": f"{PRINTS} --out=o",
    "measure": f"{PRINTS} {LOADS} {EVALUATES} --adapter=a --benchmark=stereoset=d.json --out=o --dtype=4bit --resume",
    "probe": f"{PRINTS} {LOADS} --adapter=a --data=d --out=o --layers=3 --pool=last --groups=gender --seed=1 "
             "--dtype=bfloat16",
    "debias": f"{PRINTS} {LOADS} {EVALUATES} {TRAINS} --method=dpo --resume --track=wandb",
    "survey": f"{PRINTS} {LOADS} {TRAINS} --methods=dpo --seeds=1 --text=x.txt",
    "ablate": f"{PRINTS} {LOADS} {TRAINS} --seeds=1 --variants=full",
    "disentangle": f"{PRINTS} {LOADS} {TRAINS} --leave-out --seeds=1 --erase --layer=3 --rank=4 --draws=9",
    "study": f"{PRINTS} {LOADS} {EVALUATES} {TRAINS} --seeds=1 --relearn-on=stereotypes --relearn-steps=5 --layers=3 "
             "--across",
    "sweep": f"{PRINTS} {LOADS} {TRAINS} --trials=2 --seeds=1 --storage=sqlite:///s.db --search-only",
    "transfer": f"{PRINTS} {LOADS} {EVALUATES} --to=m --report=r --out=o --scale=0.5 --force --also-train --dtype=8bit "
                "--benchmark=bbq=b --resume",
    "export": f"{PRINTS} --out=o --format=merged --merge --gguf=llama.cpp --base-name=owner/base --license=mit "
              "--push=owner/name --public --evidence --name=owner/name --organization=us "
              "--hub-dataset=stereoset=owner/name",
    "combine": f"{PRINTS} {LOADS} {EVALUATES} --report=r --out=o --how=svd --benchmark=bbq=b",
    "playground": f"{PRINTS} --port=8000",
    "verify": f"{PRINTS} --endpoint=http://127.0.0.1:8000/v1 --model=debiased --base=owner/base",
    "relearn": f"{PRINTS} {LOADS} --on=stereotypes --report=r --out=o --steps=5 --seeds=1 --rate=1e-4 --batch=2 "
               "--length=8 --benchmark=perplexity=x.txt --resume",
    "counterfactual": f"{PRINTS} --sentences=s --terms=race --seed=1 --out=p.jsonl",
    "rescore": f"{PRINTS} --skip-invalid --benchmark=stereoset=d.json --scores=i.parquet --out=o",
    "export-lm-eval": f"{PRINTS} --skip-invalid --benchmark=bbq=b --out=o",
    "compare": f"{PRINTS} --out=o",
    "report": f"{PRINTS} --out=p.html",
    "gate": f"{PRINTS} --policy=p.yaml --base=RUN:before --preset=helm --junit=gate.xml",
}  # fmt: skip
"""What scripts have been written with: every command, and every option of it with a value that it takes."""


def refusal(*arguments: str) -> str:
    with pytest.raises(RequestError) as refused:
        given(*arguments)
    return str(refused.value)


@pytest.mark.parametrize("command", OPTIONS)
def test_every_option_is_accepted_joined_to_its_value_and_apart(command: str) -> None:
    options = OPTIONS[command].split()
    given(command, *SMALLEST[command])
    given(command, *SMALLEST[command], *options)
    given(command, *SMALLEST[command], *(part for option in options for part in option.split("=", 1)))


@pytest.mark.exhaustive
@pytest.mark.parametrize("command", OPTIONS)
def test_every_option_is_accepted_on_its_own(command: str) -> None:
    for option in OPTIONS[command].split():
        given(command, *SMALLEST[command], option)
        given(command, *SMALLEST[command], *option.split("=", 1))


def test_every_command_has_a_smallest_request() -> None:
    assert SMALLEST.keys() == {name for commands in COMMANDS.values() for name in commands}


@pytest.mark.by_day("gate", "export", "counterfactual", "measure")
@pytest.mark.parametrize("command", [
    command if command in ("gate", "export", "counterfactual") else pytest.param(command, marks=pytest.mark.slow)
    for command in OPTIONS
])  # fmt: skip
def test_no_option_is_abbreviated_and_the_nearest_is_suggested(command: str) -> None:
    names = [option.partition("=")[0] for option in OPTIONS[command].split()]
    for name in names:
        short = name[:-1]
        if short not in (*names, "--seed"):  # --seed is an option beside --seeds
            message = refusal(command, *SMALLEST[command], short)
            assert message.startswith(f"{command}: unknown option {short}; did you mean --"), message
            assert message.endswith(f"? (see biasunlearn {command} --help)")


def test_limit_is_not_taken_for_limit_prompts() -> None:
    found = given("measure", *SMALLEST["measure"], "--limit", "50")
    assert (found["limit"], found["limit_prompts"]) == (50, None)


def test_options_have_no_second_form() -> None:
    for option in ("--no-json", "--no-resume", "--empty-benchmark"):
        assert f"unknown option {option}" in refusal("measure", *SMALLEST["measure"], option)


@pytest.mark.parametrize(("arguments", "message"), [
    ([], "no command given (see biasunlearn --help)"),
    (["meassure"], "unknown command meassure; did you mean measure? (see biasunlearn --help)"),
    (["frobnicate"], "unknown command frobnicate (see biasunlearn --help)"),
    (["--versoin"], "unknown option --versoin; did you mean --version? (see biasunlearn --help)"),
    (["measure"], "measure: MODEL is required (see biasunlearn measure --help)"),
    (["measure", "m"], "measure: --out is required (see biasunlearn measure --help)"),
    (["compare"], "compare: RUN is required (see biasunlearn compare --help)"),
    (["measure", "m", "--out"], "measure: --out: needs a value (see biasunlearn measure --help)"),
    (["measure", "m", "n", "--out", "o"], "measure: unexpected argument 'n' (see biasunlearn measure --help)"),
    (["measure", "m", "--out", "o", "--dtype", "int3"],
     "measure: --dtype int3: not one of float32, bfloat16, float16, 8bit, 4bit (see biasunlearn measure --help)"),
    (["measure", "m", "--out", "o", "--new-tokens", "1.5"],
     "measure: --new-tokens 1.5: not an integer (see biasunlearn measure --help)"),
    (["ablate", *SMALLEST["ablate"], "--seeds", "0", "1.5"],
     "ablate: --seeds 1.5: not an integer (see biasunlearn ablate --help)"),
    (["ablate", *SMALLEST["ablate"], "--seeds", "0,1"],
     "ablate: --seeds 0,1: not an integer; separate several values by spaces (see biasunlearn ablate --help)"),
    (["ablate", *SMALLEST["ablate"], "--seeds"], "ablate: --seeds: needs a value (see biasunlearn ablate --help)"),
    (["relearn", *SMALLEST["relearn"], "--rate", "fast"],
     "relearn: --rate fast: not a number (see biasunlearn relearn --help)"),
    (["export", "RUN", "--out", "o", "--gguf", "a", "b"],
     "export: --gguf: takes one value at most (see biasunlearn export --help)"),
])  # fmt: skip
def test_a_wrong_request_is_one_line_with_what_and_where(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    printed = capsys.readouterr()
    assert printed.err == f"biasunlearn: {message}\n" and printed.out == ""


def test_short_lists_are_given_in_one_option_or_in_several() -> None:
    for words in (["--seeds", "0", "1", "2"], ["--seeds", "0", "--seeds", "1", "--seeds", "2"]):
        assert given("ablate", *SMALLEST["ablate"], *words)["seeds"] == (0, 1, 2)
    assert given("transfer", *SMALLEST["transfer"], "--scale", "0", "0.5")["scale"] == ("0", "0.5")
    assert given("probe", *SMALLEST["probe"], "--layers", "0", "3")["layers"] == (0, 3)
    assert given("survey", *SMALLEST["survey"], "--methods", "dpo", "cda")["methods"] == ("dpo", "cda")
    assert given("transfer", *SMALLEST["transfer"])["scale"] == ("search",)


def test_repeated_options_take_one_value_each_and_leave_the_model_alone() -> None:
    values = given("measure", "--benchmark", "stereoset=a", "--benchmark", "bbq=b", "MODEL", "--out", "o")
    assert values["benchmark"] == ("stereoset=a", "bbq=b") and values["model"] == "MODEL"
    values = given("debias", "--set", "seed=1", "--set", "lora_targets=[a,b]", *SMALLEST["debias"])
    assert values["set"] == ("seed=1", "lora_targets=[a,b]") and values["model"] == "MODEL"


def test_of_an_option_that_is_given_twice_the_last_value_counts() -> None:
    assert given("debias", *SMALLEST["debias"], "--report", "other.jsonl")["report"] == "other.jsonl"
    assert given("measure", *SMALLEST["measure"], "--dtype", "4bit", "--dtype", "float16")["dtype"] == "float16"


def test_the_converter_of_gguf_may_be_left_out() -> None:
    assert given("export", "RUN", "--out", "o")["gguf"] is None
    assert given("export", "RUN", "--gguf", "--out", "o")["gguf"] == ()
    assert given("export", "RUN", "--gguf", "llama.cpp", "--out", "o")["gguf"] == ("llama.cpp",)


def test_options_and_arguments_may_stand_in_any_order() -> None:
    assert given("compare", "--out", "o", "a", "b")["runs"] == given("compare", "a", "b", "--out", "o")["runs"]
    assert given("measure", "--out", "o", "--resume", "MODEL")["model"] == "MODEL"


def test_choices_are_those_of_the_library() -> None:
    dtypes, trackers = typing.get_args(Dtype), typing.get_args(Tracker)
    for dtype in dtypes:
        assert given("measure", *SMALLEST["measure"], "--dtype", dtype)["dtype"] == dtype
    assert ", ".join(dtypes) in refusal("transfer", *SMALLEST["transfer"], "--dtype", "x")
    words = [word for name in trackers for word in ("--track", name)]
    assert given("debias", *SMALLEST["debias"], *words)["track"] == trackers
    assert f"not one of {', '.join(trackers)} (" in refusal("debias", *SMALLEST["debias"], "--track", "x")
