"""Texts on which base and debiased model differ most, and control texts on which they agree, by the model here."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from biasunlearn.models.adapter_scale import scaled
from biasunlearn.models.batches import TokenRow, collate
from biasunlearn.models.forward import evaluating, logits_at, max_tokens
from biasunlearn.models.load import Loaded
from biasunlearn.models.logprobs import token_log_probs
from biasunlearn.models.weights_hash import weights_hash
from biasunlearn.scoring.generate import generate_asked, request
from biasunlearn.scoring.protocol import Sampling
from biasunlearn.scoring.served import Prompt

ITEMS = 24
CONTROLS = 8
BATCH = 8
NEW_TOKENS = 12
"""Of a continuation. Longer ones match less often in half precision, where one near tie changes the rest."""


@dataclass(frozen=True, slots=True)
class TwoStates:
    """The model of a run, whose adapter can be switched off and on."""

    loaded: Loaded
    adapter: str

    def log_probs(self, rows: Sequence[TokenRow]) -> list[tuple[float, float]]:
        """(by the base, by the debiased model): log p of the scored tokens of each row, in nats."""
        found = []
        for scale in (0.0, 1.0):
            with scaled(self.loaded.model, scale, self.adapter):
                found.append(_sums(self.loaded, rows))
        return list(zip(*found, strict=True))

    def continuations(self, prompts: Sequence[Prompt]) -> list[tuple[str, str]]:
        """(by the base, by the debiased model): the likeliest continuation of each prompt."""
        sampling = Sampling(continuations=1, new_tokens=NEW_TOKENS, temperature=0.0)
        found = []
        for scale in (0.0, 1.0):
            with scaled(self.loaded.model, scale, self.adapter):
                state = f"{weights_hash(self.loaded.model)} {scale}"
                asked = [request(state, one.text, one.ids, sampling) for one in prompts]
                known = generate_asked(self.loaded, asked, sampling)
                found.append([same_spaces(known[one.key].text) for one in asked])
        return list(zip(*found, strict=True))


@dataclass(frozen=True, slots=True)
class Chosen:
    """A prompt with what both states give for it."""

    prompt: Prompt
    base: float = 0.0
    debiased: float = 0.0
    base_text: str = ""
    debiased_text: str = ""
    control: bool = False


def by_log_prob(states: TwoStates, texts: Sequence[str]) -> list[Chosen]:
    """The `ITEMS` texts with the largest |difference of log p|, then `CONTROLS` texts with the smallest."""
    prompts = _prompts(states.loaded, texts, 0)
    found = states.log_probs([TokenRow(one.ids, 1) for one in prompts])
    chosen = [Chosen(prompt, *both) for prompt, both in zip(prompts, found, strict=True)]
    ranked = sorted(chosen, key=lambda one: -abs(one.debiased - one.base))
    items = ranked[: min(ITEMS, max(1, len(ranked) * 3 // 4))]
    rest = ranked[len(items) :]
    return [*items, *(replace(one, control=True) for one in rest[len(rest) - CONTROLS :])]


def by_continuation(states: TwoStates, texts: Sequence[str]) -> list[Chosen]:
    """`ITEMS` beginnings of texts whose likeliest continuations differ, then `CONTROLS` whose continuations agree."""
    heads = [" ".join(words[:size]) for words in map(str.split, texts) for size in (2, 3, len(words) // 2)
             if 1 < size < len(words)]  # fmt: skip
    prompts = _prompts(states.loaded, heads, NEW_TOKENS)
    differing: list[Chosen] = []
    agreeing: list[Chosen] = []
    for first in range(0, len(prompts), ITEMS):
        some = prompts[first : first + ITEMS]
        for prompt, (base, debiased) in zip(some, states.continuations(some), strict=True):
            one = Chosen(prompt, base_text=base, debiased_text=debiased, control=base == debiased)
            (agreeing if one.control else differing).append(one)
        if len(differing) >= ITEMS and len(agreeing) >= CONTROLS:
            break
    return [*differing[:ITEMS], *agreeing[:CONTROLS]]


def likelihood_ratio(states: TwoStates, prompt: Prompt, continuation: str) -> float | None:
    """log p of a continuation by the debiased model less that by the base, in nats.

    The text is divided into tokens again, which need not be those that the server has drawn: of a model that writes
    unusual sequences the ratio says little. None for an empty text, and for bytes that are no text.
    """
    if "\ufffd" in continuation:
        return None
    whole = _ids(states.loaded, f"{prompt.text}{continuation}")
    row = TokenRow(whole, max(1, len(prompt.ids)))
    if row.scored < 1:
        return None
    ((base, debiased),) = states.log_probs([row])
    return debiased - base


def same_spaces(text: str) -> str:
    """A continuation without differences that only concern white space: servers cut it in different ways."""
    return " ".join(text.split())


def _ids(loaded: Loaded, text: str) -> tuple[int, ...]:
    return tuple(loaded.tokenizer(text)["input_ids"])


def _prompts(loaded: Loaded, texts: Sequence[str], room: int) -> list[Prompt]:
    """Distinct texts of three tokens or more that fit into the model."""
    longest = max_tokens(loaded.model)
    found = [Prompt(text, _ids(loaded, text)) for text in dict.fromkeys(texts)]
    return [one for one in found if len(one.ids) >= 3 and (longest is None or len(one.ids) + room < longest)]


def _sums(loaded: Loaded, rows: Sequence[TokenRow]) -> list[float]:
    sums: list[float] = []
    with evaluating(loaded.model):
        for first in range(0, len(rows), BATCH):
            batch = collate(rows[first : first + BATCH], device=loaded.device)
            values = token_log_probs(logits_at(loaded.model, batch), batch.targets)
            sums += batch.sums(values.to(torch.float64)).tolist()
    return sums
