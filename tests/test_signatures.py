"""Arguments that travel together are one value: only the public functions take more than eight arguments."""

import ast
import importlib
import inspect
import re
from pathlib import Path

import pytest

import biasunlearn

PACKAGE = Path(biasunlearn.__file__).parent

MOST = 8

PUBLIC = {
    "commands/combine.py combine",
    "commands/debias.py debias",
    "commands/export.py export",
    "commands/measure.py measure",
    "commands/probe.py probe",
    "commands/relearn.py relearn",
    "commands/survey.py survey",
    "commands/transfer.py transfer",
    "unlearn/hf_trainer/trainer.py __init__",
}
"""Entry points for users, whose keyword arguments are their interface. The command line (cli/) mirrors them."""


def arguments(function: ast.FunctionDef | ast.AsyncFunctionDef) -> list[str]:
    """Names of the arguments without self, cls, *args and **kwargs."""
    named = function.args
    every = [argument.arg for argument in (*named.posonlyargs, *named.args, *named.kwonlyargs)]
    return [name for name in every if name not in ("self", "cls")]


def too_long(source: str, where: str) -> dict[str, int]:
    """{"file function": number of arguments} of every function of a file that takes more than `MOST`."""
    found = {}
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and len(arguments(node)) > MOST:
            found[f"{where} {node.name}"] = len(arguments(node))
    return found


@pytest.mark.slow
def test_only_public_functions_take_more_than_eight_arguments() -> None:
    found: dict[str, int] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        where = str(path.relative_to(PACKAGE))
        if not where.startswith("cli"):
            found |= too_long(path.read_text(encoding="utf-8"), where)
    assert {name: number for name, number in found.items() if name not in PUBLIC} == {}
    assert set(found) == PUBLIC  # a name that is no longer needed goes from the list


def test_a_ninth_argument_is_found_however_it_is_given() -> None:
    inside = "class A:\n    def f(self, a, b, /, c, d, *more, e, g, h, i{last}, **other): ...\n"
    assert too_long(inside.format(last=""), "x.py") == {}
    assert too_long(inside.format(last=", j"), "x.py") == {"x.py f": 9}


API = (Path(__file__).parent.parent / "docs/api.md").read_text(encoding="utf-8")
FUNCTIONS = [name for name in re.findall(r"^::: (\S+)", API, re.M) if name.rpartition(".")[2].islower()]


def undocumented(function) -> list[str]:
    """The arguments of a function that the section "Args:" of its docstring does not describe."""
    section = re.search(r"\nArgs:\n(.*?)(?=\n\S|\Z)", inspect.getdoc(function) or "", re.S)
    described = re.findall(r"^    (\w+): \S", section[1] if section else "", re.M)
    return [name for name in inspect.signature(function).parameters if name not in described]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_argument_of_a_public_function_is_described(name) -> None:
    module, _, function = name.rpartition(".")
    assert undocumented(getattr(importlib.import_module(module), function)) == []


def test_an_argument_without_a_description_is_found() -> None:
    def public(a, b, c):
        """Does something.

        Args:
            a: a number.
            c: another one.
        Returns:
            b: is not an argument here.
        """

    assert undocumented(public) == ["b"]
