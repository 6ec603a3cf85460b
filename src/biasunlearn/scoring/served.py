"""A model of an OpenAI-compatible server that completes texts: log-probabilities of a text, and continuations.

Token ids are sent where the server takes them, so that both sides read the same tokens; else the text.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from biasunlearn.errors import RequestError
from biasunlearn.scoring.endpoint import api_key, check_address, client_library, first_line

TIMEOUT = 120.0
"""Seconds of one request."""
RETRIES = 2


@dataclass(frozen=True, slots=True)
class Prompt:
    """A text as the tokenizer's default gives it, with the special tokens that a server adds."""

    text: str
    ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ServedModel:
    """A model of a server."""

    client: Any
    url: str
    model: str

    def log_prob(self, prompt: Prompt) -> float | None:
        """log p of the tokens of a text after its first, in nats; None where the server does not give it."""
        options = {"max_tokens": 1, "temperature": 0, "echo": True, "logprobs": 1}
        for given in (list(prompt.ids), prompt.text):
            reply = self._complete(given, refusal_is_none=True, **options)
            found = None if reply is None else _echoed(reply, len(prompt.ids))
            if found is not None:
                return found
        return None

    def takes_ids(self, prompt: Prompt) -> bool:
        """Whether a prompt may be token ids. Text may be divided into other tokens by the server's own tokenizer."""
        return self._complete(list(prompt.ids), refusal_is_none=True, max_tokens=1, temperature=0) is not None

    def continuation(self, prompt: Prompt, new_tokens: int, *, ids: bool = False, seed: int | None = None) -> str:
        """The likeliest continuation, or, with a seed, one drawn at temperature 1.

        Args:
            ids: whether the token ids are sent, or the text.
        """
        drawn = {"temperature": 0} if seed is None else {"temperature": 1, "top_p": 1, "seed": seed}
        given = list(prompt.ids) if ids else prompt.text
        reply = self._complete(given, refusal_is_none=False, max_tokens=new_tokens, **drawn)
        with _reading(self.url):
            text = reply.choices[0].text
            if not isinstance(text, str):
                raise ValueError("the reply holds no text")
            return text

    def _complete(self, prompt: list[int] | str, *, refusal_is_none: bool, **options: Any) -> Any:
        """The server's reply. None where it refuses this kind of request, if that is asked for.

        Raises:
            RequestError: no server there, a key or model that is refused, no valid reply.
        """
        openai = client_library()
        try:
            return self.client.completions.create(model=self.model, prompt=prompt, **options)
        except (openai.APIConnectionError, openai.APITimeoutError) as error:
            raise RequestError(f"--endpoint {self.url}: the server cannot be reached: {first_line(error)}") from None
        except (openai.AuthenticationError, openai.PermissionDeniedError, openai.NotFoundError) as error:
            raise RequestError(
                f"--model {self.model}: the server at {self.url} refuses: {first_line(error)}; it must serve "
                "/completions and know this model"
            ) from None
        except (openai.BadRequestError, openai.UnprocessableEntityError, openai.InternalServerError) as error:
            if refusal_is_none:
                return None
            raise RequestError(f"--model {self.model}: the server at {self.url} fails: {first_line(error)}") from None
        except (openai.OpenAIError, ValueError, TypeError, AttributeError) as error:
            raise RequestError(f"--endpoint {self.url}: no valid reply: {first_line(error)}") from None


def served_models(url: str, names: Sequence[str]) -> list[ServedModel]:
    """Models of one server, by their names there. RequestError for a wrong address, or where openai is missing."""
    url = check_address(url, "--endpoint")
    client = client_library().OpenAI(base_url=url, api_key=api_key(), timeout=TIMEOUT, max_retries=RETRIES)
    return [ServedModel(client, url, name) for name in names]


@contextmanager
def _reading(url: str) -> Iterator[None]:
    try:
        yield
    except (ValueError, TypeError, AttributeError, LookupError) as error:
        raise RequestError(f"--endpoint {url}: no valid reply: {first_line(error)}") from None


def _echoed(reply: Any, tokens: int) -> float | None:
    """The sum over the prompt's tokens of an echoed completion; None where the reply is not one of this prompt.

    The first token has no log-probability. A generated token may follow the prompt's, and is not counted.
    """
    try:
        values = reply.choices[0].logprobs.token_logprobs
        if len(values) not in (tokens, tokens + 1):
            return None
        return float(sum(float(value) for value in values[1:tokens]))
    except (ValueError, TypeError, AttributeError, LookupError):
        return None
