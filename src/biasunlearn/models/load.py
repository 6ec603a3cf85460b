"""One model in memory: load it, put LoRA on it, and switch it between its states, always with the way back.

The reference of the method is the same model with its adapter off. There is never a second copy.
"""

import atexit
import contextlib
import hashlib
import logging
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor

from biasunlearn.config import DebiasConfig
from biasunlearn.errors import RequestError
from biasunlearn.models import erased, prompted, quantization, sharding
from biasunlearn.models.adapter_files import sound_adapter
from biasunlearn.models.batches import Batch
from biasunlearn.models.cpu_kernels import Products
from biasunlearn.models.distributed import from_first, leave
from biasunlearn.models.fused_activation import fuse_activations
from biasunlearn.runs.score_cache import Memory


@contextlib.contextmanager
def evaluating(model: torch.nn.Module) -> Iterator[None]:
    """No dropout and no gradients inside; every module's mode as it was afterwards.

    Module by module, since in training only the adapter's dropout is on (the released code switches to
    eval at its first check and never back).
    """
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, mode in modes:
            module.training = mode


@contextlib.contextmanager
def reference(model: Any) -> Iterator[None]:
    """The reference model: adapter off, no dropout, no gradients. Restored on leaving."""
    if not hasattr(model, "disable_adapter"):
        raise RequestError("the reference is the model with its adapter off, but this model has no adapter")
    learning = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    try:
        with evaluating(model), model.disable_adapter():
            yield
    finally:  # PEFT makes every adapter trainable when it switches it on again
        for parameter, learns in learning:
            parameter.requires_grad_(learns)


