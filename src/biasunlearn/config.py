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
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from biasunlearn.errors import RequestError
from biasunlearn.method_defaults import SETTINGS

Method = Literal[
    "biasunlearn", "npo", "simnpo", "gradient_ascent", "gradient_difference",
    "dpo", "ipo", "kto", "orpo", "equalize",
    "sft", "cda", "dropout",
    "task_vector", "mlp_edit",
    "sentence_debias", "inlp", "leace",
    "self_debias", "debiasing_prompt",
]  # fmt: skip

Dtype = Literal["float32", "bfloat16", "float16", "8bit", "4bit"]

RECIPES = importlib.resources.files("biasunlearn") / "recipes"


@dataclass(frozen=True, slots=True, kw_only=True)
class DebiasConfig:
    """How to debias. Model, data and output folder are arguments of `debias`, not part of the recipe."""

    seed: int = 0
    """Seeds the split, the sets, the adapter's start and the order of the batches."""
    method: Method = "biasunlearn"
    """How the bias is taken out (docs/methods.md). Another method than the default begins with settings of its own
    (method_defaults.py) wherever the user gives none."""

    # --- sets -----------------------------------------------------------------------------------------------
    train_kinds: Literal["intrasentence", "both"] = "intrasentence"
    """Which pairs train. The paper: both. Stopping always looks at intrasentence pairs where there are any."""
    adversarial_share: float = 0.25
    """Share of the anti-stereotypes that also go into the forget set. Released code: 0.25."""
    stop_share: float = 0.4
    """Share of each bias type's pairs held out, by target term, for swap and stop. A run reads a few thousand
    sentences at most, so pairs are not what it lacks; knowing where 50 is, is."""
    shared_terms: Literal["dropped", "kept"] = "dropped"
    """Training pairs about a target term of the report file (without target terms: with its context). Released code:
    kept."""
    stop_on: Literal["held_out", "report"] = "held_out"
    """Released code: report (it stops on what it reports; such a result is stamped)."""
    stop_items: int | None = None
    """Stop clusters a check looks at per bias type, the first ones. None: all. Released code: 100."""

    # --- batch ----------------------------------------------------------------------------------------------
    forget_batch: int = 16
    """Sentences of the forget set in a step. Released code: 4."""
    retain_batch: int = 16
    """Sentences of the retain set in a step. Released code: 28."""
    unrelated_batch: int = 16
    """Sentences of the unrelated set in a step. Released code: 28."""
    batch_pairs: Literal["matched", "independent"] = "matched"
    """matched: the retain sentences of a step are the partners of its forget sentences, so that what they share
    cancels, and `retain_batch` is not used. Paper and released code: independent."""
    places: Literal["gap", "even"] = "gap"
    """How bias types share the batch: in proportion to their push times their number of pairs, so that the one that
    lags gets most of it and a small one is not read over and over, or evenly. Paper: even."""
    batch_follows: Literal["role", "sentences"] = "role"
    """Released code: sentences (a swap also exchanges the two batch sizes)."""
    focus: Literal["all", "farthest"] = "all"
    """Which bias types train after the first check. Released code: farthest (the one farthest from 50)."""
    supervised_from: Literal["blank", "early"] = "blank"
    """Where y begins. Released code with GPT tokenizers: early (13 characters before the BLANK)."""
    supervised_to: Literal["difference", "end"] = "difference"
    """Where y ends. difference: with the last word in which the two sentences of a pair differ; what follows stands in
    both. Paper: end (of the sentence)."""

    # --- losses ---------------------------------------------------------------------------------------------
    beta: float = 0.1
    """Beta of NPO."""
    set_point: float = 0.0
    """equalize: nats of a token by which the anti-stereotype is to be the likelier at full push. 0: not at all."""
    forget_weight: float = 0.38
    """Weight of L_forget. Paper 0.4, released code 0.5."""
    retain_weight: float = 0.42
    """Weight of L_retention. Paper 0.4, released code 0.3."""
    kl_weight: float = 2.0
    """Weight of L_KL. Paper 0.2 (here that let perplexity rise by several percent)."""
    npo_ratio: Literal["sentence", "batch_mean"] = "sentence"
    """Released code: batch_mean (one ratio a batch, of token means)."""
    retain_mean: Literal["sentence", "token"] = "sentence"
    """Cross-entropy summed over the tokens of y (as NPO's ratio is), or averaged over them (released code)."""
    kl: Literal["real_tokens", "padded_cross_entropy"] = "real_tokens"
    """Released code: padded_cross_entropy (cross-entropy averaged over `padded_to` positions)."""
    padded_to: int = 100
    """Positions the released code averages its "KL" over; only used with kl: padded_cross_entropy."""

    # --- adapter and optimizer ------------------------------------------------------------------------------
    lora_rank: int = 8
    """Rank of LoRA; 0 trains all weights (full fine-tuning, reference values cached)."""
    lora_alpha: float = 16
    lora_dropout: float = 0.0
    """Released code: 0.1. Only the adapter may have dropout; the base and the reference run without."""
    dropout_after_check: Literal["kept", "lost"] = "kept"
    """Released code: lost (evaluation switches dropout off and nothing switches it on again)."""
    lora_targets: tuple[str, ...] = ("all-linear",)
    """Module names, or all-linear. Released code: attn.c_attn attn.c_proj (gpt2), q, k, v, o (Llama, Mistral)."""
    learning_rate: float = 1e-3
    """Peak rate of AdamW. Released code: 4e-5 (gpt2-large), 2e-5 (7B)."""
    weight_decay: float = 0.0
    schedule: Literal["cosine", "constant"] = "cosine"
    """Rate after the warm-up. Released code: constant."""
    warmup: int = 10
    """Steps over which the rate rises."""
    optimizer_at_swap: Literal["kept", "rebuilt"] = "kept"
    """Released code: rebuilt in one script, kept in the other."""
    max_grad_norm: float = 1.0
    average: float = 0.9
    """Decay of the running average of the adapter's weights; checks and result use the average. 0: none (paper)."""
    max_steps: int = 200

    # --- swap and stop --------------------------------------------------------------------------------------
    check_every: int = 25
    """Steps between two looks at the stop split. Released code: 80, 50 or 30."""
    first_check: int = 25
    """Released code: 100."""
    swap: Literal["steady", "proportional", "hard", "none"] = "steady"
    """hard (paper): below 50 the sets of a bias type are exchanged. proportional: and its role losses fade as its SS
    nears 50. steady: they change by how far SS is and by how fast it moves, so that they settle where SS stays.
    none: never exchanged."""
    swap_band: float = 4.0
    """Points from 50 that count as far: proportional gives full weight there, steady measures by it. Never less than
    the standard error of the SS."""
    stop_rule: Literal["point", "interval"] = "point"
    """point (paper): every SS within `margin` of 50. interval: every SS's interval within `interval_margin`."""
    margin: float = 2.0
    interval_margin: float = 6.0
    confirm: int = 3
    """Checks in a row that must pass before the run stops, since one may pass by chance. Paper: 1."""
    lms_floor: float = 1.5
    """Points that LMS on the stop split may fall; below that the run does not count as done. Paper: no such rule."""
    collapse_lms: float = 8.0
    """Points that LMS may fall before the run is stopped as collapsed."""
    collapse_ratio: float = 60.0
    """Mean |log ratio| of the forget sentences (nats) beyond which the forget loss has run away."""

    # --- machine --------------------------------------------------------------------------------------------
    dtype: Dtype = "float32"
    """Precision of the base model's weights. 8bit, 4bit (NF4): of its linear layers, by bitsandbytes; all else is then
    in half precision on an accelerator, and in float32 on a CPU."""
    batch_tokens: int = 4096
    """Tokens in a scoring batch."""

    def __post_init__(self) -> None:
        _check_types(self)
        _check_values(self)


