"""A causal model with prompts before every text, as a model: benchmarks need not know about the prompts.

- prompt: one prompt, which asks for fairness, precedes every text.
- self_debias (Schick et al., arXiv 2103.00453, eq. 2-4): every text is scored as it is and after prompts that ask for
  bias. A token that is likelier after them, by delta = p(w | x) - p(w | prompt, x) < 0, has its probability scaled by
  exp(decay delta), but not by less than `FLOOR`.

No weights change: what is stored is a small JSON file with the token ids of the prompts and, for readers, their text.
"""

import contextlib
import copy
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from biasunlearn.errors import RequestError
from biasunlearn.models.batches import Batch

FILE = "prompts.json"

FLOOR = 0.01
"""Smallest factor by which self-debiasing scales a probability (epsilon in the authors' code)."""


class Prompted(torch.nn.Module):
    """A causal model with prompts. Every other attribute is that of the model inside."""

    def __init__(self, model: Any, kind: str, prompts: Sequence[dict[str, Any]], start: int | None, decay: float = 0.0):
        """
        Args:
            kind: prompt (one of them) or self_debias.
            prompts: each {"text", "ids"}.
            start: the first token of every row, which stays before the prompt; None where there is none.
            decay: lambda of self-debiasing.
        """
        super().__init__()
        self.model, self.kind, self.start, self.decay = model, kind, start, decay
        self.prompts = [dict(prompt) for prompt in prompts]
        identity = [value for prompt in prompts for value in (*prompt["ids"], -1)]
        device = next(model.parameters()).device
        # A parameter, although it is never trained: it must count where two models are compared by their weights.
        self.prompt_ids = torch.nn.Parameter(
            torch.tensor([*identity, round(1000 * decay)], device=device), requires_grad=False
        )
        self.config = _shortened(model.config, max(len(prompt["ids"]) for prompt in prompts))
        self._on = True
        self.eval()

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("model"), name)

    def get_output_embeddings(self) -> None:
        """None: the output layer gets other positions than those that the caller knows."""
        return None

    def get_base_model(self) -> Any:
        """The model inside."""
        return self.model

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, position_ids: Tensor | None = None, **more: Any
    ) -> Any:
        """Logits of the given positions; `hidden_states`, if requested, are those after the last prompt."""
        mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        if not self._on:
            return self.model(input_ids=input_ids, attention_mask=mask, position_ids=position_ids, **more)
        if mask.dim() != 2 or position_ids is not None:
            raise ValueError("with prompts every row needs a line of its own")
        if self.kind == "prompt":
            return self._behind(self.prompts[0]["ids"], input_ids, mask, **more)
        found = self.model(input_ids=input_ids, attention_mask=mask, **more)
        biased = [self._behind(prompt["ids"], input_ids, mask).logits for prompt in self.prompts]
        found.logits = self_debiased(found.logits, biased, self.decay)
        return found

    def readings(self, batch: Batch) -> list[Batch]:
        """The batches that the model inside computes for a batch (forward.logits_at), whose logits `joined` combines.

        Only the requested positions are computed, and shared beginnings once, after every prompt.
        """
        if not self._on:
            return [batch]
        plain = [batch] if self.kind == "self_debias" else []
        return plain + [behind(batch, prompt["ids"], self.start) for prompt in self.prompts]

    def joined(self, logits: Sequence[Tensor]) -> Tensor:
        """The logits of this model, from those of the `readings` [predicted, vocabulary]."""
        return logits[0] if len(logits) == 1 else self_debiased(logits[0], logits[1:], self.decay)

    def generate(
        self, input_ids: Tensor, attention_mask: Tensor, logits_processor: Sequence[Any] = (), **more: Any
    ) -> Tensor:
        """Generates a continuation of each row: [rows, width + new], without the prompts."""
        if not self._on:
            return self.model.generate(
                input_ids=input_ids, attention_mask=attention_mask, logits_processor=[*logits_processor], **more
            )
        if self.kind == "prompt":
            ids = self.prompts[0]["ids"]
            read, mask, _ = inserted(input_ids, attention_mask, ids, self.start)
            # Processors count the tokens before the next one, and must not count the prompt.
            shown = [lambda seen, logits, p=p: p(seen[:, len(ids) :], logits) for p in logits_processor]
            written = self.model.generate(input_ids=read, attention_mask=mask, logits_processor=shown, **more)
            return torch.cat([input_ids, written[:, read.shape[1] :]], dim=1)

        def debias(seen: Tensor, logits: Tensor) -> Tensor:
            new = torch.ones_like(seen[:, attention_mask.shape[1] :])
            mask = torch.cat([attention_mask, new], dim=1)
            biased = [self._behind(prompt["ids"], seen, mask).logits[:, -1] for prompt in self.prompts]
            return self_debiased(logits, biased, self.decay)

        processors = [debias, *logits_processor]
        return self.model.generate(
            input_ids=input_ids, attention_mask=attention_mask, logits_processor=processors, **more
        )

    @contextlib.contextmanager
    def disable_adapter(self) -> Iterator[None]:
        """The base model, as with an adapter that is off."""
        self._on = False
        try:
            yield
        finally:
            self._on = True

    def save_pretrained(self, folder: str | Path, **_: Any) -> None:
        """Saves the prompts only."""
        content = {"kind": self.kind, "prompts": self.prompts, "start": self.start, "decay": self.decay}
        (Path(folder) / FILE).write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")

    def _behind(self, prompt: Sequence[int], input_ids: Tensor, mask: Tensor, **more: Any) -> Any:
        """The output of the model at the given positions, with a prompt before the text."""
        read, wide, places = inserted(input_ids, mask, prompt, self.start)
        positions = (wide.cumsum(1) - 1).clamp(min=0)
        found = self.model(input_ids=read, attention_mask=wide, position_ids=positions, **more)
        found.logits = _picked(found.logits, places)
        if getattr(found, "hidden_states", None):
            found.hidden_states = tuple(_picked(hidden, places) for hidden in found.hidden_states)
        return found


