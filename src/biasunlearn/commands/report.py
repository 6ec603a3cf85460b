"""`report`: finished run folders -> one self-contained HTML file, without a model and without torch."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from biasunlearn.commands.compare import compare_stages, paired_with_first
from biasunlearn.commands.gate import gate
from biasunlearn.commands.run_stages import stage_of
from biasunlearn.data.readers import sentences_of
from biasunlearn.data.tables import collector_off
from biasunlearn.errors import RequestError
from biasunlearn.report.answers import ROLES
from biasunlearn.report.plain_summary import summary_page
from biasunlearn.report.run import RunData, report_page
from biasunlearn.report.runs import runs_page
from biasunlearn.runs.atomic import whole_file
from biasunlearn.runs.comparison import RunComparison
from biasunlearn.runs.folder import RunFolder
from biasunlearn.runs.items import Columns, Keep, read_items
from biasunlearn.runs.responses import read_responses


@collector_off()
def write_report(
    runs: str | Path | Sequence[str | Path],
    out: str | Path,
    *,
    policy: str | Path | None = None,
    summary: bool = False,
) -> dict[str, Any]:
    """Writes the report of one run, or of several beside each other.

    Args:
        runs: a run folder, or several, which are tested against the stage before of the first one, or against the
            first one.
        out: the .html file to write; an existing file is replaced.
        policy: a YAML file of limits (see `gate`), shown as a checklist. For one run.
        summary: one sheet for readers who do no statistics, in place of the whole report. For one run.
    Returns:
        {"out", "runs", "bytes"}
    Raises:
        RequestError: no finished run, a policy that is wrong, several runs where one is needed, or a file that cannot
            be written.
        WriteError: the disk is full or the like.
    """
    names = [str(run) for run in ([runs] if isinstance(runs, str | Path) else runs)]
    path = _page_file(Path(out))
    if len(names) > 1 and (policy is not None or summary):
        option = "--summary" if summary else "--policy"
        raise RequestError(f"{option}: is about one run, and {len(names)} were given; name one run")
    known: Columns = {}  # of the items: most runs on one page are on the same data
    data = [read_run(name, known, _on_page_of_several if place else None) for place, name in enumerate(names)]
    checked = None if policy is None else gate(names[0], policy)
    if len(data) > 1:
        content = runs_page(data, *_comparison(data))
    else:
        content = summary_page(data[0], checked) if summary else report_page(data[0], checked)
    with whole_file(path) as temporary:
        temporary.write_text(content, encoding="utf-8")
    return {"out": str(path), "runs": names, "bytes": path.stat().st_size}


def read_run(name: str, known: Columns | None = None, keep: Keep | None = None) -> RunData:
    """Reads a run folder. RequestError where it holds no finished run. `known`, `keep`: as in `read_items`."""
    folder = RunFolder(Path(name))
    results = folder.read_results()
    stored = folder.path / "items.parquet"
    stages = read_items(stored, known, keep) if stored.exists() else {}
    sentences = sentences_of(*results.stereoset_file)
    return RunData(name, results, stages, folder.read_metrics(), sentences, read_responses(folder.path))


def _on_page_of_several(stage: str, benchmark: str, role: str) -> bool:
    """Of the stage before of a run that is not the first one, a page has StereoSet's pairs and written answers."""
    return stage != "before" or benchmark == "stereoset" or role in ROLES


def _comparison(runs: Sequence[RunData]) -> tuple[RunComparison | None, str | None]:
    """The comparison with the base model, or why there is none: runs on different data still give a page."""
    try:
        stages = [stage_of(f"{place} {run.name}", "after", run.results, run.stages) for place, run in
                  enumerate(runs, 1)]  # fmt: skip
        first = runs[0]
        if first.results.before:
            stages.insert(0, stage_of(f"{first.name}:before", "before", first.results, first.stages))
        return compare_stages(stages, paired_with_first(stages, for_page=True), for_page=True), None
    except RequestError as error:
        return None, f"The runs cannot be tested against each other: {error}"


def _page_file(path: Path) -> Path:
    if path.is_dir():
        raise RequestError(f"--out {path}: a folder; name the file, as in {path / 'report.html'}")
    if path.suffix.lower() not in (".html", ".htm"):
        raise RequestError(f"--out {path}: a report is one HTML file; name it something.html")
    if not path.parent.is_dir():
        raise RequestError(f"--out {path}: there is no folder {path.parent}; make it first")
    return path
