"""Every data file is parsed once in a run: what was read of it is handed on."""

import sys
from collections import Counter
from pathlib import Path

import pytest

from biasunlearn import debias
from biasunlearn.config import DebiasConfig
from tests import tiny, variants

pytestmark = pytest.mark.slow

OPENED: Counter[str] = Counter()
WATCHED: set[str] = set()


def watch(event: str, arguments: tuple) -> None:
    if event == "open" and isinstance(arguments[0], str | Path) and str(arguments[0]) in WATCHED:
        OPENED[str(arguments[0])] += 1


def test_a_run_opens_each_of_its_data_files_once_to_hash_and_once_to_parse_it(tmp_path: Path) -> None:
    tiny.save(tiny.gpt2(), tmp_path / "model")
    train, report = tmp_path / "train.jsonl", tmp_path / "report.jsonl"
    variants.write_pairs(train)
    variants.write_pairs(report, ("old", "new"))
    text = tmp_path / "text.txt"
    text.write_text("The baker is quick and the pilot is kind. " * 10)
    sys.addaudithook(watch)  # it cannot be removed again; it looks only for these names
    WATCHED.update(map(str, (train, report, text)))
    config = DebiasConfig(
        max_steps=2, swap_noise=0.0, first_evaluation=1, evaluate_every=1, forget_batch=2, retain_batch=2
    )
    results = debias(
        str(tmp_path / "model"), train=str(train), report=str(report), unrelated=str(report), out=tmp_path / "run",
        benchmarks={"perplexity": str(text)}, config=config,
    )  # fmt: skip
    # Once for the hash by which a resumed run recognises its data, and once to be read; the report file is read as
    # report and as --unrelated, which are two requests.
    assert OPENED == {str(train): 2, str(report): 3, str(text): 2}
    assert results.benchmarks.stereoset.sha256 == results.before.stereoset.sha256
    # The page shows sentences that it did not read again.
    assert "The old" in (tmp_path / "run/report.html").read_text()
