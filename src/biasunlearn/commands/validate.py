"""`validate`: reads a file as `measure`, `debias`, `gate` or `counterfactual` would, and says what was understood.

No model is loaded and nothing is written. What kind of file it is, is seen from its name, its columns and its keys; an
unusual one can be named.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from biasunlearn.benchmarks import BENCHMARKS, NAMES
from biasunlearn.benchmarks.bbq import unknown_groups
from biasunlearn.commands.gate import PARTIAL, read_policy
from biasunlearn.commands.measure import read_predictions
from biasunlearn.commands.run_stages import CAPABILITY, read_stage
from biasunlearn.config import load_config, recipe_names
from biasunlearn.data.checks import pair_findings
from biasunlearn.data.families import load_families
from biasunlearn.data.files import hash_of, read_file
from biasunlearn.data.readers import DataFile, is_plain_text, read_sentences, read_triplets
from biasunlearn.data.rows import BadRow, Row, shown
from biasunlearn.data.tables import is_folder, is_hub_name, read_json, read_rows
from biasunlearn.data.term_lists import KEYS, load_term_list
from biasunlearn.errors import RequestError
from biasunlearn.runs.folder import RunFolder
from biasunlearn.strict_yaml import read_yaml


@dataclass(frozen=True, slots=True)
class Validation:
    """What was understood of one file."""

    path: str
    kind: str
    """One of `KINDS`."""
    form: str
    """How it is stored: csv, jsonl, a folder, ..."""
    records: int
    """Pairs, questions, sentences, terms or rules that can be used."""
    sha256: str | None
    bias_types: Mapping[str, int]
    """{bias type: records}, where the records have one."""
    target_terms: int | None
    """Different target terms, where the records have them."""
    without_target_term: int | None
    duplicates: int | None
    """Pairs that occur more than once, in any spelling."""
    skipped: tuple[str, ...]
    """Every row that cannot be used, with its place and the reason."""
    notes: tuple[str, ...]
    """What was interpreted, and what is odd about the data."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {**asdict(self), "skipped": list(self.skipped), "notes": list(self.notes)}


def validate(path: str, *, kind: str | None = None) -> Validation:
    """Reads one file or folder completely.

    Args:
        path: a data file, the folder of a benchmark, a data set of the hub, a term list, a recipe, a policy, a
            prediction file or a run folder.
        kind: one of `KINDS`; None: as its name, columns and keys say.
    Returns:
        The counts, with every row that cannot be used in `skipped`.
    Raises:
        RequestError: the file as a whole cannot be read, has no usable row, or is of no known kind.
    """
    if kind is not None and kind not in KINDS:
        raise RequestError(f"--as {kind}: unknown kind; known: {', '.join(KINDS)}")
    found = kind or recognised_kind(path)
    return KINDS[found](path, found)


# --- which kind ------------------------------------------------------------------------------------------------------


def recognised_kind(path: str) -> str:
    """The kind of a file by its name and its content. RequestError where it is not known."""
    if is_folder(path):
        return _kind_of_folder(Path(path))
    if is_hub_name(path):
        return "pairs"
    name = path.lower().removesuffix(".gz")
    if is_plain_text(path):
        return "sentences"
    if name.endswith((".yaml", ".yml")):
        return _kind_of_yaml(path)
    if name.endswith(".json"):
        return _kind_of_json(path)
    return _kind_of_columns(path, _first_row(path))


def _kind_of_folder(folder: Path) -> str:
    signs = {
        "results.json": "run", "config.yaml": "run", "male_occupations.txt": "winobias",
        "all_sentences.tsv": "winogender",
    }  # fmt: skip
    for name, kind in signs.items():
        if (folder / name).exists():
            return kind
    if next(folder.glob("*_prompt.json"), None):
        return "bold"
    tests = sorted(folder.glob("*.jsonl"))
    if tests:
        return "seat" if _is_seat(tests[0]) else "bbq"
    return "bbq" if next(folder.glob("*.jsonl.gz"), None) else "pairs"


