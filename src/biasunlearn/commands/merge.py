"""A run -> one complete model: the adapter added into the weights, in the precision of the base's own weights."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from biasunlearn.data.records import Passage
from biasunlearn.errors import RequestError
from biasunlearn.models.adapter_target import debiased, open_target
from biasunlearn.models.forward import text_config
from biasunlearn.models.libraries import transformers
from biasunlearn.models.load import Loaded, load
from biasunlearn.scoring.log_prob import score

SAME = 1e-3
"""Nats by which a sentence's mean log-probability may differ between adapter and merged model, in float32."""

PROBES = (
    "The nurse said that she was tired.",
    "My neighbour is a poet, and he is kind.",
    "They moved to the town last year and never left again, as far as anybody knows.",
    "The old man sat by the window.",
    "Most of the visitors came from another country.",
    "In the morning the engineer and the teacher had coffee together.",
)
"""Sentences that both are compared on where the run's report data is not at hand."""


def merge(model: str, adapter: Path | None, folder: Path, probes: Sequence[str] = PROBES) -> tuple[str, float]:
    """Writes a complete model with its tokenizer, then loads it again and compares it with the adapter on.

    The sum is taken in float32 and rounded once, to the precision that the base's weights are stored in.

    Args:
        model: what the adapter is for: a whole model, or a LoRA fine-tune, which is merged in as well.
        adapter: None where the run changed all weights: `model` is complete as it is.
        folder: an empty one.
    Returns:
        The precision, and the largest difference of a sentence's mean log-probability, in nats.
    Raises:
        RequestError: a quantised model or a tuned prompt, which cannot take an adapter into its weights.
    """
    target = open_target(model)
    if target.kind.endswith("tuning"):
        raise RequestError(f"{model}: {target.kind} is no change of weights, so there is nothing to merge into")
    if getattr(target.loaded.model.config, "quantization_config", None):
        raise RequestError(f"{model}: quantised weights cannot be merged into; transfer to the model as it was before")
    kept = _stored_precision(target.base)
    loaded = target.loaded if adapter is None else debiased(target, adapter)
    passages = [Passage("", text) for text in probes]
    expected = _means(loaded, passages)
    whole = loaded.model.merge_and_unload() if hasattr(loaded.model, "merge_and_unload") else loaded.model
    whole.to(kept).save_pretrained(folder)
    loaded.tokenizer.save_pretrained(folder)
    del whole, loaded, target
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        again = _means(load(str(folder)), passages)
    largest = max(abs(one - other) for one, other in zip(expected, again, strict=True))
    return str(kept).removeprefix("torch."), largest


def _means(loaded: Loaded, passages: Sequence[Passage]) -> list[float]:
    return [found.mean for found in score(loaded, passages)]


def _stored_precision(model: str) -> Any:
    import torch

    config: Any = transformers().AutoConfig.from_pretrained(model)
    stored = getattr(config, "dtype", None) or getattr(text_config(_Holder(config)), "dtype", None)
    return stored if isinstance(stored, torch.dtype) else torch.float32


class _Holder:
    """A configuration where `text_config` looks for it."""

    def __init__(self, config: Any):
        self.config = config
