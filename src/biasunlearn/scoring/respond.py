"""The model under test answers questions of one or several turns, here or behind an endpoint."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from biasunlearn.errors import RequestError
from biasunlearn.runs.responses import CallStore, Reply
from biasunlearn.scoring.chat_model import ChatModel, ChatRequest, Message, Progress
from biasunlearn.scoring.endpoint import CallLimits, Endpoint, endpoint, is_endpoint
from biasunlearn.scoring.judge import RULE, Judge
from biasunlearn.scoring.protocol import EvalOptions

if TYPE_CHECKING:
    from biasunlearn.models.load import Loaded


@dataclass(frozen=True, slots=True)
class Turns:
    """What the model under test is asked: the user's turns, one after the other."""

    id: str
    turns: tuple[str, ...]
    system: str = ""
    temperature: float = 0.0
    repeat: int = 0
    """Numbers answers to the same turns."""


@dataclass(frozen=True, slots=True)
class EndpointSubject:
    """An endpoint as the model under test, in the place of a loaded model."""

    endpoint: Endpoint
    progress: Progress | None = field(default=None, compare=False)

    @property
    def store(self) -> CallStore:
        """Where its replies are stored, and those of the judges as well."""
        return self.endpoint.store

    def with_progress(self, progress: Progress | None) -> "EndpointSubject":
        """The same endpoint, which reports its progress."""
        return replace(self, progress=progress)


Subject = Any
"""models.load.Loaded, which is not imported without need since it loads torch, or EndpointSubject."""


def respond(
    subject: Subject, asked: Sequence[Turns], *, new_tokens: int, seed: int = 0, cache: Path | None = None
) -> list[tuple[Reply, ...]]:
    """The replies to the turns of each question: one for each turn up to the first that failed.

    All first turns are asked together, then all second turns after the model's own first replies, and so on.

    Args:
        subject: the model under test.
        new_tokens: of a reply, at most.
        cache: folder of stored texts, which are not generated again.
    """
    model, progress = _chat_model(subject, cache), subject.progress
    replies: list[list[Reply]] = [[] for _ in asked]
    longest = max((len(one.turns) for one in asked), default=0)
    for turn in range(longest):
        left = [
            number for number, one in enumerate(asked)
            if turn < len(one.turns) and all(not reply.failure for reply in replies[number])
        ]  # fmt: skip
        requests = [_request(asked[number], replies[number], new_tokens, seed) for number in left]
        answered = model.answer(requests, _part(progress, turn, longest))
        for number, reply in zip(left, answered, strict=True):
            replies[number].append(reply)
    return [tuple(one) for one in replies]


def subject_name(subject: Subject) -> str:
    """What tells one model under test from another in stored records: a hash of its weights, or its address."""
    if isinstance(subject, EndpointSubject):
        return subject.endpoint.name
    from biasunlearn.models.weights_hash import weights_hash

    return weights_hash(subject.model)


def open_judges(options: EvalOptions, store: CallStore, device: Any = None) -> list[Judge]:
    """The panel that the options name, and the rule where they name none.

    Raises:
        RequestError: a judge is named twice (three runs of one judge are not three judges), or cannot be opened.
    """
    names = options.judges or (RULE,)
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise RequestError(f"--judge {twice}: given twice; a judge that is asked again is not a second judge")
    if not -1 <= options.minimum_kappa <= 1:
        raise RequestError(f"--minimum-kappa {options.minimum_kappa:g}: must be from -1 to 1")
    return [_open_judge(name, options, store, device) for name in names]


def call_limits(options: EvalOptions) -> CallLimits:
    """The limits of calls that the options name."""
    return CallLimits(
        concurrency=options.concurrency, timeout=options.call_timeout, budget=options.budget,
    )  # fmt: skip


def _open_judge(name: str, options: EvalOptions, store: CallStore, device: Any) -> Judge:
    if name == RULE:
        return Judge(RULE)
    if is_endpoint(name):
        found = endpoint(name, store, call_limits(options), "--judge")
        return Judge(found.name, found, options.judge_tokens)
    return Judge(name, _local(name, options.cache, device), options.judge_tokens)


def _local(name: str, cache: Path | None, device: Any) -> ChatModel:
    from biasunlearn.models.load import load
    from biasunlearn.models.spec import ModelSpec
    from biasunlearn.scoring.local_chat import LocalChat

    key = (name, str(device))
    if key not in _LOADED:
        _LOADED.clear()  # one judge at a time: they may be large
        _LOADED[key] = load(ModelSpec(name, device=None if device is None else str(device)))
    return LocalChat(_LOADED[key], name, cache)


_LOADED: dict[tuple[str, str], "Loaded"] = {}
"""The judge that was loaded last, which is asked before and after debiasing."""


def _chat_model(subject: Subject, cache: Path | None) -> ChatModel:
    if isinstance(subject, EndpointSubject):
        return subject.endpoint
    from biasunlearn.scoring.local_chat import LocalChat

    return LocalChat(subject, "subject", cache)


def _request(asked: Turns, replies: Sequence[Reply], new_tokens: int, seed: int) -> ChatRequest:
    messages = [Message("system", asked.system)] if asked.system else []
    for turn, reply in zip(asked.turns, replies, strict=False):
        messages += [Message("user", turn), Message("assistant", reply.text)]
    messages.append(Message("user", asked.turns[len(replies)]))
    return ChatRequest(tuple(messages), new_tokens, asked.temperature, seed + asked.repeat, asked.repeat)


def _part(progress: Progress | None, turn: int, turns: int) -> Callable[[int, int], None] | None:
    """Progress of one turn of several, in percent of all."""
    if progress is None:
        return None
    return lambda done, of: progress(100 * turn // turns + 100 * done // (turns * max(1, of)), 100)
