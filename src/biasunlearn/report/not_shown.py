"""What a run does not show: the questions that stay open, by what was measured and how the run ended."""

from collections.abc import Iterator

from biasunlearn.report.formatting import listed
from biasunlearn.runs.results import Results
from biasunlearn.runs.scores import CountedScore, hides_polarisation

FEW_PAIRS = 100
"""Pairs with unseen wording below which their SS says little."""

LATENT = ("stereoset", "crows_pairs", "seat", "paraphrases", "controls", "winobias", "winogender", "perplexity", "bbq",
          "certainty_effect", "decoy_effect", "belief_bias", "cognitive_tests")  # fmt: skip
"""Benchmarks that compare likelihoods or choices: none of them reads what a model writes."""


def not_shown(results: Results) -> list[str]:
    """Open questions as sentences, the most important one first."""
    return list(_open_questions(results))


def _open_questions(results: Results) -> Iterator[str]:
    verdict = results.shown_verdict
    if verdict is not None and verdict.value == "failed":
        yield "Anything about a debiased model: the run failed, and its scores are not evidence of an effect."
    entry = results.benchmarks.stereoset
    if entry is None:
        yield "Whether the model prefers stereotypes in StereoSet, which was not measured."
    else:
        hidden = [name for name, row in entry.bias_types.items() if hides_polarisation(row)]
        if hidden:
            yield (
                f"That groups are treated alike: in {listed(hidden)} the mean is near 50 while single groups are "
                "above or below it."
            )
        tested = [row.equivalence for row in entry.bias_types.values() if row.equivalence]
        outside = sum(not one.within for one in tested)
        if tested and outside:
            yield (
                f"That SS is near 50 in every bias type: in {outside} of {len(tested)} the data do not show it. This "
                "is no proof of bias either."
            )
        if entry.overall.ss_group is None:
            yield "How much of the preference is due to the group that is named: the group part was not measured."
        if results.before is not None:
            yield from _wording(entry.overall.unseen_wording.neither if entry.overall.unseen_wording else None)
    if not set(results.benchmarks.entries) - set(LATENT):
        yield "What the model writes when it answers freely: only likelihoods of given sentences were compared."
    if results.before is not None and results.relearned is None:
        yield "Whether the change lasts under further training; the command relearn measures it."
    if results.capability is None:
        yield "Abilities beyond modeling language, such as answering questions: no task of lm-eval was run."
    yield "Bias about groups, in languages or in situations that the data do not contain."


def _wording(unseen: CountedScore | None) -> Iterator[str]:
    if unseen is None:
        yield "Whether the change holds for wording that was not in training, which is not known for this run."
    elif unseen.n < FEW_PAIRS:
        counted = f"only {unseen.n} pairs have" if unseen.n else "no pair has"
        yield f"Whether the change holds for wording that was not in training: {counted} such wording."
