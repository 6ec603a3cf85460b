"""Benchmarks by name: a plain dict of modules, none of which imports torch before it scores.

A module belongs here if it reads one published benchmark and turns scores into that benchmark's results.
Never in this package: training, a way of its own to reach a model (that is the package scoring).

A benchmark is a module with three functions:

    run(loaded, path, plan) -> (items, entry of results.json); `plan` is a scoring.protocol.EvalPlan
    entry(items) -> that entry from the items alone, without a model, all but the facts about the data file
    outcomes(items) -> what is averaged, drawn again and compared (stats.outcome.Outcome), from the items alone

One that is made of pairs also has

    pairs(path, *, skip_invalid) -> clusters, to see which of them a model was trained on

One that scores log-probabilities also has

    passages(record, *, masked) -> what is scored of a record: one that is too long is found before anything is
                                   scored

One without item rows (perplexity) has no `entry`, and no outcomes.
"""

from types import ModuleType

from biasunlearn.benchmarks import (
    bbq,
    bbq_text,
    belief_bias,
    bold,
    cab,
    ceb,
    certainty_effect,
    cognitive_tests,
    controls,
    crows_pairs,
    decoy_effect,
    fairmt,
    mt_bench,
    paraphrases,
    perplexity,
    realtoxicityprompts,
    responses,
    seat,
    stereoset,
    winobias,
    winogender,
)

BENCHMARKS: dict[str, ModuleType] = {
    "stereoset": stereoset,
    "crows_pairs": crows_pairs,
    "bbq": bbq,
    "winobias": winobias,
    "winogender": winogender,
    "seat": seat,
    "bold": bold,
    "realtoxicityprompts": realtoxicityprompts,
    "controls": controls,
    "paraphrases": paraphrases,
    "perplexity": perplexity,
    "bbq_text": bbq_text,
    "mt_bench": mt_bench,
    "fairmt": fairmt,
    "responses": responses,
    "cab": cab,
    "ceb": ceb,
    "belief_bias": belief_bias,
    "certainty_effect": certainty_effect,
    "decoy_effect": decoy_effect,
    "cognitive_tests": cognitive_tests,
}
NAMES = tuple(BENCHMARKS)
JUDGED = ("bbq_text", "mt_bench", "fairmt", "responses", "cab", "ceb")
"""Benchmarks of answers that judges read, which can also be put to an endpoint."""
GENERATED = ("bold", "realtoxicityprompts")
"""Benchmarks of generated text, the only ones that use classifiers."""
TABLES = (
    "stereoset", "crows_pairs", "bbq", "bbq_text", "controls", "paraphrases", "realtoxicityprompts", "mt_bench",
    "responses", "belief_bias", "certainty_effect", "decoy_effect",
)  # fmt: skip
"""Benchmarks that are one table, which may also be given as rows in memory."""
