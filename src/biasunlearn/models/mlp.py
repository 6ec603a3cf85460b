"""The output matrices of the MLPs of a model. Their inputs are what the literature calls the neurons of an MLP."""

from typing import Any

from biasunlearn.errors import RequestError

OUTPUTS = ("mlp.c_proj", "mlp.down_proj", "mlp.dense_4h_to_h", "mlp.fc2", "fc2", "output.dense", "mlp.Wo")
"""Names of the output matrix of an MLP in the model families."""


def mlp_outputs(model: Any, method: str) -> list[str]:
    """The names of the output matrices, in the order of the layers.

    Args:
        method: what needs them, for the message.
    Raises:
        RequestError: there are none of a known name.
    """
    found = [
        name for name, _ in model.named_modules()
        if name.endswith(OUTPUTS) and "attention" not in name and "attn" not in name
    ]  # fmt: skip
    if not found:
        raise RequestError(f"method: {method}: no MLP of a known kind in {type(model).__name__}; choose another method")
    return found
