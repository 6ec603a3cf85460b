"""The model card of a published adapter or model: scores before and after, training data, intended use and limits.

Everything that a card takes from a run may have been written by somebody else: none of it becomes markup. A card is
published, so that no path and no name of a file of this machine appears in it.
"""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass

import yaml

from biasunlearn._version import __version__
from biasunlearn.report.formatting import in_markdown as _text
from biasunlearn.report.formatting import p_value
from biasunlearn.report.tables.association import POLARISED_NOTE, polarised_mark, remaining_line
from biasunlearn.report.tables.benchmarks import change_in_percent
from biasunlearn.report.tables.transfer import share
from biasunlearn.report.warnings import run_warnings, stereoset_warnings
from biasunlearn.runs.results import Results, StereoSetResult
from biasunlearn.runs.scores import Interval, StereoSetScores

PAPER = "https://arxiv.org/abs/2509.25673"

LIBRARIES = {"peft": "peft", "gguf-lora": "gguf", "mlx": "mlx"}
"""The hub's names of the libraries that load an adapter of a format."""

PROGRAMS = {"peft": "PEFT", "gguf-lora": "llama.cpp", "mlx": "mlx-lm"}

COMMANDS = {
    "gguf-lora": "llama-server --model BASE.gguf --lora adapter.gguf",
    "mlx": "mlx_lm.generate --model BASE --adapter-path THIS_FOLDER --prompt TEXT",
}
"""How an adapter is loaded by a program that is not a Python library."""

SCORES = ("SS", "LMS", "ICAT")

USE = """\
For uses of the base model in which its learned associations between groups of people and attributes are harmful, and
for research on them. It is meant to be used like its base model, under the base model's licence and limits."""

LIMITS = """\
- SS tells whether the stereotype is the more likely of two sentences, and nothing else. A model with SS 50 can still
  produce harmful text.
- Only the bias types in the table were unlearned and measured, on sentences of the kind that the report data contains,
  in its language.
- {families}
- Intervals are 95 % intervals over target terms. Wide intervals mean that the data provides little evidence.
- Further training can restore what was unlearned: measure again afterwards."""


@dataclass(frozen=True, slots=True)
class Published:
    """What is published."""

    merged: bool
    """A complete model rather than an adapter."""
    base: str | None
    """The name on the hub of the model that the adapter belongs to, or that was changed; None: it is not there."""
    dtype: str
    license_id: str | None = None
    """As the hub names it; None: to be stated by whoever publishes."""
    largest: float | None = None
    """Largest difference between adapter and merged model of a sentence's mean log-probability, in nats per token."""
    format: str = "peft"
    """Of an adapter: peft, gguf-lora or mlx."""


def model_card(results: Results, published: Published) -> str:
    """The text of README.md, front matter included, for a debias, transfer or combine run."""
    from huggingface_hub import ModelCard, ModelCardData

    on_hub = published.base is not None and on_the_hub(published.base)
    data = ModelCardData(
        license=published.license_id,
        library_name="transformers" if published.merged else LIBRARIES[published.format],
        pipeline_tag="text-generation",
        base_model=published.base if on_hub else None,
        tags=["biasunlearn", "debiasing", *([] if published.merged else ["lora"])],
    )
    if on_hub:
        data["base_model_relation"] = "finetune" if published.merged else "adapter"
    body = "\n".join(_body(results, published))
    return str(ModelCard(f"---\n{data.to_yaml()}\n---\n\n{body}\n"))


def on_the_hub(name: str) -> bool:
    """Does a model's name look like one of the hub, and not like a folder?"""
    return re.fullmatch(r"\w[\w.-]*/[\w.-]+", name) is not None


def _body(results: Results, published: Published) -> Iterator[str]:
    license_id = published.license_id
    base = f"`{_text(published.base)}`" if published.base else "a model that is not on the hub"
    adapter = f"LoRA adapter ({PROGRAMS.get(published.format, PROGRAMS['peft'])})"
    kind = "complete model, with the debiasing merged in" if published.merged else adapter
    if results.partial:
        yield f"**{_text(results.partial.headline)}.**\n"
    if verdict := results.shown_verdict:
        yield f"**{verdict.headline}**: {_text(verdict.reason)}.\n"
    yield f"# {_text(published.base) if published.base else 'A language model'}, debiased\n"
    yield f"A {kind}, for {base}. Made by biasunlearn {__version__} (based on BiasUnlearn, {PAPER})."
    yield from _origin(results)
    yield "\n## Before and after\n"
    yield from _scores(results)
    yield from _other_benchmarks(results)
    yield "\n## Loading\n"
    yield from _loading(published)
    yield f"\n## Intended use\n\n{USE}"
    splits = results.data.splits
    common = _text(splits.common_families) if splits else ""
    limits = LIMITS.format(families=common or "How many training pairs are about groups of the report data is unknown.")
    yield f"\n## Limits\n\n{limits}"
    yield from _training(results)
    yield "\n## Licence\n"
    stated = f"`{_text(license_id)}`, as stated by the publisher." if license_id else "To be stated by the publisher."
    yield f"{stated} The licences of the base model and of the training data apply as well."


def _origin(results: Results) -> Iterator[str]:
    """How the model came about, and warnings about the run as a whole."""
    if moved := results.transferred:
        yield f"\nTrained on another model and transferred at scale {moved.scale:g}."
        if moved.effect.kept:
            yield f"Share of the effect that was transferred: {share(moved.effect.kept)}."
    if combined := results.combined:
        weights = ", ".join(f"{part.weight:g}" for part in combined.parts)
        yield f"\nCombined from {len(combined.parts)} adapters with the weights {weights}."
    if small := results.protocol.quantised:
        bits = f"\nMeasured with the base model quantised to {small.kind[:1]} bits"
        yield f"{bits}: with its full-precision weights the scores differ."
    if stopped := results.stopped:
        yield f"\nTraining stopped at step {stopped.step}: {_text(stopped.reason)}."
    for line in run_warnings(results):
        yield f"\n**{_text(line)}**"


