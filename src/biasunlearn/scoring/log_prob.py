"""Log-probabilities of passages, for every benchmark and for the stop rule."""

import hashlib
import math
import warnings
import weakref
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, TypeVar

import torch
from torch import Tensor

from biasunlearn.data.records import Passage
from biasunlearn.errors import RequestError
from biasunlearn.models import cpu_bfloat16
from biasunlearn.models.batch_log_probs import batch_log_probs, separable
from biasunlearn.models.batches import TokenRow, collate, encode, start_token
from biasunlearn.models.distributed import count, from_first, is_split, mine, summed
from biasunlearn.models.feature_checks import takes_block_mask
from biasunlearn.models.forward import evaluating, logits_at, max_tokens, text_config
from biasunlearn.models.load import Loaded
from biasunlearn.models.logprobs import token_log_probs
from biasunlearn.models.masked import longest_row, masked_copies
from biasunlearn.models.prefix_sharing import LONGEST_LINE, Group, alone, collate_groups, groups, opening, packed
from biasunlearn.models.prompted import Prompted
from biasunlearn.models.quantization import exact
from biasunlearn.runs.score_cache import CachedJob

LOGITS_AT_ONCE = 64 * 2**20
"""Logit values in memory at a time (float32: 256 MiB), which limits the batch for a large vocabulary."""

LOGITS_ON_CPU = 7_500_000
"""The same on a CPU (29 MiB): most of them then fit into its cache, which is a fifth faster."""

TOKENS_ON_CPU = 1024
"""Tokens of a batch on a CPU where the output layer is run by itself: enough for fast matrix products."""

LONGEST_WINDOW = 1024
"""Tokens of a perplexity window, if the model has no smaller limit."""

HIDDEN_WINDOW = 64
"""Tokens of a row for pseudo-perplexity, where every token needs a pass over its whole row."""

SAME = 1e-4
"""Nats by which the score of a sentence may differ between two ways of computing it, in float32."""

SAME_HALF = 0.5
"""The same in half precision and 8 bits, where sums are rounded by tenths; a wrong mask is off by whole nats."""

SHOWN = 100
"""Characters of a sentence in a message."""

T = TypeVar("T")

_packed_up_to: "weakref.WeakKeyDictionary[torch.nn.Module, tuple[int, int]]" = weakref.WeakKeyDictionary()
"""The longest row and the longest group with which a model has been found to support packed lines: an evaluation during
training tries nothing that the one before has tried."""


@dataclass(frozen=True, slots=True)
class Score:
    """log p(text | prefix) of one passage: the sum over its tokens, in nats, and their number."""

    log_prob: float
    tokens: int

    @property
    def mean(self) -> float:
        """Mean log-probability of a token, in nats: StereoSet's score (its exp(mean) has the same order)."""
        return self.log_prob / self.tokens


def score(loaded: Loaded, passages: Sequence[Passage]) -> list[Score]:
    """Scores passages, batched and sorted by length; equal passages are scored once.

    A causal model gives log p(text | prefix); a masked one the pseudo-log-likelihood of the text, with one token masked
    at a time. Batch size, order and padding change a float32 score by less than 1e-4 (tested on every family).

    Returns:
        One Score per passage, in the order given.
    """
    unique = list(dict.fromkeys(passages))
    rows = _rows(loaded, unique)
    sum_up = _pseudo if loaded.masked else _causal
    sums = sum_up(loaded, rows)
    scores = {passage: Score(total, row.scored) for passage, row, total in zip(unique, rows, sums, strict=True)}
    return [scores[passage] for passage in passages]


def check_scorable(loaded: Loaded, passages: Sequence[Passage]) -> None:
    """UnscorableError for passages that `score` would refuse. They are tokenised, and nothing is scored."""
    _rows(loaded, list(dict.fromkeys(passages)))


def _rows(loaded: Loaded, passages: Sequence[Passage]) -> list[TokenRow]:
    longest = longest_row(loaded.model, loaded.tokenizer, masked=loaded.masked)
    return encode(loaded.tokenizer, passages, max_tokens=longest, chat=loaded.chat, suffixes=loaded.masked)


