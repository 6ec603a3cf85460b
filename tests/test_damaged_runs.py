"""Run folders with a wrong value anywhere: every command ends with one line and exit code 2, or does its work.

A run folder may come from a stranger. Each case changes one value of one file of a good run, in all the ways in which
JSON can be wrong; then the commands that read the folder are run. None of them may end with exit code 3 (it broke), nor
with a traceback. A change that does no harm (an unknown key, a text where any text is right) may pass.
"""

import contextlib
import copy
import json
import math
import random
import shutil
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
import yaml

from biasunlearn.cli import main
from biasunlearn.errors import RequestError
from biasunlearn.runs.results import Results
from biasunlearn.runs.schema import read_as
from tests import tiny, variants

pytestmark = [pytest.mark.slow, pytest.mark.damaged_results]

DELETED = object()
CHANGES = {
    "deleted": DELETED,
    "null": None,
    "text": "abc",
    "negative": -1,
    "nan": math.nan,
    "list": [],
    "object": {},
    "huge": 10**400,
    "large": 1e308,
}
"""What stands in place of a value."""

POLICY = """\
stereoset:
  overall: {ss: {within: [0, 100]}, lms: {falls_at_most: 100}, minimum_n: 1}
  bias_types: {ss: {contains: 50}, minimum_n: 1}
perplexity:
  overall: {per_token: {rises_at_most_percent: 30}}
"""

FILES = ("results.json", "config.yaml", "metrics.jsonl", "adapter/training_data.json", "adapter/adapter_config.json")
"""Of each, one place is damaged in each of the nine ways, drawn with a seed: all would take an hour."""

MANY = 10
"""Places damaged in each way, each read by every command, in the exhaustive variant; of results.json twice as many."""

few_or_many = pytest.mark.parametrize("many", [
    pytest.param(False, id="kinds"), pytest.param(True, id="many", marks=pytest.mark.exhaustive),
])  # fmt: skip


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A folder with a tiny model, two runs of it and a policy."""
    place = tmp_path_factory.mktemp("damaged")
    tiny.save(tiny.gpt2(), place / "model")
    variants.write_pairs(place / "train.jsonl")
    variants.write_pairs(place / "report.jsonl", ("old", "new"))
    (place / "text.txt").write_text("The baker is quick and the pilot is kind. " * 10)
    (place / "policy.yaml").write_text(POLICY)
    benchmark = ("--benchmark", f"perplexity={place / 'text.txt'}")
    variants.debias(place, "run", str(place / "model"), *benchmark)
    variants.debias(place, "other", str(place / "model"), *benchmark, "--set", "seed=1")
    return place


def reading(runs: Path, out: Path) -> dict[str, list[str]]:
    """Commands that read a run folder without loading a model."""
    run, other = str(runs / "run"), str(runs / "other")
    return {
        "report": ["report", run, "--out", str(out / "page.html")],
        "report of two": ["report", run, other, "--out", str(out / "page.html")],
        "compare": ["compare", f"{run}:before", run],
        "compare with another": ["compare", other, run],
        "gate": ["gate", run, "--policy", str(runs / "policy.yaml")],
        "export": ["export", run, "--out", str(out / "export")],
        "rescore": ["rescore", "--scores", f"{run}/items.parquet", "--out", str(out / "rescored")],
    }


def loading(runs: Path, out: Path) -> dict[str, list[str]]:
    """Commands that load the run's model."""
    run, report = str(runs / "run"), str(runs / "report.jsonl")
    model = str(runs / "model")
    return {
        "transfer": ["transfer", run, "--to", model, "--report", report, "--scale", "1", "--out", str(out / "t"),
                     *variants.ONE_OTHER],
        "relearn": ["relearn", run, "--on", str(runs / "text.txt"), "--steps", "0", "--length", "16", "--out",
                    str(out / "l")],
        "combine": ["combine", f"{run}=1", f"{runs / 'other'}=1", "--report", report, "--out", str(out / "c"),
                    *variants.ONE_OTHER],
        "measure": ["measure", model, "--adapter", f"{run}/adapter", "--benchmark", f"stereoset={report}", "--out",
                    str(out / "m"), *variants.ONE_OTHER],
        "merge": ["export", run, "--merge", "--out", str(out / "merged")],
    }  # fmt: skip


def read(path: Path):
    text = path.read_text()
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in text.splitlines()]
    return yaml.safe_load(text) if path.suffix == ".yaml" else json.loads(text)


