"""Which model is meant and how it is loaded and run, as one value. No torch: the commands import it."""

from dataclasses import KW_ONLY, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from biasunlearn.errors import RequestError
from biasunlearn.runs.folder import RunFolder
from biasunlearn.runs.results import Results

BATCH_TOKENS = 4096


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """A model with everything that loading and running it depends on; `models.load.load` loads it."""

    model: str
    """A folder, or a name on the hub as owner/name."""
    _: KW_ONLY
    adapter: str | Path | None = None
    """Folder of a PEFT adapter, an erasure or prompts to load on the model."""
    dtype: str = "float32"
    """Precision of the weights: float32, bfloat16, float16; 8bit and 4bit quantise the linear layers while loading."""
    device: str | None = None
    """cpu, cuda, cuda:1, ... None: the accelerator if there is one, else the CPU."""
    revision: str | None = None
    """Branch, tag or commit of the model's repository on the hub. None: its main branch."""
    trust_remote_code: bool = False
    """Run code that the model's repository ships."""
    batch_tokens: int = BATCH_TOKENS
    """Tokens in a scoring batch, padding included."""
    given: Any = field(default=None, repr=False, compare=False)
    """A transformers model that the caller has loaded, in place of loading `model`, which then is only its name."""
    tokenizer: Any = field(default=None, repr=False, compare=False)
    """The tokenizer to use. None: the one in the folder or repository `model`."""
    trains: Literal["", "adapter", "weights"] = ""
    """What of a given model is to be trained: nothing, an adapter on it, or its weights, which are copied then."""

    @property
    def source(self) -> str | None:
        """What results.json calls the place where the model was found; None: a folder or the hub."""
        return None if self.given is None else "memory"


NO_NAME = "in memory"
"""How the name of a given model ends that was not loaded from anywhere."""


def model_given(model: Any, *, tokenizer: Any = None, **options: Any) -> ModelSpec:
    """The spec of a model that is given as a path, a name on the hub, or a transformers model.

    Args:
        options: as the fields of `ModelSpec`; None stands for the default.
    Raises:
        RequestError: something else; an option about loading for a model that is loaded already.
    """
    chosen = {name: value for name, value in options.items() if value is not None}
    if isinstance(model, str | Path):
        return ModelSpec(str(model), tokenizer=tokenizer, **chosen)
    if not (hasattr(model, "config") and hasattr(model, "named_parameters")):
        raise RequestError(
            f"model: must be a folder, a name on the hub or a transformers model, is {type(model).__name__}"
        )
    for name in ("dtype", "device", "revision", "trust_remote_code"):
        if chosen.pop(name, None):
            raise RequestError(f"{name}: the model is loaded already and is measured as it is; leave {name} out")
    known = str(getattr(model, "name_or_path", "") or "")
    precision = str(getattr(model, "dtype", "float32")).removeprefix("torch.")
    for bits in ("8bit", "4bit"):
        precision = bits if getattr(model, f"is_loaded_in_{bits}", False) else precision
    return ModelSpec(
        known or f"{type(model).__name__} {NO_NAME}", given=model, tokenizer=tokenizer, dtype=precision, **chosen
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Loading:
    """How the model of a stored run is to be loaded, where that differs from the run; None: as the run did."""

    device: str | None = None
    """cpu, cuda, cuda:1, ... None: the accelerator if there is one, else the CPU."""
    dtype: str | None = None
    batch_tokens: int | None = None
    revision: str | None = None

    def of(self, spec: ModelSpec) -> ModelSpec:
        """The spec with what was given."""
        return replace(
            spec,
            device=spec.device if self.device is None else self.device,
            dtype=spec.dtype if self.dtype is None else self.dtype,
            batch_tokens=spec.batch_tokens if self.batch_tokens is None else self.batch_tokens,
            revision=spec.revision if self.revision is None else self.revision,
        )


AS_THE_RUN = Loading()


def spec_of_run(folder: RunFolder, results: Results, loading: Loading = AS_THE_RUN) -> ModelSpec:
    """The base model or the target of a stored run, as the run loaded it, without the run's adapter."""
    has_config = (folder.path / "config.yaml").exists()  # a folder may have been copied without it
    as_then = ModelSpec(
        str(results.model),
        dtype=results.protocol.dtype or "float32",
        revision=folder.read_config().revision if has_config else None,
    )
    return loading.of(as_then)
