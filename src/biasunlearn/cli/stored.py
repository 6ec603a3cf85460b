"""Commands that read what runs have stored and load no model: rescore, compare, label, report, gate."""

from typing import Annotated, Literal

from cyclopts import Parameter

from biasunlearn.cli.app import command
from biasunlearn.cli.exit_codes import DONE, REFUSED
from biasunlearn.cli.options import (
    DATA,
    OUTPUT,
    SETTINGS,
    Benchmarks,
    File,
    Folder,
    Integer,
    Output,
    Rows,
    Run,
    Runs,
    named_paths,
)
from biasunlearn.cli.output import show, show_results
from biasunlearn.errors import RequestError


@command
def rescore(
    *,
    benchmark: Benchmarks = (),
    scores: Annotated[File, Parameter(group=DATA)],
    rows: Rows = Rows(),
    out: Annotated[Folder, Parameter(group=OUTPUT)],
    output: Output = Output(),
) -> None:
    """Compute the results again from stored scores, without a model.

    Args:
        benchmark: The StereoSet file that the scores belong to, as in stereoset=dev.json. Not needed for
            items.parquet.
        scores: Prediction file in StereoSet's official format, or items.parquet of a run.
        out: Run folder to write.

    Examples:
        biasunlearn rescore --scores runs/base/items.parquet --out runs/again
        biasunlearn rescore --benchmark stereoset=dev.json \\
            --scores predictions.json --out runs/official
    """
    from biasunlearn.commands.measure import rescore

    results = rescore(named_paths(benchmark), scores, out=out, skip_invalid=rows.skip_invalid)
    show_results(results, output, out)


@command
def compare(
    runs: Runs, /, *, out: Annotated[Folder | None, Parameter(group=OUTPUT)] = None, output: Output = Output()
) -> None:
    """Compare runs with the first of them, by tests that are paired item by item.

    Args:
        runs: Run folders, the base first. RUN:before is the model that a debias run began with.
        out: Folder for compare.json and items.parquet.

    Examples:
        biasunlearn compare runs/base runs/mine
        biasunlearn compare runs/mine:before runs/mine runs/other --out runs/compared
    """
    from biasunlearn.commands.compare import compare
    from biasunlearn.report.tables.comparison import comparison_tables

    result = compare(runs, out=out)
    where = f"stored in {out} (compare.json, items.parquet)" if out else ""
    show(result, output, comparison_tables, where=where)


@command
def report(
    runs: Runs,
    /,
    *,
    policy: Annotated[File | None, Parameter(group=SETTINGS)] = None,
    summary: Annotated[bool, Parameter(group=SETTINGS)] = False,
    out: Annotated[File, Parameter(group=OUTPUT)],
    output: Output = Output(),
) -> None:
    """Write one self-contained HTML page about one run, or about several side by side.

    Args:
        runs: Run folders. Several are compared with the first of them.
        policy: YAML file of limits (docs/gate.md describes them), shown as a checklist. For one run.
        summary: Write one sheet for readers who do no statistics instead. For one run.
        out: The .html file to write.

    Examples:
        biasunlearn report runs/mine --out mine.html
        biasunlearn report runs/mine --out summary.html --summary --policy policy.yaml
        biasunlearn report runs/mine runs/other runs/third --out all.html
    """
    from biasunlearn.commands.report import write_report

    show(write_report(runs, out, policy=policy, summary=summary), output, _report_line)


def _report_line(done: dict[str, object]) -> str:
    runs, size = done["runs"], done["bytes"]
    assert isinstance(runs, list) and isinstance(size, int)
    return f"{done['out']}: {len(runs)} run{'s' * (len(runs) > 1)}, {size / 1e6:.2f} MB"


@command
def label(
    run: Run,
    /,
    *,
    labels: Annotated[File | None, Parameter(group=DATA)] = None,
    size: Annotated[Integer, Parameter(group=SETTINGS)] = 150,
    seed: Annotated[Integer, Parameter(group=SETTINGS)] = 0,
    out: Annotated[File | None, Parameter(group=OUTPUT)] = None,
    output: Output = Output(),
) -> None:
    """Have people label judged answers, and correct the judge's shares by their labels.

    Without --labels, writes a CSV table of answers for people, with the answers before and after debiasing shuffled
    together and without the judge's verdicts. With --labels, reads the table with its column "label" filled in, and
    stores the corrected shares in results.json and report.html of the run.

    Args:
        run: Run folder with judged benchmarks.
        labels: The table, filled in. Labels may be missing.
        size: Answers of each model and share that are drawn to be labelled, half of them from those that the judge
            called positive.
        seed: Random seed of the sample. Read labels with the size and the seed that the table was written with.
        out: The CSV file to write (default: to_label.csv in the run folder).

    Examples:
        biasunlearn label runs/mine --out to_label.csv
        biasunlearn label runs/mine --labels to_label.csv
    """
    from biasunlearn.commands.label import read_labels, write_labels

    if labels is None:
        show(write_labels(run, out=out, size=size, seed=seed), output, _label_line)
    elif out is not None:
        raise RequestError(f"--out {out}: with --labels the results of {run} are written; leave --out away")
    else:
        show_results(read_labels(run, labels, size=size, seed=seed), output, run)


def _label_line(done: dict[str, object]) -> str:
    counts = done["benchmarks"]
    assert isinstance(counts, dict)
    listed = ", ".join(f"{name} {count}" for name, count in counts.items())
    return f"{done['out']}: {done['answers']} answers ({listed}); fill in the column label, then add --labels FILE"


@command
def gate(
    run: Run,
    /,
    *,
    policy: Annotated[File | None, Parameter(group=SETTINGS)] = None,
    preset: Annotated[Literal["compl-ai", "evalhub", "helm"] | None, Parameter(metavar="NAME", group=SETTINGS)] = None,
    base: Annotated[str | None, Parameter(metavar="RUN", group=SETTINGS)] = None,
    junit: Annotated[File | None, Parameter(group=OUTPUT)] = None,
    output: Output = Output(),
) -> int:
    """Check a run against a policy of limits. The exit code is 0 if every rule holds, and 1 if one does not.

    Args:
        run: Run folder.
        policy: YAML file of limits (docs/gate.md describes them).
        preset: What a published evaluation suite gates on, with the right direction: compl-ai, evalhub or helm.
        base: Run that changes are computed against (default: RUN:before).
        junit: Also write the rules as tests to this JUnit XML file, which CI systems show.

    Examples:
        biasunlearn gate runs/mine --policy policy.yaml
        biasunlearn gate runs/mine --policy policy.yaml --base runs/base --json
        biasunlearn gate runs/mine --preset evalhub --junit gate.xml
    """
    from biasunlearn.commands.gate import gate
    from biasunlearn.commands.gate_junit import writing_junit
    from biasunlearn.report.tables.comparison import gate_tables

    with writing_junit(junit) as write:
        result = gate(run, policy, preset=preset, base=base)
        write(result)
    show(result, output, gate_tables)
    return DONE if result.passed else REFUSED
