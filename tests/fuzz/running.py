"""One mutated input through the command line, and what came of it."""

import contextlib
import io
import os
import random
import shutil
import signal
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal

from biasunlearn.benchmarks import BENCHMARKS
from biasunlearn.cli import main
from biasunlearn.config import DebiasConfig
from biasunlearn.data.counterfactual import counterfactual_pairs
from biasunlearn.data.readers import read_triplets
from biasunlearn.data.term_lists import load_term_list
from biasunlearn.errors import RequestError
from biasunlearn.unlearn.prepare import prepare
from tests.fuzz import mutations
from tests.fuzz.inputs import Files, sound
from tests.fuzz.mutations import BYTES, CSV, Mutated, change_json, change_parquet, change_yaml

LONGEST = 10.0
"""Seconds of the processor after which an input counts as a hang; six times as many on the clock."""

Verdict = Literal["refused", "accepted", "wrongly accepted", "broke", "hang"]


@dataclass(frozen=True, slots=True)
class Case:
    """One input: what it is, what was changed, and whether it must be refused."""

    kind: str
    name: str
    mutation: str
    files: Files
    must_refuse: bool
    accepted: str
    """Why it may be accepted."""


@dataclass(slots=True)
class Summary:
    """Counts of verdicts, and every input that is a fault."""

    verdicts: Counter[str] = field(default_factory=Counter)
    accepted: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    """By kind of input, mutation, and the reason why that is right."""
    faults: list[str] = field(default_factory=list)
    slowest: float = 0.0


def cases(seed: int) -> Iterator[Case]:
    """Mutated inputs without end, the same ones for the same seed."""
    rng = random.Random(seed)
    while True:
        kind, name, files = rng.choice(sound())
        inside = rng.choice(sorted(files))
        made = _mutated(rng, kind, inside, files[inside])
        if made is None:
            continue
        mutation, mutated, accepted = made
        # Of a folder some files or lines may be wrong where none reads them.
        must_refuse = mutated.must_refuse and (len(files) == 1 or inside == "results.json")
        if kind == "recipe" and mutation in ("empty", "white space alone"):
            must_refuse, accepted = False, "a recipe without a key has the default settings"
        content = mutated.content
        if rng.random() < 0.15:  # a second change, after which nothing is known of the file
            content, must_refuse = rng.choice(BYTES[:6]).change(rng, content) or content, False
            mutation, accepted = f"{mutation}, and random bytes", "as each of the two"
        yield Case(kind, name, mutation, {**files, inside: content}, must_refuse, accepted)


def _mutated(rng: random.Random, kind: str, name: str, raw: bytes) -> tuple[str, Mutated, str] | None:
    """(mutation, input, why it may be accepted)"""
    if rng.random() < 0.6:
        if name.endswith((".json", ".jsonl")):
            found = change_json(rng, kind, name, raw)
            return found and (*found, mutations.JSON_ACCEPTED)
        if name.endswith(".yaml"):
            return (*change_yaml(rng, kind, raw), mutations.YAML_ACCEPTED)
        if name.endswith(".parquet"):
            found = change_parquet(rng, raw)
            return found and (*found, mutations.PARQUET_ACCEPTED)
    mutation = rng.choice([one for one in (*BYTES, *CSV) if one.fits(name)])
    changed = mutation.change(rng, raw)
    if changed is None or changed == raw:
        return None
    return mutation.name, Mutated(changed, not mutation.accepted), mutation.accepted


