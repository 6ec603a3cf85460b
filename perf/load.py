"""How large may the inputs be? Prints the seconds and the memory of every stage of a large job.

    python perf/load.py pairs [--pairs 1000000] [--types 500]     one million pairs of 106 MB
    python perf/load.py items MODEL [--items 200000]              scores of as many sentences, and the memory they need
    python perf/load.py sentence MODEL [--tokens 50000]           one sentence of as many tokens
    python perf/load.py report RUN [--runs 50]                    a report of as many copies of a run
"""

import argparse
import json
import random
import resource
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    pairs = commands.add_parser("pairs")
    pairs.add_argument("--pairs", type=int, default=1_000_000)
    pairs.add_argument("--types", type=int, default=500)
    pairs.add_argument("--without-targets", action="store_true", help="no column with the target terms")
    pairs.set_defaults(run=lambda given: read_pairs(given.pairs, given.types, targets=not given.without_targets))
    items = commands.add_parser("items")
    items.add_argument("model")
    items.add_argument("--items", type=int, default=200_000)
    items.add_argument("--without-targets", action="store_true", help="no versions of the pairs about other groups")
    items.set_defaults(run=lambda given: measure_items(given.model, given.items, targets=not given.without_targets))
    sentence = commands.add_parser("sentence")
    sentence.add_argument("model")
    sentence.add_argument("--tokens", type=int, default=50_000)
    sentence.set_defaults(run=lambda given: measure_sentence(given.model, given.tokens))
    report = commands.add_parser("report")
    report.add_argument("folder")
    report.add_argument("--runs", type=int, default=50)
    report.set_defaults(run=lambda given: write_report(given.folder, given.runs))
    given = parser.parse_args()
    given.run(given)


def read_pairs(count: int, types: int, *, targets: bool) -> None:
    """Reads, checks and prepares `count` pairs of `types` bias types."""
    from biasunlearn.config import DebiasConfig
    from biasunlearn.data.readers import read_triplets
    from biasunlearn.unlearn.prepare import prepare

    with tempfile.TemporaryDirectory() as folder:
        train, report = Path(folder) / "train.csv", Path(folder) / "report.csv"
        _write(train, _made(count, types, seed=0, targets=targets))
        _write(report, _made(types * 4, types, seed=1))
        print(f"{train.stat().st_size / 1e6:.0f} MB, {count:,} pairs, {types} bias types")
        clock = _Clock()
        pairs = clock.timed("read", lambda: read_triplets(train))
        against = read_triplets(report)
        clock.timed("check, join, split", lambda: prepare(pairs, against, None, DebiasConfig(shared_terms="kept")))
        clock.total()


