"""`BiasCallback`: evaluations of the stop split, swap and stop, for any transformers.Trainer."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from biasunlearn.config import DebiasConfig
from biasunlearn.data.readers import read_triplets
from biasunlearn.data.records import Triplet
from biasunlearn.data.tables import table_given
from biasunlearn.errors import RequestError
from biasunlearn.models.given import check_scorable
from biasunlearn.models.load import Loaded
from biasunlearn.runs.first_process import is_first
from biasunlearn.scoring.triplets import score_sentences
from biasunlearn.stats.stereoset import Comparison, comparisons
from biasunlearn.unlearn.checkpoint import TrainingState
from biasunlearn.unlearn.evaluation import BaseAnswers, Evaluation, StopScores, base_pairs, stop_scores
from biasunlearn.unlearn.prepare import TrainingData
from biasunlearn.unlearn.sampler import BatchSampler
from biasunlearn.unlearn.stop import distance
from biasunlearn.unlearn.swap import knows_noise
from biasunlearn.unlearn.trainer import decide_step, first_state
from biasunlearn.unlearn.weight_average import WeightAverage, assign_weights, copy_weights

FILE = "biasunlearn_state.pt"
"""What a checkpoint of the Trainer contains beside its own files."""


class BiasCallback(TrainerCallback):
    """Evaluates SS and LMS on pairs before training and every few steps, and may stop the training.

    Alone it watches whatever a Trainer trains. The scores are in `history` and in `trainer.state.log_history`; after
    `attach(trainer)` the trackers of the Trainer (W&B, TensorBoard, MLflow) log them as well, as `bias_ss_TYPE`,
    `bias_lms` and `bias_ss_distance`. `BiasUnlearnTrainer` has a callback of its own, in `trainer.bias`.
    """

    def __init__(
        self,
        pairs: Any,
        processing_class: Any,
        *,
        every: int | None = 25,
        stop: bool = False,
        recipe: DebiasConfig | None = None,
        unlearning: "Unlearning | None" = None,
    ):
        """`pairs`: a path, list of dicts, DataFrame or Dataset of pairs or StereoSet triplets.

        Args:
            processing_class: the tokenizer of the model.
            every: steps between two evaluations; the first is before training. None: when the Trainer evaluates.
            stop: end the training, with a checkpoint, when the stop rule is met or LMS has collapsed.
            recipe: settings of the stop rule (`margin`, `stop_rule`, `confirm`, `lms_floor`, ...).
            unlearning: given by `BiasUnlearnTrainer`: what only unlearning has.
        Raises:
            RequestError, DataError: the pairs cannot be read; no tokenizer.
        """
        if processing_class is None:
            raise RequestError("processing_class: the pairs cannot be scored without the tokenizer of the model")
        if every is not None and every < 1:
            raise RequestError(f"every: {every}; must be at least 1")
        given = unlearning.data.stop if unlearning else read_triplets(table_given(pairs, "pairs")).triplets
        self.pairs: Sequence[Triplet] = given
        self.recipe = recipe or DebiasConfig(swap_noise=0.0)
        self.training: TrainingState | None = None
        """The state of swap and stop; None before training."""
        self.history: list[dict[str, Any]] = []
        """A row for each evaluation: step, ss by bias type, lms, distance."""
        self.resume_from: Path | None = None
        """The checkpoint to resume from, where it is not the one in the output folder of the Trainer."""
        self._tokenizer = processing_class
        self._every = every
        self._stop = stop
        self._log: Callable[[dict[str, float]], None] | None = None
        self._answers: BaseAnswers | None = None
        self._unlearning = unlearning

    @property
    def _prefix(self) -> str:
        """Of the names of scores: what the evaluations of a Trainer have, if they are ours."""
        return "eval" if self._unlearning else "bias"

    def attach(self, trainer: Any) -> "BiasCallback":
        """Adds the callback to a Trainer, whose trackers then log the scores. Returns the callback."""
        trainer.add_callback(self)
        self._log = trainer.log
        return self

    # --- scores ---------------------------------------------------------------------------------------------

    def scores(self, model: Any, pairs: Sequence[Triplet] | None = None) -> StopScores:
        """The scores of a model as it is; of other pairs, if they are given."""
        answers = self._answers if pairs is None else None
        return self._scored(self._compared(model, pairs or self.pairs), answers, own=pairs is None)

    def metrics(self, scores: StopScores, prefix: str) -> dict[str, float]:
        """Plain numbers under names that trackers accept."""
        before = self.training.lms_before if self.training else scores.lms
        away = distance(Evaluation(0, scores, before), self.recipe)
        found = {f"{prefix}_ss_{name}": value for name, value in scores.to_dict()["ss"].items()}
        lms = {} if scores.lms is None else {f"{prefix}_lms": scores.lms}
        return {**found, **lms, f"{prefix}_ss_distance": away}

    def evaluate(self, model: Any, step: int) -> StopScores:
        """Evaluates a model in training (its averaged weights, in unlearning) and decides about swap and stop."""
        own, training = self._unlearning, self.training
        assert training is not None
        training.step = step
        if own is None:
            scores = self.scores(model)
            decide_step(training, {"step": step}, scores, self.recipe)
        else:
            row = next((one for one in reversed(training.rows) if one["step"] == step), {"step": step})
            with own.averaged(model):
                scores = self.scores(model)
                decide_step(training, row, scores, self.recipe)
                if training.best_step == step:
                    own.best = copy_weights(model)
        self.history.append({"step": step, **self.metrics(scores, self._prefix)})
        return scores

    def _scored(self, compared: Sequence[Comparison], answers: BaseAnswers | None, *, own: bool) -> StopScores:
        """The scores of comparisons; `own`: those of the stop split, whose subgroups may have swap weights."""
        parts = self._unlearning.data.parts if self._unlearning and own else None
        return stop_scores(compared, seed=self.recipe.seed, base=answers, parts=parts)

    def _compared(self, model: Any, pairs: Sequence[Triplet]) -> list[Comparison]:
        loaded = Loaded(model, self._tokenizer, check_scorable(model), may_diverge=True)
        modes = [(module, module.training) for module in model.modules()]
        try:
            return comparisons(score_sentences(loaded, pairs))
        finally:
            for module, mode in modes:
                module.training = mode

    # --- events ---------------------------------------------------------------------------------------------

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Scores the base model, or continues with the state in the checkpoint that the Trainer resumes from."""
        model = kwargs["model"]
        if self._unlearning:
            self._unlearning.begin(model, self.recipe)
        if state.global_step:
            folder = Path(args.output_dir) / f"{PREFIX_CHECKPOINT_DIR}-{state.global_step}"
            self._restore(self.resume_from or folder)
            return
        compared = self._compared(model, self.pairs)
        if self._unlearning and knows_noise(self.recipe):
            others = base_pairs(self._unlearning.data.train, self.pairs, self.recipe.stop_items)
            self._answers = BaseAnswers(compared, self._compared(model, others))
        scores = self._scored(compared, self._answers, own=True)
        contexts = self._unlearning.data.sets.contexts if self._unlearning else ()
        self.training = first_state(scores, self.recipe, invariance=bool(contexts))
        self.history = [{"step": 0, **self.metrics(scores, self._prefix)}]
        self._report(self.history[-1], state)
        if self._unlearning and self.training.decision.stop:
            warnings.warn(self.training.decision.reason, stacklevel=2)
            control.should_training_stop = True

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Averages the weights (in unlearning), or evaluates if it is time to."""
        if self._unlearning:
            self._unlearning.update(kwargs["model"])
        elif self._every and (state.global_step % self._every == 0 or state.global_step == state.max_steps):
            self.evaluate(kwargs["model"], state.global_step)
            self._report(self.history[-1], state)
            self._obey(control)

    def on_evaluate(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Stops the training if the last evaluation says so."""
        if self._unlearning and self.training:
            self._obey(control)

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Adds the state of swap and stop, the averaged and the best weights to the checkpoint."""
        if self.training is None or not is_first():
            return
        content: dict[str, Any] = {"state": self.training.to_dict(), "history": self.history}
        content["answers"] = asdict(self._answers) if self._answers else None
        if self._unlearning:
            content |= self._unlearning.to_dict()
        torch.save(content, Path(args.output_dir) / f"{PREFIX_CHECKPOINT_DIR}-{state.global_step}" / FILE)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """In unlearning the model gets the best weights."""
        if self._unlearning:
            assign_weights(kwargs["model"], self._unlearning.best)

    def _obey(self, control: TrainerControl) -> None:
        assert self.training is not None
        if self._stop and self.training.decision.stop:
            control.should_training_stop = control.should_save = True

    def _report(self, row: dict[str, Any], state: TrainerState) -> None:
        logs = {name: value for name, value in row.items() if name != "step"}
        if self._log:
            self._log(logs)
        else:
            state.log_history.append({**logs, "step": state.global_step})

    def _restore(self, folder: Path) -> None:
        if not (folder / FILE).exists():
            raise RequestError(f"{folder}: has no {FILE}; resume from a checkpoint that was saved with this callback")
        content = torch.load(folder / FILE, weights_only=True)
        if self._unlearning and "average" not in content:
            raise RequestError(f"{folder}: saved by another Trainer with a BiasCallback, not by BiasUnlearnTrainer")
        self.training, self.history = TrainingState.from_dict(content["state"]), content["history"]
        if content["answers"]:
            answers = {name: [Comparison(**one) for one in part] for name, part in content["answers"].items()}
            self._answers = BaseAnswers(**answers)
        if self._unlearning:
            self._unlearning.restore(content)


class Unlearning:
    """What only unlearning has: the sampler, the averaged weights, and the best ones so far."""

    def __init__(self, data: TrainingData, sampler: BatchSampler):
        self.data = data
        self.sampler = sampler
        self.best: dict[str, Tensor] = {}
        self._average: WeightAverage | None = None

    def begin(self, model: Any, recipe: DebiasConfig) -> None:
        """The weights before the first step are the best so far."""
        self._average, self.best = WeightAverage(model, recipe.average), copy_weights(model)
        self.sampler.position = {}

    def update(self, model: Any) -> None:
        """Takes in the weights after a step."""
        assert self._average is not None
        self._average.update(model)

    def averaged(self, model: Any) -> Any:
        """A context in which the model has the averaged weights."""
        assert self._average is not None
        return self._average.applied(model)

    def to_dict(self) -> dict[str, Any]:
        """For a checkpoint."""
        assert self._average is not None
        average = {"steps": self._average.steps, "weights": self._average.weights}
        return {"average": average, "best": self.best, "sampler": self.sampler.position}

    def restore(self, content: dict[str, Any]) -> None:
        """Continues with what `to_dict` gave."""
        assert self._average is not None
        device = next(iter(self._average.weights.values())).device
        self._average.steps = content["average"]["steps"]
        self._average.weights = {name: value.to(device) for name, value in content["average"]["weights"].items()}
        self.best, self.sampler.position = content["best"], content["sampler"]
