"""Adapters on a model: a new LoRA, a saved one, the reference with the adapter off, and dropout of either part."""

import contextlib
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from biasunlearn.config import DebiasConfig
from biasunlearn.errors import RequestError
from biasunlearn.models import erased, prompted, steered
from biasunlearn.models.adapter_files import check_adapter
from biasunlearn.models.forward import evaluating
from biasunlearn.models.libraries import first_line, peft
from biasunlearn.models.masked import is_masked

KINDS = ("LORA", "ADALORA", "IA3", "LN_TUNING", "LOHA", "LOKR", "OFT", "PREFIX_TUNING", "VERA")
"""Kinds of PEFT adapters that are accepted: every scorer is tested against PEFT's own forward pass on each of them."""

SHIFTING = ("PROMPT_TUNING", "P_TUNING", "MULTITASK_PROMPT_TUNING", "CPT")
"""Kinds with virtual tokens, which move the positions of a text's own tokens."""

RAISED_DROPOUT = 0.15
"""Of hidden states and of attention, in Webster et al. (arXiv 2010.06032) for BERT; models are trained with 0.1."""


@contextlib.contextmanager
def reference(model: Any) -> Iterator[None]:
    """The reference model of the method: the same model with its adapter off, without dropout and gradients.

    There is never a second copy of the weights. The state is restored at the end of the block.
    """
    if not hasattr(model, "disable_adapter"):
        raise RequestError("the reference is the model with its adapter off, but this model has no adapter")
    learning = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    try:
        with evaluating(model), model.disable_adapter():
            yield
    finally:  # PEFT makes every adapter trainable when it switches it on again
        for parameter, learns in learning:
            parameter.requires_grad_(learns)


def with_adapter(model: Any, folder: str | Path, *, name: str = "default") -> Any:
    """The model with what a run has saved: a PEFT adapter, an erasure, prompts, or a steering vector.

    Args:
        name: name of a PEFT adapter, beside those that the model may already have.
    Raises:
        RequestError: the adapter cannot be read, or does not fit the model.
    """
    for kind in (erased, prompted, steered):
        if (Path(folder) / kind.FILE).exists():
            return kind.attached(model, Path(folder))
    check_kind(folder, check_adapter(folder).peft_type)
    try:
        if isinstance(model, peft().PeftModel):
            adapted = model
            adapted.load_adapter(str(folder), name)
        else:
            adapted = peft().PeftModel.from_pretrained(model, str(folder), adapter_name=name)
        saved = peft().load_peft_weights(str(folder), device="cpu")
    except Exception as error:  # peft checks no types: a wrong one in adapter_config.json raises anything
        raise RequestError(f"{folder}: the adapter does not fit the model: {first_line(error)}") from None
    _check_in_place(folder, adapted, saved, name)
    return adapted


def check_kind(folder: str | Path, kind: str) -> None:
    """RequestError for a kind of adapter whose scores have not been checked against PEFT's own forward pass."""
    if kind in SHIFTING:
        raise RequestError(
            f"{folder}: a {kind} adapter, which puts virtual tokens before every text; it cannot be scored with "
            "--adapter. Use prefix tuning, or an adapter of the weights (LoRA)"
        )
    if kind not in KINDS:
        raise RequestError(f"{folder}: a {kind} adapter; known: {', '.join(KINDS)}; merge it into its model")


def _check_in_place(folder: str | Path, adapted: Any, saved: Mapping[str, Tensor], name: str) -> None:
    """RequestError unless every tensor of the file, and no other, is in the model's adapter.

    PEFT only warns of weights that are missing in the file, and drops those that have no place in the model: a part of
    the adapter, or all of it, would then be as it was drawn.
    """
    needed = peft().get_peft_model_state_dict(adapted, adapter_name=name, save_embedding_layers=False)
    own = adapted.state_dict()  # an adapter with new tokens stores whole embeddings of the base, too
    odd = sorted(key for key in needed.keys() - saved.keys())
    odd += sorted(key for key in saved.keys() - needed.keys() if not _same(saved[key], own.get(key)))
    if odd:
        raise RequestError(f"{folder}: the adapter does not fit the model: {odd[0]} is only in one of them")
    other = sorted(key for key in saved.keys() & needed.keys() if not _same(saved[key], needed[key]))
    if other:
        raise RequestError(f"{folder}: the adapter does not fit the model: {other[0]} has other values there")


def _same(saved: Tensor, loaded: Tensor | None) -> bool:
    """Whether a stored tensor is what the model has, in the precision of the model."""
    if loaded is None or saved.shape != loaded.shape:
        return False
    return torch.equal(saved.to(loaded.dtype), loaded.detach().cpu())


