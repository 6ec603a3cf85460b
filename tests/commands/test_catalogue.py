"""`list`, `show` and `info`: complete, one line each, and light."""

import json
import subprocess
import sys
import typing
from importlib.metadata import metadata

import pytest
import yaml

from biasunlearn.benchmarks import BENCHMARKS, NAMES
from biasunlearn.cli import main
from biasunlearn.commands.catalogue import LISTS, entries, info
from biasunlearn.commands.gate_presets import PRESETS
from biasunlearn.config import Method, config_from, recipe_names
from biasunlearn.data.term_lists import SHIPPED
from biasunlearn.errors import RequestError
from biasunlearn.report.score_names import SCORES

EXPECTED = {
    "benchmarks": NAMES, "methods": typing.get_args(Method), "recipes": recipe_names(), "terms": SHIPPED,
    "scores": SCORES, "presets": PRESETS,
}  # fmt: skip


@pytest.mark.parametrize("what", LISTS)
def test_a_list_has_every_name_with_one_line(what: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert [entry.name for entry in entries(what)] == [*EXPECTED[what]]
    assert main(["list", what]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [*EXPECTED[what]]
    assert all(len(line.split()) > 2 for line in lines)
    assert main(["list", what, "--json"]) == 0
    assert [one["name"] for one in json.loads(capsys.readouterr().out)["entries"]] == [*EXPECTED[what]]


def test_every_score_of_every_benchmark_is_described() -> None:
    for name, module in BENCHMARKS.items():
        assert not {*getattr(module, "IDEAL", {}), *getattr(module, "MORE_COMPARED", {})} - SCORES.keys(), name


def test_show_recipe_prints_yaml_that_is_a_recipe(capsys: pytest.CaptureFixture[str]) -> None:
    for name in recipe_names():
        assert main(["show", "recipe", name]) == 0
        assert config_from(yaml.safe_load(capsys.readouterr().out))


def test_wrong_names_are_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "recipe", "papers"]) == 2
    assert "show recipe papers: there is no such recipe; known: biasunlearn, demo" in capsys.readouterr().err
    assert main(["list", "things"]) == 2
    assert "not one of benchmarks, methods, recipes, terms, scores" in capsys.readouterr().err
    with pytest.raises(RequestError, match="list things: unknown; known: benchmarks"):
        entries("things")


def test_info_says_what_is_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found == info().to_dict()
    assert "cpu" in found["devices"] and found["packages"]["torch"] and found["memory"] > 2**28
    developers = {"dev", "docs", "browser", "all-tests"}
    assert found["extras"].keys() == {*metadata("biasunlearn").get_all("Provides-Extra")} - developers
    assert isinstance(found["extras"]["probes"], bool)
    assert main(["info"]) == 0
    shown = capsys.readouterr().out
    assert all(word in shown for word in ("devices", "threads", "memory", "extras", found["packages"]["torch"]))


@pytest.mark.slow
def test_lists_and_recipes_do_not_import_torch() -> None:
    code = (
        "import sys; from biasunlearn.cli import main\n"
        f"for words in (*(['list', one] for one in {[*LISTS]}), ['show', 'recipe', 'paper']):\n"
        "    assert main(words) == 0\n"
        "assert not {'torch', 'transformers', 'peft', 'datasets'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
