"""Text generation: continuations of prompts, for benchmarks of generated text.

Every continuation is drawn with its own random numbers, made from the seed, the prompt and its number. Batch size,
order, the number of processes and earlier draws therefore change nothing, stored continuations need not be drawn again,
and two models are compared on the same draws.
"""

import contextlib
import hashlib
import inspect
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from biasunlearn.data.records import Passage
from biasunlearn.errors import RequestError
from biasunlearn.models.batches import encode
from biasunlearn.models.distributed import count, mine, summed
from biasunlearn.models.forward import evaluating, max_tokens
from biasunlearn.models.libraries import transformers
from biasunlearn.models.load import Loaded
from biasunlearn.models.weights_hash import weights_hash
from biasunlearn.runs.atomic import append, writing
from biasunlearn.runs.first_process import is_first
from biasunlearn.scoring.log_prob import batch_budget, by_length, not_finite
from biasunlearn.scoring.protocol import Continuation, Sampling

CACHE = "generations.jsonl"
ENDED = -2
"""Follows the last token of a continuation that the model ended itself."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A requested continuation: its prompt, the tokens that the model reads, its number, and its name in the cache."""

    prompt: str
    ids: tuple[int, ...]
    number: int
    key: str


def generate(
    loaded: Loaded,
    prompts: Sequence[str],
    sampling: Sampling,
    *,
    cache: Path | None = None,
) -> list[list[Continuation]]:
    """`sampling.continuations` continuations of every prompt, in the order of the prompts.

    Batched and padded on the left. Trailing spaces of a prompt are dropped, since most tokenizers attach a space to the
    word that follows. Distributed over the processes.

    Args:
        cache: a folder of stored continuations; those of the same weights, prompts and settings are not drawn again.
    Raises:
        RequestError: a masked model; a prompt that leaves no room for the continuation.
    """
    asked = _asked(loaded, list(dict.fromkeys(prompts)), sampling)
    known = generate_asked(loaded, asked, sampling, cache=cache)
    by_prompt: dict[str, list[Continuation]] = {}
    for one in asked:
        by_prompt.setdefault(one.prompt, []).append(known[one.key])
    return [by_prompt[prompt] for prompt in prompts]


def generate_asked(
    loaded: Loaded, asked: Sequence[Asked], sampling: Sampling, *, cache: Path | None = None
) -> dict[str, Continuation]:
    """The requested continuations by their names in the cache. RequestError for a masked model."""
    if loaded.masked:
        raise RequestError("a masked model generates no text: prompts need a causal one")
    known = _known_to_all(_read(cache), asked, loaded.device)
    missing = [one for one in asked if one.key not in known]
    lengths = [len(one.ids) + sampling.new_tokens for one in missing]
    batches = list(by_length(lengths, _budget(loaded)))
    with evaluating(loaded.model), _plain_settings(loaded.model):
        for first in range(0, len(batches), count()):  # a batch for each process, then they exchange the results
            found = _round(loaded, missing, batches[first : first + count()], sampling)
            known |= found
            _append(cache, found)
            loaded.report_progress(len(asked) - len(missing) + sum(map(len, batches[: first + count()])), len(asked))
    return known


def _asked(loaded: Loaded, prompts: Sequence[str], sampling: Sampling) -> list[Asked]:
    longest = max_tokens(loaded.model)
    room = None if longest is None else longest - sampling.new_tokens
    passages = [Passage("", prompt.rstrip()) for prompt in prompts]
    rows = encode(loaded.tokenizer, passages, max_tokens=room, chat=loaded.chat)
    state = weights_hash(loaded.model)
    return [
        request(state, prompt, row.ids, sampling, number)
        for prompt, row in zip(prompts, rows, strict=True)
        for number in range(sampling.continuations)
    ]


def request(state: str, prompt: str, ids: tuple[int, ...], sampling: Sampling, number: int = 0) -> Asked:
    """A requested continuation of a model whose weights have the hash `state`."""
    drawn = [sampling.new_tokens, sampling.temperature, sampling.top_p, sampling.seed]
    name = json.dumps([state, ids, drawn, number])
    return Asked(prompt, ids, number, hashlib.sha256(name.encode()).hexdigest())


