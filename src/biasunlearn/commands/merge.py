"""A run as one complete model: the adapter added to the weights, in the precision of the base's weights; also as GGUF.

GGUF is written by llama.cpp's own converter, which this package neither ships nor copies.
"""

import os
import shutil
import sys
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from biasunlearn.data.records import Passage
from biasunlearn.errors import RequestError
from biasunlearn.models.adapter_formats import run_converter
from biasunlearn.models.spec import ModelSpec

SAME = 1e-3
"""Nats by which the mean log-probability of a sentence may differ between adapter and merged model, in float32."""

PROBES = (
    "The nurse said that she was tired.",
    "My neighbour is a poet, and he is kind.",
    "They moved to the town last year and never left again, as far as anybody knows.",
    "The old man sat by the window.",
    "Most of the visitors came from another country.",
    "In the morning the engineer and the teacher had coffee together.",
)
"""Sentences on which both are compared where the run's report data is not available."""

CONVERTER = "convert_hf_to_gguf.py"
"""Name of llama.cpp's converter of complete models."""


def merge(
    spec: ModelSpec,
    adapter: Path | None,
    folder: Path,
    probes: Sequence[str] = PROBES,
    *,
    precision: str | None = None,
) -> tuple[str, float]:
    """Writes a complete model with its tokenizer, then loads it again and compares it with the adapter on.

    The sum is computed in float32 and rounded once, to the precision in which the base's weights are stored.

    Args:
        spec: what the adapter is for: a complete model, or a LoRA fine-tune, which is merged as well.
        adapter: None where the run changed all weights: the model is complete as it is.
        folder: an empty one.
        probes: sentences on which both are compared.
        precision: another one than the base's: float32, bfloat16 or float16.
    Returns:
        The precision, and the largest difference of a sentence's mean log-probability, in nats.
    Raises:
        RequestError: a quantised model or a tuned prompt, which cannot take an adapter into its weights.
    """
    import torch

    from biasunlearn.models.adapter_target import debiased, open_target
    from biasunlearn.models.load import load

    spec = replace(spec, dtype="float32")
    target = open_target(spec)
    if target.kind.endswith("tuning"):
        raise RequestError(f"{spec.model}: {target.kind} is no change of weights, so there is nothing to merge into")
    if getattr(target.loaded.model.config, "quantization_config", None):
        raise RequestError(
            f"{spec.model}: quantised weights cannot take an adapter in; transfer it to the model in full precision"
        )
    stored = _stored_precision(target.base) if precision is None else getattr(torch, precision)
    loaded = target.loaded if adapter is None else debiased(target, adapter)
    passages = [Passage("", text) for text in probes]
    expected = _means(loaded, passages)
    whole = loaded.model.merge_and_unload() if hasattr(loaded.model, "merge_and_unload") else loaded.model
    whole.to(stored).save_pretrained(folder)
    loaded.tokenizer.save_pretrained(folder)
    del whole, loaded, target
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        written = ModelSpec(str(folder), device=spec.device, batch_tokens=spec.batch_tokens)
        again = _means(load(written), passages)
    largest = max(abs(one - other) for one, other in zip(expected, again, strict=True))
    return str(stored).removeprefix("torch."), largest


def find_converter(given: str | None = None, script: str = CONVERTER, option: str = "--gguf") -> Path:
    """Finds a converter of llama.cpp: as given (the script or llama.cpp's folder), in $LLAMA_CPP, or on PATH.

    Raises:
        RequestError: it is in none of these places.
    """
    for place in (given, os.environ.get("LLAMA_CPP")):
        path = Path(place or ".")
        path = path / script if path.is_dir() else path.with_name(script)
        if place and path.is_file():
            return path
        if place and place == given:
            raise RequestError(f"--gguf {given}: no {script} there; give llama.cpp's folder or the script itself")
    if found := shutil.which(script):
        return Path(found)
    raise RequestError(
        f"{option}: llama.cpp's {script} is not on PATH; get llama.cpp and give its folder: --gguf path/to/llama.cpp"
    )


def convert(folder: Path, converter: Path) -> Path:
    """Writes model.gguf into the folder of a complete model, in the model's precision. Returns the file.

    Raises:
        RequestError: the converter fails, most often because it does not know the architecture.
    """
    made = folder / "model.gguf"
    command = [sys.executable, str(converter), str(folder), "--outfile", str(made), "--outtype", "auto"]
    run_converter(command, made, "--gguf")
    return made


def _means(loaded: Any, passages: Sequence[Passage]) -> list[float]:
    """Mean log-probability of each passage, in nats."""
    from biasunlearn.scoring.log_prob import score

    return [scored.mean for scored in score(loaded, passages)]


def _stored_precision(base: ModelSpec) -> Any:
    """The precision in which a model's weights are stored, as its configuration says."""
    import torch

    from biasunlearn.models.libraries import transformers

    source = {} if base.revision is None else {"revision": base.revision}
    config: Any = transformers().AutoConfig.from_pretrained(base.model, **source)
    text = config.get_text_config() if hasattr(config, "get_text_config") else config
    stored = getattr(config, "dtype", None) or getattr(text, "dtype", None)
    return stored if isinstance(stored, torch.dtype) else torch.float32
