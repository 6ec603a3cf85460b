"""The invariance loss alone: only what depends on the group is removed. Developed in this project.

What words a model prefers whoever a sentence is about does not change, so SS need not reach 50, and the stop split
cannot choose the checkpoint: the last weights are the result. See `group part` in docs/statistics.md.
"""

from biasunlearn.models.adapters import with_lora
from biasunlearn.unlearn.methods.task import MethodResult, Task
from biasunlearn.unlearn.trainer import train


def run(task: Task) -> MethodResult:
    """Trains for all steps on counterfactual contexts, with the KL term and without evaluations."""
    model = with_lora(task.loaded.model, task.config)
    outcome = train(
        model, task.loaded.tokenizer, task.sets, None, task.config, task.checkpointer, base_scores=task.base_scores,
        on_step=task.on_step,
    )  # fmt: skip
    return MethodResult(model, outcome)
