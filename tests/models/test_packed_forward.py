"""A packed reading against one sentence a forward: losses, gradients, order, neighbours, on every family."""

import random
import warnings

import pytest
import torch

from biasunlearn.data.records import Passage
from biasunlearn.errors import RequestError
from biasunlearn.models.adapters import reference, trainable, with_lora
from biasunlearn.models.batches import encode
from biasunlearn.models.cpu_kernels import fuse_activations
from biasunlearn.models.feature_checks import abilities
from biasunlearn.models.lm_head import OutputLayer
from biasunlearn.models.load import Loaded
from biasunlearn.models.logprobs import token_log_probs
from biasunlearn.models.packed_forward import Read, RowCache, read, read_rows
from biasunlearn.models.prefix_sharing import groups, packed
from biasunlearn.unlearn.losses import cross_entropy_to_reference, kl_loss
from tests import tiny
from tests.unlearn.test_trainer import config, plain_log_prob

PASSAGES = (
    Passage("The nurse said that", " she was tired."),
    Passage("The nurse said that", " he was kind and quiet."),
    Passage("The nurse said that", " she was tired."),  # twice, as an adversarial sentence is
    Passage("", "The nurse said that she was loud."),  # shares their beginning, and is scored from its first token
    Passage("My neighbour is a", " poet."),
    Passage("", "It rains."),
    Passage("", "Green ideas sleep furiously on the table."),
)
NARROW = {"mistral", "gemma2", "gemma3"}
"""The tiny ones of these see 8 tokens back: read one to a line."""


def adapted(family: str) -> Loaded:
    loaded = tiny.causal(family)
    loaded = loaded.with_model(with_lora(loaded.model, config()))
    tiny.perturb(loaded.model)
    return loaded


def plain(loaded: Loaded, passage: Passage) -> torch.Tensor:
    """log p(y | x) from one forward of one sentence, whole logits."""
    (row,) = encode(loaded.tokenizer, [passage])
    log_p = loaded.model(torch.tensor([row.ids])).logits[0].log_softmax(-1)
    places = range(row.first_scored, len(row.ids))
    return torch.stack([log_p[place - 1, row.ids[place]] for place in places]).sum()


@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_values_and_gradients_are_those_of_one_sentence_at_a_time(family: str) -> None:
    """Weights differ by sentence, so that a gradient which reaches the wrong branch shows."""
    loaded = adapted(family)
    parameters = list(trainable(loaded.model).values())
    weights = torch.linspace(0.1, 1.0, len(PASSAGES))
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        found = read(loaded.model, loaded.tokenizer, PASSAGES).log_probs
    expected = torch.stack([plain(loaded, passage) for passage in PASSAGES])
    assert torch.allclose(found, expected, atol=1e-4)
    ours = torch.autograd.grad((found * weights).mean(), parameters)
    theirs = torch.autograd.grad((expected * weights).mean(), parameters)
    for one, other in zip(ours, theirs, strict=True):
        assert torch.allclose(one, other, atol=1e-4, rtol=1e-4)
    assert max(float(slope.abs().max()) for slope in theirs) > 0.1  # the control: 1e-4 is little beside them
    assert abilities(loaded.model).packs == (family not in NARROW)
    assert any("does not support packed lines" in str(entry.message) for entry in told) == (family in NARROW)


