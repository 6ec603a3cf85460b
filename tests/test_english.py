"""The documentation, docstrings, messages and comments use the standard terms of the field.

Each pattern is a word or phrase that earlier versions used in a sense of their own, with the standard term to use
instead. Patterns match whole words, and only the wrong sense: "look up", "look like" and "push to the hub" are allowed.
The documentation is also read by proselint, which finds clichés, redundancies, misspellings and the like.
"""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "src/biasunlearn"

BEFORE_LOOK = "a|an|the|first|last|next|nearest|best|every|each|one|two|three|many|few|several|its|after|between|of|by"

TERMS = {
    rf"(?:{BEFORE_LOOK}) looks?(?! (?:up|like|alike))": "evaluation",
    r"look(?:s|ed|ing)? at the (?:stop|report) split|looked at|looks at terms": "is evaluated on the stop split",
    r"(?:the|a|an|full|negative|largest|own|its|their|last|what the) push(?! to)": "swap weight",
    r"mend(?:s|ed|ing)?": "fix",
    r"told apart|told from none|tells? .{1,40} from (?:an?|the) (?:fair|indifferent|broken)": "distinguish",
    r"as (?:it|they) came|untrained model": "base model",
    r"whoever (?:is|has|takes|asks|loads|tunes|wants)": "name the subject: a user, a run",
    r"(?:somebody|nobody) (?:who|has|is|looks|knows|asks)": "name the subject: a user, a process",
    r"by turns": "alternating",
    r"to the byte": "identical",
    r"(?:a|the) (?:truly )?fair model|luck|luckiest": "unbiased model; chance",
    r"lean(?:s|ed|ing|ings)?": "prefer, preference",
    r"says? of (?:an?|the|it|them|each|its)|is known of (?:the|it)": "the output for; the score of",
    r"(?:that|this|which|it|so) is said": "is reported",
    r"(?:not|has|had|to|have|that) arrived?|arrives": "reach",
    r"behind (?:an?|the|its|every|each|what) (?:prompt|sentence|blank|word|text)": "after",
    r"given away|let go of": "release",
    r"com(?:es?|ing) to rest|points? of rest": "target value",
    r"what (?:it|that|this|they|all|a course) (?:came|comes|come) to": "result",
    r"(?:is|are) held against|hold(?:s|ing)? (?:a|an|the|one) \w+ against": "is checked against",
    r"gives? away|gave away": "linear probes",
    r"steady (?:swap|push)|swap: steady": "swap: pi",
    r"forgotten (?:sentence|one)s?|retained (?:sentence|one)s?": "forget example, retain example",
    r"reckon(?:s|ed|ing)?": "computed",
    r"places by gap|places: (?:gap|even)": "batch allocation",
    r"of its own accord": "without being asked",
    r"at fault|wears? (?:it|the debiasing) off": "is wrong; reduces the effect",
    r"in one go|by heart": "at once; memorized",
}
"""Pattern (whole words, any case): what to write instead."""

NOT_YET: dict[str, int] = {}
"""Files whose text is still to be rewritten, with the number of wrong terms that they may have. Only lower a number."""

ANY = re.compile(rf"\b(?:{'|'.join(TERMS)})\b", re.I)
WRONG = {re.compile(rf"\b(?:{pattern})\b", re.I): instead for pattern, instead in TERMS.items()}


def prose_files() -> list[Path]:
    pages = [ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "NOTICE")]
    return [*pages, ROOT / "perf/README.md", *sorted((ROOT / "docs").glob("*.md"))]


def code_files() -> list[Path]:
    """Modules, recipes, cards and examples; not the term lists, which are data."""
    files = [path for folder in (PACKAGE, ROOT / "examples") for path in folder.rglob("*")]
    return sorted(path for path in files if path.suffix in (".py", ".yaml", ".yml") and path.parent.name != "lists")


