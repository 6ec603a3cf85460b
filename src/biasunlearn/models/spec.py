"""Which model is meant and how it is loaded and run, as one value. No torch: the commands import it."""

from dataclasses import KW_ONLY, dataclass
from pathlib import Path

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


def spec_of_run(folder: RunFolder, results: Results, *, device: str | None = None) -> ModelSpec:
    """The base model or the target of a stored run, as the run loaded it, without the run's adapter."""
    has_config = (folder.path / "config.yaml").exists()  # a folder may have been copied without it
    return ModelSpec(
        str(results.model),
        dtype=results.protocol.dtype or "float32",
        device=device,
        revision=folder.read_config().revision if has_config else None,
    )
