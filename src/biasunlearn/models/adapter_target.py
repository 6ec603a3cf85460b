"""What a debiasing may be taken to: a whole model, a LoRA fine-tune on a base, or a tuned prompt on a base.

A folder or hub repository that holds an adapter names its base itself. A LoRA of the target's own stays a LoRA, and the
debiasing stands beside it; a tuned prompt stays in front of a base that has the debiasing inside. Any other kind of
adapter is to be merged first: the merged model is a whole model.
"""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from biasunlearn.errors import RequestError
from biasunlearn.models.adapter_files import adapter_config, sound_adapter
from biasunlearn.models.adapters import with_adapter
from biasunlearn.models.libraries import peft, transformers
from biasunlearn.models.load import Loaded, load

DEBIASING = "debiasing"
"""What the adapter of a run is called beside others."""

PROMPTS = ("PREFIX_TUNING", "PROMPT_TUNING")


@dataclass(frozen=True, slots=True)
class Target:
    """A model to take a debiasing to, as it is before."""

    loaded: Loaded
    """With the target's own LoRA, without its tuned prompt: what there is of weights."""
    kind: str
    """full, LoRA, prefix tuning, prompt tuning."""
    base: str
    """What an adapter for it says it belongs to: the target, or the model that its own adapter is for."""
    own_adapter: str | None = None
    """The folder of the target's own adapter."""


def open_target(name: str, *, dtype: str = "float32", trust_remote_code: bool = False) -> Target:
    """Loads a target of any kind.

    Args:
        dtype: as for `models.load`. A model that was saved quantised needs no 4bit or 8bit.
    Raises:
        RequestError: as `models.load`; a masked model; an adapter of a kind that nothing can stand beside.
    """
    options: dict[str, Any] = {"dtype": dtype, "trust_remote_code": trust_remote_code}
    folder = _adapter_folder(name)
    if folder is None:
        return Target(_causal(load(name, **options), name), "full", name)
    own = adapter_config(folder)
    kind, base = str(own.get("peft_type")), own.get("base_model_name_or_path")
    if kind not in ("LORA", *PROMPTS):
        raise RequestError(f"{name}: a {kind} adapter; merge it into its base, and give the merged model's folder")
    if not base:
        raise RequestError(f"{name}/adapter_config.json: names no base model; fill in base_model_name_or_path")
    sound_adapter(folder)
    loaded = _causal(load(base, **options), base)
    if kind == "LORA":
        loaded = loaded.with_model(with_adapter(loaded.model, folder))
        return Target(loaded.with_model(loaded.model.eval()), "LoRA", base, folder)
    return Target(loaded, kind.lower().replace("_", " "), base, folder)


def debiased(target: Target, adapter: Path) -> Loaded:
    """The target with the adapter of a run on it, called `DEBIASING` there, beside or inside whatever it has itself.

    The target's own model is changed by this: there is only one copy of the weights.
    """
    model = with_adapter(target.loaded.model, adapter, name=DEBIASING)
    if target.kind == "LoRA":
        model.base_model.set_adapter(["default", DEBIASING])
    if target.kind.endswith("tuning"):
        model = _with_prompt(model.get_base_model(), str(target.own_adapter))
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    return target.loaded.with_model(model.eval())


def _with_prompt(model: Any, folder: str) -> Any:
    """A tuned prompt in front of everything. The output layer sees the positions of the text only, whichever of the two
    kinds it is: virtual tokens have hidden states of their own, prefixes of keys and values have none."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*peft_config.*")  # the LoRA layers inside are ours
        prompted = peft().PeftModel.from_pretrained(model, folder)
    width: list[int] = []

    def note_width(_module: Any, _args: Any, given: Mapping[str, Any]) -> None:
        width[:] = [given["input_ids"].shape[1]]

    def cut(_module: Any, args: tuple[Any, ...]) -> tuple[Any, ...]:
        return (args[0][:, -width[0] :], *args[1:])

    prompted.register_forward_pre_hook(note_width, with_kwargs=True)
    prompted.get_output_embeddings().register_forward_pre_hook(cut)
    warnings.filterwarnings("ignore", message="Position ids are not supported.*")
    return prompted


def _causal(loaded: Loaded, name: str) -> Loaded:
    if loaded.masked:
        raise RequestError(f"{name}: a masked model; debiasing, and so its transfer, is for causal ones")
    return loaded


def _adapter_folder(name: str) -> str | None:
    """The folder of a PEFT repository, of the hub as well; None for a whole model."""
    if Path(name).is_dir():
        whole = any(Path(name).glob("model*.safetensors")) and (Path(name) / "config.json").exists()
        return name if (Path(name) / "adapter_config.json").exists() and not whole else None
    if Path(name).exists() or name.startswith((".", "/")) or name.count("/") > 1:
        return None  # `load` says what is wrong with it
    try:
        found = transformers().utils.find_adapter_config_file(name)
    except (OSError, ValueError):
        return None
    if found is None:
        return None
    from huggingface_hub import snapshot_download

    return snapshot_download(name, allow_patterns=["adapter_*", "*.json"])