def load_config(path: str | Path | None = None, overrides: typing.Iterable[str] = ()) -> DebiasConfig:
    """Reads a YAML file or the name of a shipped recipe, then applies `key=value` overrides.

    Raises:
        RequestError: unknown key (with the nearest known one), wrong type or value.
    """
    values: dict[str, Any] = {}
    where = "--set"
    if path is not None:
        source = recipe_path(str(path)) or Path(path)
        where = str(path)
        values = _read_yaml(source, where)
    try:
        for override in overrides:
            key, equals, text = override.partition("=")
            if not equals:
                raise RequestError(f"--set {override}: write key=value")
            values[key.strip()] = yaml.safe_load(text)
    except yaml.YAMLError:
        raise RequestError(f"--set {override}: the value is not YAML; quote it") from None
    return config_from(values, where)


def config_from(values: dict[str, Any], where: str = "configuration") -> DebiasConfig:
    """A configuration from plain values; unknown keys are errors, missing ones take the defaults of their method."""
    known = {field.name for field in dataclasses.fields(DebiasConfig)}
    for key in values:
        if key not in known:
            near = difflib.get_close_matches(str(key), known, n=1)
            hint = f"; did you mean {near[0]}?" if near else f"; known keys: {', '.join(sorted(known))}"
            raise RequestError(f"{where}: unknown configuration key {key!r}{hint}")
    if isinstance(values.get("lora_targets"), str):
        values = {**values, "lora_targets": values["lora_targets"].split()}
    if isinstance(values.get("lora_targets"), list):
        values = {**values, "lora_targets": tuple(values["lora_targets"])}
    try:
        return DebiasConfig(**{**SETTINGS.get(str(values.get("method")), {}), **values})
    except RequestError as error:
        raise RequestError(f"{where}: {error}") from None


