"""Scores against a plain reckoning written here: one sentence a forward, no padding, no batch, whole logits."""

import math
import random
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from biasunlearn.data.records import Passage
from biasunlearn.errors import RequestError
from biasunlearn.models import prefix_sharing
from biasunlearn.models.batches import start_token
from biasunlearn.models.load import Loaded
from biasunlearn.scoring import log_prob
from biasunlearn.scoring.log_prob import Score, by_length, score, score_windows
from tests import tiny

TOLERANCE = 1e-4
PASSAGES = [
    Passage("", "The nurse said that she was tired."),
    Passage("", "It rains."),
    Passage("My neighbour is a", " poet, and my neighbour is kind."),
    Passage("A doctor came", " to the house."),
    Passage("Green ideas sleep", " furiously"),
    Passage("The poet is quiet;", " the nurse is loud."),
    Passage("", "They moved to the town"),
]


def plain(loaded: Loaded, passage: Passage) -> tuple[float, int]:
    """log p(text | prefix) the long way. Valid where the prefix alone has the tokens that it has in the whole."""
    tokenizer = loaded.tokenizer
    opening = tokenizer.bos_token or tokenizer.eos_token or tokenizer.cls_token
    ids = tokenizer.encode(passage.prefix + passage.text, add_special_tokens=False)
    given = len(tokenizer.encode(passage.prefix, add_special_tokens=False)) if passage.prefix else 0
    if opening is not None:
        ids, given = [tokenizer.convert_tokens_to_ids(opening), *ids], given + 1
    given = max(given, 1)
    with torch.no_grad():
        log_p = loaded.model(torch.tensor([ids])).logits[0].double().log_softmax(-1)
    return sum(float(log_p[place - 1, ids[place]]) for place in range(given, len(ids))), len(ids) - given


@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_batched_scores_are_those_of_one_sentence_at_a_time(family: str) -> None:
    loaded = tiny.causal(family)
    for passage, found in zip(PASSAGES, score(loaded, PASSAGES), strict=True):
        log_prob, tokens = plain(loaded, passage)
        assert found.log_prob == pytest.approx(log_prob, abs=TOLERANCE), passage
        assert found.tokens == tokens
        assert found.mean == pytest.approx(log_prob / tokens, abs=TOLERANCE)


@pytest.mark.by_day("1-gpt2", "40-llama", "4096-gemma3")
@pytest.mark.parametrize("family", tiny.FAMILIES)
@pytest.mark.parametrize("batch_tokens", [1, 40, 4096])
def test_order_batch_size_and_duplicates_never_change_a_score(family: str, batch_tokens: int) -> None:
    loaded = tiny.causal(family)
    alone = {passage: score(loaded, [passage])[0] for passage in PASSAGES}
    shuffled = random.Random(3).sample(PASSAGES * 2, 2 * len(PASSAGES))
    for passage, found in zip(shuffled, score(replace(loaded, batch_tokens=batch_tokens), shuffled), strict=True):
        assert found.tokens == alone[passage].tokens
        assert found.log_prob == pytest.approx(alone[passage].log_prob, abs=TOLERANCE)


@pytest.mark.by_day("gpt2", "llama", "opt", "gemma3")
@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_negative_control_padding_and_context_do_change_the_logits(family: str) -> None:
    """If pads to the left were not masked, or a prefix ignored, the scores above would differ by far more than 1e-4."""
    loaded = tiny.causal(family)
    ids = loaded.tokenizer.encode("The nurse said that", add_special_tokens=False)
    with torch.no_grad():
        right = loaded.model(torch.tensor([ids])).logits[0, -1]
        seen = loaded.model(torch.tensor([[7, 7, *ids]])).logits[0, -1]  # attended to, as with no mask
    assert (right - seen).abs().max() > 100 * TOLERANCE
    given, not_given = score(loaded, [Passage("My neighbour", " is a poet"), Passage("A doctor", " is a poet")])
    assert abs(given.log_prob - not_given.log_prob) > 100 * TOLERANCE


def test_negative_control_on_a_masked_model() -> None:
    loaded = tiny.masked()
    ids = loaded.tokenizer.encode("the nurse said that")
    padded, mask = torch.tensor([[*ids, 0, 0, 0]]), torch.tensor([[1] * len(ids) + [0] * 3])
    with torch.no_grad():
        alone = loaded.model(torch.tensor([ids])).logits[0]
        hidden = loaded.model(padded, attention_mask=mask).logits[0, : len(ids)]
        seen = loaded.model(padded).logits[0, : len(ids)]
    assert (alone - hidden).abs().max() < TOLERANCE
    assert (alone - seen).abs().max() > 100 * TOLERANCE


