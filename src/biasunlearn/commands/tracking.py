"""`--track`: logs training to TensorBoard, Weights & Biases or MLflow, through accelerate's trackers.

TensorBoard's files are in `logs/` of the run folder; the other two need an account or a server. Everything that is
logged is in metrics.jsonl as well, and no result depends on a tracker.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from biasunlearn.errors import RequestError

Tracker = Literal["tensorboard", "wandb", "mlflow"]
PROJECT = "biasunlearn"

OnStep = Callable[[dict[str, Any]], None]


@contextlib.contextmanager
def tracked(names: Sequence[str], out: str | Path, config: Mapping[str, Any], on_step: OnStep) -> Iterator[OnStep]:
    """`on_step` that also logs to the trackers, which are opened with the first step, after the request was checked.

    Raises:
        RequestError: a tracker whose package is not installed, or that cannot be started.
    """
    for name in names:
        _installed(name)
    if not names:
        yield on_step
        return
    opened: list[Any] = []

    def step(row: dict[str, Any]) -> None:
        if not opened:
            opened.append(_open(names, Path(out), config))
        opened[0].log(scalars(row), step=row["step"])
        on_step(row)

    try:
        yield step
    finally:
        for accelerator in opened:
            accelerator.end_training()


def scalars(row: Mapping[str, Any]) -> dict[str, float]:
    """A row of metrics.jsonl as flat numbers.

    By hand: {"step": 1, "loss_kl": 0.5, "ss": {"age": 60.0}} -> {"loss/kl": 0.5, "ss/age": 60.0}
    """
    found = {f"loss/{key[5:]}": value for key, value in row.items() if key.startswith("loss_")}
    found |= {key: row[key] for key in ("log_ratio", "lr", "lms") if row.get(key) is not None}
    found |= {f"ss/{name}": value for name, value in (row.get("ss") or {}).items()}
    weights = (row.get("decision") or {}).get("swap_weights") or {}
    return found | {f"swap_weight/{name}": value for name, value in weights.items()}


def _installed(name: str) -> None:
    from importlib.util import find_spec

    if find_spec(name) is None:
        raise RequestError(f"--track {name}: not installed; pip install {name}")


def _open(names: Sequence[str], out: Path, config: Mapping[str, Any]) -> Any:
    from accelerate.utils import ProjectConfiguration

    from biasunlearn.models.libraries import accelerate, on_cpu

    folders = ProjectConfiguration(project_dir=str(out), logging_dir=str(out / "logs"))
    accelerator = accelerate().Accelerator(cpu=on_cpu(), log_with=list(names), project_config=folders)
    plain = {key: value if isinstance(value, (int, float, str)) else str(value) for key, value in config.items()}
    try:
        accelerator.init_trackers(PROJECT, config=plain)
    except Exception as error:  # a tracker may raise anything
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise RequestError(f"--track {' '.join(names)}: cannot be started: {reason}") from error
    return accelerator
