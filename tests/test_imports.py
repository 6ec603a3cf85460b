"""Packages import only from those below them, and the light half of the project never imports torch."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import biasunlearn
from biasunlearn import commands

PACKAGE = Path(biasunlearn.__file__).parent

MAY_IMPORT = {
    "root": set(),
    "stats": {"root"},
    "data": {"root", "stats"},
    "runs": {"root", "stats", "data"},
    "report": {"root", "stats", "data", "runs"},
    "models": {"root", "stats", "data", "runs"},
    "scoring": {"root", "stats", "data", "runs", "models"},
    "unlearn": {"root", "stats", "data", "runs", "models", "scoring"},
    "benchmarks": {"root", "stats", "data", "runs", "models", "scoring"},
    "commands": {"root", "stats", "data", "runs", "report", "models", "scoring", "unlearn", "benchmarks"},
    "cli": {"root", "data", "runs", "report", "scoring", "commands"},
}
"""Package: the packages that it may import from, besides itself. "root" is errors, config and the like."""

EVERYTHING = {"__init__", "__main__"}
"""Modules of the root that by design reach every package: the public names, and `python -m`."""

WITHOUT_TORCH = {"root", "stats", "data", "runs", "report", "benchmarks", "commands", "cli"}
"""Packages whose modules do not import torch, transformers or peft when they are imported."""


def package_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE).parts
    return parts[0] if len(parts) > 1 else "root"


def imported(path: Path) -> set[str]:
    """Modules of this project that a file imports anywhere, inside functions too, as dotted names below biasunlearn."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: relative import; write the whole name"
            if (node.module or "").split(".")[0] == "biasunlearn":
                inside = (node.module or "").split(".")[1:]
                found |= {".".join(inside)} if inside else {alias.name for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[2] for alias in node.names if alias.name.startswith("biasunlearn.")}
    return found


def violations(path: Path) -> list[str]:
    """Every import of a file that leads to a package which its own package may not import from."""
    package, wrong = package_of(path), []
    for name in imported(path):
        first = name.split(".")[0]
        other = first if (PACKAGE / first).is_dir() else "root"
        if other == package or other in MAY_IMPORT[package]:
            if not (other == "root" and first in EVERYTHING):
                continue
        wrong.append(f"{path.relative_to(PACKAGE)} imports biasunlearn.{name}")
    return wrong


def files() -> list[Path]:
    return [p for p in sorted(PACKAGE.rglob("*.py")) if not (package_of(p) == "root" and p.stem in EVERYTHING)]


def test_every_package_has_a_line_and_says_what_it_holds() -> None:
    packages = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert packages == set(MAY_IMPORT) - {"root"}
    for name in packages:
        text = ast.get_docstring(ast.parse((PACKAGE / name / "__init__.py").read_text(encoding="utf-8")))
        assert text and "Never in this package" in text, name


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_packages_import_only_from_below(package: str) -> None:
    mine = [path for path in files() if package_of(path) == package]
    assert mine
    assert [line for path in mine for line in violations(path)] == []


def test_an_upward_or_sideways_import_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "stats").mkdir()
    (tmp_path / "unlearn").mkdir()
    (tmp_path / "benchmarks").mkdir()
    up, sideways = tmp_path / "stats/one.py", tmp_path / "unlearn/two.py"
    up.write_text("def f():\n    from biasunlearn.unlearn.losses import npo_loss\n")
    sideways.write_text("from biasunlearn.benchmarks import bbq\n")
    monkeypatch.setattr("tests.test_imports.PACKAGE", tmp_path)
    assert violations(up) == ["stats/one.py imports biasunlearn.unlearn.losses"]
    assert violations(sideways) == ["unlearn/two.py imports biasunlearn.benchmarks"]


@pytest.mark.slow
def test_no_cycle_among_imports() -> None:
    graph = {
        ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__"): imported(path)
        for path in PACKAGE.rglob("*.py")
        if path != PACKAGE / "__init__.py"
    }
    done: set[str] = set()

    def visit(module: str, way: tuple[str, ...]) -> None:
        assert module not in way, f"import cycle: {' -> '.join((*way, module))}"
        if module not in done:
            for name in graph.get(module, ()):
                if name != module:
                    visit(name, (*way, module))
            done.add(module)

    for module in graph:
        visit(module, ())


@pytest.mark.slow
def test_light_packages_do_not_import_torch_at_the_top() -> None:
    for path in PACKAGE.rglob("*.py"):
        if package_of(path) in WITHOUT_TORCH:
            for node in ast.parse(path.read_text(encoding="utf-8")).body:
                names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
                names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
                assert not {n.split(".")[0] for n in names} & {"torch", "transformers", "peft"}, path


@pytest.mark.slow
def test_help_and_public_names_without_torch() -> None:
    code = (
        "import sys, biasunlearn\n"
        "from biasunlearn.cli import main\n"
        "assert main(['--help']) == 0\n"
        "from biasunlearn import DebiasConfig, measure, debias, load_stereoset\n"
        "assert not {'torch', 'transformers', 'peft', 'datasets'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_losses_know_no_model() -> None:
    assert imported(PACKAGE / "unlearn/losses.py") == set()


def test_every_command_has_a_file_of_its_name() -> None:
    named = {path.stem for path in Path(commands.__file__).parent.glob("*.py")}
    assert {"measure", "debias", "compare", "transfer", "gate", "report", "export", "survey", "sweep"} <= named
