"""From logits to log-probabilities: of each target token, and summed by row of a packed batch."""

import torch
import torch.nn.functional as F
from torch import Tensor


def token_log_probs(logits: Tensor, targets: Tensor) -> Tensor:
    """log p(target) at each position, in float32. logits [tokens, vocabulary], targets [tokens] -> [tokens]."""
    return -F.cross_entropy(logits.float(), targets, reduction="none")


def sum_by_row(values: Tensor, owners: Tensor, rows: int) -> Tensor:
    """Sums of per-token values by row. values, owners (the row of each token) [tokens] -> [rows]."""
    return torch.zeros(rows, dtype=values.dtype, device=values.device).index_add(0, owners, values)
