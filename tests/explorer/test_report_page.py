"""The report in a real browser: it fits a phone and a desktop, light and dark, and asks for nothing beyond its file."""

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from explorer.report import write_report
from explorer.source import Source
from patterndb.store import PatternDatabase

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = [pytest.mark.slow, pytest.mark.browser]

WIDTHS = {"phone": 360, "desktop": 1280}


@pytest.fixture(scope="module")
def report(mined_home: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The address of a report on two models."""
    out = tmp_path_factory.mktemp("page") / "out"
    with PatternDatabase.open(f"sqlite:///{mined_home / 'dna-zoo.db'}", create=False) as database:
        source = Source(database=database, home=mined_home)
        write_report(source, ["cnn-a", "gpt2-a"], out, kinds=["class-scores", "tree", "gain", "rate"])
    return (out / "report.html").as_uri()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
def test_a_report_fits_and_is_quiet(width: str, scheme: str, report: str, browser: "Browser") -> None:
    context = browser.new_context(
        viewport={"width": WIDTHS[width], "height": 800},
        color_scheme="dark" if scheme == "dark" else "light",
        java_script_enabled=True,
    )
    page, told, asked = context.new_page(), [], []
    page.on("console", lambda message: told.append(message.text))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(report)
    assert told == [] and all(each.startswith(("file:", "data:")) for each in asked)
    assert page.evaluate("document.documentElement.scrollWidth") <= WIDTHS[width]
    paper = page.evaluate("getComputedStyle(document.querySelector('figure svg')).backgroundColor")
    assert paper == {"light": "rgb(255, 255, 255)", "dark": "rgb(20, 23, 26)"}[scheme]
    assert page.evaluate(
        "[...document.querySelectorAll('figure svg')].every(e => e.getBoundingClientRect().height > 100)"
    )
    context.close()


def test_a_report_is_walked_through_by_keyboard(report: str, browser: "Browser") -> None:
    page = browser.new_page()
    page.goto(report)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "To the content"
    page.keyboard.press("Enter")
    assert page.url.endswith("#content")
    page.locator("figure summary").first.focus()
    page.keyboard.press("Enter")
    assert page.locator("figure details[open] table").first.is_visible()
    page.close()
