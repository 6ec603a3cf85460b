"""Commands that check or make data, and files for other tools: validate, counterfactual, export-lm-eval, completion."""

from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from biasunlearn.cli.app import build, command
from biasunlearn.cli.benchmark_paths import benchmark_paths
from biasunlearn.cli.exit_codes import DONE, WRONG_REQUEST
from biasunlearn.cli.options import DATA, OUTPUT, SETTINGS, Benchmarks, File, Folder, Integer, Output, Rows
from biasunlearn.cli.output import SHOWN_ROWS, emit, show, wrong_request
from biasunlearn.errors import RequestError

if TYPE_CHECKING:
    from biasunlearn.commands.validate import Validation

SHOWN_BIAS_TYPES = 30


@command
def validate(
    files: Annotated[tuple[str, ...], Parameter(name="FILE", consume_multiple=(1, None))],
    /,
    *,
    kind: Annotated[str | None, Parameter(name="--as", metavar="KIND", group=DATA)] = None,
    rows: Rows = Rows(),
    preferences: Annotated[File | None, Parameter(group=OUTPUT)] = None,
    output: Output = Output(),
) -> int:
    """Check data files, term lists, recipes, policies and run folders without loading a model.

    Prints how each file was understood: its kind, the number of usable rows, bias types, target terms, duplicates, and
    every row that cannot be used with its reason. The exit code is 2 if a file cannot be used, or if it has such rows
    and --skip-invalid is not given.

    Args:
        files: Files or folders to check.
        kind: Kind of the files: pairs, a benchmark (crows_pairs, bbq, ...), sentences, terms, families, recipe, policy,
            predictions or run (default: recognized from names, columns and keys).
        preferences: File to write the usable pairs of a single data file to, as a preference data set for TRL (JSONL
            with the columns prompt, chosen and rejected).

    Examples:
        biasunlearn validate train_pairs.jsonl dev.json
        biasunlearn validate text.txt --as perplexity
    """
    from biasunlearn.commands.validate import validate

    found: list[dict[str, Any]] = []
    lines: list[str] = []
    refused: list[str] = []
    for path in files:
        try:
            checked = validate(path, kind=kind)
        except RequestError as error:
            refused.append(str(error))
            found.append({"path": path, "refused": str(error)})
            continue
        found.append(checked.to_dict())
        lines += _validation_lines(checked)
        if checked.skipped and not rows.skip_invalid:
            wrong, of = len(checked.skipped), len(checked.skipped) + checked.records
            refused.append(f"{path}: {wrong} of {of} rows cannot be used; the first is {checked.skipped[0]}")
    if lines or output.json:
        show({"files": found}, output, lambda _: "\n".join(lines))
    for message in refused:
        wrong_request(message)
    if preferences is not None and not refused:
        _write_preferences(files, found, preferences)
    return WRONG_REQUEST if refused else DONE


def _write_preferences(files: tuple[str, ...], found: list[dict[str, Any]], path: str) -> None:
    from biasunlearn.data.preferences import write_preferences
    from biasunlearn.data.readers import read_triplets

    if len(files) != 1 or found[0]["kind"] not in ("pairs", "stereoset"):
        raise RequestError("--preferences: needs a single file of pairs or triplets; give the other files apart")
    count = write_preferences(read_triplets(files[0], skip_invalid=True).triplets, path)
    emit(f"{count} preference rows written to {path}", stderr=True)


def _validation_lines(found: "Validation") -> list[str]:
    lines = [f"{found.path}: {found.kind} ({found.form}), {found.records} usable, {len(found.skipped)} not"]
    if found.bias_types:
        sizes = [f"{name} {count}" for name, count in found.bias_types.items()]
        more = f" and {len(sizes) - SHOWN_BIAS_TYPES} more" if len(sizes) > SHOWN_BIAS_TYPES else ""
        lines.append(f"  bias types: {', '.join(sizes[:SHOWN_BIAS_TYPES])}{more}")
    if found.target_terms is not None:
        lines.append(f"  target terms: {found.target_terms}; {found.without_target_term} pairs without one")
    if found.duplicates is not None:
        lines.append(f"  duplicates: {found.duplicates}")
    lines += [f"  {note}" for note in found.notes]
    lines += [f"  not usable: {row}" for row in found.skipped[:SHOWN_ROWS]]
    if len(found.skipped) > SHOWN_ROWS:
        lines.append(f"  ... and {len(found.skipped) - SHOWN_ROWS} more; --json lists all of them")
    return lines


