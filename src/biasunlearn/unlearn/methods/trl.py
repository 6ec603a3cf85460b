"""The trainers of TRL on the training pairs, as an outside check of the preference baselines: DPO, ORPO and KTO.

TRL makes batches, tokens and losses by itself: it reads the pairs as a preference data set (data/preferences.py), adds
an end token to every completion and draws pairs at random, whatever their bias type. Steps, batch size, learning rate,
adapter, evaluations of the stop split and the rule for the best checkpoint are those of the other methods. A run is not
resumed in the middle.
"""

import copy
import importlib
import tempfile
from collections.abc import Sequence
from typing import Any

import transformers

from biasunlearn.data.preferences import preference
from biasunlearn.errors import RequestError
from biasunlearn.models.adapters import with_lora
from biasunlearn.models.libraries import peft
from biasunlearn.unlearn.learning_rate import with_rate
from biasunlearn.unlearn.methods.task import MethodResult, Task, candidate_row
from biasunlearn.unlearn.trainer import EvaluationSchedule, TrainingOutcome

MODULES = {"dpo": "trl", "kto": "trl", "orpo": "trl.experimental.orpo"}
"""Where TRL has the trainer and the configuration of a method."""


def run(task: Task) -> MethodResult:
    """Trains an adapter with a trainer of TRL; the model has the weights of the evaluation nearest to the goal.

    Raises:
        RequestError: TRL is not installed; `lora_rank: 0`.
    """
    if not task.config.lora_rank:
        raise RequestError(f"method: {task.config.method}: trains an adapter; --set lora_rank=8 or the like")
    best = BestAdapter(task)
    pairs = [pair for name in task.sets.bias_types for pair in task.sets.pairs[name]]
    rows = [preference(*pair) for pair in pairs if pair[0] != pair[1]]  # an adversarial sentence is its own partner
    trainer = make_trainer(task, rows, [best])
    best.start(trainer.model)
    trainer.train()
    best.restore()
    steps = int(trainer.state.global_step)
    for row in trainer.state.log_history:
        if task.on_step and "loss" in row:
            task.on_step({"step": int(row["step"]), "of": task.config.max_steps, "loss": float(row["loss"])})
    reason = f"TRL has trained all steps; step {best.step} is the nearest to 50 of {best.evaluations} evaluations"
    trainer.model.eval()
    return MethodResult(trainer.model, TrainingOutcome(steps, reason, best.step, False))


def make_trainer(task: Task, rows: Sequence[dict[str, str]], callbacks: Sequence[Any]) -> Any:
    """The trainer of TRL for the method, on a new LoRA of the model. RequestError where TRL is not installed."""
    import datasets

    name = task.config.method.removeprefix("trl:")
    try:
        module = importlib.import_module(MODULES[name])
        config_class, trainer_class = (getattr(module, f"{name.upper()}{kind}") for kind in ("Config", "Trainer"))
    except (ImportError, AttributeError):
        raise RequestError(f"method: {task.config.method}: needs TRL: pip install 'biasunlearn[trl]'") from None
    adapted = with_lora(task.loaded.model, task.config)
    lora, weights = adapted.peft_config["default"], _weights(adapted)
    base = adapted.unload()  # TRL makes the adapter again
    data = [part for row in rows for part in _unpaired(row)] if name == "kto" else list(rows)
    config = with_rate(task.config, base)
    args = config_class(
        output_dir=tempfile.gettempdir(),  # nothing is saved there
        save_strategy="no", report_to="none", disable_tqdm=True, logging_steps=1, bf16=False,
        use_cpu=task.loaded.device.type == "cpu", gradient_checkpointing=False, max_length=None,
        max_steps=config.max_steps, per_device_train_batch_size=config.forget_batch * (2 if name == "kto" else 1),
        learning_rate=config.learning_rate, weight_decay=config.weight_decay, max_grad_norm=config.max_grad_norm,
        lr_scheduler_type="cosine" if config.schedule == "cosine" else "constant_with_warmup",
        warmup_steps=config.warmup, seed=config.seed, beta=config.beta,
    )  # fmt: skip
    trainer = trainer_class(
        model=base, args=args, train_dataset=datasets.Dataset.from_list(data), peft_config=lora,
        processing_class=_with_padding(task.loaded.tokenizer), callbacks=list(callbacks),
    )  # fmt: skip
    peft().set_peft_model_state_dict(trainer.model, weights)  # drawn from the seed, as for the other methods
    return trainer


def _with_padding(tokenizer: Any) -> Any:
    """The tokenizer, or a copy that pads with its end token: TRL refuses one without a token for padding."""
    if tokenizer.pad_token is not None:
        return tokenizer
    padded = copy.deepcopy(tokenizer)
    padded.pad_token = padded.eos_token or padded.bos_token or padded.unk_token
    return padded


def _unpaired(row: dict[str, str]) -> list[dict[str, Any]]:
    """A row of KTO for each sentence of a pair."""
    return [{"prompt": row["prompt"], "completion": row[side], "label": side == "chosen"}
            for side in ("chosen", "rejected")]  # fmt: skip


def _weights(model: Any) -> dict[str, Any]:
    """A copy of the weights of the adapter."""
    state: dict[str, Any] = peft().get_peft_model_state_dict(model)
    return {name: values.detach().clone() for name, values in state.items()}


class BestAdapter(transformers.TrainerCallback):
    """Evaluates the stop split and keeps the weights of the evaluation nearest to the goal; the first is the base's."""

    def __init__(self, task: Task):
        self.task = task
        self.step = 0
        self.evaluations = 0
        config = task.config
        self._schedule = EvaluationSchedule(config.first_evaluation, config.evaluate_every, config.max_steps)
        self._distance = candidate_row(task, None, task.base_scores).distance
        self._model: Any = None
        self._weights: dict[str, Any] = {}

    def start(self, model: Any) -> None:
        """Keeps the new adapter, which changes nothing yet."""
        self._model = model
        self._keep(0)

    def restore(self) -> None:
        """Puts the weights of the best evaluation back."""
        peft().set_peft_model_state_dict(self._model, self._weights)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        step = int(state.global_step)
        if not self._schedule.due(step):
            return
        self.evaluations += 1
        found = candidate_row(self.task, step, self.task.evaluate(self._model)).distance
        self._model.train()
        if found < self._distance:
            self._distance = found
            self._keep(step)

    def _keep(self, step: int) -> None:
        self.step = step
        self._weights = _weights(self._model)
