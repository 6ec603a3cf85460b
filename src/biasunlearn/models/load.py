"""Loads a model with its tokenizer and its adapter, from a folder or the hub, and checks that they fit together."""

import atexit
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from biasunlearn.errors import RequestError
from biasunlearn.models import distributed, quantization
from biasunlearn.models.adapters import with_adapter
from biasunlearn.models.cpu_kernels import fuse_activations
from biasunlearn.models.libraries import accelerate, first_line, on_cpu, transformers
from biasunlearn.models.weights_hash import weights_hash
from biasunlearn.runs.score_cache import Memory


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
    distributed.refuse_deepspeed()
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
    quantization.demand(name, dtype, getattr(config, "quantization_config", None), split=distributed.splits_model())
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
        model = distributed.split(model, device) if distributed.splits_model() else model.to(device)
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
        raise RequestError(f"{name}: the {what} cannot be loaded: {first_line(error)}") from None


def _join() -> Any:
    """Where several processes meet (one: nothing to do). Says which device is this one's."""
    state = accelerate().PartialState(cpu=on_cpu())
    atexit.register(distributed.leave)
    return state