@contextlib.contextmanager
def _only_positions(head: torch.nn.Module, positions: Tensor) -> Iterator[None]:
    """Lets only some positions reach the output layer: [rows, width, hidden] -> [1, positions, hidden].

    Whatever a family does to logits after the layer (soft-capping, scaling) is element-wise and still
    happens. The vocabulary is by far the widest matrix of a small model: this is where padding would cost.
    """

    def pick(_module: Any, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        hidden = args[0]
        return (hidden.reshape(-1, hidden.shape[-1])[positions].unsqueeze(0), *args[1:])

    handle = head.register_forward_pre_hook(pick)
    try:
        yield
    finally:
        handle.remove()


def bare(model: Any) -> Any:
    """The model itself, out of the wrapper that an engine for several processes puts around it."""
    return getattr(model, "module", model)


def logits_at(model: Any, batch: Batch) -> Tensor:
    """Logits at the batch's positions: [predicted, vocabulary], in the model's own precision."""
    if isinstance(model, prompted.Prompted):
        return model.joined([logits_at(model.model, reading) for reading in model.readings(batch)])
    head = bare(model).get_output_embeddings() if hasattr(bare(model), "get_output_embeddings") else None
    picking = contextlib.nullcontext() if head is None else _only_positions(head, batch.positions)
    places = {} if batch.position_ids is None else {"position_ids": batch.position_ids}
    with picking, Products():
        found = model(input_ids=batch.input_ids, attention_mask=batch.attention_mask, use_cache=False, **places)
    logits = found.logits
    if head is not None and logits.shape[:2] == (1, len(batch.positions)):
        return logits[0]
    return logits.reshape(-1, logits.shape[-1])[batch.positions]  # a family whose output layer is elsewhere


def states_at(model: Any, batch: Batch) -> Tensor:
    """What the output layer would be given at the batch's positions: [predicted, hidden]. It sees one position only."""
    seen: list[Tensor] = []

    def take(_module: Any, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        hidden = args[0].reshape(-1, args[0].shape[-1])
        seen.append(hidden.index_select(0, batch.positions))
        return (hidden[:1].detach().unsqueeze(0), *args[1:])

    handle = bare(model).get_output_embeddings().register_forward_pre_hook(take)
    places = {} if batch.position_ids is None else {"position_ids": batch.position_ids}
    try:
        with Products():
            model(input_ids=batch.input_ids, attention_mask=batch.attention_mask, use_cache=False, **places)
    finally:
        handle.remove()
    return seen[0]


def hidden_states(model: Any, batch: Batch) -> tuple[Tensor, ...]:
    """What the embeddings and then every layer make of each position: [lines, width, hidden] for each of them.

    The last one is what the output layer reads, behind the final norm. The output layer is spared all but one position.
    """
    head = bare(model).get_output_embeddings() if hasattr(bare(model), "get_output_embeddings") else None
    picking = contextlib.nullcontext() if head is None else _only_positions(head, batch.positions[:1])
    with picking:
        found = model(
            input_ids=batch.input_ids, attention_mask=batch.attention_mask, use_cache=False, output_hidden_states=True
        )
    return tuple(found.hidden_states)


def max_tokens(model: Any) -> int | None:
    """The longest row the model takes, where its configuration says so; a tuned prompt takes places of it."""
    length = getattr(text_config(model), "max_position_embeddings", None)
    if not length:
        return None
    # RoBERTa and its kin count positions from behind the id of their pad: those rows are not for tokens.
    unused = (
        module.padding_idx + 1
        for name, module in model.named_modules()
        if name.endswith("position_embeddings") and getattr(module, "padding_idx", None) is not None
    )
    prompts = getattr(model, "peft_config", {}).values()
    return int(length) - next(unused, 0) - sum(getattr(prompt, "num_virtual_tokens", 0) or 0 for prompt in prompts)


def text_config(model: Any) -> Any:
    """The configuration of the text part: families that also read pictures nest theirs."""
    return model.config.get_text_config() if hasattr(model.config, "get_text_config") else model.config


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model and the tokenizer that fits it. `masked`: it fills blanks and is scored by pseudo-log-likelihood."""

    model: Any
    tokenizer: Any
    masked: bool
    chat: str = ""
    """What its chat template puts before the assistant's words (scoring/chat.py); "" for raw text."""
    memory: Memory | None = None
    """Where the scores of this model are kept as they come, so that they need not be found twice."""

    def with_model(self, model: Any) -> "Loaded":
        """The same tokenizer and protocol with another state of the model."""
        return replace(self, model=model)

    def remembering(self, memory: Memory | None) -> "Loaded":
        """The same model, whose scores are kept, as those of its weights as they are now."""
        return replace(self, memory=memory and memory.about(weights_hash(self.model)))


def load(
    name: str,
    *,
    adapter: str | Path | None = None,
    dtype: str = "float32",
    trust_remote_code: bool = False,
) -> Loaded:
    """Loads a model from a folder or the hub, safetensors only, with its adapter if one is given.

    Args:
        dtype: a precision; or 8bit, 4bit: its linear layers are quantised while loading (quantization.py).
    Raises:
        RequestError: no such folder, no weights, no tokenizer or one that does not fit, an adapter for another model;
            a quantised model that is to be split, has nothing to quantise, or lacks bitsandbytes; DeepSpeed.
    """
    sharding.refuse_deepspeed()
    _need_folder(name)
    auto, trust = transformers(), {"trust_remote_code": trust_remote_code}
    config = _ask(name, "model", lambda: auto.AutoConfig.from_pretrained(name, **trust))
    if getattr(config, "is_encoder_decoder", False):
        raise RequestError(f"{name}: an encoder-decoder model; decoders and masked models are supported")
    masked = any(str(a).endswith("ForMaskedLM") for a in getattr(config, "architectures", None) or [])
    # A body that sees both ways also loads as a "causal" model, and would then read what it should predict.
    masked |= type(config) in auto.MODEL_FOR_MASKED_LM_MAPPING and getattr(config, "is_decoder", None) is False
    kind = auto.AutoModelForMaskedLM if masked else auto.AutoModelForCausalLM
    _need_weights(name)
    device = _join().device
    quantization.demand(name, dtype, getattr(config, "quantization_config", None), split=sharding.asked())
    options = {"use_safetensors": True, "output_loading_info": True, **trust}
    options |= quantization.options(dtype, auto.BitsAndBytesConfig, device)
    model, info = _ask(name, "model", lambda: kind.from_pretrained(name, **options))
    if info["missing_keys"]:
        raise RequestError(f"{name}: the weights lack {sorted(info['missing_keys'])[0]}; use the full model's folder")
    tokenizer = _ask(name, "tokenizer", lambda: auto.AutoTokenizer.from_pretrained(name, **trust))
    _need_fit(name, model, tokenizer)
    quantization.settle(model, name, dtype)
    fuse_activations(model)
    if not quantization.kind(model):  # which is on its device already
        model = sharding.split(model, device) if sharding.asked() else model.to(device)
    if adapter is not None:
        model = with_adapter(model, adapter)
    model.eval()
    return Loaded(model, tokenizer, masked)


def load_classifier(name: str, *, trust_remote_code: bool = False) -> Loaded:
    """Loads a text classifier (a sequence-classification model) from a folder or the hub, safetensors only.

    Raises:
        RequestError: as `load`; or the model has no classification layer (of its own: none is made up).
    """
    auto, trust = transformers(), {"trust_remote_code": trust_remote_code}
    kind, options = auto.AutoModelForSequenceClassification, {"use_safetensors": True, "output_loading_info": True}
    config = _ask(name, "classifier", lambda: auto.AutoConfig.from_pretrained(name, **trust))
    made_as = [str(given) for given in getattr(config, "architectures", None) or []]
    if made_as and not any(given.endswith("ForSequenceClassification") for given in made_as):
        raise RequestError(f"{name}: no text classifier: a {made_as[0]} has no sequence-classification layer")
    _need_weights(name)
    model, info = _ask(name, "classifier", lambda: kind.from_pretrained(name, dtype=torch.float32, **options, **trust))
    if info["missing_keys"]:
        lacks = sorted(info["missing_keys"])[0]
        raise RequestError(f"{name}: no text classifier: its weights lack {lacks}; use the full model's folder")
    tokenizer = _ask(name, "tokenizer", lambda: auto.AutoTokenizer.from_pretrained(name, **trust))
    _need_fit(name, model, tokenizer)
    if tokenizer.pad_token_id is None:  # a causal body finds a text's last token by its pads
        raise RequestError(f"{name}: its tokenizer has no pad token; set one and save it")
    return Loaded(model.to(_join().device).eval(), tokenizer, masked=False)


def with_adapter(model: Any, folder: str | Path, *, name: str = "default") -> Any:
    """Puts on the model what a run has saved in place of a changed model: a PEFT adapter, an erasure, or prompts.

    Args:
        name: of a PEFT adapter, beside those that the model may have already.
    """
    for kind in (erased, prompted):
        if (Path(folder) / kind.FILE).exists():
            return kind.attached(model, Path(folder))
    sound_adapter(folder)
    try:
        if isinstance(model, peft().PeftModel):
            adapted = model
            adapted.load_adapter(str(folder), name)
        else:
            adapted = peft().PeftModel.from_pretrained(model, str(folder), adapter_name=name)
        saved = peft().load_peft_weights(str(folder), device="cpu")
    except (OSError, RuntimeError, ValueError, KeyError, SafetensorError) as error:
        raise RequestError(f"{folder}: the adapter does not fit the model: {_first_line(error)}") from None
    # PEFT only warns of weights that the file lacks, and drops those that the model has no place for.
    needed = peft().get_peft_model_state_dict(adapted, adapter_name=name, save_embedding_layers=False)
    if odd := sorted(key for key in saved.keys() ^ needed.keys() if "lora_" in key):
        raise RequestError(f"{folder}: the adapter does not fit the model: {odd[0]} is only in one of them")
    return adapted


def with_lora(model: Any, config: DebiasConfig) -> Any:
    """The model with a fresh LoRA adapter, only the adapter trainable; module states as for inference.

    `all-linear` finds every linear layer but the output layer, in any architecture (Conv1D of GPT-2 among them).
    """
    targets: str | list[str] = "all-linear" if config.lora_targets == ("all-linear",) else list(config.lora_targets)
    torch.manual_seed(config.seed)
    lora = peft().LoraConfig(
        r=config.lora_rank,
        lora_alpha=config.lora_alpha,
        lora_dropout=config.lora_dropout,
        target_modules=targets,
        task_type="CAUSAL_LM",
        fan_in_fan_out=_stores_transposed(model),
    )
    try:
        adapted = peft().get_peft_model(model, lora)
    except ValueError as error:
        raise RequestError(f"lora_targets: {' '.join(config.lora_targets)}: {_first_line(error)}") from None
    chosen = adapted.peft_config["default"].target_modules
    if isinstance(chosen, set):  # stored in the order of a set, two equal adapters would differ in their bytes
        adapted.peft_config["default"].target_modules = sorted(chosen)
    adapted.eval()
    return adapted


@contextlib.contextmanager
def adapter_dropout(model: torch.nn.Module) -> Iterator[None]:
    """Dropout of the adapter on, of the base off: with the base's on, KL and NPO's ratio measure noise."""
    layers = [module for name, module in model.named_modules() if "lora_dropout" in name]
    for layer in layers:
        layer.train()
    try:
        yield
    finally:
        for layer in layers:
            layer.eval()


RAISED_DROPOUT = 0.15
"""Of hidden states and of attention, in Webster et al. (arXiv 2010.06032) for BERT; models are trained with 0.1."""


@contextlib.contextmanager
def base_dropout(model: torch.nn.Module, rate: float = RAISED_DROPOUT) -> Iterator[None]:
    """Dropout of the base at this rate, wherever the architecture has it, for the method that is nothing else.

    Raises:
        RequestError: the architecture has no dropout anywhere.
    """
    modules = [module for name, module in model.named_modules() if "lora_dropout" not in name]
    rates = [(m, "p") for m in modules if isinstance(m, torch.nn.Dropout)]
    rates += [(m, "attention_dropout") for m in modules if isinstance(getattr(m, "attention_dropout", None), float)]
    if not rates:
        raise RequestError("method: dropout: this architecture has no dropout to raise; choose another method")
    holders = {m for m, _ in rates}  # and those around a layer of it: attention asks itself whether it is in training
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
    """The parameters that learn, by name."""
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


def weights_hash(model: Any) -> str:
    """Tells two states of a model apart: SHA-256 over the names, shapes and bit sums of its weights, and its adapters.

    The bits are added up as whole numbers, so that the order of the additions does not show.
    """
    whole = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
    digest = hashlib.sha256()
    for name, weight in model.named_parameters():
        own = weight.to_local() if hasattr(weight, "to_local") else weight  # split over processes: this one's part
        bits = own.detach().contiguous().view(whole[own.element_size()]).sum(dtype=torch.int64)
        digest.update(f"{name} {tuple(weight.shape)} {weight.dtype} {int(bits)}\n".encode())
    for name, scale in quantization.scales(model):
        bits = scale.contiguous().view(whole[scale.element_size()]).sum(dtype=torch.int64)
        digest.update(f"{name} {tuple(scale.shape)} {int(bits)}\n".encode())
    for name, module in model.named_modules():  # of an adapter also whether it is on, and how strongly
        if hasattr(module, "disable_adapters"):
            state = (module.disable_adapters, module.active_adapters, getattr(module, "scaling", None))
            digest.update(f"{name} {state}\n".encode())
    return from_first(digest.hexdigest())


def _stores_transposed(model: Any) -> bool:
    return any(type(module).__name__ == "Conv1D" for module in model.modules())


def _need_folder(name: str) -> None:
    """GGUF gets a word of its own, as a file and as all that a folder holds: many models are passed on as that."""
    path = Path(name)
    if path.suffix == ".gguf" or (any(path.glob("*.gguf")) and not any(path.glob("*.safetensors"))):
        raise RequestError(
            f"{name}: a GGUF model, which cannot be changed here; give the safetensors model that it was made from "
            "(`export --merge --gguf` makes GGUF of the result)"
        )
    if path.is_file():
        raise RequestError(f"{name}: a file; give the model's folder")


def _need_weights(name: str) -> None:
    folder = Path(name)
    if not folder.is_dir():
        return
    if not any(folder.glob("*.safetensors")):
        old = sorted(path.name for path in (*folder.glob("*.bin"), *folder.glob("*.pt")))
        found = f" (only {old[0]}; save it as safetensors)" if old else ""
        raise RequestError(f"{name}: no weights in this folder: *.safetensors is missing{found}")


def _need_fit(name: str, model: Any, tokenizer: Any) -> None:
    """Every token id must have an embedding, or scoring would read past the matrix."""
    if set(tokenizer.get_vocab().values()) <= set(tokenizer.all_special_ids):
        raise RequestError(f"{name}: the tokenizer cannot be loaded: its files are missing, it knows no words")
    rows = model.get_input_embeddings().weight.shape[0]
    largest = max(tokenizer.get_vocab().values(), default=0)
    if largest >= rows:
        raise RequestError(
            f"{name}: the tokenizer does not fit the model: its token ids go up to {largest}, "
            f"the model has {rows} embeddings; use the tokenizer that belongs to it"
        )


def _ask(name: str, what: str, load_it: Any) -> Any:
    """Runs a loading call of transformers; what the user can mend becomes one line."""
    if not Path(name).exists() and (name.startswith((".", "/")) or name.count("/") > 1):
        raise RequestError(f"{name}: no such folder; give a model folder or a hub name as owner/name")
    try:
        return load_it()
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, ImportError, SafetensorError) as error:
        raise RequestError(f"{name}: the {what} cannot be loaded: {_first_line(error)}") from None


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]


def transformers() -> Any:
    """The library, imported when first needed: it takes seconds, and `--help` must not wait for it.

    Its own bars and its notes to library authors would stand between ours.
    """
    import transformers

    transformers.utils.logging.disable_progress_bar()
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # else a line for every layer of every forward
    warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing.*", category=FutureWarning)
    return transformers


def peft() -> Any:
    """Likewise. It imports bitsandbytes where that is installed, which warns of a kernel that only makes it faster."""
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    import peft

    # What was learned on quantised layers meets GPT-2's own, which have their weights the other way round.
    warnings.filterwarnings("ignore", message="fan_in_fan_out is set to False but the target module is `Conv1D`")
    return peft


def _join() -> Any:
    """Where several processes meet (one: nothing to do). Says which device is this one's."""
    state = accelerate().PartialState(cpu=on_cpu())
    atexit.register(leave)
    return state


def on_cpu() -> bool:
    """No accelerator here. Several processes must say so, or the engine leaves each of them to itself."""
    return not torch.accelerator.is_available()


def accelerate() -> Any:
    """Likewise."""
    import accelerate

    return accelerate
