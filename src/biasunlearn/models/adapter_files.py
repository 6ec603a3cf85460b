"""Checks whether a folder holds a PEFT adapter that can be read, before anything is loaded and without torch."""

import json
from pathlib import Path

from biasunlearn.errors import RequestError
from biasunlearn.runs.run_files import AdapterConfig
from biasunlearn.runs.schema import read_as, read_json

CONFIG, WEIGHTS, OLD_WEIGHTS = "adapter_config.json", "adapter_model.safetensors", "adapter_model.bin"


def adapter_config(folder: str | Path) -> AdapterConfig:
    """The content of adapter_config.json. RequestError where it is missing, or something in it is of a wrong type."""
    path = Path(folder) / CONFIG
    try:
        return read_as(AdapterConfig, read_json(path), str(path))
    except FileNotFoundError:
        raise RequestError(f"{folder}: no adapter here ({CONFIG} is missing)") from None


def check_adapter(folder: str | Path) -> AdapterConfig:
    """The content of adapter_config.json, after a check of the weights.

    Raises:
        RequestError: as `adapter_config`; the weights are missing, or shorter or longer than their header says.
    """
    folder, config = Path(folder), adapter_config(folder)
    if (folder / WEIGHTS).exists():
        _check_length(folder / WEIGHTS)
    elif not (folder / OLD_WEIGHTS).exists():
        raise RequestError(f"{folder}: an adapter without weights ({WEIGHTS} is missing)")
    return config


def _check_length(path: Path) -> None:
    """RequestError unless a safetensors file ends where its header says.

    Format: 8 bytes with the length of the header; the header; the data.
    Source: https://github.com/huggingface/safetensors#format
    """
    try:
        with path.open("rb") as handle:
            length = int.from_bytes(handle.read(8), "little")
            header = json.loads(handle.read(length)) if length < path.stat().st_size else {}
        ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        ends = []
    if not ends or 8 + length + max(ends) != path.stat().st_size:
        raise RequestError(f"{path}: damaged or cut off; copy it again")
