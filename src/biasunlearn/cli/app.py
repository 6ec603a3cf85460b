"""The table of commands. A command's file is imported when it is run, completed or listed, and never earlier.

Each command is a function: its annotations are the options, and its docstring is the help (help.py).
"""

from collections.abc import Callable
from typing import Any

from cyclopts import App, Parameter

COMMANDS = {
    "Measure": {
        "measure": "measure:measure",
        "rescore": "stored:rescore",
        "probe": "measure:probe",
        "relearn": "adapters:relearn",
    },
    "Unlearn": {
        "demo": "train:demo",
        "debias": "train:debias",
        "survey": "experiments:survey",
        "ablate": "experiments:ablate",
        "disentangle": "experiments:disentangle",
        "sweep": "experiments:sweep",
        "study": "study:study",
    },
    "Compare and decide": {
        "compare": "stored:compare",
        "label": "stored:label",
        "report": "stored:report",
        "gate": "stored:gate",
    },
    "Use an adapter": {
        "transfer": "adapters:transfer",
        "combine": "adapters:combine",
        "export": "adapters:export",
        "playground": "adapters:playground",
        "verify": "served:verify",
    },
    "Data and tools": {
        "validate": "tools:validate",
        "counterfactual": "tools:counterfactual",
        "export-lm-eval": "tools:export_lm_eval",
        "completion": "tools:completion",
    },
    "What there is": {
        "list": "catalogue:list_",
        "show": "catalogue:show_",
        "info": "catalogue:info",
    },
}
"""{heading of the help: {command: the file of this package and the function in it}}"""

SUMMARY = "Measure the social bias of a language model, unlearn it, and report both."
EXAMPLES = """\
biasunlearn demo
biasunlearn measure MODEL --benchmark stereoset=dev.json --out runs/base
biasunlearn debias MODEL --train pairs.jsonl --report dev.json --out runs/mine"""

PLAIN_OPTIONS = Parameter(negative="", allow_repeating=True)
"""An option has one form (no --no-X, no --empty-X). Given twice, the last value counts; lists are joined."""


def command(function: Callable[..., Any]) -> App:
    """The command that a function is, named as the function."""
    made = App(name=function.__name__.rstrip("_").replace("_", "-"), version_flags=(), default_parameter=PLAIN_OPTIONS)
    made.default(function)
    return made


def build() -> App:
    """The command line with all its commands, none of them imported yet."""
    made = App(name="biasunlearn", help=SUMMARY, version_flags=())
    for commands in COMMANDS.values():
        for name, where in commands.items():
            made.command(f"biasunlearn.cli.{where}", name=name)
    return made
