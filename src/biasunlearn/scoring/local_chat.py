"""A model on this machine that replies to chats, through its chat template or as plain text where it has none.

Words of a chat are data: what looks like a special token of the tokenizer in them is taken apart, so that an answer
under judgment cannot end its turn and begin one of its own.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from biasunlearn.errors import RequestError
from biasunlearn.models.batches import start_token
from biasunlearn.models.forward import max_tokens
from biasunlearn.models.load import Loaded
from biasunlearn.models.weights_hash import weights_hash
from biasunlearn.runs.responses import Reply
from biasunlearn.scoring.chat_model import ChatRequest, Message, Progress
from biasunlearn.scoring.generate import generate_asked, request
from biasunlearn.scoring.protocol import Continuation, Sampling

QUESTION, ANSWER = "Question:", "Answer:"
"""What stands before the texts of a chat where the model has no chat template."""


@dataclass(frozen=True, slots=True)
class LocalChat:
    """A loaded model that replies to chats."""

    loaded: Loaded
    name: str
    cache: Path | None = None
    """Folder of stored texts; those of the same weights, chats and settings are not generated again."""

    @property
    def calls_cost(self) -> bool:
        return False

    @property
    def fingerprint(self) -> str:
        return weights_hash(self.loaded.model)

    def answer(self, requests: Sequence[ChatRequest], progress: Progress | None = None) -> list[Reply]:
        """The replies, in the order of the requests. A chat that leaves no room for a reply fails as `too_long`."""
        loaded = self.loaded.with_progress(progress or self.loaded.progress)
        found: dict[int, Reply] = {}
        groups: dict[tuple[int, float, int], list[int]] = {}
        for number, one in enumerate(requests):
            groups.setdefault((one.new_tokens, one.temperature, one.seed + one.repeat), []).append(number)
        for (new_tokens, temperature, seed), numbers in groups.items():
            sampling = Sampling(
                continuations=1, new_tokens=new_tokens, temperature=temperature, top_p=1.0, seed=seed
            )
            replies = _replies(loaded, [requests[number] for number in numbers], sampling, self.cache)
            found |= dict(zip(numbers, replies, strict=True))
        return [found[number] for number in range(len(requests))]


def _replies(
    loaded: Loaded, requests: Sequence[ChatRequest], sampling: Sampling, cache: Path | None
) -> list[Reply]:
    """The replies to chats that share their settings."""
    began = time.monotonic()
    longest = max_tokens(loaded.model)
    state = weights_hash(loaded.model)
    rows = [chat_tokens(loaded.tokenizer, one.messages) for one in requests]
    fits = [longest is None or len(ids) + sampling.new_tokens <= longest for _, ids in rows]
    asked = [request(state, text, ids, sampling) if fit else None for (text, ids), fit in zip(rows, fits, strict=True)]
    distinct = list({one.key: one for one in asked if one is not None}.values())
    known = generate_asked(loaded, distinct, sampling, cache=cache) if distinct else {}
    seconds = round((time.monotonic() - began) / max(1, len(distinct)), 4)
    has_template = bool(getattr(loaded.tokenizer, "chat_template", None))
    return [
        Reply(failure="too_long", detail=f"{len(ids) + sampling.new_tokens:,} tokens with the reply, of {longest:,}")
        if one is None
        else _reply(known[one.key], len(ids), seconds, has_template)
        for one, (_, ids) in zip(asked, rows, strict=True)
    ]


def _reply(found: Continuation, tokens_in: int, seconds: float, has_template: bool) -> Reply:
    text, ended = found.text.strip(), found.ended
    if not has_template and f"\n{QUESTION}" in text:  # the model has begun a question of its own
        text, ended = text.partition(f"\n{QUESTION}")[0].strip(), True
    return Reply(
        text=text, finish="stop" if ended else "length", tokens_in=tokens_in, tokens_out=found.tokens, seconds=seconds
    )


def chat_tokens(tokenizer: Any, messages: Sequence[Message]) -> tuple[str, tuple[int, ...]]:
    """(the text of a chat up to the model's turn, its token ids), with the tokenizer's template where it has one."""
    turns = [{"role": one.role, "content": without_special_tokens(tokenizer, one.content)} for one in messages]
    if not getattr(tokenizer, "chat_template", None):
        text = plain_chat(messages)
        start = start_token(tokenizer)
        ids = tokenizer.encode(without_special_tokens(tokenizer, text), add_special_tokens=False)
        return text, (*(() if start is None else (start,)), *ids)
    text = _templated(tokenizer, turns)
    return text, tuple(tokenizer.encode(text, add_special_tokens=False))


def without_special_tokens(tokenizer: Any, text: str) -> str:
    """A text in which the special tokens of a tokenizer are ordinary characters: <|im_end|> becomes < |im_end|>."""
    for token in sorted(set(map(str, tokenizer.all_special_tokens)), key=len, reverse=True):
        if len(token) > 1:
            text = text.replace(token, f"{token[0]} {token[1:]}")
    return text


def plain_chat(messages: Sequence[Message]) -> str:
    """A chat as plain text, for a model without a chat template: questions and answers, one under the other."""
    parts = []
    for one in messages:
        head = {"system": "", "user": f"{QUESTION} ", "assistant": f"{ANSWER} "}[one.role]
        parts.append(f"{head}{one.content}")
    return "\n".join([*parts, ANSWER])


def _templated(tokenizer: Any, turns: list[dict[str, str]]) -> str:
    """The text of a chat template. Where it takes no system message, that one is put before the first question."""
    tries = [turns]
    if turns[0]["role"] == "system" and len(turns) > 1:
        first = {"role": "user", "content": f"{turns[0]['content']}\n\n{turns[1]['content']}"}
        tries.append([first, *turns[2:]])
    problem = ""
    for chosen in tries:
        try:
            return str(tokenizer.apply_chat_template(chosen, tokenize=False, add_generation_prompt=True))
        except Exception as error:  # a template is a program of its own, and may raise anything
            problem = (str(error).splitlines() or [type(error).__name__])[0]
    raise RequestError(f"the model's chat template fails: {problem}")