def _kind_of_yaml(path: str) -> str:
    content = read_yaml(path)
    keys = {str(key) for key in content} if isinstance(content, dict) else set()
    if "bias_type" in keys or {"pairs", "groups"} & keys:
        return "terms"
    if keys and keys <= {*NAMES, CAPABILITY, PARTIAL}:
        return "policy"
    if keys and all(isinstance(value, list) for value in content.values()):
        return "families"
    if keys:
        return "recipe"
    raise RequestError(
        f"{path}: neither a recipe, a policy, a term list ({', '.join(KEYS)}) nor term families; name its kind with "
        "--as"
    )


def _kind_of_json(path: str) -> str:
    content = read_json(read_file(path))
    if isinstance(content, list):
        return _kind_of_columns(path, next((row for row in content if isinstance(row, dict)), {}))
    if not isinstance(content, dict) or "data" in content:
        return "pairs"
    if {"targ1", "targ2", "attr1", "attr2"} <= content.keys():
        return "seat"
    if isinstance(content.get("intrasentence"), list) or isinstance(content.get("intersentence"), list):
        return "predictions"
    return "bold" if content and all(isinstance(group, dict) for group in content.values()) else "pairs"


def _first_row(path: str) -> Row:
    """The first row that can be read; {} where there is none."""
    if path.lower().removesuffix(".gz").endswith(".jsonl") and _is_seat(Path(path)):
        return {"targ1": None}
    rows = read_rows(path).rows
    return next((row for _, row in rows if not isinstance(row, BadRow)), {})


def _is_seat(path: Path) -> bool:
    """A SEAT test is one JSON object over many lines, although its name ends in .jsonl."""
    try:
        content = read_json(read_file(path))
    except RequestError:
        return False
    return isinstance(content, dict) and "targ1" in content


def _kind_of_columns(path: str, row: Row) -> str:
    columns = set(row)
    for names, kind in COLUMNS:
        if columns >= names:
            return kind
    if "prompt" in columns and "chosen" not in columns:
        return "realtoxicityprompts"
    return "pairs"


COLUMNS: tuple[tuple[frozenset[str], str], ...] = (
    (frozenset(("sent_more", "sent_less")), "crows_pairs"),
    (frozenset(("ans0", "ans1", "ans2", "context")), "bbq"),
    (frozenset(("sentid", "sentence")), "winogender"),
    (frozenset(("term", "counterpart")), "terms"),
    (frozenset(("targ1",)), "seat"),
)
"""(columns, kind of the tables that have them)"""


# --- what is in it ---------------------------------------------------------------------------------------------------


def _pairs(path: str, kind: str) -> Validation:
    data = read_triplets(path, skip_invalid=True)
    return _of_pairs(data, kind)


def _of_pairs(data: DataFile, kind: str) -> Validation:
    findings, duplicates = pair_findings(data.triplets)
    terms = {(c.bias_type, c.target) for c in data.triplets if c.target}
    return Validation(
        path=data.path,
        kind=kind,
        form=_form(data.path),
        records=len(data.triplets),
        sha256=data.sha256,
        bias_types=_sizes(c.bias_type for c in data.triplets),
        target_terms=len(terms),
        without_target_term=sum(not c.target for c in data.triplets),
        duplicates=duplicates,
        skipped=data.skipped,
        notes=(*_kinds_of(data), *data.notes, *findings),
    )


def _kinds_of(data: DataFile) -> list[str]:
    kinds = _sizes(c.kind for c in data.triplets)
    with_unrelated = sum(c.unrelated is not None for c in data.triplets)
    counts = ", ".join(f"{count} {name}" for name, count in kinds.items())
    return [f"{counts}; {with_unrelated} with an unrelated sentence"]


def _benchmark(path: str, kind: str) -> Validation:
    table = BENCHMARKS[kind].read(path, skip_invalid=True)
    if isinstance(table, DataFile):
        return _of_pairs(table, kind)
    records = getattr(table, "records", None)
    if records is None:  # the text of perplexity
        return _plain(path, kind, len(table.text.split()), table.sha256, ["counted in words"])
    has_pairs = hasattr(BENCHMARKS[kind], "pairs")
    duplicates = pair_findings(BENCHMARKS[kind].pairs(table))[1] if has_pairs and kind == "crows_pairs" else None
    return Validation(
        path=path,
        kind=kind,
        form=_form(path),
        records=len(records),
        sha256=table.sha256,
        bias_types=_sizes(map(_bias_type, records)),
        target_terms=None,
        without_target_term=None,
        duplicates=duplicates,
        skipped=table.skipped,
        notes=tuple(_unknown_groups(records)) if kind == "bbq" else (),
    )


