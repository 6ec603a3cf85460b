"""Unrelated sentences of several sources: read apart, each with the same share of a step."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from biasunlearn.config import DebiasConfig
from biasunlearn.data.records import Passage
from biasunlearn.data.unrelated import in_words, read_sources, stored, unrelated_given
from biasunlearn.errors import RequestError
from biasunlearn.unlearn.prepare import training_data
from biasunlearn.unlearn.sampler import BatchSampler
from biasunlearn.unlearn.sets import TrainingSets
from tests.test_cli import write_pairs

ONE = (Passage("", "a"),)
SETS = TrainingSets({"t": ONE}, {"t": ONE}, {"t": ((ONE[0], ONE[0]),)}, tuple(Passage("", w) for w in "abcdefghij"))
RECIPE = DebiasConfig(forget_batch=1, retain_batch=1, unrelated_batch=3, invariance_weight=0)


def drawn(sampler: BatchSampler, steps: int) -> list[str]:
    return [one.text for _ in range(steps) for one in sampler.next({"t": 1.0}).unrelated]


def test_two_sources_have_the_same_share_whatever_their_size() -> None:
    """Two of ten sentences are of the first source: 30 draws are 15 and 15. One source: each sentence thrice."""
    two = Counter(drawn(BatchSampler(replace(SETS, unrelated_sizes=(2, 8)), RECIPE), 10))
    assert sum(two[word] for word in "ab") == 15 and sum(two[word] for word in "cdefghij") == 15
    assert set(Counter(drawn(BatchSampler(SETS, RECIPE), 10)).values()) == {3}


def test_a_resumed_sampler_goes_on_where_it_was() -> None:
    sets = replace(SETS, unrelated_sizes=(2, 8))
    whole, first = BatchSampler(sets, RECIPE), BatchSampler(sets, RECIPE)
    expected = drawn(whole, 9)
    begun = drawn(first, 4)
    again = BatchSampler(sets, RECIPE)
    again.position = dict(first.position)
    assert begun + drawn(again, 5) == expected


def test_paths_in_a_list_are_files_and_texts_are_sentences(tmp_path: Path) -> None:
    assert unrelated_given(None, "unrelated") is None
    assert unrelated_given([Path("a.txt")], "unrelated") == "a.txt"
    both = unrelated_given((Path("a.jsonl"), Path("b.txt")), "unrelated")
    assert both == ("a.jsonl", "b.txt") and stored(both) == ["a.jsonl", "b.txt"] and in_words(both) == "a.jsonl, b.txt"
    texts = read_sources(unrelated_given(["One.", "Two."], "unrelated"))
    assert texts.sentences()[0] == (("One.", "Two."),)


def test_a_sentence_of_both_files_counts_for_the_first(tmp_path: Path) -> None:
    train = write_pairs(tmp_path / "train.jsonl", unrelated=False)
    (tmp_path / "a.txt").write_text("One.\nTwo.\nOne.\n")
    (tmp_path / "b.txt").write_text("Two.\nThree.\nFour.\n")
    both = str(tmp_path / "a.txt"), str(tmp_path / "b.txt")
    sets = training_data(train, None, both, RECIPE).sets
    assert [one.text for one in sets.unrelated] == ["One.", "Two.", "Three.", "Four."]
    assert sets.unrelated_sizes == (2, 2)
    assert training_data(train, None, both[0], RECIPE).sets.unrelated_sizes == ()


def test_every_file_must_have_sentences(tmp_path: Path) -> None:
    train = write_pairs(tmp_path / "train.jsonl", unrelated=False)
    (tmp_path / "a.txt").write_text("One.\n")
    with pytest.raises(RequestError, match="train.jsonl: no unrelated sentences"):
        training_data(train, None, (str(tmp_path / "a.txt"), train), RECIPE)


def test_files_with_triplets_and_with_text_together(tmp_path: Path) -> None:
    train = write_pairs(tmp_path / "train.jsonl", unrelated=False)
    other = write_pairs(tmp_path / "other.jsonl", bias_types=("new",))
    (tmp_path / "a.txt").write_text("One.\nTwo.\n")
    read = read_sources((other, str(tmp_path / "a.txt")))
    rows = [json.loads(line) for line in Path(other).read_text().splitlines()]
    assert read.sentences()[0] == (tuple(row["unrelated"] for row in rows), ("One.", "Two."))
    assert len(read.triplets) == len(rows) and train
