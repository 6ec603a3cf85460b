"""Capability: tasks of lm-eval, run by lm-eval itself on the loaded model with its adapter."""

import contextlib
import copy
import random
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from biasunlearn.errors import RequestError
from biasunlearn.models.forward import evaluating
from biasunlearn.models.load import Loaded
from biasunlearn.runs.benchmark_results import Capability, TaskScores
from biasunlearn.stats.normal import Z_95

BATCH = 8


def find_tasks(tasks: Sequence[str], loaded: Loaded) -> tuple[Any, list[str]]:
    """lm-eval's index of tasks, and the names of the requested ones: names, patterns, .yaml files, folders.

    The tasks are also loaded, with the model's name, since some count its tokens.

    Raises:
        RequestError: lm-eval is not installed, or there is no such task.
    """
    try:
        from lm_eval.tasks import TaskManager
    except ImportError:
        raise RequestError("--lm-eval needs lm-eval: pip install 'biasunlearn[lm-eval]'") from None
    folders = [task for task in tasks if Path(task).is_dir()]
    files = [task for task in tasks if Path(task).is_file()]
    named = [task for task in tasks if task not in folders and task not in files]
    manager = TaskManager(
        include_path=folders or None,
        include_defaults=bool(named),  # its own index takes seconds
        metadata={"pretrained": str(getattr(loaded.model.config, "_name_or_path", ""))},
    )
    names = list(files)
    for folder in folders:
        found = TaskManager(include_path=folder, include_defaults=False).all_subtasks
        if not found:
            raise RequestError(f"--lm-eval {folder}: no task in this folder; tasks are .yaml files with `task:`")
        names += found
    for name in named:
        found = manager.match_tasks([name])
        if not found:
            raise RequestError(f"--lm-eval {name}: lm-eval knows no such task, and there is no such file or folder")
        names += found
    try:
        manager.load(names)
    except Exception as error:  # a task downloads its data when it is loaded, and may raise anything
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise RequestError(f"--lm-eval {','.join(tasks)}: cannot be loaded: {reason}") from None
    return manager, names


def run_tasks(loaded: Loaded, tasks: Sequence[str], *, limit: int | None = None) -> Capability:
    """Runs tasks with lm_eval.simple_evaluate on the model. Every process runs all of them.

    Args:
        limit: documents of each task, the first ones.
    Returns:
        The metrics of every task, with intervals from lm-eval's standard errors, and none where it has none.
    Raises:
        RequestError: as `find_tasks`; a masked model.
    """
    if loaded.masked:
        raise RequestError("--lm-eval needs a causal model")
    manager, names = find_tasks(tasks, loaded)
    import lm_eval
    from lm_eval.models.huggingface import HFLM

    with evaluating(loaded.model), _random_states_kept(), contextlib.redirect_stdout(sys.stderr):
        model = HFLM(pretrained=loaded.model, tokenizer=copy.deepcopy(loaded.tokenizer), batch_size=BATCH)
        found = lm_eval.simple_evaluate(
            model=model, tasks=names, task_manager=manager, limit=limit, apply_chat_template=bool(loaded.chat),
            log_samples=False,
        )  # fmt: skip
    scores = {task: _task(task, found) for task in found["results"]} if found else {}
    return Capability(lm_eval=lm_eval.__version__, limit=limit, chat_template=bool(loaded.chat), tasks=scores)


def _task(task: str, found: Mapping[str, Any]) -> TaskScores:
    rows = found["results"][task]
    metrics = {}
    for key, value in rows.items():
        metric, _, kind = key.partition(",")
        if not kind or metric.endswith("_stderr") or isinstance(value, str):
            continue
        error = rows.get(f"{metric}_stderr,{kind}")
        reach = Z_95 * error if isinstance(error, int | float) else None
        ends = {} if reach is None else {"low": float(value) - reach, "high": float(value) + reach}
        metrics[metric if kind == "none" else key] = {"value": float(value), **ends}
    n, shots = found["n-samples"].get(task, {}).get("effective"), found["n-shot"].get(task)
    return TaskScores.model_validate({"n": n, "shots": shots, "version": found["versions"].get(task), **metrics})


@contextlib.contextmanager
def _random_states_kept() -> Iterator[None]:
    """Restores the random states: lm-eval seeds them, and later training must not depend on whether it ran."""
    numbers, arrays = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng():
            yield
    finally:
        random.setstate(numbers)
        np.random.set_state(arrays)
