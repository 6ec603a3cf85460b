"""A run -> the model card of its repository: before and after with intervals, what it was trained on, what it is for.

Names of models and files are data that somebody else wrote; in a table they must not end a cell. A card is published,
so of a path on this machine it has the last part only.
"""

import math
import re
from collections.abc import Iterator, Mapping
from pathlib import PurePath
from typing import Any

import yaml

from biasunlearn._version import __version__
from biasunlearn.stats.stereoset import over_debiased

Results = Mapping[str, Any]

PAPER = "https://arxiv.org/abs/2509.25673"

SCORES = {"ss": "SS", "lms": "LMS", "icat": "ICAT"}

USE = """\
For uses of the base model in which its learned associations between groups of people and attributes do harm, and for
research on them. It is meant to be used as its base model is, under the base model's licence and limits."""

LIMITS = """\
- SS says whether the stereotype is the likelier of two sentences, no more. A model with SS 50 can still say harmful
  things.
- Only the bias types in the table were unlearned and measured, on sentences of the kind that the report data holds, in
  its language.
- The report data's target terms were not trained on, but they are of the same kinds.
- Intervals are 95 %, over target terms. Where they are wide, the data shows little.
- Further training can bring back what was unlearned: measure again afterwards."""


def model_card(
    results: Results, *, merged: bool, dtype: str, license_id: str | None, base: str, largest: float | None
) -> str:
    """The text of README.md, front matter included.

    Args:
        results: results.json of a debias, transfer or combine run.
        merged: a complete model, or an adapter.
        license_id: as the hub calls it; None: to be filled in by whoever publishes.
        base: the model that it is an adapter for, or was made from.
        largest: difference of a token's mean log-probability between adapter and merged model, in nats.
    """
    from huggingface_hub import ModelCard, ModelCardData

    on_hub = on_the_hub(base)
    data = ModelCardData(
        license=license_id,
        library_name="transformers" if merged else "peft",
        pipeline_tag="text-generation",
        base_model=base if on_hub else None,
        tags=["biasunlearn", "debiasing", *([] if merged else ["lora"])],
    )
    if on_hub:
        data["base_model_relation"] = "finetune" if merged else "adapter"
    body = "\n".join(_body(results, merged, dtype, license_id, base, largest))
    return str(ModelCard(f"---\n{data.to_yaml()}\n---\n\n{body}\n"))


def on_the_hub(name: str) -> bool:
    """Does a model's name look like one of the hub, and not like a folder?"""
    return re.fullmatch(r"\w[\w.-]*/[\w.-]+", name) is not None


def _body(
    results: Results, merged: bool, dtype: str, license_id: str | None, base: str, largest: float | None
) -> Iterator[str]:
    kind = "complete model, with the debiasing merged in" if merged else "LoRA adapter (PEFT)"
    yield f"# {_plain(base)}, debiased\n"
    yield f"A {kind}, for `{_plain(base)}`. Made by biasunlearn {__version__} (BiasUnlearn, {PAPER})."
    yield from _told(results)
    yield "\n## Before and after\n"
    yield from _table(results)
    yield from _beside(results)
    yield "\n## Loading\n"
    yield _loading(merged, base)
    if merged:
        yield f"\nWeights are {dtype}, as the base's."
        if largest is not None:
            most = math.ceil(largest * 1e6) / 1e6
            yield f"Mean log-probabilities differ from the adapter's by {most:g} nats at most, computed in float32."
    yield f"\n## Intended use\n\n{USE}"
    yield f"\n## Limits\n\n{LIMITS}"
    yield from _training(results)
    yield "\n## Licence\n"
    stated = f"`{license_id}`, as stated by whoever published this." if license_id else "To be stated by the publisher."
    yield f"{stated} The licences of the base model and of the training data hold as well."


def _told(results: Results) -> Iterator[str]:
    if told := results.get("transferred"):
        yield f"\nLearned on `{_plain(told['base'])}` and transferred at scale {told['scale']:g}."
        kept = told["effect"].get("kept")
        if kept:
            share = f"{100 * kept['value']:.0f} % ({100 * kept['low']:.0f} to {100 * kept['high']:.0f})"
            yield f"Share of the effect kept: {share}."
    if combined := results.get("combined"):
        parts = ", ".join(f"{_plain(part['run'])} (weight {part['weight']:g})" for part in combined["parts"])
        yield f"\nCombined from: {parts}."
    if small := results.get("protocol", {}).get("quantised"):
        yield f"\nMeasured with the base in {small['kind'][0]} bits: with the base's own weights the scores are others."
    if stopped := results.get("stopped"):
        yield f"\nTraining stopped at step {stopped['step']}: {stopped['reason']}."
    if results.get("collapsed"):
        yield "\n**The run ended as collapsed: this model is not fit for use.**"


