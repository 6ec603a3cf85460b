"""The commands and snippets in the README and the documentation work, and the files that they name exist.

Every command is parsed by the real parser. The commands of all pages except `NOT_RUN` are also run in their order on
a tiny model, and so is every Python snippet. The runs are shortened (`QUICK`); nothing else is changed.
tests/test_site.py builds the site.
"""

import dataclasses
import json
import re
import shlex
import shutil
from pathlib import Path

import pytest

from biasunlearn.cli import main
from biasunlearn.cli.app import COMMANDS
from biasunlearn.config import DebiasConfig, load_config
from tests import made_runs, test_cli, tiny
from tests.cli.words import given
from tests.test_imports import MAY_IMPORT

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
QUICK = (
    "max_steps=3", "swap_noise=0",
    "first_evaluation=2", "evaluate_every=2", "forget_batch=4", "retain_batch=4", "unrelated_batch=2",
)  # fmt: skip

NOT_RUN = {
    "reproduce.md": "need weights from the hub, and hours",
    "scale.md": "need several GPUs or machines",
    "transfer.md": "need several related models; tests/commands/test_transfer.py runs them",
    "export.md": "need the hub, llama.cpp and a browser; tests/commands/test_export.py and test_playground.py run them",
    "verify.md": "need a server; tests/commands/test_verify.py and test_verify_transformers_serve.py start them",
    "methods.md": "need a run per method; tests/unlearn/methods/test_methods.py runs them",
    "questions.md": "need weights from the hub, and hours; the tests of each command run them",
    "experiments.md": "need many runs; the tests of each command run them",
    "methods_results.md": "need many runs; tests/commands/test_survey.py runs them",
    "choose_metric.md": "need published data sets; the tests of each benchmark run them",
    "migration.md": "need published data sets and many runs; the tests of each command run them",
    "judged.md": "need published data sets and served judges; the tests of judged benchmarks run them",
    "gallery.md": "need the world of the demo; tests/commands/test_demo.py runs the demo",
    "smollm2.md": "need a model of 135 M parameters",
    "cognitive.md": "need published data sets and longer models; tests/benchmarks/test_cognitive.py has both",
    "benchmarks.md": "need published data sets, classifiers from the hub and lm-eval; their own tests run them",
}
"""Pages whose commands are parsed but not run, and the reason."""


def blocks(page: Path) -> list[str]:
    """Indented and fenced blocks of a page without their indentation, one string each."""
    text = page.read_text(encoding="utf-8")
    fenced = re.findall(r"^```(?:console|sh|bash)?\n(.*?)^```", text, re.M | re.S)
    text = re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)
    indented = re.findall(r"(?:^(?: {4,}|\t)\S.*\n?)+", text, re.M)
    return [re.sub(r"^\s+", "", block, flags=re.M) for block in (*fenced, *indented)]


def commands(page: Path) -> list[list[str]]:
    """The arguments of every biasunlearn command of a page; continued lines are joined and comments removed."""
    found = []
    for block in blocks(page):
        for line in re.sub(r"\\\n", " ", block).splitlines():
            match = re.search(r"(?:^|-m )biasunlearn (.*)", line)
            if match and "..." not in line:
                found.append(shlex.split(match[1], comments=True))
    return found


def snippets(page: Path) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.M | re.S)


def named(pages):
    return [pytest.param(page, id=page.name) for page in pages]


@pytest.mark.parametrize("page", named(PAGES))
def test_every_command_is_one_that_the_parser_knows(page):
    for arguments in commands(page):
        values = given(*arguments)  # raises, and fails the test with it, where one is wrong
        settings = [one for one in values.get("set", ()) if "$" not in one]
        assert load_config(values.get("config"), settings) is not None


