"""Loads a model with its tokenizer and its adapter, from a folder or the hub, and checks that they fit together."""

import atexit
import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from biasunlearn.errors import RequestError
from biasunlearn.models import distributed, quantization
from biasunlearn.models.adapters import check_kind, with_adapter
from biasunlearn.models.cpu_bfloat16 import support_note
from biasunlearn.models.cpu_kernels import fuse_activations
from biasunlearn.models.given import (
    active_adapters,
    check_scorable,
    has_adapters,
    independent_copy,
    without_adapters,
)
from biasunlearn.models.libraries import accelerate, first_line, on_cpu, transformers
from biasunlearn.models.load_checks import check_chain_rule, check_complete, check_is_model, with_start_token
from biasunlearn.models.spec import BATCH_TOKENS, NO_NAME, ModelSpec
from biasunlearn.models.weights_hash import weights_hash
from biasunlearn.runs.score_cache import ScoreCache


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model with its tokenizer, and how it is asked.

    `masked`: it fills blanks, and is scored by pseudo-log-likelihood.
    """

    model: Any
    tokenizer: Any
    masked: bool
    chat: str = ""
    """Text that its chat template puts before the assistant's words (scoring/chat.py); "" for raw text."""
    batch_tokens: int = BATCH_TOKENS
    """Tokens in a scoring batch, padding included."""
    cache: ScoreCache | None = None
    """Stores scores as they come, so that they need not be computed twice."""
    progress: Callable[[int, int], None] | None = None
    """Called with (done, of) while something is scored, embedded or generated."""
    notes: tuple[str, ...] = ()
    """What loading found that every result has to be read with, in full sentences."""
    may_diverge: bool = False
    """In training: a score that is no number is a result there, and the run goes on from its best checkpoint."""

    @property
    def device(self) -> torch.device:
        """Where the model's weights are."""
        device: torch.device = next(self.model.parameters()).device
        return device

    def with_model(self, model: Any) -> "Loaded":
        """The same tokenizer and protocol with another state of the model."""
        return replace(self, model=model)

    def with_cache(self, cache: ScoreCache | None) -> "Loaded":
        """The same model, whose scores are stored as those of its current weights."""
        return replace(self, cache=cache and cache.for_model(weights_hash(self.model)))

    def in_training(self, model: Any) -> "Loaded":
        """The same tokenizer and protocol with a state of the model that may have diverged."""
        return replace(self, model=model, may_diverge=True)

    def with_progress(self, progress: Callable[[int, int], None] | None) -> "Loaded":
        """The same model, which reports its progress."""
        return replace(self, progress=progress)

    def report_progress(self, done: int, of: int) -> None:
        """Calls `progress` if there is one."""
        if self.progress:
            self.progress(done, of)


def load(spec: ModelSpec | str) -> Loaded:
    """Loads a model in evaluation mode from safetensors, with its adapter if the spec has one.

    Args:
        spec: a string is short for a ModelSpec without options.
    Raises:
        RequestError: no such folder, revision or device; no weights, or weights that do not fit the configuration; no
            tokenizer, or one that does not fit; a causal model that sees ahead; an adapter for another model; a
            quantised model that is to be split, has no layers to quantise, or lacks bitsandbytes; DeepSpeed.
    """
    spec = ModelSpec(spec) if isinstance(spec, str) else spec
    name = spec.model
    distributed.refuse_deepspeed()
    if spec.given is not None:
        return _load_given(spec)
    auto, source = transformers(), _source(spec)
    config = _config(spec)
    masked = _is_masked(name, config, auto)
    kind = auto.AutoModelForMaskedLM if masked else auto.AutoModelForCausalLM
    _check_weights(name)
    device = _device(spec)
    saved = getattr(config, "quantization_config", None)
    quantization.check_request(spec, saved, split=distributed.splits_model())
    options = {"use_safetensors": True, "output_loading_info": True, **source}
    options |= quantization.loading_options(spec.dtype, auto.BitsAndBytesConfig, device)
    model, info = _from_library(name, "model", lambda: kind.from_pretrained(name, **options))
    check_complete(name, info["missing_keys"], info["unexpected_keys"])
    tokenizer, note = _tokenizer(spec, model, source)
    quantization.check_loaded(model, spec)
    fuse_activations(model)
    if not quantization.kind(model):  # a quantised model is on its device already
        model = distributed.split(model, device) if distributed.splits_model() else model.to(device)
    model.eval()
    if not masked:
        check_chain_rule(name, model, tokenizer)
    if spec.adapter is not None:
        model = with_adapter(model, spec.adapter).eval()
    notes = [note, support_note() if spec.dtype == "bfloat16" and device.type == "cpu" else ""]
    return Loaded(model, tokenizer, masked, batch_tokens=spec.batch_tokens, notes=tuple(filter(None, notes)))


