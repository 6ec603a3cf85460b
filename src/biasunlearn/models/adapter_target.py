"""The models that a debiasing can be transferred to: a complete model, or a LoRA or a tuned prompt on a base.

A folder or hub repository that holds an adapter names its own base. A LoRA of the target stays a LoRA, and the
debiasing adapter is active beside it; a tuned prompt is put in front of the debiased base. Any other kind of adapter
must be merged into its base first.
"""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from biasunlearn.errors import RequestError
from biasunlearn.models.adapter_files import adapter_config, check_adapter
from biasunlearn.models.adapters import with_adapter
from biasunlearn.models.libraries import peft, transformers
from biasunlearn.models.load import Loaded, load
from biasunlearn.models.spec import ModelSpec

DEBIASING = "debiasing"
"""Name of a run's adapter beside other adapters of a model."""

PROMPTS = ("PREFIX_TUNING", "PROMPT_TUNING")


@dataclass(frozen=True, slots=True)
class Target:
    """A model that a debiasing is transferred to, before the transfer."""

    loaded: Loaded
    """All of its weights: with its own LoRA, without its tuned prompt."""
    kind: str
    """full, LoRA, prefix tuning, prompt tuning."""
    base: ModelSpec
    """The base model that an adapter for it names: the target itself, or the base of the target's own adapter."""
    own_adapter: str | None = None
    """The folder of the target's own adapter."""


def open_target(spec: ModelSpec | str) -> Target:
    """Loads a target of any kind.

    Args:
        spec: `model` may be an adapter's folder or repository, and `revision` is then the adapter's. A model that was
            saved quantised needs no dtype 4bit or 8bit.
    Raises:
        RequestError: as `models.load.load`; a kind of adapter that has to be merged first; a tuned prompt of a
            masked model.
    """
    spec = ModelSpec(spec) if isinstance(spec, str) else spec
    name = spec.model
    folder = _adapter_folder(spec)
    if folder is None:
        return Target(load(spec), "full", spec)
    own = adapter_config(folder)
    kind, named = own.peft_type, own.base_model_name_or_path
    if kind not in ("LORA", *PROMPTS):
        raise RequestError(f"{name}: a {kind} adapter; merge it into its base, and give the merged model's folder")
    if not named:
        raise RequestError(f"{name}/adapter_config.json: names no base model; fill in base_model_name_or_path")
    check_adapter(folder)
    base = replace(spec, model=named, revision=own.revision)
    loaded = load(base)
    if loaded.masked and kind != "LORA":
        raise RequestError(f"{name}: a {kind} adapter of a masked model; give a complete model or a LoRA")
    if kind == "LORA":
        loaded = loaded.with_model(with_adapter(loaded.model, folder))
        return Target(loaded.with_model(loaded.model.eval()), "LoRA", base, folder)
    return Target(loaded, kind.lower().replace("_", " "), base, folder)


def debiased(target: Target, adapter: Path) -> Loaded:
    """The target with the adapter of a run, named `DEBIASING`, beside or behind the adapter that it may already have.

    This changes the target's own model: there is only one copy of the weights.
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
    """The model behind a tuned prompt. Its output layer gets the positions of the text only.

    Of the two kinds of prompt, virtual tokens have hidden states of their own; prefixes of keys and values do not.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*peft_config.*")  # the LoRA layers inside are those of the run
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


def _adapter_folder(spec: ModelSpec) -> str | None:
    """The folder of a PEFT adapter, downloaded if it is on the hub; None for a complete model."""
    name = spec.model
    if Path(name).is_dir():
        whole = any(Path(name).glob("model*.safetensors")) and (Path(name) / "config.json").exists()
        return name if (Path(name) / "adapter_config.json").exists() and not whole else None
    if Path(name).exists() or name.startswith((".", "/")) or name.count("/") > 1:
        return None  # `load` says what is wrong
    try:
        found = transformers().utils.find_adapter_config_file(name, revision=spec.revision)
    except (OSError, ValueError):
        return None
    if found is None:
        return None
    from huggingface_hub import snapshot_download

    return snapshot_download(name, revision=spec.revision, allow_patterns=["adapter_*", "*.json"])
