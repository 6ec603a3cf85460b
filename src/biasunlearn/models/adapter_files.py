"""Is a folder a PEFT adapter that can be read? Looked at before anything is loaded, and without torch."""

import json
from pathlib import Path
from typing import Any

from biasunlearn.errors import RequestError

CONFIG, WEIGHTS, OLD_WEIGHTS = "adapter_config.json", "adapter_model.safetensors", "adapter_model.bin"


def adapter_config(folder: str | Path) -> dict[str, Any]:
    """The content of adapter_config.json. RequestError where there is none, or none that can be read."""
    path = Path(folder) / CONFIG
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RequestError(f"{folder}: no adapter here ({CONFIG} is missing)") from None
    except (OSError, ValueError) as error:
        raise RequestError(f"{path}: cannot be read: {str(error).splitlines()[0]}") from None
    if not isinstance(found, dict):
        raise RequestError(f"{path}: cannot be read: not an object")
    return found


def sound_adapter(folder: str | Path) -> dict[str, Any]:
    """The same, with a look at the weights. RequestError where they are missing, or not as long as their head says."""
    folder, config = Path(folder), adapter_config(folder)
    if (folder / WEIGHTS).exists():
        _whole(folder / WEIGHTS)
    elif not (folder / OLD_WEIGHTS).exists():
        raise RequestError(f"{folder}: an adapter without weights ({WEIGHTS} is missing)")
    return config


def _whole(path: Path) -> None:
    """A safetensors file says in its head where its last number ends. (8 bytes: the length of the head; the head; data)

    Source: https://github.com/huggingface/safetensors#format
    """
    try:
        with path.open("rb") as handle:
            length = int.from_bytes(handle.read(8), "little")
            head = json.loads(handle.read(length)) if length < path.stat().st_size else {}
        ends = [entry["data_offsets"][1] for name, entry in head.items() if name != "__metadata__"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        ends = []
    if not ends or 8 + length + max(ends) != path.stat().st_size:
        raise RequestError(f"{path}: damaged or cut off; copy it again")
