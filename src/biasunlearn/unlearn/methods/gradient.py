"""Every method that differs from BiasUnlearn only in its objective (objectives.py): the same training loop."""

from dataclasses import replace

from biasunlearn.errors import RequestError
from biasunlearn.models.adapters import with_lora
from biasunlearn.models.quantization import kind
from biasunlearn.unlearn.methods.task import MethodResult, Task
from biasunlearn.unlearn.sets import TrainingSets
from biasunlearn.unlearn.trainer import train


def run(task: Task) -> MethodResult:
    """Trains an adapter (with `lora_rank: 0` all weights) with the objective of the method.

    Raises:
        RequestError: `lora_rank: 0` for a quantised model.
    """
    if not task.config.lora_rank and kind(task.loaded.model):  # a quantised folder needs no `dtype`
        raise RequestError("lora_rank: 0 trains all weights, and this model's are quantised; train an adapter")
    model = with_lora(task.loaded.model, task.config) if task.config.lora_rank else task.loaded.model
    evaluate = task.sequential(model) if task.sequential else lambda: task.evaluate(model)
    outcome = train(
        model, task.loaded.tokenizer, task.sets, evaluate, task.config, task.checkpointer,
        base_scores=task.base_scores, on_step=task.on_step,
    )  # fmt: skip
    return MethodResult(model, outcome)


def run_on(task: Task, sets: TrainingSets) -> MethodResult:
    """The same with other training sets."""
    return run(replace(task, sets=sets))