def inserted(ids: Tensor, mask: Tensor, prompt: Sequence[int], start: int | None) -> tuple[Tensor, Tensor, Tensor]:
    """Rows with a prompt after their start token; padding may be on either side.

    Returns:
        ids and mask [rows, width + prompt], and for each old position the new one whose logits predict the next token
        [rows, width]: what follows the start token is predicted at the end of the prompt.
    """
    rows, width = ids.shape
    first = mask.argmax(1)  # of the row's own tokens
    if start is not None:
        first = first + (ids.gather(1, first[:, None])[:, 0] == start)
    old = torch.arange(width, device=ids.device).expand(rows, width)
    places = old + len(prompt) * (old >= first[:, None])
    wide_ids = ids.new_zeros(rows, width + len(prompt)).scatter(1, places, ids)
    wide_mask = mask.new_zeros(rows, width + len(prompt)).scatter(1, places, mask)
    slots = first[:, None] + torch.arange(len(prompt), device=ids.device)
    inserted_ids = torch.tensor(prompt, device=ids.device).expand(rows, -1)
    predicted = old + len(prompt) * (old >= first[:, None] - 1)
    return wide_ids.scatter(1, slots, inserted_ids), wide_mask.scatter(1, slots, 1), predicted


def behind(batch: Batch, prompt: Sequence[int], start: int | None) -> Batch:
    """The same batch with a prompt after the start token of every line; the same predictions are requested.

    Raises:
        ValueError: a line of several groups that does not begin with the start token.
    """
    ids, mask, width, new = batch.input_ids, batch.attention_mask, batch.input_ids.shape[1], len(prompt)
    line, column = batch.positions // width, batch.positions % width
    if mask.dim() == 2:
        wide_ids, wide_mask, predicted = inserted(ids, mask, prompt, start)
        column, places = predicted[line, column], (wide_mask.cumsum(1) - 1).clamp(min=0)
    else:
        kept = 0 if start is None else 1
        if start is not None and bool((ids[:, 0] != start).any()):
            raise ValueError("a prompt follows the start token, and these lines do not begin with it")
        prompt_ids = torch.tensor(prompt, device=ids.device).expand(len(ids), -1)
        wide_ids = torch.cat([ids[:, :kept], prompt_ids, ids[:, kept:]], 1)
        wide_mask, column = _mask_behind(mask, new, kept), column + new
        own = torch.arange(width, device=ids.device) if batch.position_ids is None else batch.position_ids
        moved = own.expand_as(ids)[:, kept:] + new
        front = torch.arange(kept + new, device=ids.device).expand(len(ids), -1)
        places = torch.cat([front, moved], 1)
    where = line * (width + new) + column
    return replace(batch, input_ids=wide_ids, attention_mask=wide_mask, positions=where, position_ids=places)