def test_the_pages_have_commands_at_all():
    assert sum(len(commands(page)) for page in PAGES) > 15
    assert ["demo"] not in commands(ROOT / "README.md")  # `make demo` is run in CI, on the installed wheel
    first = {block.split()[0] for page in PAGES for block in blocks(page) if block.split()}
    assert {"biasunlearn", "make"} <= first


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with all files that the pages use: MODEL, train_pairs.jsonl, dev.json, runs/other and so on."""
    folder = tmp_path_factory.mktemp("documents")
    shutil.copytree(ROOT / "examples", folder / "examples")
    for name in ("MODEL", "path/to/model"):
        tiny.save(tiny.gpt2(n_positions=128), folder / name)
    test_cli.write_pairs(folder / "train_pairs.jsonl")
    report = Path(test_cli.write_pairs(folder / "report.jsonl", bias_types=("old", "new")))
    _as_stereoset(report, folder / "dev.json")
    shutil.copy(folder / "dev.json", folder / "unrelated.json")
    for name in ("text.txt", "other.txt"):
        (folder / name).write_text("The river rose in spring. Boats lay at the old bridge.\n" * 9, encoding="utf-8")
    (folder / "runs").mkdir()
    return folder


def _as_stereoset(pairs: Path, out: Path) -> None:
    rows = [json.loads(line) for line in pairs.read_text().splitlines()]
    roles = {"stereotype": "stereotype", "anti_stereotype": "anti-stereotype", "unrelated": "unrelated"}
    clusters = [
        {"id": f"c{n}", "target": row["target"], "bias_type": row["bias_type"], "context": row["context"],
         "sentences": [{"id": f"c{n}{key}", "sentence": row[key], "labels": [], "gold_label": role}
                       for key, role in roles.items()]}
        for n, row in enumerate(rows)
    ]  # fmt: skip
    out.write_text(json.dumps({"version": "1.0", "data": {"intrasentence": clusters}}))


def shortened(arguments: list[str]) -> list[str]:
    if arguments[0] == "relearn":
        assert "--steps" not in arguments  # a second one would add to it
        return [*arguments, "--steps", "2", "--batch", "2"]
    sets = [word for one in QUICK for word in ("--set", one)]
    return [*arguments, *sets] if arguments[0] in ("debias", "disentangle") else arguments


RUN = [page for page in PAGES if page.name not in NOT_RUN and (commands(page) or snippets(page))]


@pytest.mark.slow
@pytest.mark.by_day("README.md", "python.md", "trainer.md")  # of the others each command has tests of its own
@pytest.mark.parametrize("page", named(RUN))
def test_every_command_and_snippet_runs(page, place, tmp_path, monkeypatch, capsys):
    shutil.copytree(place, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    before, after = made_runs.items({"age": 84, "work": 96}), made_runs.items({"age": 60, "work": 60})
    earlier = {"runs/mine", "runs/other", "runs/third"} - {a for c in commands(page) for a in c if c[0] == "debias"}
    if ["demo"] in commands(page):  # tests/commands/test_demo.py runs it, and compares it with the tutorial
        earlier.add("demo-run")
    for run in sorted(earlier):  # runs that other pages create
        made_runs.debiased(tmp_path / run, before, after)
    for arguments in commands(page):
        if arguments == ["demo"]:
            continue
        allowed = {0, 1} if arguments[0] == "gate" else {0}
        assert main(shortened(arguments)) in allowed, (arguments, capsys.readouterr().err[-500:])
    for snippet in snippets(page):
        if "out=" in snippet:  # it writes the run folders that the commands of its page have made
            shutil.rmtree("runs", ignore_errors=True)
        exec(compile(_short(snippet), str(page), "exec"), {})


def _short(snippet: str) -> str:
    steps = ", ".join(QUICK)
    snippet = snippet.replace("max_steps=200", "max_steps=3")
    return snippet.replace("DebiasConfig(seed=1)", f"DebiasConfig(seed=1, {steps})")


@pytest.mark.parametrize("name", NOT_RUN)
def test_what_is_not_run_is_still_parsed(name):
    assert commands(ROOT / "docs" / name), f"{name}: the page has no command; remove it from NOT_RUN"


PROSE = [*PAGES, *(ROOT / name for name in ("CONTRIBUTING.md", "SECURITY.md", "perf/README.md"))]
PACKAGE = ROOT / "src/biasunlearn"
TOP = {path.name for path in ROOT.iterdir()}
PACKAGES = {path.name for path in PACKAGE.iterdir() if path.is_dir()}


def paths(page: Path) -> list[str]:
    """The files in `code` that a page names: src/..., tests/..., examples/..., or a path inside the package."""
    named = re.findall(r"`([\w.-]+(?:/[\w.-]+)+|\w+\.py)`", page.read_text(encoding="utf-8"))
    ours = [name for name in named if "NAME" not in name and ("/" not in name or name.split("/")[0] in TOP | PACKAGES)]
    return [name for name in ours if not name.startswith("runs/") or name.endswith(".py")]  # runs/mine is an --out


def locate(name: str, page: Path) -> Path | None:
    """The file or folder that a page means: from the root of the repository, from the package, or beside the page."""
    found = [base / name for base in (ROOT, PACKAGE, page.parent) if (base / name).exists()]
    return found[0] if found else None


@pytest.mark.parametrize("page", named(PROSE))
def test_every_file_that_a_page_names_exists(page):
    assert [name for name in paths(page) if locate(name, page) is None] == []


def test_pages_name_many_files_and_a_wrong_one_is_found(tmp_path):
    assert sum(len(paths(page)) for page in PROSE) > 60
    page = tmp_path / "page.md"
    page.write_text("see `unlearn/losses.py`, `unlearn/nothing.py` and `src/biasunlearn/gone.py`")
    assert [name for name in paths(page) if locate(name, page) is None] == [
        "unlearn/nothing.py", "src/biasunlearn/gone.py",
    ]  # fmt: skip


DEFINITION = r"(?:def|class) {0}\b|^ *{0}\b *[:=]"


@pytest.mark.parametrize("page", named(PAGES))
def test_every_function_named_with_its_file_is_defined_there(page):
    """`npo_loss` in `unlearn/losses.py`; also rows of a table whose first cells are a file and a function."""
    text = page.read_text(encoding="utf-8")
    claims = re.findall(r"((?:`[\w.]+`(?:,? and |, )?)+) in `([\w/]+\.py)`", text)
    claims += [(names, path) for path, names in re.findall(r"\| `([\w/]+\.py)` \| (`[\w.]+`)", text)]
    for names, path in claims:
        source = ((ROOT if path.startswith("src") else PACKAGE) / path).read_text(encoding="utf-8")
        for name in re.findall(r"`([\w.]+)`", names):
            missing = [part for part in name.split(".") if not re.search(DEFINITION.format(part), source, re.M)]
            assert not missing, f"{page.name}: {name} in {path}"


@pytest.mark.filterwarnings("error::FutureWarning")  # a name that is only still accepted
@pytest.mark.parametrize("page", named(PAGES))
def test_every_setting_that_a_page_names_is_valid(page):
    keys = {field.name for field in dataclasses.fields(DebiasConfig)}
    settings = re.findall(r"`([a-z_]+)(?:: |=)([\w.]+)`", page.read_text(encoding="utf-8"))
    of_a_policy = {"over_debiased", "contains", "partial"}
    unknown = [key for key, _ in settings if key not in keys | of_a_policy]
    assert unknown == []
    for key, value in settings:
        assert key not in keys or load_config(None, [f"{key}={value}"])


def test_every_make_target_that_a_page_names_exists():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for page in PROSE:
        code = [*blocks(page), *re.findall(r"`(make [^`]+)`", page.read_text(encoding="utf-8"))]
        for target in re.findall(r"^make ([a-z-]+)", "\n".join(code), re.M):
            assert re.search(rf"^{target}:", makefile, re.M), f"{page.name}: make {target}"


def test_the_page_of_the_command_line_lists_every_command():
    text = (ROOT / "docs/command_line.md").read_text(encoding="utf-8").partition("## Lists of")[0]
    rows = re.findall(r"^\| `([a-z-]+)[a-z ]*` \|", text, re.M)
    assert sorted(rows) == sorted(name for group in COMMANDS.values() for name in group)


def test_the_readme_fits_on_two_screens_and_has_a_place_for_the_evidence():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 100
    assert "](docs/evidence.md)" in text.partition("<!-- evidence -->")[2].partition("<!-- /evidence -->")[0]


def anchors(page: Path) -> set[str]:
    """The names of the sections of a page, as in a link that ends with #name."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    headings = re.findall(r"^#+ (.+)$", text, re.M)
    names = [re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings]
    return {re.sub("-+", "-", name) for name in names}


