"""The run context: locked while it is open, resumed by the same request only, finished when results.json is written."""

from pathlib import Path

import pytest
import yaml

from biasunlearn.commands.run_context import Callbacks, run_context
from biasunlearn.errors import RequestError
from biasunlearn.runs.benchmark_results import Measured
from biasunlearn.runs.folder import SCHEMA, environment
from biasunlearn.runs.identity import identity
from biasunlearn.runs.results import Results

REQUEST = {"measure": {"model": "m"}}
OTHER = {"measure": {"model": "n"}}


def results(model: str = "m") -> Results:
    return Results(schema=SCHEMA, model=model, benchmarks=Measured(), environment=environment())


def test_a_run_that_is_not_stored_returns_its_results_and_has_no_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with run_context(None, REQUEST) as context:
        context.begin()
        assert context.cache is None and context.stored is None
        with pytest.raises(ValueError, match="not stored"):
            _ = context.folder
        mine = results()
        assert context.finish(mine, {"": []}) == mine
    assert list(tmp_path.iterdir()) == []


def test_a_refused_request_leaves_nothing_behind(tmp_path):
    with pytest.raises(RequestError, match="bad data"), run_context(tmp_path / "run", REQUEST):
        assert (tmp_path / "run/.lock").exists()
        raise RequestError("bad data")
    assert list(tmp_path.iterdir()) == []


def test_the_configuration_is_written_first_and_the_results_last(tmp_path, monkeypatch):
    def fail(*_):
        raise OSError("no report")

    monkeypatch.setattr("biasunlearn.report.run.report_page", fail)
    with pytest.raises(OSError, match="no report"), run_context(tmp_path, REQUEST) as context:
        context.finish(results(), {"": []})
    assert yaml.safe_load((tmp_path / "config.yaml").read_text()) == {**REQUEST, "identity": identity(REQUEST)}
    assert (tmp_path / "items.parquet").exists() and not (tmp_path / "results.json").exists()


def test_a_killed_run_is_resumed_by_the_same_request_only(tmp_path):
    with pytest.raises(KeyboardInterrupt), run_context(tmp_path, REQUEST) as context:
        context.begin()
        context.cache.job("scores").store("0", [0.5])
        raise KeyboardInterrupt
    with pytest.raises(RequestError, match="already holds an unfinished run; add --resume"):
        run_context(tmp_path, REQUEST).__enter__()
    with pytest.raises(RequestError, match="an unfinished run of another request"):
        run_context(tmp_path, OTHER, resume=True).__enter__()
    with run_context(tmp_path, REQUEST, resume=True) as context:
        assert context.resume and context.stored is None
        assert context.cache.job("scores").known == {"0": [0.5]}
        context.finish(results(), {"": []})
    assert not (tmp_path / "scored.jsonl").exists()


def test_a_finished_run_is_found_again_and_never_overwritten(tmp_path):
    with run_context(tmp_path, REQUEST) as context:
        context.finish(results(), {"": []})
    written = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    with run_context(tmp_path, REQUEST, resume=True) as context:
        assert context.stored is not None and context.stored.model == "m"
        assert context.cache is None
    for request, resume in ((REQUEST, False), (OTHER, False), (OTHER, True)):
        with pytest.raises(RequestError, match="already holds a finished run"):
            run_context(tmp_path, request, resume=resume).__enter__()
    assert {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == written


def test_the_folder_is_locked_in_the_block_and_free_after_it(tmp_path):
    with run_context(tmp_path / "run", REQUEST) as context:
        context.begin()
        assert (tmp_path / "run/.lock").exists()
    assert {path.name for path in (tmp_path / "run").iterdir()} == {"config.yaml"}


def test_callbacks_are_called_where_they_are_given():
    heard: list[object] = []
    callbacks = Callbacks(lambda *counted: heard.append(counted), heard.append)
    callbacks.counter("before: stereoset")(2, 5)
    callbacks.message("one line")
    assert heard == [("before: stereoset", 2, 5), "one line"]
    Callbacks().counter("anything")(1, 1)
    Callbacks().message("no listener")


def test_two_contexts_in_one_process_have_a_lock_each(tmp_path: Path):
    """As `transfer` has, which runs `debias` in a folder inside its own."""
    with run_context(tmp_path / "outer", OTHER) as outer:
        outer.begin()
        with run_context(tmp_path / "outer/direct", REQUEST) as inner:
            inner.begin()
        assert not (tmp_path / "outer/direct/.lock").exists()
        assert (tmp_path / "outer/.lock").exists()
