"""A model that the caller has loaded: a copy of its modules that shares its weights, so that it stays as it was.

What is done to a model here changes modules, not weights: an adapter is injected, an activation is replaced, hooks are
added, modes are switched. The copy has modules and parameters of its own, whose numbers are in the same memory.
"""

import copy
from typing import Any

import torch

from biasunlearn.errors import RequestError
from biasunlearn.models.libraries import first_line
from biasunlearn.models.masked import is_masked


def independent_copy(model: Any, *, own_weights: bool = False) -> Any:
    """A model with the same weights, whose modules, parameters, hooks, modes and adapters are independent.

    Args:
        own_weights: copy the weights as well, for what changes them. Otherwise they take no further memory.
    Raises:
        RequestError: its weights are split or offloaded; it cannot be copied.
    """
    model = getattr(model, "_orig_mod", model)  # of torch.compile
    _check_whole(model)
    memo: dict[int, Any] = {}
    for parameter in model.parameters():
        memo[id(parameter)] = _own_parameter(parameter, own_weights)
    for buffer in model.buffers():
        memo[id(buffer)] = buffer.detach().clone() if own_weights else buffer
    try:
        return copy.deepcopy(model, memo)
    except Exception as error:  # whatever the model's own attributes raise
        raise RequestError(f"model: cannot be copied: {first_line(error)}; give its folder instead") from None


def _own_parameter(parameter: torch.nn.Parameter, own_weights: bool) -> torch.nn.Parameter:
    """A parameter of its own on the same numbers, or on a copy of them."""
    if type(parameter) is not torch.nn.Parameter:  # of a quantised layer: frozen, and never changed
        return parameter
    values = parameter.detach()
    return torch.nn.Parameter(values.clone() if own_weights else values, requires_grad=parameter.requires_grad)


def _check_whole(model: Any) -> None:
    places = {parameter.device for parameter in model.parameters()}
    if torch.device("meta") in places or len(places) != 1:
        raise RequestError(
            f"model: its weights are on {len(places)} devices or offloaded; load it on one device, or give its folder"
        )
    if any(hasattr(parameter, "ds_id") or hasattr(parameter, "to_local") for parameter in model.parameters()):
        raise RequestError("model: its weights are split over processes; give its folder instead")


def check_scorable(model: Any) -> bool:
    """Whether the model is a masked one. RequestError for a model that cannot be scored as a language model."""
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    kind = type(inner).__name__
    if getattr(inner.config, "is_encoder_decoder", False):
        raise RequestError(f"model: a {kind} is an encoder-decoder model; decoders and masked models are supported")
    if not hasattr(inner, "get_output_embeddings") or inner.get_output_embeddings() is None:
        raise RequestError(f"model: a {kind} has no output layer; load it with AutoModelForCausalLM")
    return is_masked(model)


def has_adapters(model: Any) -> bool:
    """Whether PEFT adapters are injected into a model, active or not."""
    return bool(getattr(model, "peft_config", None)) or bool(getattr(model, "_hf_peft_config_loaded", False))


def active_adapters(model: Any) -> dict[str, str]:
    """{name: kind} of the PEFT adapters of a model that are switched on."""
    if not has_adapters(model) or any(getattr(module, "disable_adapters", None) is True for module in model.modules()):
        return {}
    active = model.active_adapters
    kinds = {name: model.peft_config[name].peft_type for name in (active() if callable(active) else active)}
    return {name: str(getattr(kind, "value", kind)) for name, kind in kinds.items()}


def without_adapters(model: Any, *, merged: bool) -> Any:
    """The model inside a PEFT model, with the active adapters merged into its weights, or without them.

    Raises:
        RequestError: an adapter that cannot be merged.
    """
    if not hasattr(model, "merge_and_unload"):
        raise RequestError("model: its adapter cannot be merged into it; use peft.PeftModel, or merge it first")
    try:
        return model.merge_and_unload() if merged else model.unload()
    except Exception as error:  # PEFT raises many kinds
        raise RequestError(f"model: its adapter cannot be merged into it: {first_line(error)}") from None
