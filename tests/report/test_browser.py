"""The page in a real browser: it loads nothing, says no error, draws, sorts, works without a mouse, and axe finds
nothing. Runs where Playwright, a Chromium and axe-core are installed, and says that it was skipped where they are not.

    $BIASUNLEARN_CHROMIUM    the browser (default: the first chromium or google-chrome on the path)
    $BIASUNLEARN_AXE         axe.min.js (default: the one that axe-playwright-python brings)
"""

import csv
import importlib.util
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from biasunlearn import write_report
from biasunlearn.report.run import report_page
from biasunlearn.report.survey import survey_page
from biasunlearn.report.sweep import sweep_page
from biasunlearn.runs.responses import ResponseRecord, Verdict
from biasunlearn.stats.stereoset import Item
from tests.commands.test_survey import surveyed
from tests.commands.test_sweep import made
from tests.report.test_run import HOSTILE, hostile_pages, run_data, runs_of

playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")
CHROMIUM = os.environ.get("BIASUNLEARN_CHROMIUM") or next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), ""
)
AXE_PACKAGE = importlib.util.find_spec("axe_playwright_python")
AXE = Path(
    os.environ.get("BIASUNLEARN_AXE")
    or (Path(AXE_PACKAGE.origin).with_name("axe.min.js") if AXE_PACKAGE and AXE_PACKAGE.origin else "axe.min.js")
)
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not CHROMIUM, reason="needs chromium (.ci/browser installs it), or $BIASUNLEARN_CHROMIUM"),
]
needs_axe = pytest.mark.skipif(not AXE.exists(), reason="needs the extra [browser], or $BIASUNLEARN_AXE")

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
         "--disable-sync"]  # fmt: skip


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as engine:
        running = engine.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield running
        running.close()


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """A plain run, several real runs, and pages in which every name is hostile."""
    folder = tmp_path_factory.mktemp("pages")
    write_report(runs_of(folder), folder / "runs.html")
    written = {"plain": report_page(run_data()), "sweep": sweep_page(made()),
               "survey": survey_page(surveyed()), "answers": report_page(with_answers())}  # fmt: skip
    for name, content in {**written, **hostile_pages()}.items():
        (folder / f"{name}.html").write_text(content, encoding="utf-8")
    return {path.stem: path for path in folder.glob("*.html")}


def with_answers():
    """A run with answers of two benchmarks; the texts are hostile, and the verdicts of two of six changed."""
    def answers(verdicts, text):
        return [Item("fairmt" if n < 4 else "cab", f"d{n}", f"d{n}", f"Task {n % 2}", f"d{n}", "k", "answer", 0.0, 3,
                     verdict, f"{text} {n} {HOSTILE[:200]}") for n, verdict in enumerate(verdicts)]  # fmt: skip

    before, after = answers(["biased"] * 6, "then"), answers(["biased"] * 4 + ["not_biased"] * 2, "now")
    made = run_data()
    responses = [ResponseRecord(benchmark=one.benchmark, item=one.item_id, subject="s", turns=["=1+1"], answers=[],
                                text=one.text, verdict=Verdict(judge="j", state="scored", label=one.condition))
                 for one in after]  # fmt: skip
    stages = {"before": [*made.stages["before"], *before], "after": [*made.stages["after"], *after]}
    return replace(made, stages=stages, responses=responses)


@pytest.fixture
def opened(browser, pages):
    """Opens a page, and notes whatever it says or asks for."""
    contexts = []

    def open_page(name, *, width=1100, dark=False):
        context = browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme="dark" if dark else "light", bypass_csp=False
        )
        contexts.append(context)
        page = context.new_page()
        page.said, page.asked = [], []
        page.on("console", lambda message: page.said.append(message.text))
        page.on("pageerror", lambda error: page.said.append(str(error)))
        page.on("dialog", lambda dialog: (page.said.append(f"dialog {dialog.message}"), dialog.dismiss()))
        page.on("request", lambda request: page.asked.append(request.url))
        page.goto(pages[name].as_uri())
        return page

    yield open_page
    for context in contexts:
        context.close()


NAMES = ["plain", "runs", "sweep", "survey", "answers", "one", "several", "refused"]


