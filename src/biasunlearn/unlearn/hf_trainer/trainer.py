"""`BiasUnlearnTrainer`: a transformers.Trainer with the losses, batches, swap and stop rules of this package."""

import copy
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader
from transformers import Trainer, TrainerCallback

from biasunlearn.config import DebiasConfig
from biasunlearn.data.readers import read_triplets
from biasunlearn.data.tables import table_given
from biasunlearn.data.unrelated import unrelated_given
from biasunlearn.errors import RequestError
from biasunlearn.models.distributed import count
from biasunlearn.models.given import check_scorable
from biasunlearn.models.libraries import first_line, peft
from biasunlearn.models.load import load
from biasunlearn.models.load_checks import with_start_token
from biasunlearn.models.packed_forward import RowCache
from biasunlearn.unlearn.hf_trainer.batches import RoleCollator, StepDataset, step_batch
from biasunlearn.unlearn.hf_trainer.callback import BiasCallback, Unlearning
from biasunlearn.unlearn.hf_trainer.config import SCHEDULES, BiasUnlearnConfig
from biasunlearn.unlearn.learning_rate import rate_for, weight_count
from biasunlearn.unlearn.objectives import BOTH_REFERENCES, PAIRED
from biasunlearn.unlearn.prepare import Prepared, TrainingData, training_data
from biasunlearn.unlearn.reference import Reference, ReferenceStore, other_model_reference, stored_reference
from biasunlearn.unlearn.sampler import BatchSampler
from biasunlearn.unlearn.trainer import (
    TrainingOutcome,
    add_row,
    check_settings,
    loss_terms,
    share_of_peak,
    step_dropout,
    step_weights,
    update_dual,
)

LOGGED = ("loss_forget", "loss_retain", "loss_kl", "loss_invariance", "log_ratio")
"""What is logged of the steps since the last log, as their mean."""