def texts(path: Path) -> Iterator[str]:
    """Of a Python file every string and comment; of any other file the whole text. Line ends count as spaces."""
    source = path.read_text(encoding="utf-8")
    if path.suffix != ".py":
        yield re.sub(r"[ \t]*\n[ \t]*#?[ \t]*", " ", source)
        return
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value:  # not an identifier
            yield " ".join(node.value.split())
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    yield " ".join(token.string.strip("# ") for token in tokens if token.type == tokenize.COMMENT)


def faults(path: Path) -> list[str]:
    """Every wrong term of a file with its context and the term to use."""
    return [
        f"...{text[max(0, match.start() - 30) : match.end() + 30]}... write: {instead}"
        for text in filter(ANY.search, texts(path))
        for wrong, instead in WRONG.items()
        for match in wrong.finditer(text)
    ]


def named(files: list[Path]) -> list:
    return [pytest.param(path, id=str(path.relative_to(ROOT))) for path in files]


@pytest.mark.parametrize("path", named(prose_files()))
def test_documentation_uses_standard_terms(path):
    assert faults(path) == []


@pytest.mark.parametrize("path", named(code_files()))
def test_strings_and_comments_use_standard_terms(path):
    found, allowed = faults(path), NOT_YET.get(str(path.relative_to(ROOT)), 0)
    assert len(found) <= allowed, "\n".join(found)


def test_wrong_terms_are_found_and_ordinary_english_is_not(tmp_path):
    page, module = tmp_path / "page.md", tmp_path / "module.py"
    page.write_text("The run was stopped at its\nfirst look. A user can mend it.")
    module.write_text('"""Looks up a name, pushes a folder; what it looks like."""\nx = 1  # the push is 1\n')
    assert len(faults(page)) == 2 and len(faults(module)) == 1


NOT_ASKED = ("typography.", "weasel_words.very", "misc.illogic")
"""Checks of proselint that are not applied: straight quotes are what code and terminals have; "very" is a word of this
field ("very same term"); and "more than half of all" is an exact condition."""

INLINE = re.compile(r"\$?`[^`]+`\$?|\]\([^)]*\)|<!--.*?-->")


def prose(text: str) -> str:
    """The sentences of a Markdown page, on their lines: without code, formulas, headings and targets of links."""
    text = re.sub(r"^(```|---\n).*?^(```|---$)", lambda block: "\n" * block[0].count("\n"), text, flags=re.M | re.S)
    text = re.sub(r"^(?: {4,}\S|#).*$", "", text, flags=re.M)
    numbers = iter(range(10**6))  # so that two pieces of code are not taken for a word that is repeated
    return INLINE.sub(lambda _: f" code{next(numbers)} ", text)


def complaints(page: Path) -> list[str]:
    """What proselint says about a page: the line, the name of the check, and the advice."""
    from proselint.checks import __register__
    from proselint.registry import CheckRegistry
    from proselint.tools import LintFile

    if not CheckRegistry().checks:
        CheckRegistry().register_many(__register__)
    found = [
        (one.pos[0], one.check_result.check_path, one.check_result.message)
        for one in LintFile(page.name, content=prose(page.read_text(encoding="utf-8"))).lint()
    ]
    no_words = re.compile(r"\n\s*\n|'[\d\s]+'")  # what is repeated are two paragraphs, or figures of a table
    return [
        f"{page.name}:{line}: {check}: {message}"
        for line, check, message in found
        if not check.startswith(NOT_ASKED) and not no_words.search(message)
    ]


@pytest.mark.parametrize("path", named(prose_files()))
def test_proselint_has_no_complaint_about_the_documentation(path):
    pytest.importorskip("proselint", reason="needs the extra [dev]")
    assert complaints(path) == []


def test_proselint_finds_a_cliche_and_a_repeated_word_but_not_in_code(tmp_path):
    pytest.importorskip("proselint", reason="needs the extra [dev]")
    page = tmp_path / "page.md"
    page.write_text("At the end of the day, the the same.\n\n    at the end of the day\n\n`the the`, [a](the-the.md)\n")
    assert [one.split(": ")[0] for one in complaints(page)] == ["page.md:1"] * len(complaints(page))
    assert len(complaints(page)) >= 2