@pytest.mark.parametrize("name", NAMES)
def test_no_error_no_request_no_script_of_others(opened, pages, name):
    page = opened(name)
    open_all(page)
    page.wait_for_timeout(200)
    assert page.said == []
    assert [url for url in page.asked if not url.startswith("data:")] == [pages[name].as_uri()]
    assert page.evaluate("[...document.scripts].filter(one => one.type !== 'application/json').length") == 1


@pytest.mark.parametrize("name", NAMES)
def test_the_page_never_scrolls_sideways(opened, name):
    page = opened(name)
    open_all(page)
    for width in (1100, 390):
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("name", ["plain", "runs"])
def test_the_pictures_are_drawn(opened, name):
    page = opened(name)
    dots = page.locator("td.picture circle")
    assert dots.count() > 3
    sizes = page.evaluate(
        "[...document.querySelectorAll('td.picture')].filter(p => p.checkVisibility()).map(p => {"
        "const dot = p.querySelector('circle').getBoundingClientRect(), cell = p.getBoundingClientRect();"
        "return [dot.width, dot.left >= cell.left && dot.right <= cell.right, dot.top >= cell.top]})"
    )
    assert all(width > 5 and inside and below for width, inside, below in sizes)
    shape = "polyline.curve" if name == "plain" else ".scatter circle"
    assert page.locator(shape).first.bounding_box()["width"] > 5


COLUMN = "[...document.querySelector('table').tBodies[0].rows].map(row => +row.cells[2].dataset.value)"


def test_a_table_sorts_by_click_and_by_key(opened):
    page = opened("runs")
    button = page.get_by_role("button", name="mean |SS − 50|").first
    button.click()
    first = page.evaluate(COLUMN)
    assert first == sorted(first, reverse=True) and len(set(first)) > 2
    button.press("Enter")
    assert page.evaluate(COLUMN) == first[::-1]
    assert page.locator("th[aria-sort=ascending]").count() == 1


ALL_THAT_DO_SOMETHING = """[...document.querySelectorAll('summary, button, input, select, .plot, .term a')]
    .filter(e => e.checkVisibility()).map((e, n) => (e.dataset.place = n))"""
FOCUSED = "[document.activeElement.dataset.place, document.activeElement === document.body]"


def test_everything_is_reached_without_a_mouse(opened):
    page = opened("plain")
    wanted = page.evaluate(ALL_THAT_DO_SOMETHING)
    reached = set()
    for _ in range(3 * len(wanted)):
        page.keyboard.press("Tab")
        place, at_end = page.evaluate(FOCUSED)
        if at_end:
            break
        reached.add(place)
    assert len(wanted) > 50 and {str(one) for one in wanted} <= reached
    page.locator("summary", has_text="Search all").focus()
    page.keyboard.press("Enter")
    playwright.expect(page.locator(".pairs li").first).to_be_visible()  # drawn when the browser says that it is open


def test_explanations_open_on_focus_and_close_on_escape(opened):
    page = opened("plain", width=390)
    for term in page.locator(".tiles .term").all():
        term.locator("a").focus()
        tip = term.locator("[role=tooltip]")
        playwright.expect(tip).to_be_visible()
        box = tip.bounding_box()
        assert 0 <= box["x"] and box["x"] + box["width"] <= 390
        page.keyboard.press("Escape")
        playwright.expect(tip).to_be_hidden()
    named = page.evaluate(
        "[...document.querySelectorAll('.term a')].map(e => [e.hash.slice(1), e.getAttribute('aria-describedby')]"
        ".map(id => document.getElementById(id) !== null))"
    )
    assert len(named) > 3 and all(note and tip for note, tip in named)


def test_a_mark_of_a_chart_shows_its_values_to_mouse_and_keyboard(opened):
    page = opened("plain")
    plot, bubble = page.locator(".swarms .plot").first, page.locator(".bubble")
    plot.focus()
    page.keyboard.press("Home")
    first = bubble.inner_text()
    assert "SS" in first and "pairs" in first and "low" in first
    page.keyboard.press("End")
    assert bubble.inner_text() != first
    page.keyboard.press("Escape")
    playwright.expect(bubble).to_be_hidden()
    plot.locator("path").last.hover()
    playwright.expect(bubble).to_be_visible()


