"""The plain loop: what the released code of BiasUnlearn runs, written out short, as the yardstick of `bench.py`.

Two whole models in memory (the second is the reference), every sentence padded to 100 tokens with logits at every
position, 4 forget + 28 retain + 28 unrelated sentences in five forwards a step, and one sentence per forward when
scoring. The losses are those of the method, so that both loops learn the same from the same sentences.
"""

import copy
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

PADDED_TO = 100
BETA, FORGET, RETAIN, KL = 0.1, 0.4, 0.4, 0.2

Sentence = tuple[list[int], int]
"""Token ids with the start token, and the index of the first supervised one."""


class PlainLoop:
    """A model with LoRA, a second copy of the bare model, and AdamW."""

    def __init__(self, model: Any, learning_rate: float = 1e-4):
        from peft import LoraConfig, get_peft_model

        self.reference = copy.deepcopy(model).eval()
        self.model = get_peft_model(model, LoraConfig(r=8, lora_alpha=16, target_modules="all-linear"))
        learning = [p for p in self.model.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(learning, lr=learning_rate)

    def step(self, forget: Sequence[Sentence], retain: Sequence[Sentence], unrelated: Sequence[Sentence]) -> float:
        now, ids, supervised = _forward(self.model, forget)
        with torch.no_grad():
            before, _, _ = _forward(self.reference, forget)
        ratio = _log_probs(now, ids, supervised) - _log_probs(before, ids, supervised)
        npo = (-2 / BETA * F.logsigmoid(-BETA * ratio)).mean()

        now, ids, supervised = _forward(self.model, retain)
        kept = -_log_probs(now, ids, supervised).mean()

        now, ids, supervised = _forward(self.model, unrelated)
        with torch.no_grad():
            before, _, _ = _forward(self.reference, unrelated)
        per_token = F.kl_div(now.log_softmax(-1), before.log_softmax(-1), log_target=True, reduction="none").sum(-1)
        kl = per_token[:, :-1][supervised].mean()

        loss = FORGET * npo + RETAIN * kept + KL * kl
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        return float(loss)


def score_one_by_one(model: Any, sentences: Sequence[Sentence]) -> list[float]:
    """Mean log-probability of each sentence's tokens, one forward a sentence, logits at every position."""
    scores = []
    for ids, first in sentences:
        row = torch.tensor([ids], device=model.device)
        with torch.no_grad():
            log_p = model(row).logits[0].log_softmax(-1)
        scores.append(float(log_p[range(first - 1, len(ids) - 1), ids[first:]].mean()))
    return scores


def _forward(model: Any, sentences: Sequence[Sentence]) -> tuple[Tensor, Tensor, Tensor]:
    """Logits [rows, 100, vocabulary], ids [rows, 100], and which of the 99 predictions are supervised."""
    ids = torch.zeros((len(sentences), PADDED_TO), dtype=torch.long)
    mask = torch.zeros((len(sentences), PADDED_TO), dtype=torch.long)
    supervised = torch.zeros((len(sentences), PADDED_TO - 1), dtype=torch.bool)
    for number, (sentence, first) in enumerate(sentences):
        ids[number, : len(sentence)] = torch.tensor(sentence)
        mask[number, : len(sentence)] = 1
        supervised[number, first - 1 : len(sentence) - 1] = True
    ids, mask, supervised = (one.to(model.device) for one in (ids, mask, supervised))
    return model(input_ids=ids, attention_mask=mask).logits, ids, supervised


def _log_probs(logits: Tensor, ids: Tensor, supervised: Tensor) -> Tensor:
    """log p(y | x) of each row."""
    per_token = logits.log_softmax(-1)[:, :-1].gather(-1, ids[:, 1:, None])[..., 0]
    return (per_token * supervised).sum(-1)
