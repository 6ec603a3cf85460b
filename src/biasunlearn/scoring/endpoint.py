"""A model behind an OpenAI-compatible endpoint, through the client `openai` (extra `judge`).

Calls are bounded in number and time. A call that fails for a passing reason is repeated by the client with growing
waits; one that fails for good is a reply with its reason, and never a score. Every reply is stored as it comes. Keys
are read from the environment and are in no file.
"""

import asyncio
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from biasunlearn.errors import RequestError
from biasunlearn.runs.responses import CallStore, Reply
from biasunlearn.scoring.chat_model import ChatRequest, Progress

KEYS = ("BIASUNLEARN_API_KEY", "OPENAI_API_KEY")
"""Environment variables for the key of an endpoint, the first of which that is set is used."""

RETRIES = 4
"""Further attempts at a call that failed for a passing reason (time limit, cut connection, status 408, 429, 5xx)."""

MALFORMED_TRIES = 3
"""Attempts at a call whose reply is no valid JSON."""

LONGEST_WAIT = 10.0
"""Seconds between two attempts, at most, unless the server names a time."""

POLICY_WORDS = ("content_filter", "content_policy", "content management policy", "safety system")

LOST = 5
"""An endpoint that has failed this many times the number of simultaneous calls in a row is taken for lost."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallLimits:
    """How an endpoint is called."""

    concurrency: int = 8
    """Calls at the same time, at most."""
    timeout: float = 120.0
    """Seconds of one attempt."""
    retries: int = RETRIES
    budget: int | None = None
    """Calls of the whole run, those of its earlier parts included; None: no limit."""


def is_endpoint(name: str) -> bool:
    """Is this the address of an endpoint rather than a model's folder or name?"""
    return name.startswith(("http://", "https://"))


