"""Benchmarks by name: a plain dict of modules, none of which imports torch before it scores.

A benchmark is a module with three functions:

    run(loaded, path, *, skip_invalid, batch_tokens, progress) -> (items, entry of results.json)
    entry(items) -> that entry from the items alone, without a model, all but the facts about the data file
    outcomes(items) -> what is averaged, drawn again and compared (records.Outcome), from the items alone

One without item rows (perplexity) has no `entry`, and no outcomes.
"""

from types import ModuleType

from . import bold, perplexity, realtoxicityprompts, seat, stereoset

BENCHMARKS: dict[str, ModuleType] = {
    "stereoset": stereoset,
    "perplexity": perplexity,
    "seat": seat,
    "bold": bold,
    "realtoxicityprompts": realtoxicityprompts,
}
NAMES = tuple(BENCHMARKS)
