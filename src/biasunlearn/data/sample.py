"""A random sample of items, with the same share of each bias type as the whole."""

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any


def sampled(bias_types: Sequence[str], count: int, *, seed: int) -> list[int]:
    """The numbers of about `count` items, in their order: each bias type keeps its share, and at least one item.

    Shares are rounded by the method of largest remainders, so that exactly `count` items are chosen unless there are
    more bias types than that.

    Args:
        bias_types: of each item.
    """
    if count >= len(bias_types):
        return list(range(len(bias_types)))
    strata: dict[str, list[int]] = {}
    for number, name in enumerate(bias_types):
        strata.setdefault(name, []).append(number)
    exact = {name: count * len(members) / len(bias_types) for name, members in strata.items()}
    sizes = {name: max(1, int(share)) for name, share in exact.items()}
    by_remainder = sorted(strata, key=lambda name: (int(exact[name]) - exact[name], name))
    for name in by_remainder:
        if sum(sizes.values()) < count and exact[name] > sizes[name]:
            sizes[name] += 1
    while sum(sizes.values()) > max(count, len(strata)):  # types that got their one item beyond their share
        largest = max(strata, key=lambda name: (sizes[name], name))
        sizes[largest] -= 1
    draw = random.Random(seed)
    return sorted(number for name, members in strata.items() for number in draw.sample(members, sizes[name]))


def limited(data: Any, count: int, *, seed: int) -> tuple[Any, int]:
    """Data that were read for a benchmark (a `Table` or a `DataFile`), cut to a sample; and how many items it had."""
    records = data.records
    types = [str(getattr(record, "bias_type", getattr(record, "category", ""))) for record in records]
    kept = sampled(types, count, seed=seed)
    chosen = tuple(records[number] for number in kept)
    if hasattr(data, "triplets"):
        return replace(data, triplets=chosen), len(records)
    return replace(data, records=chosen, places=tuple(data.places[number] for number in kept)), len(records)
