"""Settings of every test session, and a check of every results.json: one thread a process, no network, how hypothesis
draws its examples, and which tests are left for the night."""

import gc
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

# A million objects of the libraries stay until the end: the collector would look through them again and again, which
# takes a fifth of the time of all imports. `pytest_collection_finish` switches it on.
gc.disable()
# Before torch is imported: several tests run at once (pytest -n), and their processes share the cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ["HF_HUB_OFFLINE"] = "1"
# peft imports bitsandbytes, which asks for compiled functions and so loads torch's compiler: a fifth of the time that a
# process takes to start. Without it those functions run as they are written. Processes that a test starts inherit this.
os.environ.setdefault("TORCHDYNAMO_DISABLE", "1")
# The runs of the tests have the same shapes again and again: what oneDNN compiled for one run serves the next one
# (models/cpu_kernels.py caches little, since the shapes of real steps differ).
os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "1024")
os.environ.setdefault("LRU_CACHE_CAPACITY", "1024")
# A run waits dozens of times until a file is on the disk, and the tests make several hundred runs. Linux has a file
# system in memory, where nobody waits. In a container it may be too small; then the disk is used.
MEMORY = Path("/dev/shm")
if "TMPDIR" not in os.environ and os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > 4 << 30:
    os.environ["TMPDIR"] = tempfile.tempdir = str(MEMORY)

import jsonschema  # noqa: E402
import pytest  # noqa: E402
from hypothesis import settings  # noqa: E402

from biasunlearn.runs.results import SCHEMA_FILE  # noqa: E402
from tests.options_once import remember_options  # noqa: E402
from tests.warm_client import Warm  # noqa: E402

remember_options()

# The default draws the same examples in every run, so that a failure is never a matter of luck.
# HYPOTHESIS_PROFILE=nightly (`make test-nightly`) draws new and many more; it prints how to repeat a failure.
settings.register_profile("ci", derandomize=True, deadline=None, max_examples=30)
settings.register_profile("nightly", deadline=None, max_examples=2000, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--exhaustive", action="store_true", help="also run the tests that are marked `exhaustive`")


FAST_FAMILIES = {"gpt2", "llama"}
"""Of the model families, those whose tests are part of `make test-fast`."""

FAST_CASES = 3
"""Cases of a parametrised test in `make test-fast`: the first, the last and those halfway between them."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Marks the tests of most model families, and most cases of a test with many, `slow`; leaves out those that only
    `make test-nightly` runs."""
    _leave_for_the_night(config, items)
    cases: dict[str, list[pytest.Item]] = {}
    for item in items:
        parameters = getattr(item, "callspec", None)
        if parameters and parameters.params.get("family", "gpt2") not in FAST_FAMILIES:
            item.add_marker(pytest.mark.slow)
        elif parameters and not any(map(item.get_closest_marker, ("slow", "exhaustive"))):
            cases.setdefault(item.nodeid.split("[")[0], []).append(item)
    for of_one in cases.values():
        last = len(of_one) - 1
        kept = {last * number // (FAST_CASES - 1) for number in range(FAST_CASES)}
        for number in set(range(len(of_one))) - kept:
            of_one[number].add_marker(pytest.mark.slow)
    if not config.getoption("--exhaustive"):
        left_out = [item for item in items if item.get_closest_marker("exhaustive")]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if not item.get_closest_marker("exhaustive")]


def _leave_for_the_night(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Marks the cases that a `by_day` marker does not name; a name that no case has is an error."""
    named: dict[tuple[Path, str], set[str]] = {}
    for item in items:
        by_day, parameters = item.get_closest_marker("by_day"), getattr(item, "callspec", None)
        if by_day is None or parameters is None:
            continue
        left = named.setdefault((item.path, item.nodeid.split("[")[0]), set(by_day.args))
        if parameters.id in by_day.args:
            left.discard(parameters.id)
        else:
            item.add_marker(pytest.mark.exhaustive)
    unknown = {name: left for (_, name), left in named.items() if left and not any("[" in one for one in config.args)}
    if unknown:
        raise pytest.UsageError(f"by_day names cases that do not exist: {unknown}")


def pytest_collection_finish() -> None:
    """The collector leaves alone what has been imported, and looks at what the tests make, less often than usual."""
    gc.freeze()
    gc.set_threshold(10_000, 20, 10)
    gc.enable()


@pytest.fixture(scope="session")
def warm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warm]:
    """Starts commands in processes of their own without waiting for imports. All workers of the session share it."""
    session, of_all = os.environ.get("PYTEST_XDIST_TESTRUNUID"), tmp_path_factory.getbasetemp()
    held = Warm(f"biasunlearn-tests-{session or os.getpid()}", (of_all.parent if session else of_all) / "warm.lock")
    yield held
    held.close()


VALIDATOR = jsonschema.Draft202012Validator(json.loads(SCHEMA_FILE.read_text(encoding="utf-8")))
_VALID: set[bytes] = set()
"""Contents that were found valid: many tests copy the same run."""


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
            content = path.read_bytes()
            if content not in _VALID:
                problem = jsonschema.exceptions.best_match(VALIDATOR.iter_errors(json.loads(content)))
                assert problem is None, f"{path}: {problem.json_path}: {problem.message}"
                _VALID.add(content)
