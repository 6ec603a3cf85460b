"""Which positions count: tables worked by hand, for every kind of tokenizer."""

import pytest
import torch
import transformers
from hypothesis import given
from hypothesis import strategies as st

from biasunlearn.data.records import Passage
from biasunlearn.errors import RequestError
from biasunlearn.models import batches
from biasunlearn.models.batches import TokenRow, collate, encode, start_token
from tests import tiny

TOKENIZERS = {
    "bytes": tiny.byte_level(),
    "prefix-space": tiny.byte_level(prefix_space=True),
    "metaspace": tiny.metaspace(),
    "wordpiece": tiny.word_piece(),
}


def pieces(name: str, prefix: str, text: str) -> tuple[list[str], list[str]]:
    """The tokens given and the tokens scored, as the tokenizer writes them."""
    tokenizer = TOKENIZERS[name]
    (row,) = encode(tokenizer, [Passage(prefix, text)])
    tokens = tokenizer.convert_ids_to_tokens(list(row.ids))
    return tokens[: row.first_scored], tokens[row.first_scored :]


@pytest.mark.parametrize(
    ("name", "prefix", "text", "given", "scored"),
    [
        # no prefix: all but the start token is scored
        ("bytes", "", "The nurse", ["<s>"], ["The", "Ġnurse"]),
        ("prefix-space", "", "The nurse", ["<s>"], ["ĠThe", "Ġnurse"]),
        ("metaspace", "", "The nurse", ["<s>"], ["▁The", "▁nurse"]),
        ("wordpiece", "", "The nurse", ["[CLS]"], ["the", "nurse"]),
        # the usual cut: the space belongs to the text, and a word in the middle keeps its leading space
        ("bytes", "The nurse", " is", ["<s>", "The", "Ġnurse"], ["Ġis"]),
        ("prefix-space", "The nurse", " is", ["<s>", "ĠThe", "Ġnurse"], ["Ġis"]),
        ("metaspace", "The nurse", " is", ["<s>", "▁The", "▁nurse"], ["▁is"]),
        ("wordpiece", "The nurse", " is", ["[CLS]", "the", "nurse"], ["is"]),
        # the space stands in the prefix: its token straddles the boundary, and counts as text
        ("bytes", "The nurse ", "is", ["<s>", "The", "Ġnurse"], ["Ġis"]),
        ("prefix-space", "The nurse ", "is", ["<s>", "ĠThe", "Ġnurse"], ["Ġis"]),
        ("metaspace", "The nurse ", "is", ["<s>", "▁The", "▁nurse"], ["▁is"]),
        ("wordpiece", "The nurse ", "is", ["[CLS]", "the", "nurse"], ["is"]),
        # a cut inside a word: the whole token counts as text
        ("bytes", "The nur", "se is", ["<s>", "The"], ["Ġnurse", "Ġis"]),
        ("metaspace", "The nur", "se is", ["<s>", "▁The"], ["▁nurse", "▁is"]),
        ("wordpiece", "The nur", "se is", ["[CLS]", "the"], ["nurse", "is"]),
        # no space at the cut
        ("bytes", "The nurse is", ",", ["<s>", "The", "Ġnurse", "Ġis"], [","]),
        ("metaspace", "The nurse is", ",", ["<s>", "▁The", "▁nurse", "▁is"], [","]),
        ("wordpiece", "The nurse is", ",", ["[CLS]", "the", "nurse", "is"], [","]),
        # characters of several bytes, on either side: offsets are characters, tokens are bytes
        ("bytes", "é", " is", ["<s>", "Ã", "©"], ["Ġis"]),
        ("bytes", "It", "é", ["<s>", "I", "t"], ["Ã", "©"]),
        ("bytes", "🙂", "🙂", ["<s>", "ð", "Ł", "Ļ", "Ĥ"], ["ð", "Ł", "Ļ", "Ĥ"]),
        # a normaliser that drops characters (accents) or makes tokens of unknown ones
        ("wordpiece", "Café", " rains", ["[CLS]", "ca", "##f", "##e"], ["rains"]),
        ("wordpiece", "The 🙂", " nurse", ["[CLS]", "the", "[UNK]"], ["nurse"]),
        # leading and trailing spaces of the prefix
        ("bytes", "  The", " nurse", ["<s>", "Ġ", "Ġ", "The"], ["Ġnurse"]),
        ("prefix-space", "  The", " nurse", ["<s>", "Ġ", "ĠThe"], ["Ġnurse"]),
        ("metaspace", "  The", " nurse", ["<s>", "▁", "▁The"], ["▁nurse"]),
        ("wordpiece", "  The  ", " nurse", ["[CLS]", "the"], ["nurse"]),
        # a prefix of spaces only
        ("bytes", " ", "It", ["<s>", "Ġ"], ["I", "t"]),
        ("bytes", " ", "nurse", ["<s>"], ["Ġnurse"]),
        ("wordpiece", " ", "It", ["[CLS]"], ["it"]),
    ],
)
def test_the_boundary(name: str, prefix: str, text: str, given: list[str], scored: list[str]) -> None:
    assert pieces(name, prefix, text) == (given, scored)


