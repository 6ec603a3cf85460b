"""Settings of every test session, and a check of every results.json: one thread a process, no network, how hypothesis
draws its examples, and which tests are left for the night."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

# Before torch is imported: several tests run at once (pytest -n), and their processes share the cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ["HF_HUB_OFFLINE"] = "1"
# The runs of the tests have the same shapes again and again: what oneDNN compiled for one run serves the next one
# (models/cpu_kernels.py caches little, since the shapes of real steps differ).
os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "1024")
os.environ.setdefault("LRU_CACHE_CAPACITY", "1024")

import jsonschema
import pytest
from hypothesis import settings

from biasunlearn.runs.results import SCHEMA_FILE
from tests.warm_client import Warm

# The default draws the same examples in every run, so that a failure is never a matter of luck.
# HYPOTHESIS_PROFILE=nightly (`make test-nightly`) draws new and many more; it prints how to repeat a failure.
settings.register_profile("ci", derandomize=True, deadline=None, max_examples=60)
settings.register_profile("nightly", deadline=None, max_examples=2000, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--exhaustive", action="store_true", help="also run the tests that are marked `exhaustive`")


FAST_FAMILIES = {"gpt2", "llama"}
"""Of the model families, those whose tests are part of `make test-fast`."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Marks the tests of most model families `slow`, and leaves out those that only `make test-nightly` runs."""
    for item in items:
        parameters = getattr(item, "callspec", None)
        if parameters and parameters.params.get("family", "gpt2") not in FAST_FAMILIES:
            item.add_marker(pytest.mark.slow)
    if config.getoption("--exhaustive"):
        return
    left_out = [item for item in items if item.get_closest_marker("exhaustive")]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if not item.get_closest_marker("exhaustive")]


@pytest.fixture(scope="session")
def warm() -> Iterator[Warm]:
    """Starts commands in processes of their own without waiting for imports."""
    held = Warm()
    yield held
    held.close()


VALIDATOR = jsonschema.Draft202012Validator(json.loads(SCHEMA_FILE.read_text(encoding="utf-8")))
_VALID: dict[tuple[Path, int], bool] = {}


@pytest.fixture(autouse=True)
def results_fit_the_shipped_schema(request):
    """After a test: every results.json in its temporary folders is valid by the JSON Schema that is shipped.

    A test that damages such a file on purpose is marked `damaged_results`.
    """
    found = [request.getfixturevalue(name) for name in ("tmp_path", "place") if name in request.fixturenames]
    folders = [one for one in found if isinstance(one, str | Path)]  # `place` is also the name of a parameter
    yield
    if request.node.get_closest_marker("damaged_results"):
        return
    for folder in folders:
        for path in sorted(Path(folder).rglob("results.json")):
            key = path, path.stat().st_mtime_ns
            if key not in _VALID:
                content = json.loads(path.read_text(encoding="utf-8"))
                problem = jsonschema.exceptions.best_match(VALIDATOR.iter_errors(content))
                assert problem is None, f"{path}: {problem.json_path}: {problem.message}"
                _VALID[key] = True
