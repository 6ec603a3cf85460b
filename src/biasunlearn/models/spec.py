"""Which model is meant and how it is loaded, as one value. No torch: the command line and the commands import it."""

from dataclasses import KW_ONLY, dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """A model with everything that loading it depends on; `models.load.load` opens it."""

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
