"""The playground in a real browser: by keyboard alone, with no request to anybody but this machine."""

import shutil
from pathlib import Path

import pytest

from biasunlearn.config import DebiasConfig
from biasunlearn.models.adapters import with_lora
from biasunlearn.runs.folder import SCHEMA, RunFolder
from tests import tiny

CHROMIUM = shutil.which("chromium")
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
PATIENCE = 300_000
"""Milliseconds: a busy machine takes its time."""

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="needs chromium on the path (.ci/browser installs it)"),
]


@pytest.fixture
def run(tmp_path):
    tiny.save(tiny.gpt2(), tmp_path / "model")
    adapted = with_lora(tiny.gpt2().model, DebiasConfig())
    tiny.perturb(adapted)
    adapted.save_pretrained(tmp_path / "run/adapter")
    results = {"schema": SCHEMA, "model": str(tmp_path / "model"), "benchmarks": {}}
    RunFolder(tmp_path / "run").write_json("results.json", results)
    return tmp_path / "run"


def test_by_keyboard_and_nothing_leaves_the_machine(run, tmp_path):
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    pytest.importorskip("gradio", reason="Gradio is not installed")
    from biasunlearn.commands.playground import playground

    page_of_run = playground(run, port=0, wait=False)
    try:
        assert page_of_run.local_url.startswith("http://127.0.0.1:") and not page_of_run.share_url
        with playwright.sync_playwright() as driver:
            browser = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS, timeout=PATIENCE)
            page = browser.new_page(viewport={"width": 1100, "height": 1000})
            page.set_default_timeout(PATIENCE)
            asked, errors = [], []
            page.on("request", lambda request: asked.append(request.url))
            page.on("pageerror", lambda error: errors.append(str(error)))
            answer = page.goto(page_of_run.local_url, wait_until="domcontentloaded", timeout=PATIENCE)
            assert "default-src 'self'" in answer.headers["content-security-policy"]
            field = page.locator("#prompt input, #prompt textarea").first
            field.wait_for()
            page.locator("#written .prompt").wait_for()  # of the first example, before anybody asks
            field.focus()
            page.keyboard.press("Control+A")
            page.keyboard.type("The nurse said that he")
            page.keyboard.press("Enter")  # no mouse
            page.locator("#written .prompt", has_text="The nurse said that he").wait_for()
            page.locator("#swapped .prompt", has_text="The nurse said that she").wait_for()
            assert page.locator("#swapped mark").inner_text() == "she"
            attributes = page.locator("#of-both table")
            attributes.locator("th", has_text="base: she").wait_for()
            assert attributes.locator("tbody tr").count() == 8  # those with which the page begins
            order = []
            for _ in range(2):  # on from the prompt, by Tab alone
                page.keyboard.press("Tab")
                order.append(page.evaluate("document.activeElement.closest('[id=terms], [id=compare]')?.id"))
            assert order == ["terms", "compare"]
            page.set_viewport_size({"width": 390, "height": 844})  # a phone: one below the other, nothing cut off
            written, swapped = (page.locator(f"#{name}").bounding_box() for name in ("written", "swapped"))
            assert swapped["y"] >= written["y"] + written["height"] and swapped["x"] == written["x"]
            assert page.evaluate("document.documentElement.scrollWidth") <= 390
            page.screenshot(path=str(tmp_path / "playground.png"), full_page=True)
            browser.close()
        own = page_of_run.local_url.rstrip("/")
        assert not [url for url in asked if not url.startswith((own, "data:", "blob:"))]
        assert not errors
        assert Path(tmp_path / "playground.png").stat().st_size > 10_000
    finally:
        page_of_run.close()
