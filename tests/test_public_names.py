"""`import biasunlearn`: the names that it offers, and no others."""

import inspect
import rlcompleter
import subprocess
import sys

import pytest

import biasunlearn

NAMES = {
    "debias", "measure", "compare", "gate", "write_report", "transfer", "export",
    "DebiasConfig", "load_config", "load_stereoset", "load_results", "RequestError", "DataError", "__version__",
}  # fmt: skip


def test_dir_lists_the_public_names_and_nothing_else() -> None:
    assert set(dir(biasunlearn)) == NAMES == set(biasunlearn.__all__)
    for name in NAMES - {"__version__"}:
        assert inspect.getdoc(getattr(biasunlearn, name)), name
    assert set(dir(biasunlearn)) == NAMES  # the same after every name has been imported


def test_a_star_import_gives_the_same() -> None:
    given: dict[str, object] = {}
    exec("from biasunlearn import *", given)
    assert set(given) - {"__builtins__"} == NAMES


def test_tab_completion_finds_them() -> None:
    complete = rlcompleter.Completer({"biasunlearn": biasunlearn}).complete
    found = {complete("biasunlearn.load_", place) for place in range(4)}
    assert {str(one).rstrip("()") for one in found if one} == {
        "biasunlearn.load_config", "biasunlearn.load_results", "biasunlearn.load_stereoset",
    }  # fmt: skip


def test_a_name_is_the_object_of_its_module() -> None:
    from biasunlearn.commands.measure import measure
    from biasunlearn.data.readers import read_triplets
    from biasunlearn.runs.results import load_results

    assert biasunlearn.measure is measure
    assert biasunlearn.load_stereoset is read_triplets
    assert biasunlearn.load_results is load_results


def test_an_unknown_name_says_which_there_are() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'rescore'; it has DataError, .*write_report"):
        biasunlearn.rescore  # noqa: B018
    with pytest.raises(ImportError):
        from biasunlearn import survey  # noqa: F401


def test_importing_the_package_imports_nothing_of_it() -> None:
    code = (
        "import sys, biasunlearn; dir(biasunlearn)\n"
        "found = {n for n in sys.modules if n.startswith('biasunlearn')} - {'biasunlearn', 'biasunlearn._version'}\n"
        "assert not found | {'torch', 'numpy', 'pydantic', 'yaml'} & set(sys.modules), found"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
