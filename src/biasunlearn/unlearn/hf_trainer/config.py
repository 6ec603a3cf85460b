"""`BiasUnlearnConfig`: the arguments of transformers.Trainer, and beside them those of the method."""

import os
from dataclasses import dataclass, field
from typing import Any

from transformers import TrainingArguments

from biasunlearn.config import DebiasConfig, config_from
from biasunlearn.errors import RequestError
from biasunlearn.unlearn.objectives import OBJECTIVES, WITHOUT_PAIRS

DEFAULTS = DebiasConfig()

OWN_DATA = ("biasedit", "biasunlearn_orthogonal", *WITHOUT_PAIRS)
"""Methods for which `debias` makes other sets than those of the pairs, or an adapter of another shape."""

METHODS = tuple(name for name in OBJECTIVES if name not in OWN_DATA)
"""Methods that can be trained here."""

WHOLE = "deepspeed, fsdp: not supported here; `debias` trains a model that is split by FSDP2 (docs/scale.md)"
"""Why models that are split over processes are refused."""

SCHEDULES = {"cosine": "cosine", "constant_with_warmup": "constant"}
"""Types of the Trainer's schedule that have the rates of `debias`, with their name there. Others are the Trainer's."""

OWN = (
    "method", "stop_share", "stop_items", "train_kinds", "adversarial_share", "supervised_to", "retain_batch",
    "unrelated_batch", "batch_pairs", "batch_allocation", "batch_follows", "focus", "beta", "set_point",
    "forget_weight", "retain_weight", "kl_weight", "invariance_weight", "context_batch", "context_terms",
    "guard_batch", "npo_ratio", "retain_mean", "kl", "padded_to", "average", "swap", "swap_by",
    "swap_band", "swap_noise", "stop_rule", "margin", "interval_margin", "confirm", "lms_floor", "collapse_lms",
    "collapse_ratio", "optimizer_at_swap",
)  # fmt: skip
"""Fields of `DebiasConfig` that are fields here as well, with the same meaning."""