def seen_inputs(loaded: Loaded, passages: list[Passage]) -> tuple[list[Score], list[list[int]]]:
    """Scores, and every row of ids that reached the model, without its padding."""
    rows: list[list[int]] = []

    def note(_module: object, _args: tuple[object, ...], given: dict[str, torch.Tensor]) -> None:
        for ids, mask in zip(given["input_ids"], given["attention_mask"], strict=True):
            rows.append(ids[mask.bool()].tolist())

    handle = loaded.model.register_forward_pre_hook(note, with_kwargs=True)
    try:
        return score(loaded, passages), rows
    finally:
        handle.remove()


@pytest.mark.parametrize(
    ("tokenizer", "opening"),
    [
        (tiny.byte_level(), "<s>"),
        (tiny.byte_level(bos=False), "</s>"),
        (tiny.byte_level(bos=False, pad=False), "</s>"),
        (tiny.byte_level(pad=False), "<s>"),
        (tiny.byte_level(eos=False), "<s>"),
        (tiny.byte_level(prefix_space=True), "<s>"),
        (tiny.metaspace(), "<s>"),  # its post-processor adds <s> as well, when asked: it must not be asked
        (tiny.word_piece(), "[CLS]"),  # likewise, and no [SEP]
    ],
    ids=["all", "eos-only", "eos-only-no-pad", "no-pad", "bos-only", "prefix-space", "metaspace", "wordpiece"],
)
def test_the_start_token_is_prepended_once_and_never_scored(tokenizer: object, opening: str) -> None:
    loaded = tiny.gpt2(tokenizer)
    start = loaded.tokenizer.convert_tokens_to_ids(opening)
    assert start_token(loaded.tokenizer) == start
    ids = loaded.tokenizer.encode("It rains.", add_special_tokens=False)
    (found,), (row,) = seen_inputs(loaded, [Passage("", "It rains.")])
    assert row == [start, *ids]
    assert row.count(start) == 1
    assert found.tokens == len(ids)
    assert found.log_prob == pytest.approx(plain(loaded, Passage("", "It rains."))[0], abs=TOLERANCE)


def test_without_a_start_token_the_first_token_is_given_and_not_scored() -> None:
    loaded = tiny.gpt2(tiny.byte_level(bos=False, eos=False, pad=False))
    assert start_token(loaded.tokenizer) is None
    ids = loaded.tokenizer.encode("It rains.", add_special_tokens=False)
    (found,), (row,) = seen_inputs(loaded, [Passage("", "It rains.")])
    assert row == ids
    assert found.tokens == len(ids) - 1
    assert found.log_prob == pytest.approx(plain(loaded, Passage("", "It rains."))[0], abs=TOLERANCE)
    # With a prefix there is something before every token of the text, and all of them count.
    given = score(loaded, [Passage("It", " rains.")])[0]
    assert given.tokens == len(loaded.tokenizer.encode(" rains.", add_special_tokens=False))
    with pytest.raises(RequestError, match="nothing to score"):
        score(loaded, [Passage("", "t")])


@pytest.mark.by_day("gpt2", "llama", "opt", "gemma3")
@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_a_prefix_given_and_a_prefix_scored_add_up(family: str) -> None:
    """The chain rule: log p(prefix text) = log p(prefix) + log p(text | prefix)."""
    loaded = tiny.causal(family)
    whole, first, rest = score(
        loaded,
        [
            Passage("", "My neighbour is a poet"),
            Passage("", "My neighbour is"),
            Passage("My neighbour is", " a poet"),
        ],
    )
    assert whole.tokens == first.tokens + rest.tokens
    assert whole.log_prob == pytest.approx(first.log_prob + rest.log_prob, abs=TOLERANCE)


def test_equal_passages_are_scored_once() -> None:
    told: list[tuple[int, int]] = []
    passages = [PASSAGES[1], PASSAGES[0], PASSAGES[1]]
    found = score(tiny.gpt2().with_progress(lambda done, of: told.append((done, of))), passages)
    assert found[0] == found[2]
    assert told[-1] == (2, 2)


def test_nothing_to_score_gives_nothing() -> None:
    assert score(tiny.gpt2(), []) == []