def _budget(loaded: Loaded) -> int:
    """Tokens of a batch. Only families that compute the logits of every position of a prompt have the usual limit."""
    inner = loaded.model.get_base_model() if hasattr(loaded.model, "get_base_model") else loaded.model
    spares = "logits_to_keep" in inspect.signature(inner.forward).parameters
    return loaded.batch_tokens if spares else batch_budget(loaded)


@contextlib.contextmanager
def _plain_settings(model: Any) -> Iterator[None]:
    """Disables the model's own generation settings (penalties, its temperature), so that they are equal for all models.

    Its end tokens are kept.
    """
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    own = inner.generation_config
    holders = [inner] if inner is model else [inner, model]
    try:
        for holder in holders:
            holder.generation_config = transformers().GenerationConfig(eos_token_id=own.eos_token_id)
        yield
    finally:
        for holder in holders:
            holder.generation_config = own


def _round(
    loaded: Loaded, asked: Sequence[Asked], batches: Sequence[Sequence[int]], sampling: Sampling
) -> dict[str, Continuation]:
    """One batch for each process; afterwards every process has all continuations of the round."""
    places = {index: place for place, index in enumerate(i for batch in batches for i in batch)}
    table = torch.zeros(len(places), sampling.new_tokens, dtype=torch.long, device=loaded.device)
    for batch in mine(batches):
        for index, ids in zip(batch, _draw([asked[i] for i in batch], loaded, sampling), strict=True):
            table[places[index], : len(ids)] = torch.tensor(ids, device=table.device) + 1  # 0: nothing
    rows = summed(table).tolist()
    return {
        asked[index].key: _continuation(loaded.tokenizer, asked[index], [value - 1 for value in rows[place] if value])
        for index, place in places.items()
    }


