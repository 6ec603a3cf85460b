"""Checks of a model that has just been loaded: whether it is complete, and whether it can be scored at all.

Each of them finds a model that would be measured without any error, and measured wrongly.
"""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from biasunlearn.errors import RequestError
from biasunlearn.models.batches import start_token
from biasunlearn.models.forward import max_tokens
from biasunlearn.models.quantization import exact

OTHER_HEADS = frozenset((
    "classifier", "cls_head", "discriminator_predictions", "generator_predictions", "lm_loss", "multi_choice_head",
    "nsp_classifier", "pooler", "qa_outputs", "score", "seq_relationship", "sequence_summary", "sop_classifier",
    "v_head", "value_head",
))  # fmt: skip
"""Parts of a checkpoint that belong to another task, and that no sentence is scored with."""

BUFFERS = frozenset(("inv_freq", "masked_bias", "position_ids", "token_type_ids", "num_batches_tracked"))
"""Stored values that a model computes by itself."""

_MASK_OF_GPT2 = re.compile(r"(^|\.)attn\.bias$")
"""The causal mask, which old versions of transformers stored."""

CHAIN = 6
"""Tokens of the beginning, and of each of the two ends, in the check of the chain rule."""

CHAIN_TOLERANCE = 1e-3
"""Nats by which the log-probabilities of a beginning may differ with its end, in float32."""

CHAIN_TOLERANCE_HALF = 0.2
"""The Kullback-Leibler divergence, in nats, by which they may differ in half precision and 8 bits.

There the numbers of a row depend on the other rows and on the length, so that rare tokens are off by a nat: with
SmolLM2-135M in 8 bits by up to 1.3 nats, at a divergence of 0.04. A model that sees ahead is off by whole nats.
"""


def check_is_model(name: str) -> None:
    """RequestError where a folder holds an adapter, or a run, instead of a model."""
    folder = Path(name)
    adapter, complete = folder / "adapter_config.json", (folder / "config.json").exists()
    if adapter.exists() and not complete:
        raise RequestError(f"{name}: this is an adapter; use --adapter {name}, and give the model that it belongs to")
    if adapter.exists():
        raise RequestError(
            f"{name}: holds a model and an adapter, and only one of them can be meant; move adapter_config.json and "
            "the adapter's weights to a folder of their own, and use --adapter for them"
        )
    if not complete and (folder / "results.json").exists():
        found = next((part for part in ("adapter", "model") if (folder / part).is_dir()), None)
        fix = {"adapter": f"use --adapter {folder / 'adapter'}, and give its model",
               "model": f"give {folder / 'model'}", None: "give the model that it measured"}[found]  # fmt: skip
        raise RequestError(f"{name}: this is the folder of a run; {fix}")


def check_complete(name: str, missing: Iterable[str], unexpected: Iterable[str]) -> None:
    """RequestError unless the stored weights and those of the architecture are the same.

    A configuration with fewer layers, or without biases, would silently drop the weights of the others. Only heads of
    other tasks and values that the model computes by itself may be left over.

    Args:
        missing: weights of the architecture that are not stored.
        unexpected: stored weights that have no place in the architecture.
    """
    if lacking := sorted(missing):
        raise RequestError(f"{name}: the weights lack {lacking[0]}; use the full model's folder")
    left = sorted(key for key in unexpected if not _harmless(key))
    if left:
        more = f", and {len(left) - 1} more" if len(left) > 1 else ""
        raise RequestError(
            f"{name}: its config.json does not fit its weights: {left[0]}{more} of the stored weights "
            f"{'have' if more else 'has'} no place in the model; restore the config.json that belongs to the weights"
        )


def _harmless(key: str) -> bool:
    parts = key.split(".")
    return bool(OTHER_HEADS.intersection(parts)) or parts[-1] in BUFFERS or bool(_MASK_OF_GPT2.search(key))


def check_chain_rule(name: str, model: Any, tokenizer: Any) -> None:
    """RequestError for a causal model whose predictions depend on later tokens.

    By the chain rule, log p(head and tail) = log p(head) + log p(tail given head). So the predictions for a head must
    be the same alone and before two different tails. Predictions that are no numbers are left to the scorers, which
    name the sentence.
    """
    ids = _ordinary_ids(model, tokenizer)
    length = min(CHAIN, len(ids) // 3, (max_tokens(model) or 2 * CHAIN) // 2)
    if length < 1:
        return
    head, first, second = (ids[begin * length : (begin + 1) * length] for begin in range(3))
    alone = _log_probs(model, [head])[0]
    tails = _log_probs(model, [head + first, head + second])[:, :length]
    off = _apart(alone, tails, exactly=exact(model))
    if off > (CHAIN_TOLERANCE if exact(model) else CHAIN_TOLERANCE_HALF):
        raise RequestError(
            f"{name}: a {type(model).__name__} that reads in both directions: its predictions change by up to "
            f"{off:.1f} nats with the tokens after them, so log p(sentence) is not defined; use a causal configuration "
            "of it, or a masked model"
        )


def _apart(alone: Tensor, tails: Tensor, *, exactly: bool) -> float:
    """How far predictions are apart, in nats: the largest difference of a token, or the largest divergence.

    Args:
        alone: log-probabilities [width, vocabulary] of the head alone.
        tails: those of the head before each tail, [tails, width, vocabulary].
        exactly: every token counts the same; otherwise by its probability.
    """
    apart = (tails - alone).abs().amax(-1) if exactly else (alone.exp() * (alone - tails)).sum(-1)
    return float(apart[apart.isfinite()].max()) if bool(apart.isfinite().any()) else 0.0


def _ordinary_ids(model: Any, tokenizer: Any) -> list[int]:
    """Up to 3 x `CHAIN` token ids from all over the vocabulary, no special ones among them."""
    rows = model.get_input_embeddings().weight.shape[0]
    special = set(tokenizer.all_special_ids)
    ids = sorted(number for number in set(tokenizer.get_vocab().values()) if number < rows and number not in special)
    return ids[:: max(1, len(ids) // (3 * CHAIN))][: 3 * CHAIN]


@torch.no_grad()
def _log_probs(model: Any, rows: Sequence[Sequence[int]]) -> Tensor:
    """[rows, width, vocabulary]"""
    ids = torch.tensor(rows, device=next(model.parameters()).device)
    logits = model(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False).logits
    return logits[:, -ids.shape[1] :].float().log_softmax(-1)


def with_start_token(model: Any, tokenizer: Any) -> tuple[Any, str]:
    """The tokenizer, with the start token of the model's configuration if it has none itself; and a sentence about it.

    A tokenizer whose configuration is missing knows none of its special tokens, and all scores would differ.
    """
    if start_token(tokenizer) is not None:
        return tokenizer, ""
    known = getattr(model.config, "bos_token_id", None)
    found = tokenizer.convert_ids_to_tokens(known) if isinstance(known, int) else None
    lost = "The tokenizer has no start token"
    if not found:
        return tokenizer, (
            f"{lost}, and config.json names none: the first token of every sentence is not scored. Restore "
            "tokenizer_config.json if it is missing."
        )
    tokenizer.bos_token = found
    return tokenizer, f"{lost} (is tokenizer_config.json missing?): {found}, that of config.json, is used."