@pytest.mark.parametrize("name", TOKENIZERS)
@pytest.mark.parametrize("text", ["", " ", "  "])
def test_a_text_without_a_token_of_its_own(name: str, text: str) -> None:
    """An empty text never has one; a text of spaces has one where spaces are tokens, and is refused elsewhere."""
    if text and name != "wordpiece":
        _, scored = pieces(name, "It rains.", text)
        assert scored
    else:
        with pytest.raises(RequestError, match="nothing to score"):
            encode(TOKENIZERS[name], [Passage("It rains.", text)])


@given(st.text(max_size=12), st.text(min_size=1, max_size=12))
def test_the_cut_moves_no_token_and_scores_the_bytes_of_the_text(prefix: str, text: str) -> None:
    tokenizer = TOKENIZERS["bytes"]
    (row,) = encode(tokenizer, [Passage(prefix, text)])
    assert list(row.ids[1:]) == tokenizer.encode(prefix + text, add_special_tokens=False)
    sizes = [len(token) for token in tokenizer.convert_ids_to_tokens(list(row.ids[row.first_scored :]))]  # in bytes
    # All of the text is scored, and of the prefix at most one token: the one that reaches into the text.
    assert sum(sizes) >= len(text.encode()) >= sum(sizes[1:])


def test_a_tokenizer_without_offsets_finds_the_boundary_where_the_tokens_part() -> None:
    tokenizer = transformers.ByT5Tokenizer()  # bytes, written in Python: token = byte + 3; no BOS, so EOS opens
    assert not tokenizer.is_fast
    rows = encode(tokenizer, [Passage("ab", " c"), Passage("", "ab"), Passage("é", "é")])
    eos = tokenizer.eos_token_id
    assert rows[0] == TokenRow((eos, 97 + 3, 98 + 3, 32 + 3, 99 + 3), 3)
    assert rows[1] == TokenRow((eos, 97 + 3, 98 + 3), 1)
    assert rows[2] == TokenRow((eos, 0xC3 + 3, 0xA9 + 3, 0xC3 + 3, 0xA9 + 3), 3)


@pytest.mark.parametrize(
    ("tokenizer", "token"),
    [
        (tiny.byte_level(), "<s>"),  # BOS before EOS
        (tiny.byte_level(bos=False), "</s>"),  # EOS where there is no BOS
        (tiny.byte_level(eos=False), "<s>"),
        (tiny.byte_level(bos=False, eos=False), None),  # a pad is no start
        (tiny.word_piece(), "[CLS]"),
        (tiny.metaspace(), "<s>"),
    ],
)
def test_start_token(tokenizer: transformers.PreTrainedTokenizerFast, token: str | None) -> None:
    assert start_token(tokenizer) == (None if token is None else tokenizer.convert_tokens_to_ids(token))


def test_without_a_start_token_the_first_token_is_never_scored() -> None:
    tokenizer = tiny.byte_level(bos=False, eos=False)
    whole, cut = encode(tokenizer, [Passage("", "The nurse is"), Passage("The nurse", " is")])
    assert (whole.first_scored, whole.scored) == (1, 2)  # The is given: nothing comes before it
    assert (cut.first_scored, cut.scored) == (2, 1)


@pytest.mark.parametrize("longest", [3, 4])
def test_a_row_is_never_cut(longest: int) -> None:
    passages = [Passage("The nurse", " is")]  # <s> The Ġnurse Ġis: four tokens
    if longest == 4:
        assert len(encode(TOKENIZERS["bytes"], passages, max_tokens=longest)[0].ids) == 4
    else:
        with pytest.raises(RequestError, match="4 tokens, but the model takes 3.*The nurse is"):
            encode(TOKENIZERS["bytes"], passages, max_tokens=longest)