@pytest.mark.by_day("gpt2", "llama", "opt", "gemma3")
@pytest.mark.slow
@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_the_divergence_from_the_reference_and_its_gradient(family: str) -> None:
    loaded = adapted(family)
    parameters = list(trainable(loaded.model).values())
    with reference(loaded.model):
        before = read(loaded.model, loaded.tokenizer, PASSAGES)
        whole = before.logits
    now = read(loaded.model, loaded.tokenizer, PASSAGES)
    for loss in (kl_loss, cross_entropy_to_reference):
        found, expected = now.compared(before.states, loss), loss(now.logits, whole)
        assert torch.allclose(found, expected, atol=1e-4)
        pair = [torch.autograd.grad(values.mean(), parameters, retain_graph=True) for values in (found, expected)]
        for one, other in zip(*pair, strict=True):
            assert torch.allclose(one, other, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("family", ["gpt2", "bert-decoder"])
def test_order_and_neighbours_change_nothing(family: str) -> None:
    loaded = adapted(family)
    with torch.no_grad():
        whole = read(loaded.model, loaded.tokenizer, PASSAGES).log_probs
        for seed in range(4):
            rng = random.Random(seed)
            chosen = rng.choices(range(len(PASSAGES)), k=rng.randrange(1, 12))
            found = read(loaded.model, loaded.tokenizer, [PASSAGES[i] for i in chosen]).log_probs
            assert torch.allclose(found, whole[chosen], atol=1e-4)


def test_shared_and_equal_tokens_are_read_once() -> None:
    loaded, seen = adapted("gpt2"), []
    abilities(loaded.model)
    handle = loaded.model.register_forward_pre_hook(
        lambda _module, _args, given: seen.append(given["attention_mask"].shape), with_kwargs=True
    )
    read(loaded.model, loaded.tokenizer, PASSAGES)
    handle.remove()
    rows = list(dict.fromkeys(encode(loaded.tokenizer, PASSAGES)))
    tokens = sum(group.length for group in groups(rows))
    assert len(seen) == 1 and tokens <= seen[0][0] * seen[0][-1] < sum(len(row.ids) for row in rows)


def test_nothing_to_read_is_still_a_forward_with_gradients() -> None:
    """A process whose share of a step is empty: the others wait for its part of every sum."""
    loaded = adapted("gpt2")
    found = read(loaded.model, loaded.tokenizer, ())
    assert found.rows == 0 and found.log_probs.shape == (0,)
    slopes = torch.autograd.grad(found.log_probs.sum() + found.states.sum(), list(trainable(loaded.model).values()))
    assert all(not slope.any() for slope in slopes)


@pytest.mark.parametrize("at_once", [1, 600, 10**6])
def test_how_many_positions_are_taken_at_once_changes_nothing(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("biasunlearn.models.lm_head.LOGITS_AT_ONCE", at_once)
    monkeypatch.setattr("biasunlearn.models.lm_head.LEAST_POSITIONS", 1)
    monkeypatch.setattr("biasunlearn.models.lm_head.CACHED", at_once)
    torch.manual_seed(0)
    layer = torch.nn.Linear(8, 50).requires_grad_(False)
    states, targets = torch.randn(7, 8, requires_grad=True), torch.randint(50, (7,))
    weights = torch.rand(7)
    found = OutputLayer(layer, cap=2.0).log_probs(states, targets)
    expected = token_log_probs(2 * torch.tanh(layer(states) / 2), targets)
    assert torch.allclose(found, expected, atol=1e-6)
    pair = [torch.autograd.grad((values * weights).sum(), states)[0] for values in (found, expected)]
    assert torch.allclose(*pair, atol=1e-6)
    several, wanted = torch.tensor([6, 0, 0, 3, 6]), torch.tensor([1, 2, 49, 0, 1])  # targets of a position, any order
    with torch.no_grad():
        found = OutputLayer(layer, cap=2.0).log_probs_of_places(states, several, wanted)
        expected = token_log_probs(2 * torch.tanh(layer(states) / 2)[several], wanted)
    assert torch.allclose(found, expected, atol=1e-6)


def test_an_output_layer_that_learns_is_asked_as_a_whole() -> None:
    loaded = tiny.gpt2()
    assert read(loaded.model, loaded.tokenizer, PASSAGES[:1]).output == OutputLayer()
    for parameter in loaded.model.parameters():
        parameter.requires_grad_(False)
    assert read(loaded.model, loaded.tokenizer, PASSAGES[:1]).output.layer is loaded.model.get_output_embeddings()


def test_a_family_that_does_more_to_its_logits_is_asked_as_a_whole() -> None:
    """The control of the trial: half of every logit is nothing that the output layer knows of."""
    loaded = tiny.gpt2()
    head = loaded.model.get_output_embeddings()
    head.register_forward_hook(lambda _module, _args, logits: logits / 2)
    assert abilities(loaded.model).split_off  # a hook on the layer is part of the layer
    other = tiny.gpt2(seed=1)
    other.model.register_forward_hook(lambda _module, _args, found: setattr(found, "logits", found.logits / 2))
    assert not abilities(other.model).split_off


def test_the_activation_in_one_pass_is_the_one_written_out() -> None:
    loaded, ids = tiny.gpt2(), torch.arange(24).view(2, 12)
    names = set(loaded.model.state_dict())

    def taken() -> tuple[torch.Tensor, ...]:
        logits = loaded.model(input_ids=ids).logits
        return logits, *torch.autograd.grad(logits.square().mean(), list(loaded.model.parameters()))

    before = taken()
    fuse_activations(loaded.model)
    assert any(isinstance(module, torch.nn.GELU) for module in loaded.model.modules())
    for one, other in zip(taken(), before, strict=True):
        assert torch.allclose(one, other, atol=1e-4, rtol=1e-4)
    assert set(loaded.model.state_dict()) == names


def test_lines_hold_every_group_once_and_little_padding() -> None:
    rng = random.Random(0)
    rows = [tuple(rng.randrange(50) for _ in range(rng.randrange(5, 25))) for _ in range(60)]
    found = groups([type(encode(tiny.byte_level(), [PASSAGES[0]])[0])(ids, 1) for ids in rows])
    lines = packed(found, 128)
    assert sorted(number for line in lines for group in line for number in group.rows) == list(range(60))
    width, total = max(sum(g.length for g in line) for line in lines), sum(g.length for g in found)
    assert width * len(lines) < 1.05 * total and len(lines) == -(-total // 128)
    assert packed(found[:1], 3) == [[found[0]]]


def test_plain_reckonings_agree() -> None:
    """The one here and the one of test_trainer, which knows the tokenizer's boundary by another way."""
    loaded = adapted("gpt2")
    for passage in PASSAGES[:3]:
        assert float(plain(loaded, passage)) == pytest.approx(float(plain_log_prob(loaded, passage)[0]), abs=1e-4)


def test_a_part_is_what_its_passages_are() -> None:
    loaded = adapted("gpt2")
    found = read(loaded.model, loaded.tokenizer, PASSAGES)
    part: Read = found.part(2, 5)
    assert part.rows == 3 and torch.allclose(part.log_probs, found.log_probs[2:5], atol=1e-5)
    assert part.tokens.tolist() == found.tokens[2:5].tolist()


def test_a_row_cache_gives_the_rows_of_encode_and_tokenises_each_passage_once(monkeypatch) -> None:
    loaded = tiny.gpt2()
    expected = encode(loaded.tokenizer, PASSAGES)
    asked: list[Passage] = []

    def counted(tokenizer, passages, **options):
        asked.extend(passages)
        return encode(tokenizer, passages, **options)

    monkeypatch.setattr("biasunlearn.models.packed_forward.encode", counted)
    cache = RowCache(loaded.tokenizer, loaded.model)
    assert cache.rows(PASSAGES) == expected
    assert cache.rows(PASSAGES[::-1]) == expected[::-1]
    assert sorted(asked, key=str) == sorted(set(PASSAGES), key=str)
    assert cache.rows([]) == []


def test_reading_rows_of_a_cache_is_reading_passages_bit_for_bit() -> None:
    loaded = tiny.gpt2()
    with torch.no_grad():
        rows = RowCache(loaded.tokenizer, loaded.model).rows(PASSAGES)
        one, other = read(loaded.model, loaded.tokenizer, PASSAGES), read_rows(loaded.model, rows)
        assert torch.equal(one.log_probs, other.log_probs)


def test_a_row_cache_refuses_a_passage_that_is_too_long() -> None:
    loaded = tiny.gpt2(n_positions=8)
    with pytest.raises(RequestError, match="the model takes 8"):
        RowCache(loaded.tokenizer, loaded.model).rows([Passage("", "The nurse said that she was tired. " * 3)])
