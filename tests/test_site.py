"""The documentation site builds, and works in a folder without a network: its search, its formulas and its pages."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The built site. A warning of mkdocs, such as a link to nothing, is an error."""
    for package in ("mkdocs", "mkdocstrings", "latex2mathml"):
        pytest.importorskip(package, reason="needs the extra [docs]")
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.slow
def test_no_page_of_the_site_loads_anything_from_another_host(site):
    pages = list(site.glob("*.html"))
    assert len(pages) >= 10
    for page in pages:  # links to other hosts are allowed
        loads = r"<(?:script|img|iframe)[^>]*\ssrc=\"http|<link rel=\"stylesheet\" href=\"http"
        assert not re.search(loads, page.read_text(encoding="utf-8")), page.name


@pytest.mark.slow
def test_formulas_are_set_and_the_index_of_the_search_is_a_script(site):
    method = (site / "method.html").read_text(encoding="utf-8")
    assert method.count("<math") > 5 and "\\frac" not in method and "$`" not in method
    index = (site / "search/search_index.js").read_text(encoding="utf-8")  # a browser loads no JSON from a folder
    assert index.startswith("var __index = ") and "both-sides-of-a-bias-type" in index
    api = re.sub(r"<[^>]+>", "", (site / "api.html").read_text(encoding="utf-8"))
    assert "measure(\n" in api  # a signature on several lines


@pytest.fixture(scope="module")
def browser():
    from tests.report.test_browser import CHROMIUM, FLAGS, playwright  # skips where there is no playwright

    if not CHROMIUM:
        pytest.skip("needs chromium (.ci/browser installs it), or $BIASUNLEARN_CHROMIUM")
    with playwright.sync_playwright() as engine:
        running = engine.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield running
        running.close()


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.parametrize("width", [390, 1280])
def test_the_search_works_in_a_folder_and_pages_fit_their_screen(browser, site, width):
    page = browser.new_page(viewport={"width": width, "height": 900})
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    for name in ("api", "method", "index"):
        page.goto((site / f"{name}.html").as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") <= width, name
    if width < 1000:
        page.locator("label.md-header__button[for=__search]").click()
    page.locator("input[name=query]").click()
    page.keyboard.type("polarised", delay=20)
    page.locator(".md-search-result__item").first.wait_for(state="attached", timeout=10_000)
    assert page.locator(".md-search-result__item a[href*=tutorial]").count() > 0
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []


def test_a_formula_that_cannot_be_set_is_an_error():
    pytest.importorskip("latex2mathml", reason="needs the extra [docs]")
    spec = importlib.util.spec_from_file_location("formulas", ROOT / "docs/hooks/formulas.py")
    formulas = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(formulas)
    assert "<mfrac>" in formulas.block(r"\frac{1}{2}")
    with pytest.raises(ValueError, match="does not know"):
        formulas.block(r"\nosuchcommand{1}")
