"""Pairs as a preference data set for TRL: columns prompt, chosen (anti-stereotype) and rejected (stereotype)."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

from biasunlearn.data.readers import read_triplets
from biasunlearn.data.records import Passage, Triplet
from biasunlearn.data.tables import Source, table_given
from biasunlearn.data.words import shared_prefix
from biasunlearn.errors import RequestError


def preference_rows(
    triplets: Iterable[Triplet], supervised_to: Literal["end", "difference"] = "end"
) -> list[dict[str, Any]]:
    """A row for each pair. Prompt and completion, joined without a space, are the text that training supervises.

    The prompt is what both sentences begin with; it is empty where they differ in their first word. A pair whose
    sentences are equal in the supervised part has no preference, which `validate` reports.

    Args:
        supervised_to: end of the completions: end (of the sentence), or difference, as `supervised_to` of a recipe.
    """
    return [
        {**preference(*c.supervised_sides(supervised_to)), "bias_type": c.bias_type, "target": c.target}
        for c in triplets
    ]


def preference(stereotype: Passage, anti: Passage) -> dict[str, str]:
    """prompt, chosen and rejected of the two sides of a pair."""
    if stereotype.prefix == anti.prefix:
        return {"prompt": anti.prefix, "chosen": anti.text, "rejected": stereotype.text}
    # The sentences are spelt differently before the BLANK.
    texts = stereotype.prefix + stereotype.text, anti.prefix + anti.text
    cut = len(texts[0][: shared_prefix(*texts)].rstrip())
    return {"prompt": texts[0][:cut], "chosen": texts[1][cut:], "rejected": texts[0][cut:]}


def preference_dataset(pairs: Source, supervised_to: Literal["end", "difference"] = "end") -> Any:
    """Pairs (a path, list of dicts, DataFrame or Dataset) as a `datasets.Dataset` for the trainers of TRL.

    Raises:
        RequestError, DataError: the pairs cannot be read.
    """
    import datasets

    triplets = read_triplets(table_given(pairs, "pairs")).triplets
    return datasets.Dataset.from_list(preference_rows(triplets, supervised_to))


def write_preferences(triplets: Iterable[Triplet], path: str | Path) -> int:
    """Writes the rows as JSONL and returns their number. RequestError if the file exists or is not writable."""
    if Path(path).exists():
        raise RequestError(f"{path}: exists already; choose another name or remove it")
    rows = preference_rows(triplets)
    try:
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        Path(path).write_text(text, encoding="utf-8")
    except OSError as error:
        raise RequestError(f"{path}: cannot be written: {error.strerror}") from None
    return len(rows)