@pytest.mark.parametrize(
    ("kind", "begins"), [("SVG", b"<svg"), ("PNG", b"\x89PNG"), ("CSV", b"\xef\xbb\xbftarget term")]
)
def test_a_chart_can_be_downloaded(opened, tmp_path, kind, begins):
    page = opened("plain")
    button = page.locator(".swarms .tools").first.get_by_role("button", name=kind)
    with page.expect_download() as download:
        button.focus()
        page.keyboard.press("Enter")
    content = Path(download.value.path()).read_bytes()
    assert content.startswith(begins) and page.said == []
    if kind == "SVG":  # it needs no style sheet and loads nothing
        assert b"class=" not in content and b"http" not in content.replace(b"http://www.w3.org/2000/svg", b"")


def test_pairs_are_searched_filtered_linked_and_downloaded(opened, pages):
    page = opened("plain")
    page.locator("summary", has_text="Search all").click()
    shown, count = page.locator(".explorer li"), page.locator(".explorer .count")
    playwright.expect(shown).to_have_count(12)
    assert "12 of 12 pairs" in count.inner_text()
    page.locator("[name=term]").select_option(index=1)
    playwright.expect(shown).to_have_count(4)
    assert "4 of 12" in count.inner_text()
    assert "term=" in page.evaluate("location.hash")
    page.locator("[name=side]").select_option("changed")
    playwright.expect(shown).to_have_count(0)  # before and after are the same here
    page.locator("[name=side]").select_option("stereotype")
    playwright.expect(shown).to_have_count(4)
    with page.expect_download() as download:
        page.locator(".csv").click()
    rows = Path(download.value.path()).read_text(encoding="utf-8-sig").splitlines()
    assert len(rows) == 5 and rows[0].startswith("id,bias_type,target_term,stereotype")
    address = page.evaluate("location.href")
    page.goto("about:blank")
    page.goto(address)
    playwright.expect(shown).to_have_count(4)
    assert page.locator("details[open]").count() == 1


def test_answers_are_searched_filtered_linked_and_downloaded_by_keyboard(opened):
    page = opened("answers")
    page.locator("summary", has_text="Search all 6 answers").focus()
    page.keyboard.press("Enter")
    shown, count = page.locator(".answers > li:visible"), page.locator(".answer-explorer .count")
    playwright.expect(shown).to_have_count(6)
    assert "6 of 6 answers; the verdict changed in 2" in count.inner_text()
    page.keyboard.press("Tab")  # into the search
    page.keyboard.type("then 3")
    page.wait_for_timeout(400)  # a search waits for a pause in typing; the page's policy forbids waiting by a function
    playwright.expect(shown).to_have_count(1)
    page.locator(".answer-explorer .clear").press("Enter")
    for name, value, left in (("benchmark", "cab", 2), ("changed", "yes", 2), ("type", "Task 0", 1)):
        page.locator(f".answer-explorer [name={name}]").select_option(value)
        playwright.expect(shown, name).to_have_count(left)
    address = page.evaluate("location.href")
    assert "#answers?" in address and "benchmark=cab" in address
    with page.expect_download() as download:
        page.locator(".answer-explorer .csv").press("Enter")
    text = Path(download.value.path()).read_text(encoding="utf-8-sig")
    rows = list(csv.reader(text.splitlines()))
    assert rows[0] == ["benchmark", "item", "bias_type", "asked", "verdict_before", "verdict_after", "answer_before",
                       "answer_after", "changed"]  # fmt: skip
    assert len(rows) == 2 and rows[1][:6] == ["cab", "d4", "Task 0", "'=1+1", "biased", "not_biased"]
    assert rows[1][6].startswith("then 4 ") and rows[1][7].startswith("now 4 ") and rows[1][8] == "yes"
    page.goto("about:blank")
    page.goto(address)
    playwright.expect(shown).to_have_count(1)
    assert page.said == []
    assert page.locator(".answers img, .answers script").count() == 0


@pytest.mark.parametrize("name", ["plain", "runs", "sweep", "survey"])
def test_every_chart_has_downloads_and_a_table(opened, name):
    """Every picture with a description, and every table with strips; signs and keys are no charts."""
    page = opened(name)
    open_all(page)
    charts = page.evaluate(
        "[...document.querySelectorAll('svg[aria-label], table.lanes')].filter(e => e.checkVisibility()).map(e => "
        "(e.closest('.chart')?.querySelector('.tools') ?? e.parentElement.nextElementSibling))"
        ".map(tools => tools?.className === 'tools' ? tools.children.length : 0)"
    )
    assert len(charts) > 1 and set(charts) == {3}