@command
def counterfactual(
    *,
    sentences: Annotated[File, Parameter(group=DATA)],
    terms: Annotated[str, Parameter(metavar="LIST", group=DATA)],
    seed: Annotated[Integer, Parameter(group=SETTINGS)] = 0,
    out: Annotated[File, Parameter(group=OUTPUT)],
    output: Output = Output(),
) -> None:
    """Build training pairs from sentences by swapping the terms that name a social group.

    Args:
        sentences: Text file with one stereotypical sentence a line.
        terms: Term list: gender, race, religion, profession, or a file of your own (.yaml, .csv).
        seed: Random seed, for terms that have several counterparts.
        out: The .jsonl file of pairs to write.

    Examples:
        biasunlearn counterfactual --sentences stereotypes.txt --terms gender \\
            --out pairs.jsonl
        biasunlearn counterfactual --sentences stereotypes.txt --terms terms.yaml \\
            --out pairs.jsonl
    """
    from biasunlearn.data.counterfactual import counterfactual_pairs
    from biasunlearn.data.readers import read_sentences, write_pairs
    from biasunlearn.data.term_lists import load_term_list

    pairs, unswapped = counterfactual_pairs(read_sentences(sentences), load_term_list(terms), seed=seed)
    write_pairs(pairs, out)
    for sentence in unswapped:
        emit(f"not swapped: {sentence.source}: {sentence.reason}: {sentence.sentence}", stderr=True)
    listed = [{"source": one.source, "reason": one.reason, "sentence": one.sentence} for one in unswapped]
    line = f"{len(pairs)} pairs written to {out}, {len(unswapped)} sentences not swapped"
    show({"pairs": len(pairs), "unswapped": listed}, output, lambda _: line)


@command
def export_lm_eval(
    *,
    benchmark: Benchmarks = (),
    rows: Rows = Rows(),
    out: Annotated[Folder, Parameter(group=OUTPUT)],
    output: Output = Output(),
) -> None:
    """Export benchmarks as tasks of EleutherAI's lm-evaluation-harness.

    Args:
        benchmark: Benchmark to export: stereoset=PATH or bbq=PATH. May be repeated.
        out: Folder to write, for --include_path of lm_eval.

    Examples:
        biasunlearn export-lm-eval --benchmark stereoset=dev.json \\
            --benchmark bbq=bbq/ --out tasks
    """
    from biasunlearn.commands.export_lm_eval import export_lm_eval

    done = export_lm_eval(benchmark_paths(benchmark), out, skip_invalid=rows.skip_invalid)
    show(done, output, _task_lines)


def _task_lines(done: dict[str, Any]) -> str:
    lines = []
    for task, facts in done["tasks"].items():
        more = [
            f"{facts[key]} {words}"
            for key, words in (("skipped", "rows skipped"), ("left_out", "intersentence triplets left out"))
            if facts[key]
        ]
        lines.append(", ".join((f"{task}: {facts['documents']} documents", *more)))
    tasks = ",".join(done["tasks"])
    lines.append(f"lm_eval --model hf --model_args pretrained=MODEL --include_path {done['out']} --tasks {tasks}")
    return "\n".join(lines)


@command
def completion(shell: Annotated[Literal["bash", "zsh", "fish", "powershell"], Parameter(name="SHELL")], /) -> None:
    """Print the script that completes commands and options in a shell.

    Args:
        shell: The shell.

    Examples:
        biasunlearn completion bash >> ~/.bash_completion
        biasunlearn completion zsh > ~/.zfunc/_biasunlearn
        biasunlearn completion fish > ~/.config/fish/completions/biasunlearn.fish
    """
    emit(build().generate_completion(shell=shell))
