"""Counterfactual data augmentation: training on ordinary text and on the same text with its groups exchanged.

Zmigrod et al., arXiv 1906.04571; Webster et al., arXiv 2010.06032 (two-sided: the sentence and its counterfactual).
The corpus is the unrelated set, which may be any text file (`--unrelated FILE.txt`). Sentences that name no group, or
whose counterfactual is ambiguous, are left out (data/counterfactual.py). A bias type uses the shipped term list of its
name, which differs from the lists of the papers. The labelled pairs are used for the stop split only.
"""

from dataclasses import replace

from biasunlearn.data.counterfactual import counterfactual
from biasunlearn.data.records import Passage
from biasunlearn.data.term_lists import TermList, load_term_list
from biasunlearn.data.term_matches import CannotSwap
from biasunlearn.errors import RequestError
from biasunlearn.unlearn.methods.gradient import run_on
from biasunlearn.unlearn.methods.task import MethodResult, Task
from biasunlearn.unlearn.sets import TrainingSets


def run(task: Task) -> MethodResult:
    """Cross-entropy on sentences and their counterfactuals; the bias types alternate.

    Raises:
        RequestError: no sentence of the unrelated set has a counterfactual.
    """
    sets = augmented(task.sets, seed=task.config.seed)
    for bias_type in sorted(set(task.sets.bias_types) - set(sets.bias_types)):
        task.say(f"cda: {bias_type}: no term list of this name, or no sentence to swap; it is not trained on")
    return run_on(task, sets)


def augmented(sets: TrainingSets, *, seed: int) -> TrainingSets:
    """Training sets with pairs (sentence, counterfactual) of the unrelated set in place of the labelled pairs."""
    pairs = {}
    for bias_type in sets.bias_types:
        try:
            terms = load_term_list(bias_type)
        except RequestError:
            continue
        found = [(passage, swapped) for passage in sets.unrelated if (swapped := _swapped(passage, terms, seed))]
        if found:
            pairs[bias_type] = tuple(found)
    if not pairs:
        raise RequestError(
            f"method: cda: none of the {len(sets.unrelated)} unrelated sentences could be swapped by the term lists of "
            f"{', '.join(sets.bias_types)}; give ordinary text as --unrelated FILE.txt"
        )
    sides = [{b: tuple(pair[side] for pair in found) for b, found in pairs.items()} for side in (0, 1)]
    return replace(sets, forget=sides[0], retain=sides[1], pairs=pairs)


def _swapped(passage: Passage, terms: TermList, seed: int) -> Passage | None:
    try:
        return Passage("", counterfactual(passage.text, terms, seed=seed))
    except CannotSwap:
        return None
