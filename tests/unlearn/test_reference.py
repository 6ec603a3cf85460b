"""Stored values of the reference: the same bits again, from memory, from the file, and after a kill."""

from pathlib import Path

import pytest
import torch

from biasunlearn.data.records import Passage
from biasunlearn.models.packed_forward import RowCache
from biasunlearn.unlearn.reference import ReferenceStore, live_reference, stored_reference
from biasunlearn.unlearn.sampler import BatchSampler
from tests import tiny
from tests.unlearn.test_trainer import BATCH, SETS, config, fresh

ONE, OTHER = Passage("The nurse", " is kind."), Passage("", "The nurse is kind.")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("on_disk", [True, False])
def test_values_come_back_bit_for_bit(on_disk: bool, dtype: torch.dtype, tmp_path: Path) -> None:
    store = ReferenceStore(tmp_path / "reference.bin" if on_disk else None)
    states, number = torch.randn(5, 7).to(dtype), torch.tensor(-12.345678)
    store.put("states", ONE, states)
    store.put("log_prob", ONE, number)
    assert torch.equal(store.get("states", ONE), states) and torch.equal(store.get("log_prob", ONE), number)
    assert not store.has("log_prob", OTHER) and not store.has("states", OTHER)  # the same words, cut elsewhere


def test_what_came_after_a_checkpoint_is_forgotten(tmp_path: Path) -> None:
    path = tmp_path / "reference.bin"
    store = ReferenceStore(path)
    store.put("log_prob", ONE, torch.tensor(1.0))
    mark = store.flush()
    store.put("log_prob", OTHER, torch.tensor(2.0))
    with path.open("ab") as handle:
        handle.write(b'["log_prob", "", "cut off in')  # killed here
    again = ReferenceStore(path)
    again.truncate(mark)
    assert again.has("log_prob", ONE) and not again.has("log_prob", OTHER) and path.stat().st_size == mark
    again.put("log_prob", OTHER, torch.tensor(3.0))
    assert float(again.get("log_prob", ONE)) == 1.0 and float(again.get("log_prob", OTHER)) == 3.0
    again.truncate(0)
    assert path.stat().st_size == 0 and not again.has("log_prob", ONE)


def test_a_file_that_lacks_what_a_checkpoint_counts_is_begun_anew(tmp_path: Path) -> None:
    path = tmp_path / "reference.bin"
    store = ReferenceStore(path)
    store.put("log_prob", ONE, torch.tensor(1.0))
    path.write_bytes(path.read_bytes()[:-2])
    store.truncate(store._size)
    assert not store.has("log_prob", ONE) and path.stat().st_size == 0


def test_a_full_store_keeps_what_it_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("biasunlearn.unlearn.reference.FILE_LIMIT", 200)
    store = ReferenceStore(tmp_path / "reference.bin")
    store.put("log_prob", ONE, torch.tensor(1.0))
    store.put("states", ONE, torch.zeros(100))
    assert store.has("log_prob", ONE) and not store.has("states", ONE)


@pytest.mark.slow
@pytest.mark.parametrize("limit", [2**29, 0])
def test_stored_or_computed_again_is_the_same_reference(limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("biasunlearn.unlearn.reference.MEMORY_LIMIT", limit)
    loaded = fresh(config())
    cache, sampler = RowCache(loaded.tokenizer, loaded.model), BatchSampler(SETS, config())
    live, stored = live_reference(loaded.model, cache), stored_reference(loaded.model, cache, ReferenceStore())
    read: list[int] = []
    loaded.model.register_forward_pre_hook(
        lambda _module, _args, given: read.append(int(given["input_ids"].numel())), with_kwargs=True
    )
    for step, batch in enumerate([BATCH, *(sampler.next({"gender": 1.0, "race": -1.0}) for _ in range(12)), BATCH]):
        tiny.perturb(loaded.model, seed=step, spread=0.01)  # the adapter moves, the reference does not
        expected = live(batch)
        read.clear()
        found = stored(batch)
        assert torch.allclose(found.forget, expected.forget, atol=1e-4)
        assert torch.allclose(found.unrelated, expected.unrelated, atol=1e-4)
    assert bool(read) == (limit == 0)  # the last batch was known, where anything is kept