def test_encode_of_nothing_is_nothing() -> None:
    assert encode(TOKENIZERS["bytes"], []) == []


def test_encode_in_one_call_is_encode_one_by_one() -> None:
    passages = [Passage(text[:cut], text[cut:]) for text in tiny.TEXTS for cut in (0, 3, 9 if len(text) > 9 else 5)]
    for tokenizer in TOKENIZERS.values():
        assert encode(tokenizer, passages) == [encode(tokenizer, [passage])[0] for passage in passages]


# --- collate -------------------------------------------------------------------------------------------------------


def test_many_passages_are_tokenised_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    passages = [Passage("", "word " * n) for n in range(1, 8)]
    whole = encode(TOKENIZERS["bytes"], passages)
    monkeypatch.setattr(batches, "PASSAGES_AT_ONCE", 3)
    sizes = []
    tokenise = batches._tokenise
    monkeypatch.setattr(batches, "_tokenise", lambda *given: sizes.append(len(given[1])) or tokenise(*given))
    assert encode(TOKENIZERS["bytes"], passages) == whole and sizes == [3, 3, 1]


def test_collate_pads_on_the_right_and_points_before_each_scored_token() -> None:
    batch = collate([TokenRow((5, 6, 7, 8), 2), TokenRow((5, 9), 1), TokenRow((5, 6, 9), 1)])
    assert batch.rows == 3
    assert batch.input_ids.tolist() == [
        [5, 6, 7, 8],  # 7 and 8 are scored
        [5, 9, 0, 0],  # 9 is scored, two pads
        [5, 6, 9, 0],  # 6 and 9 are scored, one pad
    ]
    assert batch.attention_mask.tolist() == [
        [1, 1, 1, 1],
        [1, 1, 0, 0],
        [1, 1, 1, 0],
    ]
    # The width is 4, so row r begins at 4 r in the flattened logits; a token at place p is predicted at p - 1.
    assert batch.positions.tolist() == [
        0 + 1,  # 7 stands at 2
        0 + 2,  # 8 at 3
        4 + 0,  # 9 at 1
        8 + 0,  # 6 at 1
        8 + 1,  # 9 at 2
    ]
    assert batch.targets.tolist() == [7, 8, 9, 6, 9]
    assert batch.owners.tolist() == [0, 0, 1, 2, 2]
    assert {tensor.dtype for tensor in (batch.input_ids, batch.positions, batch.targets, batch.owners)} == {torch.long}


def test_collate_of_masked_rows_asks_for_one_place_of_each() -> None:
    batch = collate([TokenRow((2, 4, 7, 3), 2), TokenRow((2, 4, 3), 1)], at_token=True, pad=1)
    assert batch.input_ids.tolist() == [
        [2, 4, 7, 3],
        [2, 4, 3, 1],  # one pad, the one asked for
    ]
    assert batch.attention_mask.tolist() == [[1, 1, 1, 1], [1, 1, 1, 0]]
    assert batch.positions.tolist() == [2, 4 + 1]  # at the token, not before it
    assert batch.targets.tolist() == [7, 4]
    assert batch.owners.tolist() == [0, 1]


@pytest.mark.slow
@given(
    st.lists(
        st.lists(st.integers(1, 99), min_size=2, max_size=9).flatmap(
            lambda ids: st.tuples(st.just(tuple(ids)), st.integers(1, len(ids) - 1))
        ),
        min_size=1,
        max_size=6,
    )
)
def test_collate_asks_for_every_scored_token_once_and_for_no_padding(rows: list[tuple[tuple[int, ...], int]]) -> None:
    chosen = [TokenRow(ids, first) for ids, first in rows]
    batch = collate(chosen)
    assert batch.targets.tolist() == [token for row in chosen for token in row.ids[row.first_scored :]]
    assert torch.bincount(batch.owners, minlength=len(chosen)).tolist() == [row.scored for row in chosen]
    assert batch.owners.tolist() == sorted(batch.owners.tolist())
    flat, mask = batch.input_ids.flatten(), batch.attention_mask.flatten()
    assert bool(mask[batch.positions].all())
    assert torch.equal(flat[batch.positions + 1], batch.targets)  # the logits before a token predict it
    assert torch.equal(mask.view(batch.rows, -1).sum(1), torch.tensor([len(row.ids) for row in chosen]))