def stored_as_masked(spec: ModelSpec) -> bool:
    """Whether a stored model is a masked one, by its configuration alone. RequestError as `load`."""
    return _is_masked(spec.model, _config(spec), transformers())


def _config(spec: ModelSpec) -> Any:
    _check_folder(spec)
    auto = transformers()
    return _from_library(spec.model, "model", lambda: auto.AutoConfig.from_pretrained(spec.model, **_source(spec)))


def _source(spec: ModelSpec) -> dict[str, Any]:
    revision = {} if spec.revision is None else {"revision": spec.revision}
    return {"trust_remote_code": spec.trust_remote_code, **revision}


def _load_given(spec: ModelSpec) -> Loaded:
    """A copy of a model that the caller has loaded, on its device and in its precision.

    The copy shares the weights, unless these are to be trained or adapters are merged into them.
    """
    name, adapters = spec.model, active_adapters(spec.given)
    masked = check_scorable(spec.given)
    for kind in adapters.values():
        check_kind("model", kind)
    if has_adapters(spec.given) and spec.adapter is not None:
        raise RequestError("adapter: the model has an adapter already; give one of the two")
    _join_processes()
    merges = bool(spec.trains) and has_adapters(spec.given)
    model = independent_copy(spec.given, own_weights=spec.trains == "weights" or merges)
    if merges:
        model = without_adapters(model, merged=bool(adapters))
    tokenizer, note = _tokenizer(spec, model, {"trust_remote_code": False})
    quantization.check_loaded(model, spec)
    fuse_activations(model)
    model.eval()
    if not masked:
        check_chain_rule(name, model, tokenizer)
    if spec.adapter is not None:
        model = with_adapter(model, spec.adapter).eval()
    notes = [note] if note else []
    if adapters:
        how = "merged into a copy of its weights, which the new adapter belongs to" if merges else "switched on"
        notes.append(f"The model was given with its adapter {' and '.join(adapters)}, {how}.")
    return Loaded(model, tokenizer, masked, batch_tokens=spec.batch_tokens, notes=tuple(notes))


def _tokenizer(spec: ModelSpec, model: Any, source: Mapping[str, Any]) -> tuple[Any, str]:
    """The tokenizer of a model, and a sentence about it where it lacks a start token."""
    if spec.tokenizer is not None:
        tokenizer = copy.deepcopy(spec.tokenizer)  # a start token may be added to it
    elif spec.model.endswith(NO_NAME):
        raise RequestError("tokenizer: the model does not say where it comes from; give its tokenizer")
    else:
        auto = transformers()
        tokenizer = _from_library(
            spec.model, "tokenizer", lambda: auto.AutoTokenizer.from_pretrained(spec.model, **source)
        )
    _check_tokenizer(spec.model, model, tokenizer)
    return with_start_token(model, tokenizer)


def load_classifier(name: str, device: torch.device | None = None) -> Loaded:
    """Loads a text classifier (a sequence-classification model) from a folder or the hub, from safetensors only.

    Args:
        device: None: as `load` chooses it.
    Raises:
        RequestError: as `load`; the model has no trained classification layer.
    """
    auto = transformers()
    kind = auto.AutoModelForSequenceClassification
    no_code = {"trust_remote_code": False}  # None would ask on the terminal
    options = {"use_safetensors": True, "output_loading_info": True, "dtype": torch.float32, **no_code}
    config = _from_library(name, "classifier", lambda: auto.AutoConfig.from_pretrained(name, **no_code))
    architectures = [str(one) for one in getattr(config, "architectures", None) or []]
    if architectures and not any(one.endswith("ForSequenceClassification") for one in architectures):
        raise RequestError(f"{name}: no text classifier: a {architectures[0]} has no sequence-classification layer")
    _check_weights(name)
    model, info = _from_library(name, "classifier", lambda: kind.from_pretrained(name, **options))
    if info["missing_keys"]:
        missing = sorted(info["missing_keys"])[0]
        raise RequestError(f"{name}: no text classifier: its weights lack {missing}; use the full model's folder")
    tokenizer = load_tokenizer(name)
    _check_tokenizer(name, model, tokenizer)
    if tokenizer.pad_token_id is None:  # a causal classifier finds the last token of a text by its padding
        raise RequestError(f"{name}: its tokenizer has no pad token; set one and save it")
    return Loaded(model.to(device or _device(ModelSpec(name))).eval(), tokenizer, masked=False)


def load_tokenizer(name: str) -> Any:
    """A tokenizer without its model, from a folder or the hub. It runs no code of theirs. RequestError as `load`."""
    auto, no_code = transformers(), {"trust_remote_code": False}  # None would ask on the terminal
    return _from_library(name, "tokenizer", lambda: auto.AutoTokenizer.from_pretrained(name, **no_code))