@dataclass
class BiasUnlearnConfig(TrainingArguments):
    """Arguments of `BiasUnlearnTrainer`: those of `transformers.TrainingArguments`, and the settings of the method.

    What the Trainer has a name for keeps that name: a step reads `per_device_train_batch_size` pairs in each process
    and each accumulated batch; `eval_steps` and `eval_delay` say when the stop split is evaluated; `learning_rate`,
    `weight_decay`, `warmup_steps`, `lr_scheduler_type`, `max_grad_norm`, `max_steps` and `seed` are as in `debias`.
    The other settings have the names and meanings of `DebiasConfig`; None stands for the default of the method.

    Args:
        method: a method that is trained on pairs, with its own default settings (docs/methods.md).
        retain_batch, unrelated_batch: sentences of a whole optimizer step, over all processes and accumulated batches.
        average: decay of the moving average of the trained weights, which is evaluated and is the result.
    Raises:
        RequestError: a value that the method does not take, or an argument that cannot be combined with it.
    """

    learning_rate: float | None = field(  # type: ignore[assignment,unused-ignore]
        default=None, metadata={"help": "Peak learning rate. None: that of the method; 0: by the size."}
    )
    per_device_train_batch_size: int = field(default=16, metadata={"help": "Pairs in a batch of one process."})
    max_steps: int = field(default=DEFAULTS.max_steps, metadata={"help": "Largest number of optimizer steps."})
    lr_scheduler_type: Any = field(default="cosine", metadata={"help": "Schedule of the learning rate."})
    warmup_steps: float = field(default=10, metadata={"help": "Steps over which the learning rate rises."})
    eval_strategy: Any = field(default="steps", metadata={"help": "When the stop split is evaluated."})
    eval_steps: float | None = field(default=25, metadata={"help": "Steps between two evaluations."})
    logging_steps: float = field(default=10, metadata={"help": "Steps between two logs."})
    remove_unused_columns: bool | None = field(default=False, metadata={"help": "Has no effect: no column is unused."})

    method: str = "biasunlearn"
    stop_share: float | None = None
    stop_items: int | None = None
    train_kinds: str | None = None
    adversarial_share: float | None = None
    supervised_to: str | None = None
    retain_batch: int | None = None
    unrelated_batch: int | None = None
    batch_pairs: str | None = None
    batch_allocation: str | None = None
    batch_follows: str | None = None
    focus: str | None = None
    beta: float | None = None
    set_point: float | None = None
    forget_weight: float | None = None
    retain_weight: float | None = None
    kl_weight: float | None = None
    invariance_weight: float | None = None
    context_batch: int | None = None
    context_terms: int | None = None
    guard_batch: int | None = None
    npo_ratio: str | None = None
    retain_mean: str | None = None
    kl: str | None = None
    padded_to: int | None = None
    average: float | None = None
    swap: str | None = None
    swap_by: str | None = None
    swap_band: float | None = None
    swap_noise: float | None = None
    stop_rule: str | None = None
    margin: float | None = None
    interval_margin: float | None = None
    confirm: int | None = None
    lms_floor: float | None = None
    collapse_lms: float | None = None
    collapse_ratio: float | None = None
    optimizer_at_swap: str | None = None

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise RequestError(f"method: {self.method!r} is not trained on pairs; choose one of {', '.join(METHODS)}")
        if self.learning_rate is None:
            self.learning_rate = DEFAULTS.learning_rate
        if getattr(self, "greater_is_better", None) is None and str(self.metric_for_best_model).endswith("ss_distance"):
            self.greater_is_better = False
        if _launcher_asks("FSDP") or _launcher_asks("DEEPSPEED"):  # transformers would look for deepspeed first
            raise RequestError(WHOLE)
        if getattr(self, "ddp_find_unused_parameters", None) is None:  # the Trainer's default for a PEFT model is true
            self.ddp_find_unused_parameters = False
        super().__post_init__()
        self.ignore_data_skip = True  # the sampler stores its position, and skipping would draw sentences again
        # Otherwise an evaluation looks for labels, which these batches do not have.
        self.label_names: list[str] | None = []
        self._refuse()
        self.recipe()

    def recipe(self, *, adapter: bool = True, dropout: float = 0.0) -> DebiasConfig:
        """The same settings as `debias` has them, with which losses, batches, swap and stop are computed.

        Args:
            adapter: whether an adapter is trained.
            dropout: of the adapter.
        """
        given = {name: getattr(self, name) for name in OWN if getattr(self, name) is not None}
        batches = self.per_device_train_batch_size * self.gradient_accumulation_steps * self.world_size
        kind = str(getattr(self.lr_scheduler_type, "value", self.lr_scheduler_type))
        same = {
            "seed": self.seed, "forget_batch": batches, "learning_rate": self.learning_rate,
            "weight_decay": self.weight_decay, "max_steps": self.max_steps, "lora_dropout": dropout,
            "warmup": self.get_warmup_steps(self.max_steps), "schedule": SCHEDULES.get(kind, "constant"),
        }  # fmt: skip
        return config_from({**same, **given, **({} if adapter else {"lora_rank": 0})}, "BiasUnlearnConfig")

    def _refuse(self) -> None:
        """RequestError for arguments of the Trainer that would change the method or do nothing."""
        accumulated = self.gradient_accumulation_steps > 1
        of_a_batch = "npo_ratio: batch_mean" if self.npo_ratio == "batch_mean" else "method: kto"
        wrong = {
            "max_steps: must be given; an epoch is no unit here, since the swap weights choose the pairs":
                self.max_steps <= 0,
            "gradient_checkpointing: has no effect, since the base model runs in evaluation mode; leave it out":
                getattr(self, "gradient_checkpointing", False) or getattr(self, "activation_checkpointing", False),
            "dataloader_num_workers: must be 0, since the next batch depends on the last evaluation":
                self.dataloader_num_workers > 0,
            "auto_find_batch_size: changes the batch during training; give per_device_train_batch_size":
                self.auto_find_batch_size,
            "several GPUs in one process: start a process for each with torchrun or accelerate launch":
                self.n_gpu > 1,
            "ddp_find_unused_parameters: must be false; with this search, DDP ends in an error in the first step":
                bool(self.ddp_find_unused_parameters),
            WHOLE: bool(self.deepspeed or self.fsdp),
            f"gradient_accumulation_steps: {of_a_batch} is computed from a whole batch; use 1":
                accumulated and (self.method == "kto" or self.npo_ratio == "batch_mean"),
        }  # fmt: skip
        for message, holds in wrong.items():
            if holds:
                raise RequestError(message)


def _launcher_asks(name: str) -> bool:
    """Whether the configuration of `accelerate launch` asks for it, which the arguments of the Trainer do not show."""
    return os.environ.get(f"ACCELERATE_USE_{name}", "false").lower() == "true"