def _draw(asked: Sequence[Asked], loaded: Loaded, sampling: Sampling) -> list[list[int]]:
    """Token ids of one batch's continuations; `ENDED` follows those that the model ended itself."""
    library, device = transformers(), loaded.device
    width = max(len(one.ids) for one in asked)
    ids = torch.zeros(len(asked), width, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for number, one in enumerate(asked):
        ids[number, width - len(one.ids) :] = torch.tensor(one.ids)
        mask[number, width - len(one.ids) :] = 1
    ends = _end_tokens(loaded)
    uniform = torch.tensor(np.stack([_uniform(one, sampling) for one in asked]), device=device)
    settings = library.GenerationConfig(
        max_new_tokens=sampling.new_tokens, do_sample=False, eos_token_id=ends or None, pad_token_id=0
    )
    written = loaded.model.generate(
        input_ids=ids.to(device),
        attention_mask=mask.to(device),
        generation_config=settings,
        logits_processor=library.LogitsProcessorList(
            [
                _check_logits(loaded, asked),
                *(_draws(library, sampling, uniform, width) if sampling.temperature > 0 else []),
            ]
        ),
    )
    return [_until_end(row, ends) for row in written[:, width:].tolist()]


def _draws(library: Any, sampling: Sampling, uniform: Tensor, width: int) -> list[Any]:
    """The processors that draw a token; without them the likeliest token is taken (temperature 0)."""
    nucleus = [library.TopPLogitsWarper(sampling.top_p)] if sampling.top_p < 1 else []
    return [library.TemperatureLogitsWarper(sampling.temperature), *nucleus, _select_drawn(uniform, width)]


def _check_logits(loaded: Loaded, asked: Sequence[Asked]) -> Callable[[Tensor, Tensor], Tensor]:
    """A processor that raises RequestError where the logits of a row are no numbers: its token would be arbitrary."""

    def check(_input_ids: Tensor, logits: Tensor) -> Tensor:
        wrong = (logits.isnan() | logits.isposinf()).any(-1).tolist()
        if True in wrong and not loaded.may_diverge:
            raise not_finite(loaded, asked[wrong.index(True)].prompt, float("nan"))
        return logits

    return check


def _select_drawn(uniform: Tensor, width: int) -> Callable[[Tensor, Tensor], Tensor]:
    """A processor that leaves each row only the token that its random number of this step selects."""

    def leave_one(input_ids: Tensor, logits: Tensor) -> Tensor:
        token = drawn_token(logits, uniform[:, input_ids.shape[1] - width])
        return torch.full_like(logits, -torch.inf).scatter(-1, token[:, None], 0.0)

    return leave_one


def drawn_token(logits: Tensor, uniform: Tensor) -> Tensor:
    """The token that a number in [0, 1) selects (inverse transform sampling), in the order of the vocabulary.

    Example: probabilities .3 0 .5 .2; .3 selects the third token, where the sum exceeds it; .29 the first.

    Args:
        logits: [rows, vocabulary]; uniform: [rows].
    Returns:
        Token ids: [rows].
    """
    passed = logits.double().softmax(-1).cumsum(-1)
    token = torch.searchsorted(passed, uniform[:, None].double() * passed[:, -1:], right=True)
    return token.clamp(max=logits.shape[-1] - 1)[:, 0]


def _uniform(one: Asked, sampling: Sampling) -> np.ndarray[Any, np.dtype[np.float64]]:
    """A number in [0, 1) for each step of this continuation: [new tokens]."""
    name = f"{sampling.seed} {one.number} {one.prompt}"
    return np.random.default_rng(list(hashlib.sha256(name.encode()).digest())).random(sampling.new_tokens)


def _end_tokens(loaded: Loaded) -> list[int]:
    ends = loaded.model.generation_config.eos_token_id
    ends = loaded.tokenizer.eos_token_id if ends is None else ends
    return [] if ends is None else list(ends) if isinstance(ends, Sequence) else [int(ends)]


def _until_end(row: Sequence[int], ends: Sequence[int]) -> list[int]:
    for place, token in enumerate(row):
        if token in ends:
            return [*row[:place], ENDED]
    return list(row)


def _continuation(tokenizer: Any, one: Asked, ids: Sequence[int]) -> Continuation:
    """The text after the prompt, with the space between them."""
    ended = bool(ids) and ids[-1] == ENDED
    new = list(ids[:-1] if ended else ids)
    head, whole = (tokenizer.decode([*part], skip_special_tokens=True) for part in (one.ids, [*one.ids, *new]))
    alone = tokenizer.decode(new, skip_special_tokens=True)
    text = whole[len(head) :] if whole.startswith(head) else f" {alone.strip()}"
    return Continuation(text if text.strip() else "", len(new), ended)


# --- what is stored --------------------------------------------------------------------------------------------------


def _read(folder: Path | None) -> dict[str, Continuation]:
    """The stored continuations; one whose line was cut off by an interruption is drawn again."""
    path = None if folder is None else folder / CACHE
    if path is None or not path.exists():
        return {}
    known = {}
    content = path.read_text(encoding="utf-8", errors="replace")
    for line in content.split("\n"):  # splitlines would also split at marks within a text
        with contextlib.suppress(json.JSONDecodeError, KeyError, TypeError):
            row = json.loads(line)
            key = row.pop("key")
            known[key] = Continuation(**row)
    return known


def _append(folder: Path | None, found: Mapping[str, Continuation]) -> None:
    if folder is None or not is_first():
        return
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    rows = [{"key": key, **asdict(continuation)} for key, continuation in found.items()]
    append(folder / CACHE, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), sync=False)


def _known_to_all(known: Mapping[str, Continuation], asked: Sequence[Asked], device: Any) -> dict[str, Continuation]:
    """The continuations that every process has found. They must agree on what is missing: each waits for the others."""
    flags = summed(torch.tensor([float(one.key in known) for one in asked], device=device)) == count()
    return {one.key: known[one.key] for one, flag in zip(asked, flags.tolist(), strict=True) if flag}
