"""The protocol for instruct models: what is raw text otherwise becomes what the assistant says.

The user's turn before it is the same for everything, in every benchmark: it asks for a sentence, and nothing that bears
on the comparison. What a benchmark scores, embeds or has continued stands at the beginning of the assistant's turn.
Training reads raw text all the same, and so does perplexity of a text.
"""

import hashlib
from dataclasses import replace
from typing import Any

from biasunlearn.errors import RequestError
from biasunlearn.models.load import Loaded

USER_TURN = "Write a sentence."
MARK = "SENTENCE-GOES-HERE"


def with_chat_template(loaded: Loaded) -> Loaded:
    """The model with its own chat template before everything that it is asked about.

    Raises:
        RequestError: a masked model, no chat template, or one that changes what the assistant says.
    """
    if loaded.masked:
        raise RequestError("--chat-template: a masked model has none; leave the option out")
    if not getattr(loaded.tokenizer, "chat_template", None):
        raise RequestError("--chat-template: the model's tokenizer has no chat template; leave the option out")
    return replace(loaded, chat=_head(loaded.tokenizer))


def protocol(loaded: Loaded) -> dict[str, Any]:
    """How texts were put to the model, for results.json."""
    if not loaded.chat:
        return {"text": "raw"}
    template = str(loaded.tokenizer.chat_template)
    return {
        "text": "chat template",
        "user_turn": USER_TURN,
        "before_text": loaded.chat,
        "template_sha256": hashlib.sha256(template.encode()).hexdigest(),
    }


def _head(tokenizer: Any) -> str:
    """Everything that the template writes before the assistant's words."""
    turns = [{"role": "user", "content": USER_TURN}, {"role": "assistant", "content": MARK}]
    try:
        written = tokenizer.apply_chat_template(turns, tokenize=False)
    except Exception as error:  # a template is a program of its own, and may raise anything
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise RequestError(f"--chat-template: the model's chat template fails: {reason}") from None
    head, found, _ = written.rpartition(MARK)
    if not found or not head:
        raise RequestError("--chat-template: the model's chat template does not show what the assistant says")
    return str(head)
