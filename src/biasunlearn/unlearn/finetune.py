"""Ordinary fine-tuning of all weights on rows of tokens, without reference and roles, for `relearn`.

Dropout is off, as everywhere in this package. The batch of a step depends only on the seed and the step, so a killed
training resumes exactly from its last checkpoint, and two models can be trained on the same rows in the same order.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from biasunlearn.errors import RequestError
from biasunlearn.models.batches import TokenRow, collate, start_token
from biasunlearn.models.forward import logits_at
from biasunlearn.models.logprobs import token_log_probs
from biasunlearn.models.masked import hidden_at_random, is_masked
from biasunlearn.runs.atomic import whole_file

WARMUP = 10
"""Steps over which the rate rises from 0; afterwards it is constant, so that the first steps of every length agree."""

MAX_GRAD_NORM = 1.0


@dataclass(frozen=True, slots=True)
class FineTuningConfig:
    """How to fine-tune."""

    rate: float = 5e-5
    """Of AdamW without weight decay (transformers' own default)."""
    batch: int = 16
    """Rows in a step."""
    length: int = 64
    """Tokens in a row of running text, at most."""

    def __post_init__(self) -> None:
        if not (self.rate > 0 and self.batch > 0 and self.length > 1):
            raise RequestError("--rate and --batch must be above 0, and a row must have at least two tokens")


def blocks(tokenizer: Any, text: str, length: int) -> list[TokenRow]:
    """Running text as rows of a start token and `length` tokens; the last row may be shorter.

    Raises:
        RequestError: the text has no token to train on.
    """
    ids = tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
    start = start_token(tokenizer)
    opening = () if start is None else (start,)
    rows = [TokenRow((*opening, *ids[at : at + length]), 1) for at in range(0, len(ids), length)]
    rows = [row for row in rows if row.scored > 0]
    if not rows:
        raise RequestError("the text has no token to train on; give a longer one")
    return rows


def batch_at(step: int, rows: Sequence[TokenRow], size: int, seed: int) -> list[TokenRow]:
    """The rows of a step, counted from 1: one epoch after the other, each in an order of its own."""
    places = range((step - 1) * size, step * size)
    return [rows[_order(len(rows), seed, place // len(rows))[place % len(rows)]] for place in places]


@lru_cache(maxsize=4)
def _order(count: int, seed: int, turn: int) -> tuple[int, ...]:
    return tuple(np.random.default_rng([seed, turn]).permutation(count).tolist())


class FineTuning:
    """A model in training, with its optimizer and the number of steps taken.

    A causal model learns to predict every token of a row; a masked one those that are hidden at random.
    """

    def __init__(self, model: Any, tokenizer: Any, rows: Sequence[TokenRow], config: FineTuningConfig, seed: int):
        self.model = model
        self._tokenizer = tokenizer
        self.step = 0
        self._rows, self._config, self._seed = rows, config, seed
        self._parameters = [parameter.requires_grad_(True) for parameter in model.parameters()]
        self._optimizer = torch.optim.AdamW(self._parameters, lr=config.rate, weight_decay=0.0)

    def take(self) -> float:
        """One step. Returns its loss: the mean negative log-probability per token, in nats.

        Raises:
            RequestError: the loss is not finite.
        """
        self.step += 1
        rate = self._config.rate * min(1.0, self.step / WARMUP)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        chosen = batch_at(self.step, self._rows, self._config.batch, self._seed)
        device = next(self.model.parameters()).device
        if is_masked(self.model):
            rng = np.random.default_rng([self._seed, self.step, 1])
            batch = hidden_at_random(self._tokenizer, chosen, rng, device)
        else:
            batch = collate(chosen, device=device)
        loss = -token_log_probs(logits_at(self.model, batch), batch.targets).mean()
        if not torch.isfinite(loss):
            raise RequestError(f"step {self.step}: the loss is not finite; lower --rate")
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self._parameters, MAX_GRAD_NORM)
        self._optimizer.step()
        self._optimizer.zero_grad()
        return float(loss.detach())

    def save(self, path: Path, identity: str) -> None:
        """Writes weights, optimizer and step. Raises WriteError if the disk is full; the previous file then stays."""
        content = {
            "identity": identity, "step": self.step, "optimizer": self._optimizer.state_dict(),
            "weights": {name: parameter.detach() for name, parameter in self.model.named_parameters()},
        }  # fmt: skip
        with whole_file(path) as temporary, temporary.open("wb") as handle:
            torch.save(content, handle)

    def restore(self, path: Path, identity: str) -> None:
        """Resumes from a checkpoint; without a readable one of the same training, nothing is changed."""
        try:
            content = torch.load(path, weights_only=True)
        except Exception:  # a half-written or foreign file raises anything: training then starts from the beginning
            return
        if content.get("identity") != identity:
            return
        with torch.no_grad():
            for name, parameter in self.model.named_parameters():
                parameter.copy_(content["weights"][name])
        self._optimizer.load_state_dict(content["optimizer"])
        self.step = content["step"]