def to_dict(config: DebiasConfig) -> dict[str, Any]:
    """Plain values, in the order of the fields, ready for YAML."""
    values = dataclasses.asdict(config)
    return {**values, "lora_targets": list(config.lora_targets)}


def recipe_names() -> list[str]:
    """Names of the shipped recipes."""
    return sorted(Path(str(entry)).stem for entry in RECIPES.iterdir() if str(entry).endswith(".yaml"))


def recipe_path(name: str) -> Path | None:
    """The file of a shipped recipe, or None where `name` is not one."""
    return Path(str(RECIPES / f"{name}.yaml")) if name in recipe_names() else None


def _read_yaml(source: Path, where: str) -> dict[str, Any]:
    if not source.exists():
        raise RequestError(f"{where}: no such file, and no recipe of that name ({', '.join(recipe_names())})")
    try:
        content = yaml.safe_load(source.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        raise RequestError(f"{where}{line}: not YAML: {getattr(error, 'problem', error)}") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise RequestError(f"{where}: must hold `key: value` lines")
    # A run's own config.yaml holds its request beside the recipe, so that the file can start the run again.
    return dict(content.get("recipe", content)) if isinstance(content.get("recipe", content), dict) else content


def _check_types(config: DebiasConfig) -> None:
    """Values as declared; whole numbers pass as floats. YAML's 4e-4 is a string, which is mended here."""
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
            if not isinstance(value, int) or isinstance(value, bool):
                raise RequestError(f"{name}: {value!r}; must be a whole number")
        elif not isinstance(value, tuple) or not all(isinstance(part, str) for part in value) or not value:
            raise RequestError(f"{name}: {value!r}; must be a list of names")


def _number(name: str, value: Any) -> float:
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise RequestError(f"{name}: {value!r}; must be a number")
    return number


def _check_values(config: DebiasConfig) -> None:
    rules = {
        "must lie between 0 and 1": (("adversarial_share", "lora_dropout"), lambda v: 0 <= v <= 1),
        "must lie between 0.05 and 0.8": (("stop_share",), lambda v: 0.05 <= v <= 0.8),
        "must be at least 0 and below 1": (("average",), lambda v: 0 <= v < 1),
        "must be above 0": (
            ("beta", "learning_rate", "swap_band", "margin", "interval_margin", "max_grad_norm", "collapse_lms",
             "collapse_ratio", "lora_alpha"),
            lambda v: v > 0,
        ),
        "must not be negative": (
            ("forget_weight", "retain_weight", "kl_weight", "weight_decay", "warmup", "lora_rank", "lms_floor", "seed"),
            lambda v: v >= 0,
        ),
        "must be at least 1": (
            ("forget_batch", "retain_batch", "unrelated_batch", "max_steps", "check_every", "first_check", "confirm",
             "batch_tokens", "padded_to"),
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