def write(path: Path, content) -> None:
    if path.suffix == ".jsonl":
        path.write_text("\n".join(map(json.dumps, content)))
    else:
        path.write_text(yaml.safe_dump(content) if path.suffix == ".yaml" else json.dumps(content))


def places(content, place=()):
    """The place of every value, of lists the first two."""
    if place:
        yield place
    if isinstance(content, list):
        content = dict(enumerate(content[:2]))
    for key, value in content.items() if isinstance(content, dict) else ():
        yield from places(value, (*place, key))


def damaged(content, place, change):
    """A copy with another value at a place."""
    content = copy.deepcopy(content)
    inner = content
    for key in place[:-1]:
        inner = inner[key]
    if CHANGES[change] is DELETED:
        del inner[place[-1]]
    else:
        inner[place[-1]] = CHANGES[change]
    return content


def drawn(content, seed: str, of_each: int):
    """(place, change) of some values: as many of every change, or all that there are."""
    every, random_order = list(places(content)), random.Random(seed)
    return [(place, change) for change in CHANGES
            for place in random_order.sample(every, min(of_each, len(every)))]  # fmt: skip


def in_turn(commands, number: int, size: int):
    """`size` of the commands, others for the next number."""
    names = list(commands)
    return {name: commands[name] for name in (names * 2)[number * size % len(names) :][:size]}


@contextlib.contextmanager
def in_place_of(path: Path):
    """The file is as it was when the block ends."""
    good = path.read_bytes()
    try:
        yield
    finally:
        path.write_bytes(good)


def outcome(arguments, out: Path, capsys) -> tuple[int, str]:
    """The exit code of a command in this process, and what it wrote to stderr. Its output is removed."""
    out.mkdir()
    capsys.readouterr()
    try:
        code = main(arguments)
    finally:
        shutil.rmtree(out)
    return code, capsys.readouterr().err


def broken(commands, out: Path, capsys) -> list[str]:
    """What went wrong: an exit code that means a fault of the package, or a refusal that is not one line."""
    found = []
    for name, arguments in commands.items():
        code, error = outcome(arguments, out, capsys)
        refusals = [line for line in error.splitlines() if line.startswith("biasunlearn:")]
        if code not in (0, 1, 2) or "Traceback" in error or len(refusals) != (code == 2):
            found.append(f"{name}: exit code {code}: {error.strip()[-200:]}")
    return found


def test_the_good_run_is_read_by_every_command(runs, tmp_path, capsys):
    """Negative control: what the other tests find is in the damage, not in the run."""
    for name, arguments in (reading(runs, tmp_path / "out") | loading(runs, tmp_path / "out")).items():
        code, error = outcome(arguments, tmp_path / "out", capsys)
        assert code == (1 if name == "gate" and code == 1 else 0), (name, error)


def test_a_fault_of_the_package_is_found(runs, tmp_path, capsys, monkeypatch):
    """Negative control: what ends with exit code 3 counts as broken, and so does a refusal of two lines."""
    gate = {"gate": reading(runs, tmp_path / "out")["gate"]}
    assert broken(gate, tmp_path / "out", capsys) == []

    def fails_with(error):
        def read_stage(name):
            raise error

        monkeypatch.setattr("biasunlearn.commands.gate.read_stage", read_stage)
        return broken(gate, tmp_path / "out", capsys)

    assert fails_with(RequestError("wrong")) == []
    assert "exit code 3" in fails_with(KeyError("ss"))[0]


@few_or_many
@pytest.mark.parametrize("file", FILES)
def test_one_wrong_value_is_one_line(runs, tmp_path, capsys, file, many):
    """Each change with `gate`, which reads every file, and with one other command in turn."""
    path = runs / "run" / file
    content = read(path)
    faults, used = [], set()
    with in_place_of(path):
        of_each = (2 * MANY if file == "results.json" else MANY) if many else 1
        for number, (place, change) in enumerate(drawn(content, file, of_each)):
            write(path, damaged(content, place, change))
            commands = reading(runs, tmp_path / "out")
            if not many:
                commands = {"gate": commands.pop("gate"), **in_turn(commands, number, 1)}
            used.update(commands)
            where = ".".join(map(str, place))
            faults += [f"{where} {change}: {fault}" for fault in broken(commands, tmp_path / "out", capsys)]
    assert not faults, "\n".join(faults)
    assert used == set(reading(runs, tmp_path))


