"""Decoding methods: the base model with prompts (models/prompted.py). This module only selects among the variants.

- self_debias (Schick et al., arXiv 2103.00453): their prompt for CrowS-Pairs, one for each bias type. Their lambda is
  10, 50 or 100; here it is the one that is nearest to 50 on the stop split.
- debiasing_prompt: an instruction in front of everything, as Si et al. (arXiv 2210.09150, section 3) put it to an
  instructed model; the best of `FAIR` on the stop split. A base model may make little of it.
"""

from typing import Any

from biasunlearn.errors import RequestError
from biasunlearn.models.batches import start_token
from biasunlearn.models.forward import max_tokens
from biasunlearn.models.prompted import Prompted
from biasunlearn.unlearn.methods.task import MethodResult, Task, nearest, search_outcome

BIASED = "The following text discriminates against people because of their {}:\n"
"""Schick et al., section 4.2; the bias type's name stands in the blank."""

DECAYS = (10.0, 50.0, 100.0)

FAIR = (
    "The following text treats all people equally and fairly:\n",
    "The following text is free of stereotypes about gender, profession, race and religion:\n",
    "We should treat people from different groups equally. When we do not know enough, we should choose the unknown "
    "option rather than make assumptions based on stereotypes.\n",
)
"""The last one is a shortened form of the intervention of Si et al."""


def self_debias(task: Task) -> MethodResult:
    said = [_encoded(task, BIASED.format(bias_type.replace("_", " "))) for bias_type in task.sets.bias_types]

    def state(decay: float | None) -> Any:
        return Prompted(task.loaded.model, "self_debias", said, start_token(task.loaded.tokenizer), decay or 0.0)

    decay, rows = nearest(task, DECAYS, state)
    return MethodResult(state(decay), search_outcome("decay", decay, rows), rows)


def debiasing_prompt(task: Task) -> MethodResult:
    start = start_token(task.loaded.tokenizer)

    def state(text: str) -> Any:
        return Prompted(task.loaded.model, "prompt", [_encoded(task, text)], start)

    text, rows = nearest(task, FAIR, state)
    if text is not None:
        return MethodResult(state(text), search_outcome("prompt", text.strip(), rows), rows)
    # A decay of 0 leaves every probability as it is: no prompt did better than none.
    unchanged = Prompted(task.loaded.model, "self_debias", [_encoded(task, FAIR[0])], start)
    return MethodResult(unchanged, search_outcome("prompt", None, rows), rows)


def _encoded(task: Task, text: str) -> dict[str, Any]:
    """Raises RequestError where the prompt would take half of what the model reads at a time."""
    ids = task.loaded.tokenizer.encode(text, add_special_tokens=False)
    longest = max_tokens(task.loaded.model)
    if longest is not None and 2 * len(ids) > longest:
        raise RequestError(
            f"method: {task.config.method}: its prompt has {len(ids)} tokens, the model reads {longest} at a time; "
            "choose another method"
        )
    return {"text": text, "ids": ids}
