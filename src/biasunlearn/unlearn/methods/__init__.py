"""What `debias --method` can run, by name: a plain dict of functions from a task to what was done.

A method is given the model, the training sets, the way to look at the stop split and a keeper; it returns a model that
scores, writes and saves like any other, and says how it ended. Methods that differ only in what their gradient descends
share one function (gradient.py); any other is a file of its own.
"""

from collections.abc import Callable

from biasunlearn.unlearn.methods import cda, dropout, gradient, mlp_edit, projection, prompting, task_vector
from biasunlearn.unlearn.methods.task import MethodResult, Task
from biasunlearn.unlearn.objectives import OBJECTIVES

METHODS: dict[str, Callable[[Task], MethodResult]] = {
    **dict.fromkeys(OBJECTIVES, gradient.run),
    "cda": cda.run,
    "dropout": dropout.run,
    "task_vector": task_vector.run,
    "mlp_edit": mlp_edit.run,
    "sentence_debias": projection.sentence_debias,
    "inlp": projection.inlp,
    "leace": projection.leace,
    "self_debias": prompting.self_debias,
    "debiasing_prompt": prompting.debiasing_prompt,
}

__all__ = ["METHODS", "MethodResult", "Task"]