def measure_items(model: str, count: int, *, targets: bool) -> None:
    """Measures a model on `count` sentences, three for each item, and prints memory as it goes."""
    from biasunlearn.commands.measure import measure

    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "pairs.csv"
        _write(data, _made(-(-count // 3), 20, seed=0, targets=targets, unrelated_every=1))
        shown = [0]

        def progress(what: str, done: int, of: int) -> None:
            if done * 10 // of > shown[0]:
                shown[0] = done * 10 // of
                print(f"{what} {done:,} of {of:,}: {_resident():,.0f} MB", flush=True)

        clock = _Clock()
        clock.timed("measure", lambda: measure(
            model, {"stereoset": str(data)}, out=Path(folder) / "run", progress=progress
        ))  # fmt: skip
        clock.total()


def measure_sentence(model: str, tokens: int) -> None:
    """Reads and measures pairs of which one sentence has `tokens` words, from a CSV and from a JSONL file."""
    from biasunlearn.commands.measure import measure
    from biasunlearn.errors import RequestError

    rows = list(_made(20, 2, seed=0))
    long = " ".join(["word"] * tokens)
    rows.append({**rows[0], "stereotype": f"{long} bad", "anti_stereotype": f"{long} good"})
    with tempfile.TemporaryDirectory() as folder:
        table, lines = Path(folder) / "pairs.csv", Path(folder) / "pairs.jsonl"
        _write(table, iter(rows))
        lines.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
        clock = _Clock()
        for data in (table, lines):
            for skip_invalid in (False, True):
                try:
                    clock.timed(f"measure {data.name}, skip_invalid={skip_invalid}", partial(
                        measure, model, {"stereoset": str(data)}, skip_invalid=skip_invalid
                    ))  # fmt: skip
                except RequestError as error:
                    print(f"refused: {error}")
        clock.total()


def write_report(run: str, count: int) -> None:
    """One page about `count` runs: copies of `run` whose sentences have other scores, so that no test is trivial."""
    import shutil

    from biasunlearn.commands.report import write_report as write_page

    with tempfile.TemporaryDirectory() as folder:
        copies = [str(shutil.copytree(run, Path(folder) / f"run-{number}")) for number in range(count)]
        for number, copy in enumerate(copies):
            _change_scores(Path(copy) / "items.parquet", seed=number)
        clock = _Clock()
        clock.timed(f"report of {count} runs", lambda: write_page(copies, Path(folder) / "page.html"))
        print(f"page of {(Path(folder) / 'page.html').stat().st_size / 1e6:.1f} MB")
        clock.total()


def _change_scores(path: Path, seed: int) -> None:
    import numpy as np
    import pyarrow
    import pyarrow.parquet

    table = pyarrow.parquet.read_table(path)
    change = np.random.default_rng(seed).normal(0, 0.3, table.num_rows)
    place = table.column_names.index("score")
    scores = pyarrow.array(table.column("score").to_numpy() + change)
    pyarrow.parquet.write_table(table.set_column(place, "score", scores), path)


class _Clock:
    """Seconds of each stage and in all, and the largest resident memory so far."""

    def __init__(self) -> None:
        self._begun, self._spent = time.perf_counter(), time.process_time()

    def timed(self, what: str, work):  # type: ignore[no-untyped-def]
        begun, spent = time.perf_counter(), time.process_time()
        try:
            return work()
        finally:
            seconds = f"{time.perf_counter() - begun:.1f} s ({time.process_time() - spent:.1f} s of the processor)"
            print(f"{what}: {seconds}, at most {_peak():,.0f} MB so far", flush=True)

    def total(self) -> None:
        wall, spent = time.perf_counter() - self._begun, time.process_time() - self._spent
        print(f"in all: {wall:.1f} s ({spent:.1f} s of the processor), at most {_peak():,.0f} MB")


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def _resident() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


def _made(
    count: int, types: int, seed: int, *, targets: bool = True, unrelated_every: int = 10
) -> Iterator[dict[str, str]]:
    """Pairs about people of 40 groups in each bias type, as short as real ones."""
    chosen = random.Random(seed)
    traits = [(f"{a}ish", f"{a}ic") for a in ("clever", "lazy", "kind", "rude", "calm", "loud", "brave", "dull")]
    for number in range(count):
        bias_type, term = f"type{number % types}", f"group{number % types}x{chosen.randrange(40)}"
        bad, good = chosen.choice(traits)
        head = f"The {term}, {number},"
        yield {
            "bias_type": bias_type, "target": term if targets else "", "context": f"{head} is BLANK.",
            "stereotype": f"{head} is {bad}.", "anti_stereotype": f"{head} is {good}.",
            "unrelated": f"Fish {number} sing." if number % unrelated_every == 0 else "",
        }  # fmt: skip


def _write(path: Path, rows: Iterator[dict[str, str]]) -> None:
    import csv

    with path.open("w", encoding="utf-8", newline="") as file:
        first = next(rows)
        writer = csv.DictWriter(file, list(first))
        writer.writeheader()
        writer.writerow(first)
        writer.writerows(rows)


if __name__ == "__main__":
    main()
