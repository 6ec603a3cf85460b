"""Can an adapter that was trained on one model work on another? What must fit, and how far apart the weights are.

There are three kinds of messages. A *refusal* is something that cannot work: another family, another size, a layer of
another shape, token ids that mean other words. A *doubt* is something that may work worse than it seems. A *note* is
neither.
"""

import re
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from biasunlearn.data.records import Passage
from biasunlearn.errors import RequestError
from biasunlearn.models.batches import encode
from biasunlearn.models.forward import text_config
from biasunlearn.models.libraries import peft
from biasunlearn.models.load import Loaded
from biasunlearn.models.quantization import dequantised

DOUBTFUL, NOTABLE = 0.25, 0.1
"""Relative distances of a layer's weights from which on a transfer is doubtful, and the distance is reported.

From `perf/transfer_stress.py` (docs/transfer.md): variants at 0.01 to 0.03 keep two thirds of the effect or more; one
that was trained further on other text, at 0.12, keeps an eighth, with an interval down to none; in the demo's world a
LoRA at 0.37 keeps three quarters, and further training at 0.64 a tenth. Rounding to 4 bits alone gives 0.09, on random
weights 0.2, and must not be doubtful. Two trainings from scratch are about 1.4 apart, as two independent draws are."""

MOVED_TOKENS = 0.01
"""Largest share of the base's tokens that may have another id, or none, in the target."""

SIZES = ("hidden_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads", "intermediate_size")
"""Attributes that define a size within a family; configurations with other names map these to their own."""

PROBES = (
    Passage("", "The nurse said that she was tired."),
    Passage("My neighbour is a poet,", " and he is kind."),
    Passage("", "They moved to the town in 1999 & never left; it's quiet there."),
)
"""Sentences that both tokenizers must split alike."""

_NUMBER = re.compile(r"\.(\d+)\.")


@dataclass(frozen=True, slots=True)
class Compatibility:
    """How well a target fits an adapter and the base that it was trained on."""

    refusals: tuple[str, ...]
    doubts: tuple[str, ...]
    notes: tuple[str, ...]
    distances: Mapping[str, float]
    """Part -> Frobenius norm of the weights' difference over that of the base's weights; "adapted": all layers that
    the adapter changes, together."""

    def to_dict(self) -> dict[str, Any]:
        return {key: list(value) if isinstance(value, tuple) else dict(value) for key, value in asdict(self).items()}


def require(found: Compatibility, target: str, *, force: bool) -> None:
    """RequestError for what cannot work, and for what is doubtful unless it is forced."""
    if found.refusals:
        raise RequestError(f"{target}: the adapter cannot work there: {found.refusals[0]}")
    if found.doubts and not force:
        raise RequestError(f"{target}: doubtful: {found.doubts[0]}; add --force to transfer anyway")


def compatibility(base: Loaded | None, target: Loaded, adapter: Path, *, why_no_base: str = "") -> Compatibility:
    """Compares a target without the adapter with the adapter and with the base that it was trained on.

    Args:
        base: None where it cannot be loaded (`why_no_base`): that is a doubt, since the distance is not known.
    """
    refusals, doubts, notes = _misfits(target, adapter), [], []
    parts: dict[str, float] = {}
    if base is None:
        doubts.append(f"its distance from the adapter's base is not known ({why_no_base})")
    elif other := _architecture(base.model, target.model):
        refusals = [other]  # other shapes only follow from it
    else:
        doubts += _objectives(base, target)
        moved, odd = _tokens(base, target)
        (refusals if moved > MOVED_TOKENS else doubts).extend(odd)
        notes += _rows(base.model, target.model)
        parts = distances(base.model, target.model, adapted_modules(adapter))
        weighed = {part: value for part, value in parts.items() if part.startswith(("adapted", "layer"))}
        part = max(weighed, key=lambda name: weighed[name], default="")
        if part and weighed[part] > NOTABLE:
            message = f"its weights are far from the adapter's base ({part}: {weighed[part]:.2f} of their norm)"
            (doubts if weighed[part] > DOUBTFUL else notes).append(f"{message}: check how much of the effect is kept")
    return Compatibility(tuple(refusals), tuple(doubts), tuple(notes), parts)


def adapted_modules(adapter: Path) -> dict[str, tuple[int, int]]:
    """Module -> (inputs, outputs) of every layer that a saved LoRA changes."""
    shapes: dict[str, dict[str, Tensor]] = defaultdict(dict)
    for key, weight in peft().load_peft_weights(str(adapter), device="cpu").items():
        if "lora_" in key:
            module, _, part = key.removeprefix("base_model.model.").partition(".lora_")
            shapes[module]["A" if part.startswith(("A", "embedding_A")) else "B"] = weight
    return {module: (pair["A"].shape[1], pair["B"].shape[0]) for module, pair in shapes.items()}


