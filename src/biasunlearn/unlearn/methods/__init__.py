"""The methods of `debias --method` by name: a dict of functions from a task to a result.

A method receives the model, the training sets, a function that evaluates the stop split and a checkpointer. It returns
a model that scores, generates and saves itself like any other, and how training ended. Methods that differ only in
their loss share one function (gradient.py); any other method is a file of its own.
"""

from collections.abc import Callable

from biasunlearn.unlearn.methods import (
    bias_neurons,
    biasedit,
    cda,
    dropout,
    gradient,
    invariance,
    mlp_edit,
    projection,
    prompting,
    steering,
    task_vector,
    trl,
)
from biasunlearn.unlearn.methods.task import MethodResult, Task
from biasunlearn.unlearn.objectives import OBJECTIVES

METHODS: dict[str, Callable[[Task], MethodResult]] = {
    **dict.fromkeys(OBJECTIVES, gradient.run),
    "cda": cda.run,
    "dropout": dropout.run,
    "invariance": invariance.run,
    "task_vector": task_vector.run,
    "biasedit": biasedit.run,
    "mlp_edit": mlp_edit.run,
    "bias_neurons": bias_neurons.run,
    "sentence_debias": projection.sentence_debias,
    "inlp": projection.inlp,
    "leace": projection.leace,
    "steering": steering.steering,
    "steering_gated": steering.steering_gated,
    "self_debias": prompting.self_debias,
    "debiasing_prompt": prompting.debiasing_prompt,
    **dict.fromkeys(("trl:dpo", "trl:orpo", "trl:kto"), trl.run),
}

__all__ = ["METHODS", "MethodResult", "Task"]