def _is_masked(name: str, config: Any, auto: Any) -> bool:
    """Whether a configuration is that of a masked model. RequestError for an encoder-decoder."""
    if getattr(config, "is_encoder_decoder", False):
        raise RequestError(f"{name}: an encoder-decoder model; decoders and masked models are supported")
    masked = any(str(one).endswith("ForMaskedLM") for one in getattr(config, "architectures", None) or [])
    # A bidirectional body also loads as a "causal" model, and would then see the tokens that it should predict.
    return masked or (type(config) in auto.MODEL_FOR_MASKED_LM_MAPPING and getattr(config, "is_decoder", None) is False)


def _device(spec: ModelSpec) -> torch.device:
    """Joins the other processes, if there are any, and says which device the model goes to.

    Raises:
        RequestError: no such device on this machine; several processes, which accelerate distributes over the devices.
    """
    default = _join_processes()
    if spec.device is None:
        return default
    if distributed.count() > 1:
        raise RequestError(f"--device {spec.device}: several processes have a device each; leave --device out")
    known = devices()
    if spec.device not in known:
        raise RequestError(f"--device {spec.device}: no such device here; there are: {', '.join(known)}")
    device = torch.device(spec.device)
    if device.type != "cpu" and device.index is not None:
        torch.accelerator.set_device_index(device.index)  # for memory counts and kernels that use the current device
    return device


def _join_processes() -> torch.device:
    """Joins the other processes, if there are any. Returns the device of this one."""
    state = accelerate().PartialState(cpu=on_cpu())
    atexit.register(distributed.leave)
    device: torch.device = state.device
    return device


def devices() -> list[str]:
    """Names of this machine's devices, as torch spells them."""
    accelerator = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    if accelerator is None:
        return ["cpu"]
    numbered = [f"{accelerator.type}:{number}" for number in range(torch.accelerator.device_count())]
    return ["cpu", accelerator.type, *numbered]


def _check_folder(spec: ModelSpec) -> None:
    """RequestError for a file, a GGUF model, or a revision of a folder.

    Many models are distributed as GGUF: as a single file, or as all that a folder holds.
    """
    name, path = spec.model, Path(spec.model)
    if name.endswith(NO_NAME):
        raise RequestError(
            f"{name}: this model was given in Python and was not loaded from anywhere, so that it cannot be loaded "
            "again; save it with save_pretrained, and use its folder"
        )
    if path.suffix == ".gguf" or (any(path.glob("*.gguf")) and not any(path.glob("*.safetensors"))):
        raise RequestError(
            f"{name}: a GGUF model, which cannot be changed here; give the safetensors model that it was made from "
            "(`export --merge --gguf` makes GGUF of the result)"
        )
    if path.is_file():
        raise RequestError(f"{name}: a file; give the model's folder")
    check_is_model(name)
    if spec.revision is not None and path.is_dir():
        raise RequestError(
            f"--revision {spec.revision}: {name} is a folder, and only models on the hub have revisions; leave it out"
        )


def _check_weights(name: str) -> None:
    folder = Path(name)
    if not folder.is_dir():
        return
    if not any(folder.glob("*.safetensors")):
        old = sorted(path.name for path in (*folder.glob("*.bin"), *folder.glob("*.pt")))
        found = f" (only {old[0]}; save it as safetensors)" if old else ""
        raise RequestError(f"{name}: no weights in this folder: *.safetensors is missing{found}")


def _check_tokenizer(name: str, model: Any, tokenizer: Any) -> None:
    """RequestError unless every token id has an embedding: scoring would read beyond the matrix."""
    if set(tokenizer.get_vocab().values()) <= set(tokenizer.all_special_ids):
        raise RequestError(f"{name}: the tokenizer cannot be loaded: its files are missing, it has no vocabulary")
    rows = model.get_input_embeddings().weight.shape[0]
    largest = max(tokenizer.get_vocab().values(), default=0)
    if largest >= rows:
        raise RequestError(
            f"{name}: the tokenizer does not fit the model: its token ids go up to {largest}, "
            f"the model has {rows} embeddings; use the tokenizer that belongs to it"
        )


def _from_library(name: str, what: str, load_it: Callable[[], Any]) -> Any:
    """Runs a loading call of transformers; an error that the user can fix becomes one line."""
    if not Path(name).exists() and (name.startswith((".", "/")) or name.count("/") > 1):
        raise RequestError(f"{name}: no such folder; give a model folder or a hub name as owner/name")
    try:
        return load_it()
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, ImportError, SafetensorError) as error:
        raise RequestError(f"{name}: the {what} cannot be loaded: {first_line(error)}") from None
