"""The configuration of a run: one frozen dataclass, one complete YAML file, `--set key=value`.

Every field says what it means, its symbol in the paper and the paper's value. Where the released code differs
from its paper there is a field whose named options are the two; `recipes/paper-code.yaml` sets all of them.
"""

import dataclasses
import difflib
import importlib.resources
import math
import types
import typing
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from biasunlearn.errors import RequestError
from biasunlearn.method_defaults import SETTINGS
from biasunlearn.strict_yaml import parse_yaml, read_yaml

Method = Literal[
    "biasunlearn", "biasunlearn_orthogonal", "npo", "simnpo", "gradient_ascent", "gradient_difference",
    "wga", "satimp", "undial", "ceu", "pdu", "rmu",
    "dpo", "ipo", "kto", "orpo", "equalize", "invariance",
    "sft", "cda", "dropout",
    "task_vector", "biasedit", "mlp_edit", "bias_neurons",
    "sentence_debias", "inlp", "leace", "steering", "steering_gated",
    "self_debias", "debiasing_prompt",
    "trl:dpo", "trl:orpo", "trl:kto",
]  # fmt: skip

Dtype = Literal["float32", "bfloat16", "float16", "8bit", "4bit"]

RECIPES = importlib.resources.files("biasunlearn") / "recipes"

