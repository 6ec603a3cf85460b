"""transformers, PEFT and accelerate: imported when they are first needed, with their own messages turned down."""

import logging
import warnings
from typing import Any

import torch


def transformers() -> Any:
    """The module, without its progress bars and its notes to library authors.

    Importing it takes seconds, and `--help` must not wait for it.
    """
    import transformers

    transformers.utils.logging.disable_progress_bar()
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # else one line per layer and forward pass
    logging.getLogger("transformers.modeling_utils").addFilter(_no_load_report)
    warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing.*", category=FutureWarning)
    return transformers


def _no_load_report(record: logging.LogRecord) -> bool:
    """False for a table of weights that fit nowhere, many lines long: load_checks refuses such a model in one line."""
    return "LOAD REPORT" not in record.getMessage()


def peft() -> Any:
    """The module. It imports bitsandbytes where that is installed, which warns of a missing kernel that is optional."""
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    import peft

    # with_adapter refuses what PEFT only warns of.
    warnings.filterwarnings("ignore", message="Found missing adapter keys")
    # An adapter trained on quantised layers may meet GPT-2's own layers, whose weights are stored transposed.
    warnings.filterwarnings("ignore", message="fan_in_fan_out is set to False but the target module is `Conv1D`")
    return peft


def accelerate() -> Any:
    """The module."""
    import accelerate

    return accelerate


def on_cpu() -> bool:
    """Whether there is no accelerator. accelerate must be told, or it does not join several processes on a CPU."""
    return not torch.accelerator.is_available()


def first_line(error: Exception) -> str:
    """The first line of a library's error message, at most 300 characters of it."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]