def run(case: Case, place: Path) -> tuple[Verdict, str, float]:
    """(verdict, what was printed, seconds) of one input. `place` is an empty folder, which is emptied again."""
    target = _written(case, place)
    begun = time.process_time()
    try:
        with _alarm(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            code, printed = _command("validate", str(target), "--as", case.kind)
            if code == 0:
                code, printed = _used(case.kind, target)
    except _Hang:
        return "hang", "", time.process_time() - begun
    except Exception as error:  # what the library raises where the command line would end with exit code 3
        code, printed = 3, f"{type(error).__name__}: {error}"
    finally:
        shutil.rmtree(place)
        place.mkdir()
    seconds = time.process_time() - begun
    if seconds > LONGEST:
        return "hang", printed, seconds
    if code == 2 and printed.count("\n") == 1 and "Traceback" not in printed:
        return "refused", printed, seconds
    if code == 0:
        return ("wrongly accepted" if case.must_refuse else "accepted"), printed, seconds
    return "broke", f"exit code {code}: {printed}", seconds


def fuzz(seed: int, count: int | None, until: float | None, place: Path) -> Iterator[tuple[Summary, int]]:
    """(summary so far, number of inputs) after every input, until there are `count` of them or the time is over."""
    summary = Summary()
    for number, case in enumerate(cases(seed), 1):
        verdict, printed, seconds = run(case, place)
        summary.verdicts[verdict] += 1
        summary.slowest = max(summary.slowest, seconds)
        if verdict == "accepted":
            summary.accepted[case.kind, case.mutation, case.accepted] += 1
        elif verdict != "refused":
            summary.faults.append(
                f"{verdict}: input {number} of seed {seed}: {case.kind}, {case.name}, {case.mutation}: {printed[:300]}"
            )
        yield summary, number
        if number == count or (until is not None and time.monotonic() > until):
            return


def _written(case: Case, place: Path) -> Path:
    target = place / case.name
    if len(case.files) == 1:
        target.write_bytes(next(iter(case.files.values())))
        return target
    for name, content in case.files.items():
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        (target / name).write_bytes(content)
    return target


def _command(*words: str) -> tuple[int, str]:
    """(exit code, what stands on stderr) of a command of this process."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(list(words))
        out.getvalue().encode()  # half of a character cannot be printed
    return code, err.getvalue()


def _used(kind: str, target: Path) -> tuple[int, str]:
    """What was accepted is used as a run would use it, up to the model: (exit code, what stands on stderr)."""
    try:
        if kind == "pairs":
            data = read_triplets(str(target))
            _check_texts(data.triplets)
            prepare(data, data, None, DebiasConfig(shared_terms="kept"))
        elif kind == "terms":
            sentences = [("s:1", "The uncle told the nurse that he was late."), ("s:2", "A pilot met her aunt's dad.")]
            _check_texts(counterfactual_pairs(sentences, load_term_list(target))[0])
        elif kind in BENCHMARKS:
            table: Any = BENCHMARKS[kind].read(str(target), skip_invalid=True)
            _check_texts(table.records)
        elif kind == "run":
            code, printed = _command("report", str(target), "--out", str(target / "page.html"))
            return code, printed
    except RequestError:  # too few pairs to be split, say: that is found before a model is loaded, too
        return 0, ""
    return 0, ""


def _check_texts(value: Any) -> None:
    """Every text of a record can be tokenized and stored: no half of a character, no NUL. ValueError where not."""
    if isinstance(value, str):
        if "\0" in value:
            raise ValueError("NUL in a text that was accepted")
        value.encode()
    elif is_dataclass(value):
        for one in fields(value):
            _check_texts(getattr(value, one.name))
    elif isinstance(value, list | tuple):
        for one in value:
            _check_texts(one)


class _Hang(BaseException):
    """Raised by the alarm; no handler of Exception catches it."""


@contextlib.contextmanager
def _alarm() -> Iterator[None]:
    def ring(*_: Any) -> None:
        raise _Hang

    # A loop spends processor time; who waits for a pipe spends none, and is given longer, since a machine may be busy.
    signals = {signal.SIGPROF: (signal.ITIMER_PROF, LONGEST), signal.SIGALRM: (signal.ITIMER_REAL, 6 * LONGEST)}
    before = {number: signal.signal(number, ring) for number in signals}
    for timer, seconds in signals.values():
        signal.setitimer(timer, seconds)
    try:
        yield
    finally:
        for timer, _ in signals.values():
            signal.setitimer(timer, 0)
        for number, handler in before.items():
            signal.signal(number, handler)


def special_paths(place: Path) -> list[Path]:
    """What is no regular file: a pipe, folders, links that lead nowhere or round, a device, names that cannot be."""
    os.mkfifo(place / "pipe.csv")
    (place / "folder.csv").mkdir()
    (place / "loop.csv").symlink_to(place / "loop.csv")
    (place / "nowhere.csv").symlink_to(place / "gone.csv")
    (place / "device.csv").symlink_to("/dev/zero")
    names = (
        "pipe.csv",
        "folder.csv",
        "loop.csv",
        "nowhere.csv",
        "device.csv",
        "x" * 300 + ".csv",
        "nul\0.csv",
        "gone.csv",
    )
    return [place / name for name in names]