def _table(results: Results) -> Iterator[str]:
    after = results["benchmarks"].get("stereoset")
    before = (results.get("before") or {}).get("stereoset")
    if not after or not before:
        yield "No StereoSet results."
        return
    yield "SS: share of pairs whose stereotype is the likelier sentence; ideal 50. LMS, ICAT: ideal 100."
    yield "With 95 % intervals.\n"
    whens = " | ".join(f"{name} before | {name} after" for name in SCORES.values())
    yield f"| bias type | items | {whens} |"
    yield "|---|---|" + "---|" * (2 * len(SCORES))
    for name, entry in (*after["bias_types"].items(), ("overall", after["overall"])):
        first = before["overall"] if name == "overall" else before["bias_types"][name]
        cells = " | ".join(f"{_estimate(first[score])} | {_estimate(entry[score])}" for score in SCORES)
        yield f"| {_plain(name)} | {entry['n']} | {cells} |"
    if seen := after.get("contaminated"):
        yield f"\n**Contaminated:** the adapter has seen {seen['clusters']} of {seen['of']} report clusters."
    if over := over_debiased(after):
        yield f"\n**Over-debiased:** the whole interval of SS lies below 50 in {', '.join(map(_plain, over))}."
    if after["overall"].get("low_lms"):
        yield "\n**LMS is low:** meaningful and unrelated sentences are hardly told apart; SS is no sign of fairness."


def _beside(results: Results) -> Iterator[str]:
    after, before = results["benchmarks"], results.get("before") or {}
    if "perplexity" in after and "perplexity" in before:
        first, last = (entry["perplexity"]["per_token"] for entry in (before, after))
        yield f"\nPerplexity per token: {first:.2f} before, {last:.2f} after ({100 * (last / first - 1):+.2f} %)."
    others = [name for name in after if name not in ("stereoset", "perplexity")]
    if others:
        yield f"\nAlso measured (results.json of the run): {', '.join(others)}."


def _training(results: Results) -> Iterator[str]:
    data, config = results.get("data", {}), results.get("config", {})
    yield "\n## Training data\n\n| data | file | SHA-256 |\n|---|---|---|"
    for name in ("train", "unrelated", "report"):
        if (row := data.get(name, {})).get("path"):
            yield f"| {name} | {_plain(row['path'])} | `{row.get('sha256')}` |"
    for name, row in data.get("splits", {}).items():
        if isinstance(row, dict) and "sha256" in row:
            yield f"| {name} split, {row['pairs']} pairs | | `{row['sha256']}` |"
    yield "\n`training_data.json` holds a hash of every pair: `biasunlearn measure` stamps a result on any of them."
    if config:
        yield "\n## Recipe\n\n```yaml"
        yield yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True) + "```"
    versions = results.get("environment", {}).get("versions", {})
    yield "\nVersions: " + ", ".join(f"{name} {value}" for name, value in versions.items() if value) + "."


def _loading(merged: bool, base: str) -> str:
    if merged:
        lines = [
            "from transformers import AutoModelForCausalLM, AutoTokenizer\n",
            'model = AutoModelForCausalLM.from_pretrained("THIS REPOSITORY")',
            'tokenizer = AutoTokenizer.from_pretrained("THIS REPOSITORY")',
        ]
    else:
        lines = [
            "from peft import PeftModel",
            "from transformers import AutoModelForCausalLM\n",
            f'base = AutoModelForCausalLM.from_pretrained("{_plain(base)}")',
            'model = PeftModel.from_pretrained(base, "THIS REPOSITORY")',
        ]
    return "\n".join(["```python", *lines, "```"])


def _estimate(estimate: Results | None) -> str:
    if not estimate:
        return "-"
    return f"{estimate['value']:.1f} ({estimate['low']:.1f} to {estimate['high']:.1f})"


def _plain(name: Any) -> str:
    """A name that stays in its cell and its code span; of a path the last part."""
    text = str(name) if on_the_hub(str(name)) else PurePath(str(name)).name
    return re.sub(r"[`|<>\r\n\"\\]", "_", text)
