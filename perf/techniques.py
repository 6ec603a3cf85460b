"""What each technique of the training step gains: the same steps with it and without it, by turns, in one process.

Processor time of one thread, since that is what a busy machine leaves comparable; random weights of GPT-2's shape.
"""

import argparse
import contextlib
import dataclasses
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="gpt2-small")
    parser.add_argument("--stereoset")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    import bench
    import torch

    torch.set_num_threads(1)
    torch.manual_seed(0)
    clusters = bench._clusters(arguments.stereoset)
    loaded = bench._model(arguments.model, clusters, "plain")
    steps = _Steps(loaded, clusters)
    ways: dict[str, Callable[[Any], Any]] = {
        "all": lambda _model: contextlib.nullcontext(),
        "sentences one to a line": _one_to_a_line,
        "MKL's products": lambda _model: _swapped("models.cpu_kernels", "available", lambda: False),
        "opening in every row": lambda _model: _swapped("models.packed_forward", "opening", lambda _rows: 0),
        "logits at once": lambda _model: _swapped("models.lm_head", "LOGITS_AT_ONCE", 10**12),
        "lines of 128": lambda _model: _line(128),
        "lines of 256": lambda _model: _line(256),
        "losses on all of them": lambda _model: _swapped("models.lm_head", "CACHED", 10**12),
        "attention eager": _eager,
        "activation in one pass": _activation,
    }
    spent: dict[str, list[float]] = {name: [] for name in ways}
    steps.take(0)
    for number in range(arguments.rounds):
        for name, way in ways.items():
            with way(steps.model):
                spent[name].append(steps.take(number))
    whole = statistics.median(spent["all"])
    for name, seconds in spent.items():
        print(f"{name:<26}{statistics.median(seconds):>7.2f} s{statistics.median(seconds) / whole:>7.2f} of all")


class _Steps:
    """Forward and backward of a step, the reference's values known."""

    def __init__(self, loaded: Any, clusters: Any):
        from biasunlearn.config import DebiasConfig
        from biasunlearn.models.adapters import with_lora
        from biasunlearn.models.packed_forward import RowCache
        from biasunlearn.unlearn.reference import ReferenceStore, stored_reference

        self.config, self.triplets = DebiasConfig(), clusters
        self.model = with_lora(loaded.model, self.config)
        self.cache = RowCache(loaded.tokenizer, self.model)
        self.refer = stored_reference(self.model, self.cache, ReferenceStore())

    def take(self, number: int) -> float:
        import bench

        from biasunlearn.unlearn.sampler import StepBatch
        from biasunlearn.unlearn.trainer import loss_terms

        roles = bench._roles(self.triplets, number)
        forget, retain, unrelated = (roles[role] for role in ("forget", "retain", "unrelated"))
        batch = StepBatch(forget, retain, unrelated, (1.0,) * len(forget), (1.0,) * len(retain))
        known = self.refer(batch)
        begun = time.process_time()
        loss_terms(self.model, self.cache, batch, self.config, lambda _batch: known).total(self.config).backward()
        return time.process_time() - begun


@contextlib.contextmanager
def _swapped(module: str, name: str, value: Any) -> Iterator[None]:
    import importlib

    where = importlib.import_module(f"biasunlearn.{module}")
    before = getattr(where, name)
    setattr(where, name, value)
    try:
        yield
    finally:
        setattr(where, name, before)


def _one_to_a_line(model: Any) -> Any:
    from biasunlearn.models.feature_checks import abilities

    found = dataclasses.replace(abilities(model), packs=False)
    return _swapped("models.packed_forward", "abilities", lambda _model: found)


def _line(length: int) -> Any:
    from biasunlearn.models.prefix_sharing import packed

    return _swapped("models.packed_forward", "packed", lambda chosen, *, shared: packed(chosen, length, shared=shared))


@contextlib.contextmanager
def _eager(model: Any) -> Iterator[None]:
    inner = model.get_base_model()
    before = inner.config._attn_implementation
    inner.set_attn_implementation("eager")
    try:
        yield
    finally:
        inner.set_attn_implementation(before)


@contextlib.contextmanager
def _activation(model: Any) -> Iterator[None]:
    import torch

    from biasunlearn.models.cpu_kernels import WRITTEN_OUT

    places = [
        (module, name, child)
        for module in model.modules()
        for name, child in module.named_children()
        if type(child).__name__ in WRITTEN_OUT
    ]
    for module, name, _ in places:
        setattr(module, name, torch.nn.GELU(approximate="tanh"))
    try:
        yield
    finally:
        for module, name, child in places:
            setattr(module, name, child)


if __name__ == "__main__":
    main()
