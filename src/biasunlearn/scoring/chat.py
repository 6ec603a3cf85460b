"""The protocol for instruct models: a text becomes the assistant's turn of a chat, instead of raw text.

The user's turn before it is the same in every benchmark: it asks for a sentence, and for nothing that affects the
comparison. The text that a benchmark scores, embeds or has continued is the beginning of the assistant's turn. Training
and the perplexity of a text use raw text nevertheless.
"""

import hashlib
from dataclasses import replace
from typing import Any

from biasunlearn.errors import RequestError
from biasunlearn.models.adapter_effect import effect_note
from biasunlearn.models.cpu_bfloat16 import difference_note
from biasunlearn.models.load import Loaded

USER_TURN = "Write a sentence."
MARK = "SENTENCE-GOES-HERE"


def with_chat_template(loaded: Loaded) -> Loaded:
    """The model with its own chat template before every text.

    Raises:
        RequestError: a masked model, no chat template, or one that changes the assistant's words.
    """
    if loaded.masked:
        raise RequestError("--chat-template: a masked model has none; leave the option out")
    if not getattr(loaded.tokenizer, "chat_template", None):
        raise RequestError("--chat-template: the model's tokenizer has no chat template; leave the option out")
    return replace(loaded, chat=_head(loaded.tokenizer))


def protocol(loaded: Loaded) -> dict[str, Any]:
    """How texts were given to the model, for results.json, and what they have to be read with.

    This is where a run proves that its adapter acts.
    """
    effect = effect_note(loaded.model, loaded.tokenizer)
    notes = [note for note in (*loaded.notes, difference_note(loaded.model), effect) if note]
    found: dict[str, Any] = {"notes": notes} if notes else {}
    if not loaded.chat:
        return {"text": "raw", **found}
    template = str(loaded.tokenizer.chat_template)
    return {
        **found,
        "text": "chat template",
        "user_turn": USER_TURN,
        "before_text": loaded.chat,
        "template_sha256": hashlib.sha256(template.encode()).hexdigest(),
    }


def _head(tokenizer: Any) -> str:
    """The text of the template before the assistant's words."""
    turns = [{"role": "user", "content": USER_TURN}, {"role": "assistant", "content": MARK}]
    try:
        written = tokenizer.apply_chat_template(turns, tokenize=False)
    except Exception as error:  # a template is a program of its own, and may raise anything
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise RequestError(f"--chat-template: the model's chat template fails: {reason}") from None
    head, found, _ = written.rpartition(MARK)
    if not found or not head:
        raise RequestError("--chat-template: the model's chat template does not contain the assistant's words")
    return str(head)