def _scores(results: Results) -> Iterator[str]:
    after = results.benchmarks.stereoset
    before = results.before.stereoset if results.before else None
    if not after or not before:
        yield "No StereoSet results."
        return
    yield "SS: share of pairs in which the stereotype is the more likely sentence; ideal 50. LMS, ICAT: ideal 100."
    yield "With 95 % intervals.\n"
    whens = " | ".join(f"{name} before | {name} after" for name in SCORES)
    yield f"| bias type | items | {whens} |"
    yield "|---|---|" + "---|" * (2 * len(SCORES))
    pairs = {name: (before.bias_types[name], row) for name, row in after.bias_types.items()}
    for name, (first, last) in {**pairs, "overall": (before.overall, after.overall)}.items():
        yield f"| {_text(name)} | {last.n} | {_cells(first, last)} |"
    for line in stereoset_warnings(after, before):
        yield f"\n**{_text(line)}**"
    yield from _association(results, after)


def _association(results: Results, after: StereoSetResult) -> Iterator[str]:
    """The group part before and after, wording that was not in training, and what an SS near 50 hides."""
    if line := remaining_line(results.association):
        yield f"\n{line} In nats per token; 0 if it makes no difference which group a sentence is about."
    for seen, change in (results.association.wording if results.association else {}).items():
        ss = change.ss
        yield (
            f"\nSS of the {ss.n} pairs of which {seen} of the attribute words {'was' if seen == 'one' else 'were'} in "
            f"the training pairs: {_estimate(ss.before)} before, {_estimate(ss.after)} after (p {p_value(ss.p)})."
        )
    rows = {**after.bias_types, "overall": after.overall}
    if hidden := [_text(name) for name, row in rows.items() if polarised_mark(row)]:
        yield f"\n**Polarised: {', '.join(hidden)}. {POLARISED_NOTE.partition(': ')[2]}**"


def _cells(first: StereoSetScores, last: StereoSetScores) -> str:
    both = zip((first.ss, first.lms, first.icat), (last.ss, last.lms, last.icat), strict=True)
    return " | ".join(f"{_estimate(was)} | {_estimate(now)}" for was, now in both)


def _other_benchmarks(results: Results) -> Iterator[str]:
    after, before = results.benchmarks, results.before
    if after.perplexity and before and before.perplexity:
        first, last = before.perplexity, after.perplexity
        change = f"{change_in_percent(last, first):+.2f} %"
        what = "Pseudo-perplexity" if last.pseudo else "Perplexity"
        yield f"\n{what} per token: {first.per_token:.2f} before, {last.per_token:.2f} after ({change})."
    others = [name for name in after.entries if name not in ("stereoset", "perplexity")]
    if others:
        yield f"\nAlso measured (results.json of the run): {', '.join(map(_text, others))}."


def _training(results: Results) -> Iterator[str]:
    data, environment = results.data, results.environment
    yield "\n## Training data\n\n| data | SHA-256 |\n|---|---|"
    for name, file in data.files.items():
        yield f"| {_text(name)} | `{_text(file.sha256)}` |"
    for name, part in (data.splits.parts if data.splits else {}).items():
        if part.sha256:
            yield f"| {_text(name)} split, {part.pairs} pairs | `{_text(part.sha256)}` |"
    yield (
        "\n`training_data.json` holds a hash of every pair: `biasunlearn measure` marks a result on any of them as "
        "contaminated."
    )
    if results.config:
        yield "\n## Recipe\n\n```yaml"
        recipe = yaml.safe_dump(results.config.to_dict(), sort_keys=False, allow_unicode=True)
        yield recipe.replace("`", "'") + "```"  # a backtick could end the block
    yield "\nVersions: " + ", ".join(
        _text(f"{name} {one}") for name, one in environment.versions.items() if one
    ) + "."


def _loading(published: Published) -> Iterator[str]:
    if published.format in COMMANDS and not published.merged:
        yield f"    {COMMANDS[published.format]}\n"
        yield "A program that lists an adapter may not apply it: `biasunlearn verify` checks a server by its answers."
        return
    if not published.merged:
        yield from (
            "```python",
            "from peft import PeftModel",
            "from transformers import AutoModelForCausalLM\n",
            f'base = AutoModelForCausalLM.from_pretrained("{_text(published.base or "THE BASE MODEL")}")',
            'model = PeftModel.from_pretrained(base, "THIS REPOSITORY")',
            "```",
        )
        return
    yield from (
        "```python",
        "from transformers import AutoModelForCausalLM, AutoTokenizer\n",
        'model = AutoModelForCausalLM.from_pretrained("THIS REPOSITORY")',
        'tokenizer = AutoTokenizer.from_pretrained("THIS REPOSITORY")',
        "```",
    )
    yield f"\nThe weights are {_text(published.dtype)}, as those of the base model."
    if published.largest is not None:
        most = math.ceil(published.largest * 1e6) / 1e6
        yield f"Mean log-probabilities differ from those of the adapter by at most {most:g} nats, computed in float32."


def _estimate(found: Interval | None) -> str:
    return f"{found.value:.1f} ({found.low:.1f} to {found.high:.1f})" if found else "-"