@pytest.mark.parametrize("passage", [Passage("", ""), Passage("It rains.", "")])
def test_a_passage_without_a_token_of_its_own_is_refused(passage: Passage) -> None:
    with pytest.raises(RequestError, match="nothing to score"):
        score(tiny.gpt2(), [passage])


def test_a_passage_that_does_not_fit_is_refused_and_never_cut() -> None:
    loaded = tiny.gpt2(n_positions=16)
    letters = "t" * 15  # one token each, and the start token: 16
    assert len(loaded.tokenizer.encode(letters)) == 15
    assert score(loaded, [Passage("", letters)])[0].tokens == 15
    with pytest.raises(RequestError, match="17 tokens, but the model takes 16"):
        score(loaded, [PASSAGES[1], Passage("", letters + "t")])


@pytest.mark.parametrize("mode", [True, False])
def test_scoring_leaves_the_mode_and_the_gradients_as_they_were(mode: bool) -> None:
    loaded = tiny.gpt2(embd_pdrop=0.5)
    expected = score(loaded, PASSAGES)
    loaded.model.train(mode)
    assert score(loaded, PASSAGES) == expected  # dropout was off
    assert loaded.model.training is mode
    assert torch.is_grad_enabled()
    assert all(parameter.grad is None for parameter in loaded.model.parameters())


# --- masked models -------------------------------------------------------------------------------------------------


def pseudo(loaded: Loaded, passage: Passage) -> tuple[float, int]:
    """[CLS] whole [SEP]; each token of the text masked in turn, one forward each."""
    tokenizer = loaded.tokenizer
    ids = [
        tokenizer.cls_token_id,
        *tokenizer.encode(passage.prefix + passage.text, add_special_tokens=False),
        tokenizer.sep_token_id,
    ]
    given = 1 + (len(tokenizer.encode(passage.prefix, add_special_tokens=False)) if passage.prefix else 0)
    total = 0.0
    for place in range(given, len(ids) - 1):
        masked = torch.tensor([[*ids[:place], tokenizer.mask_token_id, *ids[place + 1 :]]])
        with torch.no_grad():
            total += float(loaded.model(masked).logits[0, place].double().log_softmax(-1)[ids[place]])
    return total, len(ids) - 1 - given


@pytest.mark.parametrize("batch_tokens", [1, 50, 4096])
@pytest.mark.parametrize("build", [tiny.masked, tiny.masked_roberta])
def test_pseudo_log_likelihood_is_that_of_a_hand_written_loop(build: Callable[[], Loaded], batch_tokens: int) -> None:
    loaded = build()
    for passage, found in zip(PASSAGES, score(replace(loaded, batch_tokens=batch_tokens), PASSAGES), strict=True):
        total, tokens = pseudo(loaded, passage)
        assert found.tokens == tokens
        assert found.log_prob == pytest.approx(total, abs=TOLERANCE), passage


def test_pseudo_log_likelihood_of_a_token_that_repeats_and_of_one_that_looks_like_the_frame() -> None:
    loaded = tiny.masked()
    for text in ("the the the", "[CLS] the nurse", "[SEP]"):
        passage = Passage("", text)
        assert score(loaded, [passage])[0].log_prob == pytest.approx(pseudo(loaded, passage)[0], abs=TOLERANCE), text


def test_a_masked_model_also_needs_room_for_the_end_of_its_frame() -> None:
    """[CLS] and [SEP] are both rows of the model's positions."""
    loaded = tiny.masked(max_position_embeddings=8)
    fits, too_long = Passage("", "." * 6), Passage("", "." * 7)
    assert score(loaded, [fits])[0].log_prob == pytest.approx(pseudo(loaded, fits)[0], abs=TOLERANCE)
    with pytest.raises(RequestError, match="the model takes"):
        score(loaded, [too_long])


def test_a_family_that_counts_positions_from_behind_its_pad_takes_fewer_tokens() -> None:
    """RoBERTa: pad id 1, so the first token stands at position 2, and 10 rows of positions hold 8 tokens."""
    loaded = tiny.masked_roberta(max_position_embeddings=10)
    fits, too_long = Passage("", "." * 6), Passage("", "." * 7)
    assert score(loaded, [fits])[0].log_prob == pytest.approx(pseudo(loaded, fits)[0], abs=TOLERANCE)
    with pytest.raises(RequestError, match="the model takes"):
        score(loaded, [too_long])


def test_progress_on_a_masked_model_ends_where_it_says() -> None:
    told: list[tuple[int, int]] = []
    score(replace(tiny.masked(), batch_tokens=30, progress=lambda done, of: told.append((done, of))), PASSAGES)
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert told[-1][0] == told[-1][1]
    assert all(done <= of for done, of in told)


