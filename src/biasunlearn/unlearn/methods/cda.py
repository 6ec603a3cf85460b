"""Counterfactual data augmentation: training on ordinary text with its groups exchanged as well.

Zmigrod et al., arXiv 1906.04571; Webster et al., arXiv 2010.06032 (two-sided: the sentence and its counterfactual).
The corpus is the unrelated set, which may be any text file (`--unrelated FILE.txt`); sentences that name no group, or
whose counterfactual would be a guess, are left out (data/counterfactual.py). The shipped term list that has the name
of a bias type serves it; the paper's lists are other ones. The labelled pairs are only used for the stop split.
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
        task.say(f"cda: no term list of the name {bias_type}, or no sentence to swap: this bias type does not train")
    return run_on(task, sets)


def augmented(sets: TrainingSets, *, seed: int) -> TrainingSets:
    """Pairs (sentence, counterfactual) of the unrelated set, by bias type, in place of the labelled ones."""
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