def dead_links(page: Path) -> list[str]:
    """The links of a page to a file, picture or section that does not exist. Links to other hosts are not followed."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    dead = []
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        path, _, section = link.partition("#")
        target = page.parent / path if path else page
        missing = not target.exists() or section and re.sub("-+", "-", section) not in anchors(target)
        if missing and not re.match(r"https?://", link):
            dead.append(link)
    return dead


@pytest.mark.parametrize("page", named(PROSE))
def test_every_link_leads_to_a_file_and_a_section(page):
    assert dead_links(page) == []


def test_a_link_to_nothing_is_found(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# One, two\n\n[a](#one-two) [b](#three) [c](page.md#one-two) [d](gone.md) [e](https://x.org/y)")
    assert dead_links(page) == ["#three", "gone.md"]


def test_pictures_are_small():
    sizes = {path.name: path.stat().st_size for path in (ROOT / "docs").rglob("*.png")}
    assert sizes and max(sizes.values()) < 150_000


def test_the_architecture_page_states_what_each_package_imports():
    text = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \|.*\| ([\w, ]+) \|$", text, re.M)
    stated = {package: set(imports.split(", ")) for package, imports in rows}
    assert stated == {package: allowed for package, allowed in MAY_IMPORT.items() if package != "root"}


def test_every_page_is_in_the_navigation_and_begins_with_its_purpose():
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    for page in sorted((ROOT / "docs").glob("*.md")):
        assert re.search(rf": {page.name}$", navigation, re.M), f"{page.name} is not in mkdocs.yml"
        purpose = page.read_text(encoding="utf-8").split("\n\n")[1]
        assert page.name == "index.md" or purpose.startswith("This page "), page.name