def _mask_behind(mask: Tensor, new: int, kept: int) -> Tensor:
    """A mask that is added to the attention [lines, 1, width, width], with `new` columns after the first `kept`.

    The prompt's tokens attend to earlier ones. Every token that attends to the first token of its line also attends to
    the prompt; padding attends to neither.
    """
    width = mask.shape[-1]
    lowest = torch.finfo(mask.dtype).min
    found = mask.new_full((len(mask), 1, width + new, width + new), lowest)
    old = torch.tensor([*range(kept), *range(kept + new, width + new)], device=mask.device)
    found[:, :, old[:, None], old] = mask
    found[:, :, old[kept:], kept : kept + new] = mask[:, :, kept:, :1].expand(-1, -1, -1, new)
    back = torch.ones(new, kept + new, dtype=torch.bool, device=mask.device).tril(kept)
    found[:, :, kept : kept + new, : kept + new] = mask.new_zeros(back.shape).masked_fill(~back, lowest)
    return found


def self_debiased(logits: Tensor, biased: Sequence[Tensor], decay: float) -> Tensor:
    """Log-probabilities after self-debiasing, of any shape [..., vocabulary].

    Example with decay 50: p = .5 .5, and .7 .3 after the prompt: delta = -.2 .2, factors e^-10 -> the floor .01 and 1;
    .005 .5 normalised is .0099 .9901.
    """
    log_p = logits.float().log_softmax(-1)
    p = log_p.exp()
    delta = torch.zeros_like(p)  # 0: a token that becomes no likelier keeps its probability
    for other in biased:
        torch.minimum(delta, other.float().softmax(-1).neg_().add_(p), out=delta)
    log_factor = delta.mul_(decay).clamp_(min=math.log(FLOOR))
    return log_p.add_(log_factor).log_softmax(-1)


def attached(model: Any, folder: Path) -> Prompted:
    """The model with saved prompts.

    Raises:
        RequestError: the file cannot be read, or its token ids belong to another tokenizer.
    """
    try:
        content = json.loads((folder / FILE).read_text(encoding="utf-8"))
        prompts, largest = content["prompts"], max(i for prompt in content["prompts"] for i in prompt["ids"])
        kind, start, decay = content["kind"], content["start"], float(content["decay"])
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise RequestError(f"{folder / FILE}: not a file of prompts: {str(error).splitlines()[0]}") from None
    if largest >= model.get_input_embeddings().weight.shape[0]:
        raise RequestError(f"{folder / FILE}: token ids of another tokenizer; use the model that it was made for")
    return Prompted(model, kind, prompts, start, decay)


def _shortened(config: Any, tokens: int) -> Any:
    """The model's configuration with the length of the prompt subtracted from the longest row."""
    shorter = copy.deepcopy(config)
    text = shorter.get_text_config() if hasattr(shorter, "get_text_config") else shorter
    if getattr(text, "max_position_embeddings", None):
        text.max_position_embeddings -= tokens
    return shorter


def _picked(values: Tensor, places: Tensor) -> Tensor:
    """[rows, wide, any] at places [rows, width] -> [rows, width, any]."""
    return values.gather(1, places[:, :, None].expand(*places.shape, values.shape[-1]))