def test_terms_are_searched(opened):
    page = opened("plain")
    rows = page.locator(".searchable tbody tr:visible")
    playwright.expect(rows).to_have_count(3)
    page.locator(".searchable input").fill("t1")
    playwright.expect(rows).to_have_count(1)
    assert "1 of 3 terms" in page.locator(".searchable .count").inner_text()


def test_hostile_texts_stay_text_in_the_search(opened):
    page = opened("one")
    page.evaluate("document.querySelectorAll('details').forEach(part => { part.open = true })")
    page.locator(".explorer li").first.wait_for()
    assert page.locator(".explorer img, .explorer li script").count() == 0
    assert "<script>alert(1)" in page.locator(".explorer li").first.text_content()
    assert page.said == []


def test_what_may_hurt_stays_shut_in_print(opened):
    page = opened("plain")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.locator("details.notice[open]").count() == 0 and page.locator("details[open]").count() > 0
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.locator("details[open]").count() == 0


SHOWN_CONTROLS = "[...document.querySelectorAll('input, select, .tools, summary')].filter(e => e.checkVisibility())"
UNSEEN_SORT_BUTTONS = """[...document.querySelectorAll('thead button')].filter(e => e.checkVisibility())
    .filter(e => getComputedStyle(e).display !== 'contents').length"""
NARROW_NAMES = "[...document.querySelectorAll('.who li > span')].filter(e => e.offsetWidth < 60).length"


@pytest.mark.parametrize("name", ["plain", "runs", "answers"])
def test_print_has_no_controls_and_a_note_for_what_it_leaves_out(opened, name):
    page = opened(name, width=700)  # about the width of a sheet
    assert page.evaluate(f"{SHOWN_CONTROLS}.length") > 0
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.evaluate(f"{SHOWN_CONTROLS}.filter(e => e.tagName !== 'SUMMARY').length") == 0
    assert page.evaluate(UNSEEN_SORT_BUTTONS) == 0  # a button would be missing where a head of a table is repeated
    assert page.evaluate(NARROW_NAMES) == 0
    if name != "runs":
        assert page.locator(".notice-print").first.is_visible()
        assert not page.locator("details.notice > summary").first.is_visible()


@pytest.mark.parametrize("name", ["plain", "runs", "survey"])
def test_no_table_is_cut_on_a_usual_screen(opened, name):
    page = opened(name, width=1280)
    cut = page.evaluate("[...document.querySelectorAll('.scroll')].filter(e => e.checkVisibility())"
                        ".filter(e => e.scrollWidth > e.clientWidth + 1).map(e => e.ariaLabel)")  # fmt: skip
    assert cut == []


def test_right_to_left_text_keeps_to_itself(opened):
    page = opened("one")
    for part in page.locator("bdi").all()[:20]:
        assert part.evaluate("e => getComputedStyle(e).unicodeBidi") == "isolate"
    assert HOSTILE[:20] in page.locator("h1").inner_text()


SCREENS = [(1100, False), (1100, True), (390, False)]
PAGES = ["plain", "runs", "sweep", "survey", "one", "answers"]


@needs_axe
@pytest.mark.parametrize(("name", "width", "dark"), [  # by day each page on one screen
    pytest.param(name, *screen, marks=[pytest.mark.exhaustive] * (number % 3 != at))
    for number, name in enumerate(PAGES) for at, screen in enumerate(SCREENS)
])  # fmt: skip
def test_axe_finds_nothing(opened, name, width, dark):
    page = opened(name, width=width, dark=dark)
    open_all(page)
    page.evaluate(AXE.read_text(encoding="utf-8"))
    # Only what is found is described in full, not what is right: half of the time.
    asked = "axe.run({resultTypes: ['violations']})"
    found = page.evaluate(f"{asked}.then(r => r.violations.map(v => [v.id, v.nodes.length, v.nodes[0].html]))")
    assert found == []


def open_all(page):
    page.evaluate("document.querySelectorAll('details').forEach(part => { part.open = true })")
