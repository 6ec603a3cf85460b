"""What `debias --method` can run, by name: a plain dict of functions from a task to what was done.

A method is given the model, the training sets, the way to look at the stop split and a keeper; it returns a model that
scores, writes and saves like any other, and says how it ended. Methods that differ only in what their gradient descends
share one function (learning.py); any other is a file of its own.
"""

from collections.abc import Callable

from ..objectives import OBJECTIVES
from . import cda, dropout, erasure, learning, mlp_edit, prompts, task_vector
from .task import Done, Task

METHODS: dict[str, Callable[[Task], Done]] = {
    **dict.fromkeys(OBJECTIVES, learning.run),
    "cda": cda.run,
    "dropout": dropout.run,
    "task_vector": task_vector.run,
    "mlp_edit": mlp_edit.run,
    "sentence_debias": erasure.sentence_debias,
    "inlp": erasure.inlp,
    "leace": erasure.leace,
    "self_debias": prompts.self_debias,
    "debiasing_prompt": prompts.debiasing_prompt,
}

__all__ = ["METHODS", "Done", "Task"]