def check_address(url: str, option: str) -> str:
    """The address without a slash at its end.

    Raises:
        RequestError: it holds a password or a query, which would be stored with the results; it has no host.
    """
    parts = urlsplit(url)
    if parts.username or parts.password or parts.query:
        raise RequestError(
            f"{option}: the address holds a name, a password or a query, which would be stored with the results; give "
            f"the key in the environment variable {KEYS[0]}"
        )
    if not parts.hostname:
        raise RequestError(f"{option} {url}: no host; write http://HOST:PORT/v1")
    return url.rstrip("/")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A model of an OpenAI-compatible server."""

    url: str
    model: str
    store: CallStore
    limits: CallLimits = field(default_factory=CallLimits)

    @property
    def name(self) -> str:
        return f"{self.url}#{self.model}"

    @property
    def calls_cost(self) -> bool:
        return True

    @property
    def fingerprint(self) -> str:
        return self.name

    @property
    def identity(self) -> dict[str, str]:
        """What a stored reply depends on besides its request."""
        return {"url": self.url, "model": self.model}

    def answer(self, requests: Sequence[ChatRequest], progress: Progress | None = None) -> list[Reply]:
        """The replies, in the order of the requests; equal requests are made once, in the order of their hashes.

        The order of the hashes mixes the answers of all models, so that no position tells where a text comes from.

        Raises:
            RequestError: the budget does not suffice, the key or the model is refused, the endpoint does not answer.
                What has been answered until then is stored.
        """
        keys = [request.key(self.identity) for request in requests]
        missing = {key: one for key, one in zip(keys, requests, strict=True) if self.store.get(key) is None}
        self._check_budget(len(missing))
        found: dict[str, Reply] = {}
        known, total = len(set(keys)) - len(missing), len(set(keys))

        def take(key: str, reply: Reply) -> None:
            found[key] = reply
            self.store.add(key, {"model": self.identity, **missing[key].to_dict()}, reply)
            if progress:
                progress(known + len(found), total)

        if missing:
            asyncio.run(_answer_all(self, dict(sorted(missing.items())), take))
        return [found.get(key) or self.store.get(key) or Reply(failure="transport") for key in keys]

    def _check_budget(self, calls: int) -> None:
        budget = self.limits.budget
        if budget is not None and self.store.made + calls > budget:
            raise RequestError(
                f"--budget {budget}: {calls} more calls are needed and {self.store.made} were made; nothing is lost: "
                "raise the budget and add --resume, or use fewer prompts (--limit-prompts)"
            )


def endpoint(given: str, store: CallStore, limits: CallLimits, option: str) -> Endpoint:
    """The endpoint URL#MODEL. Without a name, the only model that the server lists.

    Raises:
        RequestError: the client is not installed, a wrong address, an unreachable server, several models and no name.
    """
    if limits.concurrency < 1 or limits.timeout <= 0:
        raise RequestError("--concurrency and --call-timeout must be above 0")
    url, _, model = given.partition("#")
    url = check_address(url, option)
    client_library()
    return Endpoint(url, model or _only_model(url, limits, option), store, limits)


def _only_model(url: str, limits: CallLimits, option: str) -> str:
    openai = client_library()

    async def listed() -> list[str]:
        async with _client(url, limits) as client:
            return [str(model.id) async for model in client.models.list()]

    try:
        names = asyncio.run(listed())
    except (openai.OpenAIError, ValueError, TypeError, AttributeError) as error:
        reason = first_line(error)
        raise RequestError(f"{option} {url}: the server lists no models ({reason}); write {url}#MODEL") from None
    if len(names) != 1:
        raise RequestError(f"{option} {url}: the server has {len(names)} models; name one, as in {url}#MODEL")
    return names[0]


async def _answer_all(endpoint: Endpoint, requests: dict[str, ChatRequest], take: Callable[[str, Reply], None]) -> None:
    """Makes all calls, a bounded number at a time."""
    waiting: Iterator[tuple[str, ChatRequest]] = iter(requests.items())
    failed_in_a_row = 0
    async with _client(endpoint.url, endpoint.limits) as client:

        async def work() -> None:
            nonlocal failed_in_a_row
            for key, request in waiting:
                reply = await _call(client, endpoint, request)
                take(key, reply)
                failed_in_a_row = failed_in_a_row + 1 if reply.failure == "transport" else 0
                if failed_in_a_row >= LOST * endpoint.limits.concurrency:
                    raise RequestError(
                        f"{endpoint.url}: {failed_in_a_row} calls in a row failed ({reply.detail}); what was answered "
                        "is stored: check the server and add --resume"
                    )

        workers = [asyncio.create_task(work()) for _ in range(min(endpoint.limits.concurrency, len(requests)))]
        try:
            await asyncio.gather(*workers)
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)


async def _call(client: Any, endpoint: Endpoint, request: ChatRequest) -> Reply:
    """One call, with all of its attempts. RequestError where every other call would fail for the same reason."""
    openai, began, reply = client_library(), time.monotonic(), Reply()
    limits = endpoint.limits
    for attempt in range(1, MALFORMED_TRIES + 1):
        try:
            # The client's limit is that of a single read, so that a server which sends a byte at a time needs another.
            async with asyncio.timeout((limits.timeout + LONGEST_WAIT) * (limits.retries + 1)):
                raw = await client.chat.completions.with_raw_response.create(
                    model=endpoint.model,
                    messages=[{"role": one.role, "content": one.content} for one in request.messages],
                    max_tokens=request.new_tokens, temperature=request.temperature, seed=request.seed,
                )  # fmt: skip
            reply = _reply(raw.parse()).with_values(attempts=attempt + _retries(raw))
            break
        except (openai.AuthenticationError, openai.PermissionDeniedError, openai.NotFoundError) as error:
            fix = f"check the key ({KEYS[0]}) and the model's name"
            raise RequestError(f"{endpoint.url}: {first_line(error)}; {fix}") from None
        except openai.BadRequestError as error:
            said = f"{error} {error.code} {error.body}".casefold()
            blocked = any(word in said for word in POLICY_WORDS)
            reply = Reply(failure="policy" if blocked else "transport", detail=first_line(error))
            break
        except openai.APIResponseValidationError as error:
            reply = Reply(failure="transport", detail=f"no valid reply: {first_line(error)}", attempts=attempt)
        except (openai.OpenAIError, TimeoutError) as error:
            reply = Reply(failure="transport", detail=first_line(error), attempts=attempt + limits.retries)
            break
        except (ValueError, TypeError, AttributeError, LookupError) as error:
            reply = Reply(failure="transport", detail=f"no valid reply: {first_line(error)}", attempts=attempt)
    return reply.with_values(seconds=round(time.monotonic() - began, 3))


def _reply(completion: Any) -> Reply:
    """The first choice of a completion. ValueError where the server sent something else."""
    choices = getattr(completion, "choices", None)
    if not isinstance(choices, list) or not choices:
        raise ValueError("no choices")
    message, finish = choices[0].message, str(choices[0].finish_reason or "")
    text, usage = message.content, getattr(completion, "usage", None)
    refusal = getattr(message, "refusal", None)
    if text is not None and not isinstance(text, str):
        raise ValueError("the content is no text")
    blocked = finish == "content_filter" or (refusal and not text)
    return Reply(
        text=text or "",
        finish=finish,
        failure="policy" if blocked else None,
        detail=str(refusal or finish)[:300] if blocked else None,
        tokens_in=_count(usage, "prompt_tokens"),
        tokens_out=_count(usage, "completion_tokens"),
    )


def _count(usage: Any, name: str) -> int:
    value = getattr(usage, name, None)
    return value if isinstance(value, int) and value >= 0 else 0


def _retries(raw: Any) -> int:
    """How often the client repeated a request, which it tells the server in a header."""
    given = str(raw.http_request.headers.get("x-stainless-retry-count", "0"))
    return int(given) if given.isdigit() else 0


def _client(url: str, limits: CallLimits) -> Any:
    """The client of an endpoint."""
    library = client_library()
    return library.AsyncOpenAI(base_url=url, api_key=api_key(), timeout=limits.timeout, max_retries=limits.retries)


def api_key() -> str:
    """The key of an endpoint, from the environment. The client wants one even where the server does not."""
    return next((os.environ[name] for name in KEYS if os.environ.get(name)), "none")


def client_library() -> Any:
    """The package openai. RequestError where it is not installed."""
    try:
        import openai
    except ImportError:
        raise RequestError("an endpoint needs the package openai: pip install 'biasunlearn[judge]'") from None
    return openai


def first_line(error: BaseException) -> str:
    """The first line of an error's message, shortened; its kind where it has none."""
    return (str(error).splitlines() or [""])[0][:300] or type(error).__name__
