"""`demo`: the main job on a toy world whose bias is known, so that the measurement can be checked.

The world, its corpus and a small model trained on it are made here, without a network; then `debias` runs as on any
other model. The target terms, templates and attribute words of the report split are not in the training pairs.
"""

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

from biasunlearn.commands.belief import SETTINGS
from biasunlearn.commands.debias import debias
from biasunlearn.commands.run_context import OnStep, Progress, Say
from biasunlearn.config import load_config
from biasunlearn.data import belief_world as belief_module
from biasunlearn.data import toy_world as world_module
from biasunlearn.data.belief_pairs import BIAS_TYPE
from biasunlearn.data.belief_world import build_belief_world, train_belief_model
from biasunlearn.data.readers import write_pairs
from biasunlearn.data.records import Triplet
from biasunlearn.data.toy_world import World, build_world, train_world_model
from biasunlearn.runs.atomic import whole_file, whole_folder
from biasunlearn.runs.results import Results
from biasunlearn.scoring.protocol import EvalOptions

SEED = 0


def demo(
    out: str | Path | None = None,
    *,
    progress: Progress | None = None,
    say: Say | None = None,
    on_step: OnStep | None = None,
) -> Results:
    """Builds the world, trains its model (once; both are cached) and debiases it.

    Args:
        out: the run folder (default: the first free one of demo-run, demo-run-2, ...).
    Returns:
        The results, with `known_skew` and the run folder as `out`.
    """
    out = _free_folder() if out is None else Path(out)
    world = build_world(SEED)
    home = _cache_folder() / f"world-{_hash(world.corpus, world_module)}"
    _write_world(world, home)

    def report(done: int, of: int, loss: float) -> None:
        if progress:
            progress("training the world's model", done, of)

    _once(home / "model", partial(train_world_model, world, seed=SEED, progress=report))
    results = debias(
        str(home / "model"),
        train=str(home / "train.jsonl"),
        report=str(home / "report.json"),
        unrelated=str(home / "unrelated.txt"),
        out=out,
        config=load_config("demo"),
        benchmarks={"perplexity": str(home / "facts.txt")},
        options=EvalOptions(term_lists=tuple(str(home / f"terms-{name}.yaml") for name in world.term_lists)),
        progress=progress,
        say=say,
        on_step=on_step,
    )
    return results.with_values(known_skew=dict(world.known_skew), out=str(out))


def belief_demo(
    out: str | Path | None = None,
    *,
    progress: Progress | None = None,
    say: Say | None = None,
    on_step: OnStep | None = None,
) -> Results:
    """The same for belief bias: a world in which it is known, its model, and the benchmark before and after."""
    out = _free_folder() if out is None else Path(out)
    world = build_belief_world(SEED)
    folder = _cache_folder() / f"belief-{_hash(world.corpus, belief_module, world_module)}"
    _once(folder, partial(train_belief_model, world, seed=SEED))
    if say:
        say(f"the world's belief bias: an effect of {world.effect:g} points, or {world.effect_margin:.2f} nats")
    results = debias(
        str(folder),
        train=world.data.train,
        report=world.data.report,
        unrelated=world.data.unrelated,
        benchmarks={"belief_bias": world.data.benchmark},
        out=out,
        config=load_config(None, [*SETTINGS, "max_steps=60", "evaluate_every=5", "first_evaluation=5", "confirm=2"]),
        progress=progress,
        say=say,
        on_step=on_step,
    )
    return results.with_values(known_skew={BIAS_TYPE: 100.0}, out=str(out))


def _write_world(world: World, home: Path) -> None:
    """Writes the world as a user's files: training pairs, report triplets, sentences, text."""
    home.mkdir(parents=True, exist_ok=True)
    (home / "train.jsonl").unlink(missing_ok=True)
    write_pairs(world.train, home / "train.jsonl")
    unrelated = [*(c.unrelated.text for c in world.train if c.unrelated), *world.ordinary]
    contents = {
        "report.json": json.dumps({"version": "1.0", "data": {"intrasentence": _official(world.report)}}),
        "unrelated.txt": "".join(text + "\n" for text in dict.fromkeys(unrelated)),
        "facts.txt": "".join(text + "\n" for text in world.facts),
        **{f"terms-{name}.yaml": content for name, content in world.term_lists.items()},
    }
    for name, content in contents.items():
        with whole_file(home / name) as temporary:
            temporary.write_text(content, encoding="utf-8")


def _official(triplets: Sequence[Triplet]) -> list[dict[str, Any]]:
    return [
        {
            "id": c.id, "target": c.target, "bias_type": c.bias_type, "context": c.context,
            "sentences": [
                {"id": s.id, "sentence": s.text, "labels": [], "gold_label": role} for role, s in c.sentences()
            ],
        }
        for c in triplets
    ]  # fmt: skip


def _once(folder: Path, train: Callable[[Path], None]) -> None:
    """Trains a world's model unless it is cached: the folder is named after the world and its code."""
    if folder.exists():
        return
    from biasunlearn.models.libraries import transformers

    transformers()  # without its own progress bars
    with whole_folder(folder) as temporary:
        train(temporary)


def _hash(corpus: Sequence[str], *modules: ModuleType) -> str:
    """The beginning of a hash of a world's sentences and of the code that makes it and trains its model."""
    source = b"".join(Path(str(module.__file__)).read_bytes() for module in modules)
    return hashlib.sha256(source + "\n".join(corpus).encode()).hexdigest()[:16]


def _cache_folder() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "biasunlearn"


def _free_folder() -> Path:
    """demo-run, or demo-run-2, demo-run-3, ...: a run is never overwritten."""
    candidates = (Path("demo-run" if number == 1 else f"demo-run-{number}") for number in range(1, 10_000))
    return next(path for path in candidates if not (path / "config.yaml").exists())
