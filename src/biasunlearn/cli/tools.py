"""Commands that make data and files for other tools: counterfactual, export-lm-eval, completion."""

from typing import Annotated, Any, Literal

from cyclopts import Parameter

from biasunlearn.cli.app import build, command
from biasunlearn.cli.options import DATA, OUTPUT, SETTINGS, Benchmarks, File, Folder, Integer, Output, Rows, named_paths
from biasunlearn.cli.output import emit, show


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

    done = export_lm_eval(named_paths(benchmark), out, skip_invalid=rows.skip_invalid)
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