@few_or_many
@pytest.mark.parametrize("file", ["config.yaml", "adapter/training_data.json", "adapter/adapter_config.json"])
def test_one_wrong_value_where_the_model_is_loaded(runs, tmp_path, capsys, file, many):
    path = runs / "run" / file
    content = read(path)
    faults, used = [], set()
    with in_place_of(path):
        for number, (place, change) in enumerate(drawn(content, file, MANY // 2 if many else 1)):
            write(path, damaged(content, place, change))
            commands = in_turn(loading(runs, tmp_path / "out"), number, 5 if many else 1)
            used.update(commands)
            where = ".".join(map(str, place))
            faults += [f"{where} {change}: {fault}" for fault in broken(commands, tmp_path / "out", capsys)]
    assert not faults, "\n".join(faults)
    assert used == set(loading(runs, tmp_path))


@few_or_many
def test_every_value_of_results_json_is_right_or_named(runs, many):
    """Without a command, all changes of all values or of some: RequestError with the place, or results."""
    content = read(runs / "run/results.json")
    refused = 0
    every = drawn(content, "all", 10**6 if many else 60)
    for place, change in every:
        try:
            read_as(Results, damaged(content, place, change), "results.json")
        except RequestError as error:
            refused += 1
            named = str(error).removeprefix("results.json: ").split(":")[0].split(".")
            assert str(place[0]) in (*named, "debias, recipe") or "before" in named, (place, change, str(error))
    assert len(every) > (2000 if many else 500) and refused > len(every) / 2


def test_items_of_another_shape_are_one_line(runs, tmp_path, capsys):
    path = runs / "run/items.parquet"
    table = pyarrow.parquet.read_table(path)
    size, scores = table.num_rows, table.column("score").to_pylist()

    def with_column(name, values):
        return table.set_column(table.column_names.index(name), name, pyarrow.array(values))

    cases = {
        "empty": table.slice(0, 0),
        "one row": table.slice(0, 1),
        "one stage": table.filter(pyarrow.compute.equal(table.column("stage"), "after")),
        "no stage": table.drop_columns(["stage"]),
        "nan": with_column("score", [math.nan, *scores[1:]]),
        "infinite": with_column("score", [-math.inf, *scores[1:]]),
        "missing score": with_column("score", [None, *scores[1:]]),
        "scores as text": with_column("score", [str(score) for score in scores]),
        "scores as lists": with_column("score", [[score] for score in scores]),
        "roles as numbers": with_column("role", range(size)),
        "another benchmark": with_column("benchmark", ["unheard of"] * size),
        "another role": with_column("role", ["neither"] * size),
        "one cluster": with_column("cluster_id", ["c"] * size),
        "other targets": with_column("target", [str(number) for number in range(size)]),
        **{f"without {name}": table.drop_columns([name]) for name in table.column_names},
    }
    faults = []
    with in_place_of(path):
        for number, (name, damage) in enumerate(cases.items()):
            pyarrow.parquet.write_table(damage, path)
            chosen = in_turn(reading(runs, tmp_path / "out"), number, 1)
            faults += [f"{name}: {fault}" for fault in broken(chosen, tmp_path / "out", capsys)]
        path.write_bytes(b"PAR1")
        faults += broken(reading(runs, tmp_path / "out"), tmp_path / "out", capsys)
    assert not faults, "\n".join(faults)


@pytest.mark.by_day("results.json", "metrics.jsonl")
@pytest.mark.parametrize("file", ["results.json", "config.yaml", "metrics.jsonl", "adapter/adapter_config.json"])
def test_a_file_that_is_cut_or_no_text_is_one_line(runs, tmp_path, capsys, file):
    path = runs / "run" / file
    good, faults = path.read_bytes(), []
    with in_place_of(path):
        contents = (b"", good[: len(good) // 2], b"\xff\xfe\x00", b"[" * 50_000, b"null", b"7", b"[]")
        for number, content in enumerate(contents):
            path.write_bytes(content)
            chosen = in_turn(reading(runs, tmp_path / "out"), number, 1)
            chosen |= in_turn(loading(runs, tmp_path / "out"), number, 1)
            found = broken(chosen, tmp_path / "out", capsys)
            faults += [f"{file} {content[:10]!r}: {fault}" for fault in found]
    assert not faults, "\n".join(faults)