def with_lora(model: Any, config: DebiasConfig) -> Any:
    """The model with a new LoRA adapter, in evaluation mode; only the adapter is trainable.

    Raises:
        RequestError: a name in `lora_targets` that no module has.
    """
    targets = lora_targets(model, config)
    torch.manual_seed(config.seed)
    lora = peft().LoraConfig(
        r=config.lora_rank,
        lora_alpha=config.lora_alpha,
        lora_dropout=config.lora_dropout,
        target_modules=targets,
        task_type=None if is_masked(model) else "CAUSAL_LM",  # PEFT has no task of that kind
        fan_in_fan_out=_stores_transposed(model),
    )
    try:
        adapted = peft().get_peft_model(model, lora)
    except ValueError as error:
        raise RequestError(f"lora_targets: {' '.join(config.lora_targets)}: {first_line(error)}") from None
    chosen = adapted.peft_config["default"].target_modules
    if isinstance(chosen, set):  # stored in the order of a set, two equal adapters would differ in their bytes
        adapted.peft_config["default"].target_modules = sorted(chosen)
    adapted.eval()
    return adapted


def lora_targets(model: Any, config: DebiasConfig) -> str | list[str]:
    """What PEFT is told to adapt: `all-linear`, or names of modules of this model.

    `all-linear` finds every linear layer except the output layer, in any architecture (Conv1D of GPT-2 among them), and
    `attention` those of the attention: c_attn and c_proj in GPT-2, q_proj, k_proj, v_proj and o_proj in Llama.

    Raises:
        RequestError: a name that no module has.
    """
    if config.lora_targets == ("all-linear",):
        return "all-linear"
    modules = {name for name, _ in model.named_modules()}
    chosen = [name for name in config.lora_targets if name != "attention"]
    missing = [name for name in chosen if not any(f".{module}".endswith(f".{name}") for module in modules)]
    if missing:
        known = ", ".join(_linear_names(model)) or "none"
        raise RequestError(f"lora_targets: {missing[0]}: no layer of this model has this name; linear layers: {known}")
    if "attention" in config.lora_targets:
        attention = [name for name in _linear_names(model) if _ATTENTION.search(name)]
        if not attention:
            raise RequestError(
                "lora_targets: attention: no linear layer of this model is in a part with attn or attention in its "
                "name; give the names of the layers, or all-linear"
            )
        chosen += attention
    return chosen


_ATTENTION = re.compile("attn|attention", re.IGNORECASE)


def _linear_names(model: Any) -> list[str]:
    """Names of the linear layers within a block, each once: self_attn.q_proj, mlp.up_proj, ..."""
    names = [name for name, module in model.named_modules() if _is_linear(module)]
    return sorted({re.split(r"\.\d+\.", name)[-1] for name in names if re.search(r"\.\d+\.", name)})


def _is_linear(module: Any) -> bool:
    return isinstance(module, torch.nn.Linear) or type(module).__name__ == "Conv1D"


def with_scaled_inputs(model: Any, names: Sequence[str]) -> tuple[Any, list[torch.nn.Parameter]]:
    """The model with an (IA)^3 adapter that multiplies each input of some matrices by a number, at first 1.

    Args:
        names: of the matrices.
    Returns:
        The model in evaluation mode, and of each matrix the factors of its inputs.
    """
    config = peft().IA3Config(
        task_type="CAUSAL_LM", target_modules=list(names), feedforward_modules=list(names),
        fan_in_fan_out=_stores_transposed(model),
    )  # fmt: skip
    adapted = peft().get_peft_model(model, config)
    stored = adapted.peft_config["default"]
    for field in ("target_modules", "feedforward_modules"):  # in the order of a set, equal adapters differ in bytes
        setattr(stored, field, sorted(getattr(stored, field)))
    adapted.eval()
    inner = adapted.get_base_model()
    return adapted, [inner.get_submodule(name).ia3_l["default"] for name in names]


@contextlib.contextmanager
def adapter_dropout(model: torch.nn.Module) -> Iterator[None]:
    """Dropout of the adapter on, of the base off: with the base's on, KL and NPO's ratio would measure noise."""
    layers = [module for name, module in model.named_modules() if "lora_dropout" in name]
    for layer in layers:
        layer.train()
    try:
        yield
    finally:
        for layer in layers:
            layer.eval()


@contextlib.contextmanager
def base_dropout(model: torch.nn.Module, rate: float = RAISED_DROPOUT) -> Iterator[None]:
    """Dropout of the base at this rate, wherever the architecture has it (for the method `dropout`).

    Raises:
        RequestError: the architecture has no dropout anywhere.
    """
    modules = [module for name, module in model.named_modules() if "lora_dropout" not in name]
    rates = [(m, "p") for m in modules if isinstance(m, torch.nn.Dropout)]
    rates += [(m, "attention_dropout") for m in modules if isinstance(getattr(m, "attention_dropout", None), float)]
    if not rates:
        raise RequestError("method: dropout: this architecture has no dropout to raise; choose another method")
    holders = {m for m, _ in rates}  # and the modules around a dropout layer: attention checks its own `training`
    dropping = [m for m in modules if m in holders or holders & set(m.children())]
    before = [(m, name, getattr(m, name)) for m, name in (*rates, *((m, "training") for m in dropping))]
    for module, name, _ in before:
        setattr(module, name, True if name == "training" else rate)
    try:
        yield
    finally:
        for module, name, value in before:
            setattr(module, name, value)


def trainable(model: torch.nn.Module) -> dict[str, torch.nn.Parameter]:
    """The trainable parameters, by name."""
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


def _stores_transposed(model: Any) -> bool:
    return any(type(module).__name__ == "Conv1D" for module in model.modules())
