"""Dropout as a method: continued training on ordinary text with higher dropout (Webster et al., arXiv 2010.06032).

The paper continues pre-training with dropout of 0.15 on hidden states and attention. Here an adapter is trained, and
the corpus is the unrelated set (`--unrelated FILE.txt`). An architecture without dropout is rejected; one with
dropout on attention only uses that. The labelled pairs are used for the stop split only.
"""

from dataclasses import replace

from biasunlearn.errors import RequestError
from biasunlearn.unlearn.methods.gradient import run_on
from biasunlearn.unlearn.methods.task import MethodResult, Task


def run(task: Task) -> MethodResult:
    """Cross-entropy on the unrelated set with `base_dropout` (models/adapters.py).

    Raises:
        RequestError: fewer than two unrelated sentences; an architecture without dropout.
    """
    sentences = task.sets.unrelated
    if len(sentences) < 2:
        raise RequestError("method: dropout: needs ordinary text to train on: give --unrelated FILE.txt")
    halves = tuple(zip(sentences[::2], sentences[1::2], strict=False))  # both of a pair are trained on
    forget, retain = zip(*halves, strict=True)
    types = task.sets.bias_types
    sets = replace(
        task.sets, forget=dict.fromkeys(types, forget), retain=dict.fromkeys(types, retain),
        pairs=dict.fromkeys(types, halves),
    )  # fmt: skip
    return run_on(task, sets)
