"""Decoding methods: the base model with prompts (models/prompted.py). This module only selects among the variants.

- self_debias (Schick et al., arXiv 2103.00453): their prompt for CrowS-Pairs, one for each bias type. Their lambda is
  10, 50 or 100; here the one with the smallest distance from 50 on the stop split is selected.
- debiasing_prompt: an instruction before every sentence, as Si et al. (arXiv 2210.09150, section 3) give it to an
  instruction-tuned model; the best of `FAIR` on the stop split. The effect on a base model may be small.
"""

from typing import Any

from biasunlearn.errors import RequestError
from biasunlearn.models.batches import start_token
from biasunlearn.models.forward import max_tokens
from biasunlearn.models.prompted import Prompted
from biasunlearn.unlearn.methods.task import MethodResult, Task, nearest, search_outcome

BIASED = "The following text discriminates against people because of their {}:\n"
"""Schick et al., section 4.2, with the name of the bias type in place of the braces."""

DECAYS = (10.0, 50.0, 100.0)

FAIR = (
    "The following text treats all people equally and fairly:\n",
    "The following text is free of stereotypes about gender, profession, race and religion:\n",
    "We should treat people from different groups equally. When we do not know enough, we should choose the unknown "
    "option rather than make assumptions based on stereotypes.\n",
)
"""The last one is a shortened form of the intervention of Si et al."""


def self_debias(task: Task) -> MethodResult:
    prompts = [_encoded(task, BIASED.format(bias_type.replace("_", " "))) for bias_type in task.sets.bias_types]

    def state(decay: float | None) -> Any:
        return Prompted(task.loaded.model, "self_debias", prompts, start_token(task.loaded.tokenizer), decay or 0.0)

    decay, rows = nearest(task, DECAYS, state)
    return MethodResult(state(decay), search_outcome("decay", decay, rows), rows)


def debiasing_prompt(task: Task) -> MethodResult:
    start = start_token(task.loaded.tokenizer)

    def state(text: str) -> Any:
        return Prompted(task.loaded.model, "prompt", [_encoded(task, text)], start)

    text, rows = nearest(task, FAIR, state)
    if text is not None:
        return MethodResult(state(text), search_outcome("prompt", text.strip(), rows), rows)
    # No prompt is better than none: a decay of 0 leaves every probability unchanged.
    unchanged = Prompted(task.loaded.model, "self_debias", [_encoded(task, FAIR[0])], start)
    return MethodResult(unchanged, search_outcome("prompt", None, rows), rows)


def _encoded(task: Task, text: str) -> dict[str, Any]:
    """Raises RequestError if the prompt takes half of the model's context or more."""
    ids = task.loaded.tokenizer.encode(text, add_special_tokens=False)
    longest = max_tokens(task.loaded.model)
    if longest is not None and 2 * len(ids) > longest:
        raise RequestError(
            f"method: {task.config.method}: its prompt has {len(ids)} tokens, and the context of the model "
            f"{longest}; choose another method"
        )
    return {"text": text, "ids": ids}