def score_windows(loaded: Loaded, text: str, *, stride: int) -> tuple[float, int]:
    """Sum of log-probabilities of a text's tokens over overlapping windows, and the number of scored tokens.

    The first token of the text is not scored, since nothing precedes it.

    Args:
        stride: a window advances by its length divided by this.
    """
    ids = loaded.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
    window = min(max_tokens(loaded.model) or LONGEST_WINDOW, LONGEST_WINDOW)
    step = max(1, window // stride)
    rows, scored = [], 1
    for begin in range(0, len(ids), step):
        end = min(begin + window, len(ids))
        if end > scored:
            rows.append(TokenRow(tuple(ids[begin:end]), max(1, scored - begin)))
        scored = end
        if end == len(ids):
            break
    if not rows:
        raise RequestError("the text has fewer than two tokens; perplexity needs more")
    return sum(_causal(loaded, rows)), sum(row.scored for row in rows)


def score_hidden(loaded: Loaded, text: str) -> tuple[float, int]:
    """Pseudo-log-likelihood of a text and its number of tokens, for a masked model.

    The text is cut into rows of `HIDDEN_WINDOW` tokens that do not overlap; each token is hidden once, and the rest of
    its row is seen.
    """
    ids = loaded.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
    longest = longest_row(loaded.model, loaded.tokenizer, masked=True)
    start = start_token(loaded.tokenizer)
    opening = () if start is None else (start,)
    window = min(HIDDEN_WINDOW, (longest or HIDDEN_WINDOW) - len(opening))
    rows = [TokenRow((*opening, *ids[at : at + window]), len(opening)) for at in range(0, len(ids), window)]
    if not rows:
        raise RequestError("the text has no token; pseudo-perplexity needs more")
    return sum(_pseudo(loaded, rows)), len(ids)


def _causal(loaded: Loaded, rows: Sequence[TokenRow]) -> list[float]:
    """Sums of log-probabilities. Groups of rows with a shared beginning are packed, if the model supports that."""
    job = _job(loaded, rows)
    with evaluating(loaded.model):
        lines = groups(rows)
        packs = _once(job, "groups", lambda: _reads_groups(loaded, rows, lines))
        if not packs:
            lines = [alone(number, row) for number, row in enumerate(rows)]
        separate = _once(job, "separate_output", lambda: separable(loaded.model))
        budget = min(loaded.batch_tokens, TOKENS_ON_CPU) if separate else batch_budget(loaded)
        batches = _line_batches(lines, budget)
        members = [[number for line in batch for number in line.rows] for batch in batches]
        sizes = [len(numbers) for numbers in members]
        if members and cpu_bfloat16.unchecked(loaded.model):  # also where the scores are known from before
            _compare_with_float32(loaded, [rows[number] for number in members[0][: cpu_bfloat16.COMPARED]])

        def work(batch: list[Group]) -> list[float]:
            values: list[float] = _sums(
                loaded, rows, batch, packs=packs and batch[0].length <= LONGEST_LINE
            ).tolist()
            check_finite(loaded, [rows[number].ids for line in batch for number in line.rows], values)
            return values

        found = _each(loaded, batches, sizes, work, job)
    sums = dict(zip(chain(*members), chain(*found), strict=True))
    return [sums[number] for number in range(len(rows))]


def _line_batches(lines: Sequence[Group], budget: int) -> list[list[Group]]:
    """Batches of lines, longest first. Lines that are too long for a tree mask have batches without others."""
    long = [line for line in lines if line.length > LONGEST_LINE]
    others = [line for line in lines if line.length <= LONGEST_LINE]
    return [
        [part[i] for i in chosen]
        for part in (long, others)
        for chosen in by_length([line.length for line in part], budget)
    ]


def _compare_with_float32(loaded: Loaded, rows: Sequence[TokenRow]) -> None:
    """Of a causal model in bfloat16 on a CPU: how far the scores of these rows are from float32."""
    batch = collate(rows, device=loaded.device)

    def sums() -> Tensor:
        return batch.sums(token_log_probs(logits_at(loaded.model, batch), batch.targets))

    cpu_bfloat16.compare(loaded.model, sums, [row.scored for row in rows])


def _each(
    loaded: Loaded,
    pieces: Sequence[T],
    sizes: Sequence[int],
    work: Callable[[T], list[float]],
    job: CachedJob | None,
) -> list[list[float]]:
    """The result of `work` for each piece, in order: known from before, or computed now by one of the processes.

    With a cache, the pieces are done in rounds of one per process, and the first process stores every round.

    Args:
        sizes: the number of values of each piece.
    """
    found = {int(part): values for part, values in from_first(_known(job)).items() if part.isdigit()}
    left = [number for number in range(len(pieces)) if number not in found]
    done, of = sum(sizes) - sum(sizes[number] for number in left), sum(sizes)
    if done:
        loaded.report_progress(done, of)
    at_once = count() if job else max(1, len(left))
    for first in range(0, len(left), at_once):
        turn = left[first : first + at_once]
        own = {}
        for number in mine(turn):
            own[number] = work(pieces[number])
            done += sizes[number] * count()
            loaded.report_progress(min(done, of), of)
        if is_split(loaded.model) and len(own) < -(-len(turn) // count()):
            work(pieces[turn[0]])  # this process has no piece left, but the others need its part of the model
        for number, values in _of_all(loaded, turn, sizes, own).items():
            found[number] = values
            if job:
                job.store(str(number), values)
    return [found[number] for number in range(len(pieces))]


def _of_all(
    loaded: Loaded, turn: Sequence[int], sizes: Sequence[int], own: dict[int, list[float]]
) -> dict[int, list[float]]:
    """The values of all processes: each has computed its share, and 0 elsewhere, so that they add up."""
    if count() == 1:
        return own
    flat = [value for number in turn for value in own.get(number, [0.0] * sizes[number])]
    whole = iter(summed(torch.tensor(flat, dtype=torch.float64, device=loaded.device)).tolist())
    return {number: [next(whole) for _ in range(sizes[number])] for number in turn}


def _job(loaded: Loaded, rows: Sequence[TokenRow]) -> CachedJob | None:
    """The job of this call in the cache: its values depend on the rows and on how they are batched."""
    if loaded.cache is None:
        return None
    digest = hashlib.sha256(f"{loaded.batch_tokens} {batch_budget(loaded)} {TOKENS_ON_CPU}".encode())
    for row in rows:
        digest.update(f"{row.ids} {row.first_scored}{row.after or ''}".encode())
    return loaded.cache.job(digest.hexdigest())


def _known(job: CachedJob | None) -> dict[str, Any]:
    return job.known if job else {}


def _once(job: CachedJob | None, part: str, find: Callable[[], T]) -> T:
    """A value that every process computes by itself: from the cache, or now."""
    known = from_first(_known(job))
    if part in known:
        return known[part]
    value = find()
    if job:
        job.store(part, value)
    return value


def _sums(loaded: Loaded, rows: Sequence[TokenRow], groups: Sequence[Group], *, packs: bool) -> Tensor:
    """log p(text | prefix) of the rows of these groups, in order.

    Args:
        packs: whether several groups share a line, as in a training step; otherwise each has one row and a line.
    """
    if not packs:
        batch = collate([rows[group.rows[0]] for group in groups], device=loaded.device)
        return batch.sums(batch_log_probs(loaded.model, batch).double())
    members = [number for group in groups for number in group.rows]
    shared = opening([rows[number] for number in members])
    lines = packed(groups, shared=shared)
    blocks = takes_block_mask(loaded.model, rows, lines, shared)
    batch = collate_groups(
        rows, lines, dtype=loaded.model.dtype, shared=shared, blocks=blocks, device=loaded.device
    )
    sums = batch.sums(batch_log_probs(loaded.model, batch).double())
    place = {number: i for i, number in enumerate(number for line in lines for group in line for number in group.rows)}
    return sums[[place[number] for number in members]]


def check_finite(loaded: Loaded, rows: Sequence[Sequence[int]], values: Sequence[float]) -> None:
    """RequestError, which names the sentence, for the first row whose value is no number or infinite.

    Args:
        rows: token ids, and `values` the number that was computed for each of them.
    """
    wrong = next((place for place, value in enumerate(values) if not math.isfinite(value)), None)
    if wrong is None or loaded.may_diverge:
        return
    sentence = loaded.tokenizer.decode(list(rows[wrong]), skip_special_tokens=True).strip()
    raise not_finite(loaded, sentence, values[wrong])


def not_finite(loaded: Loaded, sentence: str, value: float) -> RequestError:
    """The error for a sentence for which a model computes no finite number."""
    shown = sentence if len(sentence) <= SHOWN else f"{sentence[:SHOWN]}..."
    half = str(loaded.model.dtype).removeprefix("torch.") in ("float16", "bfloat16")
    fix = "use --dtype float32" if half else "its weights are damaged, or too large for this precision"
    return RequestError(f"the model's score of {shown!r} is {value}, which is no finite number; {fix}")


def _reads_groups(loaded: Loaded, rows: Sequence[TokenRow], lines: Sequence[Group]) -> bool:
    """Whether the model supports packed lines, tried on a short and a long group and on that with the longest row.

    Some families take no tree mask, or limit the attention themselves (ALiBi, a sliding window). Then every row has a
    line of its own.
    """
    shared = [line for line in lines if len(line.rows) > 1]
    if not shared:
        return False
    longest = max(len(rows[i].ids) for line in lines for i in line.rows), max(line.length for line in lines)
    known = _packed_up_to.get(loaded.model, (0, 0))
    if all(now <= tried for now, tried in zip(longest, known, strict=True)):
        return True
    sizes = [lambda line: -line.length, lambda line: line.length, lambda line: max(len(rows[i].ids) for i in line.rows)]
    tried = list(dict.fromkeys(max(shared, key=size) for size in sizes))
    tried_rows = [number for line in tried for number in line.rows]
    apart = _sums(loaded, rows, [alone(number, rows[number]) for number in tried_rows], packs=False)
    check_finite(loaded, [rows[number].ids for number in tried_rows], apart.tolist())
    try:
        together = _sums(loaded, rows, tried, packs=True)
    except Exception:  # whatever a family raises for a mask that it does not support
        together = torch.full_like(apart, math.inf)
    if agrees := bool((together - apart).abs().max() <= (SAME if exact(loaded.model) else SAME_HALF)):
        if _always_packs(loaded.model):
            _packed_up_to[loaded.model] = longest
        return agrees
    warnings.warn(
        f"{type(loaded.model).__name__} does not support a tree mask: sentences are scored one by one",
        stacklevel=2,
    )
    return False


def _always_packs(model: Any) -> bool:
    """Whether a model that supports packed lines does so in every state: not if prompts can be switched on."""
    kinds = {str(getattr(one, "peft_type", "")) for one in getattr(model, "peft_config", {}).values()}
    return not isinstance(model, Prompted) and all(kind.endswith("LORA") for kind in kinds)


def _pseudo(loaded: Loaded, rows: Sequence[TokenRow]) -> list[float]:
    """Pseudo-log-likelihoods: one copy of a row per scored token, with that token masked and predicted."""
    copies: dict[tuple[TokenRow, int], int] = {}  # (row with a mask, token) -> its number: computed
    wanted: list[list[int]] = []  # once, however many passages of the same sentence need it
    for row, hidden in zip(rows, masked_copies(loaded.tokenizer, rows), strict=True):
        tokens = zip(hidden, row.ids[row.first_scored :], strict=True)
        wanted.append([copies.setdefault(one, len(copies)) for one in tokens])
    asked = list(copies)
    budget = batch_budget(loaded)
    batches = list(by_length([len(copy.ids) for copy, _ in asked], budget))

    def work(chosen: list[int]) -> list[float]:
        batch = collate([asked[i][0] for i in chosen], at_token=True, device=loaded.device)
        targets = torch.tensor([asked[i][1] for i in chosen], device=loaded.device)
        values: list[float] = token_log_probs(logits_at(loaded.model, batch), targets).double().tolist()
        check_finite(loaded, [_unmasked(*asked[i]) for i in chosen], values)
        return values

    with evaluating(loaded.model):
        sizes = [len(chosen) for chosen in batches]
        if batches and cpu_bfloat16.unchecked(loaded.model):
            some = batches[0][: cpu_bfloat16.COMPARED]
            batch = collate([asked[i][0] for i in some], at_token=True, device=loaded.device)
            targets = torch.tensor([asked[i][1] for i in some], device=loaded.device)
            cpu_bfloat16.compare(
                loaded.model, lambda: token_log_probs(logits_at(loaded.model, batch), targets), [1] * len(some)
            )
        found = _each(loaded, batches, sizes, work, _job(loaded, rows))
    log_probs = dict(zip(chain(*batches), chain(*found), strict=True))
    return [sum(log_probs[number] for number in numbers) for numbers in wanted]


def _unmasked(copy: TokenRow, token: int) -> tuple[int, ...]:
    return (*copy.ids[: copy.first_scored], token, *copy.ids[copy.first_scored + 1 :])


def batch_budget(loaded: Loaded) -> int:
    """Tokens of a batch: `batch_tokens`, or fewer where the logits of all of them would not fit."""
    vocabulary = int(getattr(text_config(loaded.model), "vocab_size", 0) or 1)
    at_once = min(LOGITS_AT_ONCE, LOGITS_ON_CPU) if loaded.device.type == "cpu" else LOGITS_AT_ONCE
    return max(1, min(loaded.batch_tokens, at_once // vocabulary))


def by_length(lengths: Sequence[int], budget: int) -> Iterator[list[int]]:
    """Indices of lines, longest first, in batches of at most `budget` tokens, padding included."""
    batch: list[int] = []
    width = 0
    for index in sorted(range(len(lengths)), key=lambda i: lengths[i], reverse=True):
        if batch and width * (len(batch) + 1) > budget:
            yield batch
            batch = []
        if not batch:
            width = lengths[index]  # sorted: the first is the longest
        batch.append(index)
    if batch:
        yield batch