class BiasUnlearnTrainer(Trainer):
    """Unlearns the social bias of a causal language model with `transformers.Trainer`.

    The losses of a step, the swap weights and the end of the training are those of `debias` on the same pairs. The
    Trainer adds what it has for any training: gradient accumulation, several processes, checkpoints, and trackers.
    After `train()` the model has the best weights; `bias.training.decision` has the last decision.
    """

    lr_scheduler: Any
    control: Any
    loss_is_scaled_for_ga = True
    """Each role's loss is divided by the items of the whole step, so that accumulated losses add up to its mean."""

    def __init__(
        self,
        model: Any = None,
        args: BiasUnlearnConfig | None = None,
        data_collator: Callable[[Sequence[Mapping[str, Any]]], dict[str, Tensor]] | None = None,
        train_dataset: Any = None,
        eval_dataset: Any = None,
        processing_class: Any = None,
        model_init: Any = None,
        compute_loss_func: Any = None,
        compute_metrics: Any = None,
        callbacks: list[TrainerCallback] | None = None,
        optimizers: tuple[Any, Any] = (None, None),
        optimizer_cls_and_kwargs: Any = None,
        preprocess_logits_for_metrics: Any = None,
        peft_config: Any = None,
        ref_model: Any = None,
        unrelated_dataset: Any = None,
    ):
        """The arguments of `transformers.Trainer`, and three more.

        Args:
            model: a transformers or PEFT model, which is trained in place, or a folder or name on the hub.
            data_collator: rows with a `role` -> a batch; default `RoleCollator`.
            train_dataset: pairs (a path, list of dicts, DataFrame or Dataset; docs/data.md), or what
                `prepare` or `training_data` in unlearn/prepare.py returns.
            eval_dataset: pairs of the stop split. None: `stop_share` of the training pairs is held out, by target term.
            processing_class: the tokenizer; default: the one in the folder of the model.
            peft_config: adapter to add. The reference model is the model with its adapter switched off.
            ref_model: reference model, required to train all weights.
            unrelated_dataset: triplets with unrelated sentences, or sentences, for the KL term; also a list of `Path`,
                of which each file has the same share. None: those of the
                training pairs.
        Raises:
            RequestError, DataError: an argument is missing or excludes another one; the pairs cannot be read or split.
        """
        refused = {
            "model_init": model_init, "compute_loss_func": compute_loss_func, "compute_metrics": compute_metrics,
            "preprocess_logits_for_metrics": preprocess_logits_for_metrics,
        }  # fmt: skip
        if given := [name for name, value in refused.items() if value is not None]:
            raise RequestError(f"{given[0]}: cannot be combined with the losses and scores of unlearning; leave it out")
        args = BiasUnlearnConfig(output_dir="tmp_trainer") if args is None else args
        if not isinstance(args, BiasUnlearnConfig):
            raise RequestError(f"args: must be a BiasUnlearnConfig, is {type(args).__name__}")
        if train_dataset is None:
            raise RequestError("train_dataset: there are no pairs to train on")
        model, processing_class = _model(model, processing_class, peft_config, ref_model, args.seed)
        adapters = getattr(model, "peft_config", {})
        dropout = max((float(getattr(one, "lora_dropout", 0.0) or 0.0) for one in adapters.values()), default=0.0)
        if not args.learning_rate:
            args = copy.copy(args)  # the caller's may serve for a model of another size
            args.learning_rate = rate_for(weight_count(model), args.method)
        self.recipe = args.recipe(adapter=bool(adapters), dropout=dropout)
        self.data = _data(train_dataset, eval_dataset, unrelated_dataset, self.recipe)
        check_settings(self.recipe, self.data.sets)
        self._sampler = BatchSampler(self.data.sets, self.recipe)
        self.bias = BiasCallback(
            None, processing_class, every=None, stop=True, recipe=self.recipe,
            unlearning=Unlearning(self.data, self._sampler),
        )  # fmt: skip
        super().__init__(
            model=model, args=args, data_collator=data_collator or RoleCollator(processing_class),
            train_dataset=self.data.train, eval_dataset=self.data.stop, processing_class=processing_class,
            callbacks=callbacks, optimizers=optimizers,
            optimizer_cls_and_kwargs=optimizer_cls_and_kwargs,
        )  # fmt: skip
        self._cache = RowCache(processing_class, model)
        self._reference = _reference(model, ref_model, self._cache, self.recipe, self.args.device)
        self._step_losses: dict[str, float] = {}
        self.bias.attach(self)

    # --- batches and losses ---------------------------------------------------------------------------------

    def get_train_dataloader(self) -> DataLoader[Any]:
        """The batches of all steps. Each is drawn when it is needed, with the swap weights of that moment."""
        steps = StepDataset(
            self._sampler, self._cache, lambda: self._state.decision.swap_weights,
            parts=self.args.gradient_accumulation_steps, kl_by_token=self.recipe.kl == "real_tokens",
        )  # fmt: skip
        return DataLoader(steps, batch_size=None, collate_fn=self.data_collator)

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """The part of the step's loss that a batch of `RoleCollator` has.

        Args:
            num_items_in_batch: not used: the batch has, for each role, the part of the step that it is.
        """
        batch, shares = step_batch(inputs, paired=self.recipe.method in PAIRED)
        model.eval()  # the base model and the reference have no dropout; the adapter has its own
        with step_dropout(self.model, self._state, self.recipe):
            terms = loss_terms(model, self._cache, batch, self.recipe, self._reference).scaled(*shares)
        self._note(terms.log())
        weights = step_weights(self._state, self.recipe)
        loss = terms.total(weights) * count()  # gradients are averaged, the parts of the processes add up
        return (loss, {"forget": terms.forget, "retain": terms.retain, "kl": terms.kl}) if return_outputs else loss

    @property
    def _state(self) -> Any:
        if self.bias.training is None:
            raise RequestError("BiasUnlearnTrainer: the losses need the scores of the base model; call train()")
        return self.bias.training

    def _note(self, losses: dict[str, float]) -> None:
        """Adds up the losses of the batches of a step; the last one completes its row."""
        self._step_losses = {name: self._step_losses.get(name, 0.0) + value for name, value in losses.items()}
        if self.accelerator.sync_gradients:
            self._state.step = self.state.global_step + 1
            add_row(self._state, self._step_losses, self._get_learning_rate())
            update_dual(self._state, self._step_losses["loss_retain"], self.recipe)
            self._step_losses = {}

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
        """The rates of `debias` for the types `cosine` and `constant_with_warmup`, otherwise those of the Trainer."""
        if self.lr_scheduler is None and str(self.args.lr_scheduler_type.value) in SCHEDULES:
            recipe = self.recipe

            def rate(done: int) -> float:
                return share_of_peak(done + 1, recipe)

            self.lr_scheduler = LambdaLR(self.optimizer if optimizer is None else optimizer, rate)
            self._created_lr_scheduler = True
        return super().create_scheduler(num_training_steps, optimizer)

    # --- evaluations, logs, checkpoints ---------------------------------------------------------------------

    def evaluate(
        self, eval_dataset: Any = None, ignore_keys: list[str] | None = None, metric_key_prefix: str = "eval"
    ) -> dict[str, float]:
        """SS of each bias type, LMS, and `ss_distance`, the distance from the goal in points of SS (smaller is better).

        In training the averaged weights are evaluated on the stop split, and swap and stop are decided.

        Args:
            eval_dataset: other pairs, with which nothing is decided.
            ignore_keys: not used.
        """
        start, step = time.time(), self.state.global_step
        eval_dataset = None if eval_dataset is self.eval_dataset else eval_dataset
        training = self.bias.training
        if self.is_in_train and eval_dataset is None and training and 0 < step != training.decision.step:
            scores = self.bias.evaluate(self.model, step)
            if training.decision.swapped and self.recipe.optimizer_at_swap == "rebuilt":
                self.optimizer.state.clear()
        else:
            other = None if eval_dataset is None else read_triplets(table_given(eval_dataset, "eval_dataset")).triplets
            scores = self.bias.scores(self.model, other)
        metrics = self.bias.metrics(scores, metric_key_prefix)
        metrics[f"{metric_key_prefix}_runtime"] = round(time.time() - start, 4)
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def predict(self, test_dataset: Any, ignore_keys: Any = None, metric_key_prefix: str = "test") -> Any:
        """Raises RequestError: pairs have scores and no predictions."""
        raise RequestError("predict: pairs have scores and no predictions; call evaluate(eval_dataset)")

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Adds the losses of the roles and the swap weights to the logs of the training."""
        if "loss" in logs and self.bias.training:
            history = self.state.log_history
            last = next((row["step"] for row in reversed(history) if LOGGED[0] in row), 0)
            rows = [row for row in self.bias.training.rows if row["step"] > last and LOGGED[0] in row]
            logs |= {name: sum(row[name] for row in rows) / len(rows) for name in LOGGED if rows and name in rows[0]}
            weights = self.bias.training.decision.swap_weights
            logs |= {f"swap_weight_{name}": weight for name, weight in weights.items()}
        super().log(logs, start_time)

    def train(self, resume_from_checkpoint: str | bool | None = None, *args: Any, **kwargs: Any) -> Any:
        """As in `transformers.Trainer`. The model ends with the best weights, which `save_model` saves."""
        self.bias.resume_from = Path(resume_from_checkpoint) if isinstance(resume_from_checkpoint, str) else None
        if not resume_from_checkpoint:
            self.bias.training = None
        return super().train(resume_from_checkpoint, *args, **kwargs)

    @property
    def outcome(self) -> TrainingOutcome:
        """How the training ended, as `debias` reports it."""
        state = self._state
        reason = state.decision.reason or f"reached {self.state.global_step} steps"
        return TrainingOutcome(self.state.global_step, reason, state.best_step, state.decision.collapsed)


def _model(model: Any, tokenizer: Any, peft_config: Any, ref_model: Any, seed: int) -> tuple[Any, Any]:
    """The model to train, with its adapter, and its tokenizer. RequestError where they do not fit together."""
    if model is None:
        raise RequestError("model: must be given, as a transformers model, a folder or a name on the hub")
    if isinstance(model, str | Path):
        loaded = load(str(model))
        model, tokenizer = loaded.model, tokenizer or loaded.tokenizer
    if not hasattr(model, "config") or check_scorable(model):
        raise RequestError(f"model: a {type(model).__name__}; must be a causal language model of transformers")
    if tokenizer is None:
        raise RequestError("processing_class: give the tokenizer of the model")
    has_adapter = hasattr(model, "disable_adapter")
    if has_adapter and peft_config is not None:
        raise RequestError("peft_config: the model has an adapter already; give one of the two")
    if (has_adapter or peft_config is not None) and ref_model is not None:
        raise RequestError("ref_model: the reference is the model with its adapter off; leave ref_model out")
    if not has_adapter and peft_config is None and ref_model is None:
        raise RequestError(
            "peft_config: without an adapter there is no reference model; give peft_config, or ref_model (a second "
            "copy of the model) to train all weights"
        )
    if peft_config is not None:
        torch.manual_seed(seed)
        try:
            model = peft().get_peft_model(model, peft_config)
        except ValueError as error:
            raise RequestError(f"peft_config: {first_line(error)}") from None
    return model, with_start_token(model, tokenizer)[0]


def _data(train: Any, stop: Any, unrelated: Any, recipe: DebiasConfig) -> TrainingData:
    if isinstance(train, Prepared | TrainingData) and not (stop is None and unrelated is None):
        raise RequestError("train_dataset: prepared data have a stop split and unrelated sentences; give no others")
    if isinstance(train, Prepared):
        found = TrainingData(train.sets, train.train, train.stop)
    elif isinstance(train, TrainingData):
        found = train
    else:
        found = training_data(
            table_given(train, "train_dataset"),
            None if stop is None else table_given(stop, "eval_dataset"),
            unrelated_given(unrelated, "unrelated_dataset"),
            recipe,
        )
    return found


def _reference(model: Any, other: Any, cache: RowCache, recipe: DebiasConfig, device: torch.device) -> Reference:
    both = recipe.method in BOTH_REFERENCES
    if other is None:
        return stored_reference(model, cache, ReferenceStore(), retain=both)
    if not all(parameter.requires_grad for parameter in model.get_output_embeddings().parameters()):
        raise RequestError("ref_model: is for training all weights, but those of the output layer are frozen")
    return other_model_reference(other.to(device).requires_grad_(False), cache, retain=both)
