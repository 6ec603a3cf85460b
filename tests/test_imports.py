"""Imports go downwards only, and the light half of the package never pulls torch in."""

import ast
import subprocess
import sys
from pathlib import Path

import biasunlearn

PACKAGE = Path(biasunlearn.__file__).parent
PARTS = ("benchmarks", "methods")
"""Subpackages: one layer each."""

LAYERS = [
    {"_version", "axes", "cards", "cost", "errors", "exported_bbq", "exported_stereoset", "markup", "method_settings",
     "records"},
    {"adapter_folder", "card", "config", "counterfactual", "data", "gguf", "metrics", "rows", "sampling", "world"},
    {
        "checks",
        "joining",
        "sets",
        "splits",
        "swap",
        "batches",
        "losses",
        "rundir",
        "writing",
        "holding",
        "remembering",
        "comparison_tables",
        "tables",
        "leanings",
        "listing",
        "sentences",
        "progress",
        "scaling",
        "sharing",
        "processes",
        "transfer_tables",
        "lasting_table",
        "erasing",
        "splitting",
        "quantised",
        "fused_activation",
        "output_layer",
        "products",
        "prompting",
        "reference_store",
    },
    {"angles", "curves", "feed", "models", "preparing", "probe_tables", "scatter", "stats", "strips"},
    {"abilities", "bars", "heatmap", "page", "paired", "probes", "trials"},
    {"forest", "lasting_panels", "report_probes", "report_survey", "report_sweep"},
    {"report"},
    {"compatibility", "effect", "keeping", "objectives", "questions", "reading", "scoring",
     "targets"},
    {"capability", "chat", "classifying", "embedding", "finetuning", "generating", "references"},
    {"benchmarks", "trainer"},
    {"lasting", "measuring", "methods", "report_runs", "stages"},
    {"comparing", "debiasing", "exporting", "merging", "playing", "playground", "publishing"},
    {"ablating", "demo", "disentangling", "experiment", "gating", "probing", "reporting", "surveying", "sweeping",
     "tracking", "transferring"},
    {"combining", "relearning"},
    {"cli"},
    {"__main__", "__init__"},
]
"""Lowest first. A file may import from the layers below its own and from its own."""

LIGHT = {"errors", "method_settings", "records", "config", "counterfactual", "data", "metrics", "rows", "sampling",
         "world", "checks", "joining", "sets", "splits", "swap", "rundir", "writing", "holding", "remembering",
         "tables", "report", "progress", "preparing", "stats", "benchmarks", "measuring", "paired", "stages",
         "comparing", "comparison_tables", "gating", "exported_bbq", "exported_stereoset", "exporting", "card",
         "effect", "gguf", "playground", "publishing", "scaling", "transfer_tables", "ablating", "disentangling",
         "sweeping", "cli", "axes", "cards", "curves", "forest", "leanings", "listing", "markup", "page",
         "report_runs", "reporting", "scatter", "sentences", "strips", "tracking", "angles", "probes", "probe_tables",
         "probing", "questions", "heatmap", "report_probes", "bars", "adapter_folder",
         "report_sweep", "trials", "cost", "experiment", "report_survey",
         "surveying", "lasting", "lasting_panels", "lasting_table", "relearning"}  # fmt: skip
"""Files that must not import torch or transformers at their top."""


def _module(path: Path) -> str:
    relative = path.relative_to(PACKAGE)
    return relative.parts[0] if relative.parts[0] in PARTS else relative.stem


def _own_imports(path: Path, *, top_only: bool = False) -> set[str]:
    tree = ast.parse(path.read_text())
    nodes = tree.body if top_only else list(ast.walk(tree))
    inside = path.parent.name in PARTS
    found = set()
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and node.level and not (inside and node.level == 1):
            found |= {node.module.split(".")[0]} if node.module else {alias.name for alias in node.names}
    return found


def _layer(module: str) -> int:
    return next(number for number, names in enumerate(LAYERS) if module in names)


def test_every_file_has_a_layer_and_imports_only_downwards():
    files = sorted(PACKAGE.rglob("*.py"))
    assert len(files) > 20
    for path in files:
        module = _module(path)
        if module == "__init__":  # the public names, by design, point everywhere
            continue
        for imported in _own_imports(path) - {module}:
            assert _layer(imported) <= _layer(module), f"{module} imports {imported}, which stands above it"


def test_no_cycle_among_top_level_imports():
    graph = {_module(p): _own_imports(p, top_only=True) for p in PACKAGE.rglob("*.py") if p.stem != "__init__"}
    done: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, f"import cycle: {' -> '.join((*path, module))}"
        if module not in done:
            for imported in graph.get(module, ()):
                visit(imported, (*path, module))
            done.add(module)

    for module in graph:
        visit(module, ())


def test_light_files_do_not_import_torch_at_the_top():
    for path in PACKAGE.rglob("*.py"):
        if _module(path) in LIGHT:
            for node in ast.parse(path.read_text()).body:
                names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
                names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
                assert not {n.split(".")[0] for n in names} & {"torch", "transformers", "peft"}, path.name


def test_help_and_public_names_without_torch():
    code = (
        "import sys, biasunlearn\n"
        "from biasunlearn.cli import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        "from biasunlearn import DebiasConfig, measure, debias, rescore, load_stereoset\n"
        "assert not {'torch', 'transformers', 'peft', 'datasets'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_losses_know_no_model():
    assert _own_imports(PACKAGE / "losses.py") == set()