def _bias_type(record: Any) -> str:
    """What the results of a benchmark are grouped by."""
    names = ("bias_type", "type", "referent") if not hasattr(record, "question") else ("category",)
    return next((str(value) for name in names if (value := getattr(record, name, None))), "unnamed")


def _unknown_groups(questions: Sequence[Any]) -> list[str]:
    sizes = _sizes(question.category for question in questions)
    return [
        f"the stereotyped answer of {count} of {sizes[name]} questions of {name} is not known; they count in the "
        "accuracies only"
        for name, count in unknown_groups(questions).items()
    ]


def _sentences(path: str, kind: str) -> Validation:
    sentences = read_sentences(path)
    repeated = len(sentences) - len({text for _, text in sentences})
    notes = [f"{repeated} sentences occur more than once"] if repeated else []
    return _plain(path, kind, len(sentences), hash_of([read_file(path)]), notes)


def _terms(path: str, kind: str) -> Validation:
    terms = load_term_list(path)
    notes = [
        f"{len(terms.pairs)} pairs, {len(terms.one_way)} one-way, {len(terms.groups)} groups, "
        f"{len(terms.neutral)} neutral, {len(terms.clashes)} clashes; pronouns are {'' if terms.pronouns else 'not '}"
        "swapped"
    ]
    count = len(terms.pairs) + len(terms.one_way) + len(terms.groups)
    found = _plain(path, kind, count, None, notes)
    return _with_bias_types(found, {terms.bias_type: count})


def _families(path: str, kind: str) -> Validation:
    known = load_families(path)
    sizes = {bias_type: len(set(names.values())) for bias_type, names in known.items()}
    return _with_bias_types(_plain(path, kind, sum(sizes.values()), None, ["with the shipped families"]), sizes)


def _recipe(path: str, kind: str) -> Validation:
    config = load_config(path)
    return _plain(path, kind, 1, None, [f"method {config.method}, seed {config.seed}"])


def _policy(path: str, kind: str) -> Validation:
    rules = read_policy(path)
    return _plain(path, kind, len(rules), None, list(map(str, rules)))


def _predictions(path: str, kind: str) -> Validation:
    found = read_predictions(path)
    notes = [f"{len(scores)} {name} scores" for name, scores in found.items()]
    return _plain(path, kind, sum(map(len, found.values())), hash_of([read_file(path)]), notes)


def _run(path: str, kind: str) -> Validation:
    stage = read_stage(path)
    folder = RunFolder(Path(path))
    if (folder.path / "config.yaml").exists():  # not where scores were computed again, or moved without it
        folder.read_config()
    rows = folder.read_metrics()
    counts = {name: len(items) for name, items in stage.items.items()}
    notes = [f"model {stage.results.model}", f"benchmarks {', '.join(stage.entries)}", f"{len(rows)} training steps"]
    return _plain(path, kind, sum(counts.values()), None, notes)


KINDS: dict[str, Callable[[str, str], Validation]] = {
    "pairs": _pairs,
    **dict.fromkeys(NAMES, _benchmark),
    "sentences": _sentences,
    "terms": _terms,
    "families": _families,
    "recipe": _recipe,
    "policy": _policy,
    "predictions": _predictions,
    "run": _run,
}
"""{kind: what reads and counts it}"""


def _plain(path: str, kind: str, records: int, sha256: str | None, notes: Sequence[str]) -> Validation:
    """What was understood of a file whose records have no bias types, and of which no row can be left out."""
    return Validation(path, kind, _form(path), records, sha256, {}, None, None, None, (), tuple(notes))


def _with_bias_types(found: Validation, sizes: Mapping[str, int]) -> Validation:
    return replace(found, bias_types=dict(sizes))


def _sizes(names: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(names).items()))


def _form(path: str) -> str:
    """How a file is stored, by the ending of its name."""
    if is_folder(path):
        return "folder"
    if path in recipe_names():
        return "yaml"
    return "".join(Path(path).suffixes[-2:]).lower().lstrip(".") if Path(path).suffix == ".gz" else _ending(path)


def _ending(path: str) -> str:
    return Path(path).suffix.lower().lstrip(".") or ("hub data set" if is_hub_name(path) else shown(Path(path).name))