LARGEST_INTEGER = 2**63 - 1
"""Of a seed, which NumPy and PyTorch take; no other whole number needs to be as large."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DebiasConfig:
    """How to debias. Model, data and output folder are arguments of `debias`, not part of the recipe."""

    seed: int = 0
    """Seed of the split, the training sets, the initial adapter weights and the order of the batches."""
    method: Method = "biasunlearn"
    """Method of debiasing (docs/methods.md). A method other than the default starts from defaults of its own
    (method_defaults.py) where no value is given."""

    # --- sets -----------------------------------------------------------------------------------------------
    train_kinds: Literal["intrasentence", "both"] = "intrasentence"
    """Kinds of pairs that are trained on. Paper: both. The stop rule always uses intrasentence pairs where there are
    any."""
    trained_types: tuple[str, ...] = ("all",)
    """Bias types that are trained on, or all. The pairs of the others are only used by orthogonal_weight."""
    adversarial_share: float = 0.0
    """Share of the anti-stereotypes that are also added to the forget set (the adversarial forget set). It acts with
    batch_pairs: independent only; in a matched pair such a sentence is its own partner. Released code: 0.25."""
    stop_share: float = 0.4
    """Share of the pairs of each bias type that is held out, by term family, for the swap and stop rules. A run reads a
    few thousand sentences at most, so training pairs are not scarce; the precision of SS on the stop split is."""
    term_families: str = "shipped"
    """Which target terms name the same group (a country, its people and its language), so that splits keep them
    together. shipped: the list of this package. none: every term is a group of its own. Else a YAML file that extends
    the shipped list (docs/data.md)."""
    shared_terms: Literal["dropped", "term_dropped", "kept"] = "term_dropped"
    """Training pairs about groups of the report file. dropped: pairs of the same term family as a report pair are left
    out. term_dropped: only pairs about the very same target term (or, without target terms, with the same context) are
    left out; the others are counted. kept: all are used. Released code: kept."""
    stop_on: Literal["held_out", "report"] = "held_out"
    """Data of the stop rule: the stop split that is held out, or the report file. Released code: report (it stops on
    the data that it reports; such a result is marked)."""
    stop_items: int | None = None
    """Items of the stop split that are evaluated for each bias type, the first ones. None: all. Released code: 100."""

    # --- batch ----------------------------------------------------------------------------------------------
    forget_batch: int = 16
    """Sentences of the forget set in a step. Released code: 4."""
    retain_batch: int = 16
    """Sentences of the retain set in a step. Released code: 28."""
    unrelated_batch: int = 16
    """Sentences of the unrelated set in a step. Released code: 28."""
    batch_pairs: Literal["matched", "independent"] = "matched"
    """matched: the retain sentences of a step are the partners of its forget sentences, so that the effect of what both
    share cancels; `retain_batch` is not used. Paper and released code: independent."""
    batch_allocation: Literal["gap", "even"] = "gap"
    """How the bias types share the batch. gap: in proportion to swap weight times number of pairs, so that the bias
    type farthest from 50 gets most of it and the pairs of a small one are not repeated too often. even: equally. Paper:
    even."""
    batch_follows: Literal["role", "sentences"] = "role"
    """Whether the batch sizes belong to the roles, or are exchanged by a swap together with the sentences. Released
    code: sentences."""
    focus: Literal["all", "farthest"] = "all"
    """Bias types that are trained after the first evaluation. Released code: farthest (only the one farthest from
    50)."""
    supervised_from: Literal["blank", "early"] = "blank"
    """Where the supervised part y begins. Released code with GPT tokenizers: early (13 characters before the BLANK)."""
    supervised_to: Literal["difference", "end"] = "difference"
    """Where the supervised part y ends. difference: with the last word in which the two sentences of a pair differ; the
    rest is the same in both. Paper: end (of the sentence)."""

    masked_tokens: Literal["in_turn", "one_mask"] = "in_turn"
    """Only for masked models: how the supervised tokens are hidden. in_turn: each alone, while all others are seen
    (pseudo-log-likelihood, as in every measurement). one_mask: from left to right, one mask for a token and those that
    follow it in y (official scoring of StereoSet)."""

    # --- losses ---------------------------------------------------------------------------------------------
    beta: float = 0.1
    """Beta of NPO. Other methods have their own number here (docs/methods.md)."""
    set_point: float = 0.0
    """Only for equalize: the margin, in nats per token, by which the anti-stereotype should be more likely at full swap
    weight."""
    forget_weight: float = 0.38
    """Weight of L_forget. Paper 0.4, released code 0.5."""
    retain_weight: float = 0.42
    """Weight of L_retention. Paper 0.4, released code 0.3."""
    kl_weight: float = 2.0
    """Weight of L_KL. Paper 0.2 (with which perplexity rose by several percent in our runs)."""
    invariance_weight: float = 5
    """Weight of the invariance loss: what the model expects behind a target term must not depend on the group
    (unlearn/losses.py). Paper: no such loss."""
    context_batch: int = 8
    """Sentences of a step whose target term is replaced for the invariance loss."""
    context_terms: int = 3
    """Replacements of the target term in each of them."""
    guard_batch: int = 8
    """Sentences in a step, beside the unrelated ones, that hold for one group by the meaning of their words, or do not:
    the KL term keeps them as they are. Only used with an invariance loss."""
    orthogonal_weight: float = 0.0
    """Weight of the penalty on changes of hidden states along the bias directions of other bias types
    (unlearn/bias_directions.py). Paper: no such penalty."""
    npo_ratio: Literal["sentence", "batch_mean"] = "sentence"
    """Log ratio of NPO: one for each sentence, or one for the whole batch, of token means. Released code:
    batch_mean."""
    retain_mean: Literal["sentence", "token"] = "sentence"
    """Cross-entropy of L_retention summed over the tokens of y (as in the log ratio of NPO), or averaged over them.
    Released code: token."""
    kl: Literal["real_tokens", "padded_cross_entropy"] = "real_tokens"
    """Definition of L_KL. Released code: padded_cross_entropy (cross-entropy averaged over `padded_to` positions)."""
    padded_to: int = 100
    """Positions over which the released code averages its "KL"; only used with kl: padded_cross_entropy."""

    # --- adapter and optimizer ------------------------------------------------------------------------------
    lora_rank: int = 16
    """Rank of LoRA. 0 trains all weights (full fine-tuning; the values of the reference model are cached)."""
    lora_alpha: float = 32
    """Scaling of LoRA: the update is multiplied by alpha / rank."""
    lora_dropout: float = 0.0
    """Dropout of the adapter. The base and the reference model always run without dropout. Released code: 0.1."""
    dropout_after_evaluation: Literal["kept", "disabled"] = "kept"
    """Whether the adapter's dropout stays enabled after the first evaluation. Released code: disabled (evaluation
    switches dropout off and nothing switches it on again)."""
    lora_targets: tuple[str, ...] = ("all-linear",)
    """Names of the modules with an adapter, all-linear, or attention (the linear layers of the attention). Released
    code: attn.c_attn attn.c_proj (GPT-2), q, k, v, o (Llama, Mistral), which are those of the attention."""
    learning_rate: float = 0.0
    """Peak learning rate of AdamW. 0: 0.001 for a model of up to 11 million weights outside its embeddings, and less
    for a larger one, in proportion to 1 / sqrt(weights) (unlearn/learning_rate.py). Released code: 4e-5 (gpt2-large),
    2e-5 (7B)."""
    weight_decay: float = 0.0
    """Weight decay of AdamW."""
    schedule: Literal["cosine", "constant"] = "cosine"
    """Learning rate after the warm-up. Released code: constant."""
    warmup: int = 10
    """Steps over which the learning rate rises to its peak."""
    optimizer_at_swap: Literal["kept", "rebuilt"] = "kept"
    """Whether the state of the optimizer is kept or reset at a swap. Released code: rebuilt in one script, kept in the
    other."""
    max_grad_norm: float = 1.0
    """Norm to which gradients are clipped."""
    average: float = 0.9
    """Decay of the moving average of the adapter's weights. Evaluations and the result use the average. 0: none
    (paper)."""
    max_steps: int = 160
    """Largest number of optimizer steps."""
    max_epochs: int = 30
    """Largest number of passes over the training pairs, which ends the training of a small file before max_steps. The
    warm-up and the schedule of the learning rate are shortened with it. Paper: no such rule."""

    # --- swap and stop --------------------------------------------------------------------------------------
    evaluate_every: int = 25
    """Steps between two evaluations on the stop split. Released code: 80, 50 or 30."""
    first_evaluation: int = 25
    """Step of the first evaluation. Released code: 100."""
    evaluation: Literal["full", "sequential"] = "full"
    """full: every evaluation scores the whole stop split. sequential: it scores random parts of it until the directions
    of the swap weights and the stop rule are clear, and predicts the rest from the last answers
    (unlearn/sequential.py)."""
    swap: Literal["pi", "proportional", "hard", "none"] = "pi"
    """Swap rule. hard (paper): the forget and retain sets of a bias type are exchanged while its SS is below 50.
    proportional: the swap weight is also reduced as SS approaches 50. pi: a proportional-integral controller (gains KP
    and KI, unlearn/swap.py) sets the swap weight from the distance of SS from 50 and its last change. none: the sets
    are never exchanged."""
    swap_by: Literal["bias_type", "subgroup"] = "bias_type"
    """What has a swap weight of its own. bias_type (paper): every bias type. subgroup: every subgroup of target terms
    that the term lists name (female and male terms, ...), so that a mean of 50 does not hide one at 35 beside one at
    65; its SS is shrunk towards that of its bias type where its pairs are few."""
    swap_band: float = 4.0
    """Distance of SS from 50, in points, at which the proportional rule gives full weight; the unit of distance of the
    pi rule. Never less than the standard error of SS."""
    swap_noise: float = 1.0
    """Standard errors of SS on the stop split around 50 within which the rules pi and proportional give no weight,
    since it is not known there on which side of 50 the model is. 0: none, and none of the other protections against
    noise (unlearn/swap.py). Paper: 0."""
    stop_rule: Literal["point", "interval"] = "point"
    """point (paper): the SS of every bias type lies within `margin` of 50, or within the noise of `swap_noise`.
    interval: the interval of every SS lies within `interval_margin` of 50."""
    margin: float = 2.0
    """Points of SS, for stop_rule: point. Paper: 2."""
    interval_margin: float = 6.0
    """Points of SS, for stop_rule: interval."""
    fair_margin: float = 5.0
    """Points of SS on either side of 50 that count as fair in the verdict of the run (equivalence on the report
    split). Training does not depend on it."""
    confirm: int = 3
    """Consecutive evaluations that must meet the stop rule before the run stops, since one may meet it by chance.
    Paper: 1."""
    lms_floor: float = 1.5
    """Largest fall of LMS on the stop split, in points, with which a run may stop as finished. Paper: no such rule."""
    collapse_lms: float = 8.0
    """Fall of LMS, in points, at which a run is stopped as collapsed."""
    collapse_ratio: float = 60.0
    """Mean absolute log ratio of the forget sentences, in nats, at which a run is stopped as collapsed."""

    # --- machine --------------------------------------------------------------------------------------------
    dtype: Dtype = "float32"
    """Precision of the base model's weights. 8bit and 4bit (NF4) quantize its linear layers with bitsandbytes; all
    other weights are then in half precision on an accelerator, and in float32 on a CPU."""
    batch_tokens: int = 4096
    """Tokens in a scoring batch."""

    def __post_init__(self) -> None:
        _check_types(self)
        _check_values(self)


def load_config(path: str | Path | None = None, overrides: typing.Iterable[str] = ()) -> DebiasConfig:
    """Reads a YAML file or the name of a shipped recipe, then applies `key=value` overrides.

    Args:
        path: a YAML file or the name of a shipped recipe (default: the default recipe).
        overrides: changes of single keys, as in `learning_rate=5e-4`.
    Raises:
        RequestError: unknown key (with the nearest known one), wrong type or value.
    """
    values: dict[str, Any] = {}
    where = "--set"
    if path is not None:
        source = recipe_path(str(path)) or Path(path)
        where = str(path)
        values = _read_yaml(source, where)
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals:
            raise RequestError(f"--set {override}: write key=value")
        try:
            values[key.strip()] = parse_yaml(text, key)
        except RequestError:
            raise RequestError(f"--set {override[:80]}: the value is not YAML; quote it") from None
    return config_from(values, where)


RENAMED_KEYS = {
    "places": "batch_allocation",
    "check_every": "evaluate_every",
    "first_check": "first_evaluation",
    "dropout_after_check": "dropout_after_evaluation",
}
"""Keys of version 0.1.0 with their names of today."""

RENAMED_VALUES = {("swap", "steady"): "pi", ("dropout_after_evaluation", "lost"): "disabled"}
"""Values of version 0.1.0 with their names of today."""


def current_names(values: Mapping[str, Any], where: str = "configuration") -> dict[str, Any]:
    """The same values under the names of today; a FutureWarning says which names of version 0.1.0 were used.

    Raises:
        RequestError: a key under its old and its new name.
    """
    renamed: dict[str, Any] = {}
    for key, value in values.items():
        new = RENAMED_KEYS.get(key, key)
        if new in renamed:
            raise RequestError(f"{where}: {key} is the earlier name of {new}, which is given too; keep one of them")
        old_value = isinstance(value, str) and (new, value) in RENAMED_VALUES
        renamed[new] = RENAMED_VALUES[new, value] if old_value else value
        if new != key or old_value:
            now = f"{new}: {renamed[new]}"
            warnings.warn(f"{where}: {key}: {value} is now written {now}", FutureWarning, stacklevel=3)
    return renamed


def config_from(values: dict[str, Any], where: str = "configuration") -> DebiasConfig:
    """A configuration from plain values; unknown keys are errors, missing ones take the defaults of their method."""
    values = current_names(values, where)
    known = {field.name for field in dataclasses.fields(DebiasConfig)}
    for key in values:
        if key not in known:
            near = difflib.get_close_matches(str(key), known, n=1)
            hint = f"; did you mean {near[0]}?" if near else f"; known keys: {', '.join(sorted(known))}"
            raise RequestError(f"{where}: unknown configuration key {key!r}{hint}")
    for key in ("lora_targets", "trained_types"):
        if isinstance(values.get(key), str):
            values = {**values, key: values[key].split() if key == "lora_targets" else [values[key]]}
        if isinstance(values.get(key), list):
            values = {**values, key: tuple(values[key])}
    try:
        return DebiasConfig(**{**SETTINGS.get(str(values.get("method")), {}), **values})
    except RequestError as error:
        raise RequestError(f"{where}: {error}") from None


def to_dict(config: DebiasConfig) -> dict[str, Any]:
    """Plain values, in the order of the fields, ready for YAML."""
    values = dataclasses.asdict(config)
    return {**values, "lora_targets": list(config.lora_targets), "trained_types": list(config.trained_types)}


def recipe_names() -> list[str]:
    """Names of the shipped recipes."""
    return sorted(Path(str(entry)).stem for entry in RECIPES.iterdir() if str(entry).endswith(".yaml"))


def recipe_path(name: str) -> Path | None:
    """The file of a shipped recipe, or None where `name` is not one."""
    return Path(str(RECIPES / f"{name}.yaml")) if name in recipe_names() else None


def _read_yaml(source: Path, where: str) -> dict[str, Any]:
    try:
        content = read_yaml(source)
    except RequestError as error:
        if not str(error).endswith("no such file"):
            raise
        names = ", ".join(recipe_names())
        raise RequestError(f"{where}: no such file, and no recipe of that name ({names})") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise RequestError(f"{where}: must hold `key: value` lines")
    # A run's own config.yaml holds its request beside the recipe, so that the file can start the run again.
    recipe = content.get("recipe")
    return as_it_was_split(recipe) if isinstance(recipe, dict) else content


def as_it_was_split(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """The recipe of a stored run. Before there were term families, `dropped` spoke of the very same term."""
    if "term_families" in recipe:
        return dict(recipe)
    shared = {"shared_terms": "term_dropped"} if recipe.get("shared_terms", "dropped") == "dropped" else {}
    return {**recipe, "term_families": "none", **shared}


def _check_types(config: DebiasConfig) -> None:
    """Values as declared; whole numbers pass as floats. YAML reads 4e-4 as a string, which is converted here."""
    for name, kind in typing.get_type_hints(DebiasConfig).items():
        value = getattr(config, name)
        options = typing.get_args(kind) if typing.get_origin(kind) is Literal else None
        if options is not None:
            if value not in options:
                raise RequestError(f"{name}: {value!r}; must be one of {', '.join(map(str, options))}")
        elif kind is float:
            object.__setattr__(config, name, _number(name, value))
        elif kind is int or isinstance(kind, types.UnionType):
            if value is None and isinstance(kind, types.UnionType):
                continue
            if not isinstance(value, int) or isinstance(value, bool) or abs(value) > LARGEST_INTEGER:
                raise RequestError(f"{name}: {_shown(value)}; must be a whole number below 2 to the power of 63")
        elif kind is str:
            if not isinstance(value, str) or not value:
                raise RequestError(f"{name}: {_shown(value)}; must be a text")
        elif not isinstance(value, tuple) or not all(isinstance(part, str) for part in value) or not value:
            raise RequestError(f"{name}: {value!r}; must be a list of names")


def _number(name: str, value: Any) -> float:
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise RequestError(f"{name}: {_shown(value)}; must be a number")
    return number


def _shown(value: Any) -> str:
    """A value for a message, which a wrong file may make very long."""
    text = repr(value) if not isinstance(value, int) or abs(value) <= LARGEST_INTEGER else "a larger number"
    return text if len(text) <= 60 else f"{text[:60]}..."


def _check_values(config: DebiasConfig) -> None:
    rules = {
        "must lie between 0 and 1": (("adversarial_share", "lora_dropout"), lambda v: 0 <= v <= 1),
        "must lie between 0.05 and 0.8": (("stop_share",), lambda v: 0.05 <= v <= 0.8),
        "must be at least 0 and below 1": (("average",), lambda v: 0 <= v < 1),
        "must be above 0": (
            ("beta", "swap_band", "margin", "interval_margin", "fair_margin",
             "max_grad_norm", "collapse_lms",
             "collapse_ratio", "lora_alpha"),
            lambda v: v > 0,
        ),
        "must not be negative": (
            ("forget_weight", "retain_weight", "kl_weight", "invariance_weight", "orthogonal_weight", "learning_rate",
             "weight_decay",
             "warmup", "lora_rank", "lms_floor", "guard_batch", "seed", "swap_noise"),
            lambda v: v >= 0,
        ),
        "must be at least 1": (
            ("forget_batch", "retain_batch", "unrelated_batch", "max_steps", "max_epochs", "evaluate_every",
             "first_evaluation", "context_batch", "context_terms", "confirm", "batch_tokens", "padded_to"),
            lambda v: v >= 1,
        ),
    }  # fmt: skip
    for demand, (names, holds) in rules.items():
        for name in names:
            if not holds(getattr(config, name)):
                raise RequestError(f"{name}: {getattr(config, name)!r}; {demand}")
    if config.lora_rank == 0 and config.dtype in ("8bit", "4bit"):
        raise RequestError(
            f"lora_rank: 0 trains all weights, and those in {config.dtype[0]} bits are frozen; train an adapter "
            "(lora_rank above 0), or choose another dtype"
        )
    if config.stop_items is not None and config.stop_items < 1:
        raise RequestError(f"stop_items: {config.stop_items}; must be at least 1, or null for all")