# --- windows -------------------------------------------------------------------------------------------------------


def test_windows_score_every_token_but_the_first_once_with_the_context_that_they_have() -> None:
    loaded = tiny.gpt2(n_positions=16)
    text = " ".join(tiny.TEXTS[:3])
    ids = loaded.tokenizer.encode(text, add_special_tokens=False)
    assert len(ids) > 32
    # Window 16, step 8: token i >= 16 is read with the window that begins at 8 * (i // 8 - 1).
    expected = 0.0
    for place in range(1, len(ids)):
        begin = 0 if place < 16 else 8 * (place // 8 - 1)
        with torch.no_grad():
            log_p = loaded.model(torch.tensor([ids[begin:place]])).logits[0, -1].double().log_softmax(-1)
        expected += float(log_p[ids[place]])
    total, tokens = score_windows(loaded, text, stride=2)
    assert tokens == len(ids) - 1
    assert total == pytest.approx(expected, abs=10 * TOLERANCE)
    small = replace(loaded, batch_tokens=16)
    assert score_windows(small, text, stride=2)[0] == pytest.approx(total, abs=10 * TOLERANCE)


def test_one_window_holds_a_short_text_and_one_token_is_too_short() -> None:
    loaded = tiny.gpt2()
    ids = loaded.tokenizer.encode("It rains.", add_special_tokens=False)
    with torch.no_grad():
        log_p = loaded.model(torch.tensor([ids])).logits[0].double().log_softmax(-1)
    expected = sum(float(log_p[place - 1, ids[place]]) for place in range(1, len(ids)))
    total, tokens = score_windows(loaded, "It rains.", stride=2)
    assert (total, tokens) == (pytest.approx(expected, abs=TOLERANCE), len(ids) - 1)
    for text in ("", "t"):
        with pytest.raises(RequestError, match="fewer than two tokens"):
            score_windows(loaded, text, stride=2)


# --- batching by length --------------------------------------------------------------------------------------------


def test_by_length_batches_the_longest_first_and_stays_within_the_budget() -> None:
    rows = [3, 9, 4, 4, 2]
    # Longest first: 9 alone (2 * 9 > 12), then 4 + 4 + 3 padded to 3 * 4 = 12, then 2.
    assert list(by_length(rows, 12)) == [[1], [2, 3, 0], [4]]
    assert list(by_length(rows, 1)) == [[1], [2], [3], [0], [4]]  # a row beyond the budget goes alone
    assert list(by_length(rows, 10**6)) == [[1, 2, 3, 0, 4]]
    assert list(by_length([], 10)) == []


def test_a_long_sentence_is_scored_without_a_tree_mask(monkeypatch: pytest.MonkeyPatch) -> None:
    """The mask of a line grows with the square of its length. Two long sentences of one beginning are scored apart."""
    long = "The nurse said that she was very, very tired and"
    short = [Passage("", "It rains a lot."), Passage("", "It rains a bit.")]  # still share what they begin with
    passages = [*PASSAGES, *short, Passage("", f"{long} kind."), Passage("", f"{long} rude.")]
    loaded = tiny.gpt2()
    whole = score(loaded, passages)
    widths, lengths = [], []
    made, plainly = log_prob.collate_groups, log_prob.collate

    def collate_groups(rows, lines, **options):
        widths.extend(sum(group.length for group in line) for line in lines)
        return made(rows, lines, **options)

    def collate(rows, **options):
        lengths.extend(len(row.ids) for row in rows)
        return plainly(rows, **options)

    monkeypatch.setattr(log_prob, "collate_groups", collate_groups)
    monkeypatch.setattr(log_prob, "collate", collate)
    score(loaded, passages)
    longest = max(widths)
    assert not lengths  # the control: within the limit, all of them are packed
    widths.clear()
    for module in (log_prob, prefix_sharing):
        monkeypatch.setattr(module, "LONGEST_LINE", longest // 2)
    found = score(loaded, passages)
    assert [one.log_prob for one in found] == pytest.approx([one.log_prob for one in whole], abs=TOLERANCE)
    assert lengths and min(lengths) > longest // 2


def test_the_mean_is_per_token() -> None:
    assert Score(-6.0, 3).mean == -2.0
    assert math.exp(Score(math.log(0.25) * 2, 2).mean) == pytest.approx(0.25)
