"""Task arithmetic by negation: train on the stereotypes, then subtract the change (arXiv 2212.04089, section 3).

theta = theta_base - scale * (theta_stereotypes - theta_base). The paper searches the scale on held-out data, which is
the stop split here. The task vector is a LoRA adapter instead of a fine-tuned model, and the result is that adapter
with the opposite sign: a plain PEFT adapter.
"""

from dataclasses import replace
from typing import Any

import torch

from biasunlearn.errors import RequestError
from biasunlearn.models.adapters import trainable, with_lora
from biasunlearn.unlearn.methods.task import MethodResult, Task, nearest, search_outcome
from biasunlearn.unlearn.trainer import train

SCALES = (0.25, 0.5, 0.75, 1.0, 1.5, 2.0)


def run(task: Task) -> MethodResult:
    """Trains on the stereotypes without evaluations, then searches the scale.

    Raises:
        RequestError: `lora_rank: 0`, since the base weights must stay unchanged.
    """
    if not task.config.lora_rank:
        raise RequestError("method: task_vector: the vector is an adapter; --set lora_rank=8 or the like")
    model = with_lora(task.loaded.model, task.config)
    outcome = train(
        model, task.loaded.tokenizer, task.sets, None, task.config, task.checkpointer, base_scores=task.base_scores,
        on_step=task.on_step,
    )  # fmt: skip
    if outcome.interrupted:
        return MethodResult(model, outcome)
    vector = {name: p.detach().clone() for name, p in trainable(model).items() if "lora_B" in name}
    scale, rows = nearest(task, SCALES, lambda candidate: subtracted(model, vector, candidate))
    subtracted(model, vector, scale or 0.0)
    found = search_outcome("scale", scale, rows)
    return MethodResult(model, replace(found, step=outcome.step, best_step=outcome.step), rows)


def subtracted(model: Any, vector: dict[str, torch.Tensor], scale: float) -> Any:
    """The model at theta_base - scale * vector; scale 0 is the base model. The update of LoRA is linear in its B."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name in vector:
                parameter.copy_(-scale * vector[name])
    return model
