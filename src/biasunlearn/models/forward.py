"""The forward pass: logits and hidden states of a batch at chosen positions, in evaluation mode."""

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from biasunlearn.models import prompted
from biasunlearn.models.batches import Batch
from biasunlearn.models.block_attention import attending
from biasunlearn.models.cpu_kernels import Products


@contextlib.contextmanager
def evaluating(model: torch.nn.Module) -> Iterator[None]:
    """No dropout and no gradients inside the block; afterwards every module has the mode it had before.

    Modes are restored module by module, since in training only the adapter's dropout is on. (The released code
    switches to evaluation mode at its first check and never back.)
    """
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, mode in modes:
            module.training = mode


def unwrapped(model: Any) -> Any:
    """The model without the wrapper that accelerate puts around it when there are several processes."""
    return getattr(model, "module", model)


def logits_at(model: Any, batch: Batch) -> Tensor:
    """Logits at the batch's positions: [predicted, vocabulary], in the model's own precision."""
    if isinstance(model, prompted.Prompted):
        return model.joined([logits_at(model.model, reading) for reading in model.readings(batch)])
    head = _head(model)
    restricted = contextlib.nullcontext() if head is None else _only_positions(head, batch.positions)
    places = {} if batch.position_ids is None else {"position_ids": batch.position_ids}
    with restricted, _computing(model, batch):
        output = model(input_ids=batch.input_ids, attention_mask=batch.attention_mask, use_cache=False, **places)
    logits = output.logits
    if head is not None and logits.shape[:2] == (1, len(batch.positions)):
        return logits[0]
    return logits.reshape(-1, logits.shape[-1])[batch.positions]  # a family whose output layer is elsewhere


def states_at(model: Any, batch: Batch) -> Tensor:
    """The inputs of the output layer at the batch's positions: [predicted, hidden].

    The output layer itself computes the logits of one position only.
    """
    return states_and_first_logits(model, batch, batch.positions)[0]


def states_and_first_logits(model: Any, batch: Batch, positions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The inputs of the output layer at some positions, and what the model itself makes of the first one of the batch.

    Returns:
        The states [positions, hidden]; the state of the first token of the batch [1, hidden]; the logits that the whole
        model gives for it [1, vocabulary], with which those of the output layer alone can be compared.
    """
    states: list[Tensor] = []

    def take(_module: Any, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        hidden = args[0].reshape(-1, args[0].shape[-1])
        states.extend((hidden.index_select(0, positions), hidden[:1].detach()))
        return (states[1].unsqueeze(0), *args[1:])

    handle = unwrapped(model).get_output_embeddings().register_forward_pre_hook(take)
    places = {} if batch.position_ids is None else {"position_ids": batch.position_ids}
    try:
        with _computing(model, batch):
            found = model(input_ids=batch.input_ids, attention_mask=batch.attention_mask, use_cache=False, **places)
    finally:
        handle.remove()
    return states[0], states[1], found.logits.reshape(-1, found.logits.shape[-1])[:1]


def hidden_states(model: Any, batch: Batch) -> tuple[Tensor, ...]:
    """The outputs of the embeddings and of every layer: [lines, width, hidden] each.

    The last one is the input of the output layer, after the final norm. The output layer computes the logits of one
    position only.
    """
    head = _head(model)
    restricted = contextlib.nullcontext() if head is None else _only_positions(head, batch.positions[:1])
    with restricted:
        output = model(
            input_ids=batch.input_ids, attention_mask=batch.attention_mask, use_cache=False, output_hidden_states=True
        )
    width = batch.input_ids.shape[1]  # behind the virtual tokens of a tuned prompt, which have states of their own
    return tuple(states[:, -width:] for states in output.hidden_states)


def max_tokens(model: Any) -> int | None:
    """The longest row the model takes, less a tuned prompt; None where its configuration sets no limit."""
    length = getattr(text_config(model), "max_position_embeddings", None)
    if not length:
        return None
    # RoBERTa and its relatives number positions from behind the id of their padding: those rows are not for tokens.
    unused = (
        module.padding_idx + 1
        for name, module in model.named_modules()
        if name.endswith("position_embeddings") and getattr(module, "padding_idx", None) is not None
    )
    prompts = getattr(model, "peft_config", {}).values()
    return int(length) - next(unused, 0) - sum(getattr(prompt, "num_virtual_tokens", 0) or 0 for prompt in prompts)


def text_config(model: Any) -> Any:
    """The configuration of the text part: multimodal families nest theirs."""
    return model.config.get_text_config() if hasattr(model.config, "get_text_config") else model.config


def _head(model: Any) -> Any:
    """The output layer, None where the model does not name it."""
    inner = unwrapped(model)
    return inner.get_output_embeddings() if hasattr(inner, "get_output_embeddings") else None


def _computing(model: Any, batch: Batch) -> contextlib.AbstractContextManager[Any]:
    """How the body of a model is computed: its products by oneDNN, or packed lines in blocks."""
    return Products() if batch.block_mask is None else attending(unwrapped(model), batch.block_mask)


@contextlib.contextmanager
def _only_positions(head: torch.nn.Module, positions: Tensor) -> Iterator[None]:
    """Passes only some positions to the output layer: [rows, width, hidden] -> [1, positions, hidden].

    What a family does to the logits after the layer (soft-capping, scaling) is element-wise and still happens. The
    output layer is by far the widest matrix of a small model: this is where padding would be expensive.
    """

    def select(_module: Any, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        hidden = args[0]
        return (hidden.reshape(-1, hidden.shape[-1])[positions].unsqueeze(0), *args[1:])

    handle = head.register_forward_pre_hook(select)
    try:
        yield
    finally:
        handle.remove()