def distances(base: Any, target: Any, adapted: Collection[str] = ()) -> dict[str, float]:
    """Relative distance of the target's weights from the base's, per layer and for the adapted layers together.

    A LoRA of the target is included; quantised weights count with the values that they stand for.
    """
    theirs = dict(_weights(target))
    sums: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
    for name, weight in _weights(base):
        other = theirs.get(name)
        if other is None or other.shape[1:] != weight.shape[1:]:
            continue
        rows = min(len(weight), len(other))  # an embedding may have been extended
        own = weight[:rows].double()
        apart = float((other[:rows].to(own.device).double() - own).square().sum()), float(own.square().sum())
        for part in (_part(name), *(["adapted"] if name.rpartition(".")[0] in adapted else [])):
            sums[part] = [sums[part][0] + apart[0], sums[part][1] + apart[1]]
    found = {part: (apart / norm) ** 0.5 if norm else 0.0 for part, (apart, norm) in sums.items()}
    return dict(sorted(found.items(), key=lambda pair: (not pair[0].startswith("layer"), len(pair[0]), pair[0])))


def _part(name: str) -> str:
    number = _NUMBER.search(name)
    return f"layer {number.group(1)}" if number else "embeddings and head"


def _weights(model: Any) -> Iterator[tuple[str, Tensor]]:
    """The weights that the model computes with, under the names that they have without any adapter."""
    added = {
        name: sum(module.get_delta_weight(adapter) for adapter in module.active_adapters if adapter in module.lora_A)
        for name, module in model.named_modules() if hasattr(module, "get_delta_weight") and hasattr(module, "lora_A")
    }  # fmt: skip
    for name, parameter in model.named_parameters():
        if "lora_" in name or "prompt_encoder" in name:
            continue
        holder = model.get_submodule(name.rpartition(".")[0])
        weight = dequantised(parameter, holder).detach()
        module = name.rpartition(".base_layer.")[0]
        if name.endswith("weight") and module in added:
            weight = weight + added[module].detach()
        if weight.dim() == 2 and type(holder).__name__ == "Conv1D":
            weight = weight.T  # GPT-2 stores its layers transposed, until they are quantised
        yield name.removeprefix("base_model.model.").removeprefix("base_model.").replace(".base_layer.", "."), weight


def _architecture(base: Any, target: Any) -> str:
    """How the architectures differ, "" where they do not."""
    own, other = text_config(base), text_config(target)
    if own.model_type != other.model_type:
        return f"another family ({other.model_type}; its base is {own.model_type})"
    for size in SIZES:
        ours, theirs = getattr(own, size, None), getattr(other, size, None)
        if ours != theirs:
            return f"another size ({size} {theirs}; its base has {ours})"
    return ""


def _objectives(base: Loaded, target: Loaded) -> list[str]:
    """A doubt where one of the two models is masked and the other causal."""
    if base.masked == target.masked:
        return []
    kinds = [("causal", "masked")[one.masked] for one in (target, base)]
    return [f"it is a {kinds[0]} model, and the adapter's base is a {kinds[1]} one"]


def _misfits(target: Loaded, adapter: Path) -> list[str]:
    """Layers of the adapter that the target lacks or has in another shape."""
    modules = {
        name.removeprefix("base_model.model.").removeprefix("base_model."): module
        for name, module in target.model.named_modules()
    }
    found = []
    for name, shape in adapted_modules(adapter).items():
        theirs = _shape(modules[name]) if name in modules else None
        if theirs != shape:
            layer = "has no such layer" if theirs is None else f"has {theirs[0]} x {theirs[1]}"
            found.append(f"the adapter changes {name} ({shape[0]} x {shape[1]}), and the target {layer}")
    return found


def _shape(module: Any) -> tuple[int, int] | None:
    """(inputs, outputs) of a layer of any kind."""
    module = getattr(module, "base_layer", module)
    if hasattr(module, "in_features"):
        return module.in_features, module.out_features
    if type(module).__name__ == "Conv1D":
        return module.weight.shape[0], module.weight.shape[1]
    if isinstance(module, torch.nn.Embedding):
        return module.num_embeddings, module.embedding_dim
    return None


def _tokens(base: Loaded, target: Loaded) -> tuple[float, list[str]]:
    """The share of the base's tokens with another meaning, and how the two tokenizers differ."""
    own, theirs = base.tokenizer.get_vocab(), target.tokenizer.get_vocab()
    moved = sorted(token for token, number in own.items() if theirs.get(token) != number)
    if moved:
        share = len(moved) / len(own)
        return share, [
            f"another tokenizer ({len(moved)} of {len(own)} tokens, such as {moved[0]!r}, have another id or none)"
        ]
    cut = [[row.ids for row in encode(one.tokenizer, list(PROBES))] for one in (base, target)]
    if cut[0] != cut[1]:
        return 0.0, ["its tokenizer has the base's tokens, but splits sentences differently"]
    return 0.0, []


def _rows(base: Any, target: Any) -> list[str]:
    own, theirs = (model.get_input_embeddings().weight.shape[0] for model in (base, target))
    return [] if own == theirs else [f"the target has {theirs} embeddings, the base {own}: the adapter changes none"]
