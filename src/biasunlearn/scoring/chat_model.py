"""What is asked of a model in a chat, whether it runs here or behind an endpoint. No torch, no network."""

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, Protocol

from biasunlearn.runs.responses import Reply

Role = Literal["system", "user", "assistant"]

Progress = Callable[[int, int], None]

_THINKING = re.compile(r"<think>.*?</think>", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a chat."""

    role: Role
    content: str


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """A chat that ends with a message of the user, and how the reply is drawn."""

    messages: tuple[Message, ...]
    new_tokens: int
    """Of the reply, at most."""
    temperature: float = 0.0
    seed: int = 0
    repeat: int = 0
    """Numbers requests that are the same otherwise and are to be made more than once."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for the record of calls."""
        return {**asdict(self), "messages": [asdict(message) for message in self.messages]}

    def key(self, model: Mapping[str, Any]) -> str:
        """The hash of the request and of the model that it is put to."""
        content = json.dumps([model, self.to_dict()], sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(content.encode()).hexdigest()


class ChatModel(Protocol):
    """A model that replies to chats."""

    @property
    def name(self) -> str:
        """Its name in results."""
        ...

    @property
    def fingerprint(self) -> str:
        """What tells it from other models: a hash of its weights, or its address."""
        ...

    @property
    def calls_cost(self) -> bool:
        """Whether its replies are calls to an endpoint, which `--budget` counts."""
        ...

    def answer(self, requests: Sequence[ChatRequest], progress: Progress | None = None) -> list[Reply]:
        """The replies, in the order of the requests. What was stored before is not asked again."""
        ...


def without_thinking(text: str) -> str | None:
    """A reply without the reasoning that some models write between tags; None where the reasoning was cut off."""
    left = _THINKING.sub("", text)
    if "<think>" in left:
        return None
    return left.rpartition("</think>")[2].strip()


def estimated_tokens(requests: Sequence[ChatRequest]) -> tuple[int, int]:
    """(tokens read, tokens written at most), at four characters per token: a rough estimate for the cost."""
    read = sum(len(message.content) // 4 + 4 for request in requests for message in request.messages)
    return read, sum(request.new_tokens for request in requests)
