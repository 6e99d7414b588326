"""The dashboard in a real browser: tabs, choices, filters, links, cameras, a mine that goes on; no request beyond."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from explorer.dashboard.state import State
from tests.explorer.dashboard.conftest import Serve, made
from tests.support import scene_figure
from tests.support.browser import Watched, watched
from tests.support.mining import database_of

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = [pytest.mark.browser, pytest.mark.slow]
TABS = ("Overview", "Models", "Comparisons", "Taxonomy", "Statistics")
LIVE = """() => {
  const camera = document.querySelector('.js-plotly-plot')?._fullLayout?.scene?._scene?.getCamera?.();
  return camera && [camera.eye.x, camera.eye.y, camera.eye.z];
}"""
TURNED = f"usual => {{ const eye = ({LIVE})(); return eye && Math.abs(eye[1] - usual) > 0.1; }}"
CONTENT = 30_000
"""Milliseconds that a picture may take here: the machine does other things as well."""


@pytest.fixture
def seen(browser: "Browser") -> Iterator[Watched]:
    """A page that must not throw, and must not ask another machine."""
    with watched(browser) as found:
        found.page.set_default_timeout(CONTENT)
        yield found
        assert found.errors == [] and found.strange_requests() == []


def settle(page: "Page") -> None:
    """Until all that the state says is drawn."""
    page.wait_for_selector("#content > h1", state="attached")
    page.wait_for_selector(".wait", state="detached")


def visit(page: "Page", address: str) -> None:
    page.goto(address)
    settle(page)


def camera_in(url: str) -> list[float]:
    """Of the first scene in an address."""
    cameras = State.from_hash(url.partition("#")[2]).cameras
    return list(cameras[0][1]) if cameras else []


def camera_of(page: "Page") -> list[float]:
    """The live camera of the one scene, once it is drawn."""
    found: list[float] = page.wait_for_function(LIVE).json_value()
    return found


def rows(page: "Page", caption: str = "Models") -> list[str]:
    return page.locator(f"[role=region][aria-label='{caption}'] tbody th").all_inner_texts()


def test_every_tab_opens_with_its_pictures(mined_home: Path, serve: Serve, seen: Watched) -> None:
    page = seen.page
    visit(page, serve(mined_home))
    for tab in TABS:
        page.click(f".tabs >> text={tab}")
        page.wait_for_selector(f"#content > h1:text-is('{tab}')", state="attached")
        settle(page)
        assert page.locator(".tabs [aria-current]").inner_text() == tab
        assert page.locator("#content table").count() >= 1
    page.go_back()
    page.wait_for_selector("#content > h1:text-is('Taxonomy')", state="attached")


def test_chosen_models_stand_side_by_side_and_another_matrix_can_be_looked_at(
    mined_home: Path, serve: Serve, seen: Watched
) -> None:
    page = seen.page
    visit(page, f"{serve(mined_home)}#tab=models&kind=singular-values")
    for key in ("bert-a", "cnn-a"):
        page.click(f"[aria-label=Models] >> text={key}")
        page.wait_for_selector(f".card h2 >> text={key}")
    page.wait_for_function("() => document.querySelectorAll('.picture .js-plotly-plot').length === 2")
    assert page.locator(".picture figcaption").first.inner_text()
    page.click("#tensor")
    page.keyboard.type("intermediate")
    page.click(".dash-dropdown-content >> text=intermediate >> nth=0")
    page.wait_for_url(re.compile("tensor="))
    page.wait_for_selector(".title >> text=intermediate")
    page.wait_for_function("() => document.querySelectorAll('.picture .js-plotly-plot').length === 2")


def test_filters_and_search_leave_what_they_say_and_the_address_brings_it_back(
    mined_home: Path, serve: Serve, seen: Watched
) -> None:
    page, address = seen.page, serve(mined_home)
    visit(page, f"{address}#tab=models")
    assert rows(page) == ["bert-a", "cnn-a"]
    page.click("#modalities >> text=vision")
    page.wait_for_function("() => document.querySelectorAll('[aria-label=Models] tbody tr').length === 1")
    assert rows(page) == ["cnn-a"] and "class=vision" not in page.url and "modality=vision" in page.url
    kept = page.url
    page.click("text=Drop all filters")
    page.wait_for_function("() => document.querySelectorAll('[aria-label=Models] tbody tr').length === 2")
    page.fill("#search", "bert")
    page.wait_for_function("() => document.querySelectorAll('[aria-label=Models] tbody tr').length === 1")
    assert rows(page) == ["bert-a"] and "search=bert" in page.url
    page.goto("about:blank")
    visit(page, kept)
    assert rows(page) == ["cnn-a"] and page.locator("#modalities input:checked").count() == 1


def test_a_table_is_sorted_and_filtered_by_keyboard_and_downloaded(
    mined_home: Path, serve: Serve, seen: Watched
) -> None:
    page = seen.page
    visit(page, f"{serve(mined_home)}#tab=models")
    page.focus("[aria-label=Models] thead >> text=Model")
    page.keyboard.press("Enter")
    page.wait_for_selector("[aria-label=Models] th[aria-sort=ascending]")
    page.focus("[aria-label=Models] thead >> text=Model")
    page.keyboard.press("Enter")
    page.wait_for_selector("[aria-label=Models] th[aria-sort=descending]")
    assert rows(page) == ["cnn-a", "bert-a"]
    page.fill(".table input >> nth=0", "cnn")
    page.wait_for_url(re.compile("find=models"))
    page.wait_for_function("() => document.querySelectorAll('[aria-label=Models] tbody tr').length === 1")
    with page.expect_download() as download:
        page.click("[aria-label='CSV: Models, all rows']")
    lines = Path(download.value.path()).read_text().splitlines()
    assert len(lines) == 2 and lines[1].startswith("cnn-a,")


def test_a_camera_survives_updates_tabs_and_its_own_address(
    mined_home: Path, tmp_path: Path, serve: Serve, seen: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene_figure.install(monkeypatch)
    home, page = tmp_path / "home", seen.page
    shutil.copytree(mined_home, home)
    visit(page, f"{serve(home)}#tab=models&kind={scene_figure.NAME}&model=bert-a")
    camera_of(page)
    graph = page.locator(".js-plotly-plot")
    graph.scroll_into_view_if_needed()
    usual, box = camera_of(page), graph.bounding_box()
    assert box is not None
    middle = (box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.move(*middle)
    page.mouse.down()
    page.mouse.move(middle[0] + 120, middle[1] + 40, steps=6)
    page.mouse.up()
    page.wait_for_function(TURNED, arg=usual[1])
    turned = camera_of(page)
    page.wait_for_url(lambda url: camera_in(url)[:3] == pytest.approx(turned, abs=1e-3))
    with database_of(home) as database:
        database.start_run("run-1", {})
        database.save_pattern(made("new-model", 3))
    page.wait_for_selector("[aria-label=Models] >> text=new-model")
    assert camera_of(page) == pytest.approx(turned, abs=1e-3)
    page.click("text=Dark")
    page.wait_for_selector("html[data-theme=dark]")
    page.click(".tabs >> text=Statistics")
    page.wait_for_selector("#content > h1:text-is('Statistics')", state="attached")
    page.go_back()
    assert camera_of(page) == pytest.approx(turned, abs=1e-3)
    kept = page.url
    page.goto("about:blank")
    visit(page, kept)
    assert camera_of(page) == pytest.approx(turned, abs=1e-3)
    with page.expect_download() as download:
        page.click("text=Save page")
    saved = tmp_path / "saved.html"
    saved.write_bytes(Path(download.value.path()).read_bytes())
    page.goto(saved.as_uri())
    assert camera_of(page) == pytest.approx(turned, abs=1e-3)


def test_many_points_are_drawn_in_a_page_of_their_own(mined_home: Path, serve: Serve, seen: Watched) -> None:
    visit(seen.page, f"{serve(mined_home)}#tab=models&model=bert-a&theme=dark")
    address = seen.page.get_attribute("text=as 50,000 points", "href")
    seen.page.goto(seen.page.url.partition("#")[0].rstrip("/") + str(address))
    seen.page.wait_for_selector(".explorer canvas")
    assert seen.page.locator("text=bert-a").count() >= 1


def test_a_mine_is_followed_as_it_goes(mined_home: Path, tmp_path: Path, serve: Serve, seen: Watched) -> None:
    home, page = tmp_path / "home", seen.page
    shutil.copytree(mined_home, home)
    visit(page, serve(home))
    assert page.locator("progress").count() == 0
    with database_of(home) as database:
        database.start_run("run-now", {})
        database.set_run_models("run-now", ["one", "two"])
        page.wait_for_selector("text=0 of 2 models")
        database.finish_run("run-now", "interrupted", 130)
    page.wait_for_selector("progress", state="detached")
    page.wait_for_selector("[aria-label=Runs] >> text=interrupted")


@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_fits_its_width_in_both_themes(width: int, mined_home: Path, serve: Serve, browser: "Browser") -> None:
    with watched(browser, width=width, dark=width == 390, reduced_motion=True) as found:
        page = found.page
        page.set_default_timeout(CONTENT)
        visit(page, f"{serve(mined_home)}#tab=models")
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert page.evaluate("document.documentElement.dataset.theme") == ("dark" if width == 390 else "light")
        assert page.locator("#sidebar").evaluate("sidebar => sidebar.open") == (width == 1280)
        unnamed = page.evaluate(
            "[...document.querySelectorAll('input, button, a')].filter(e => e.offsetParent && !("
            "e.ariaHidden === 'true' || "
            "e.labels?.length || e.getAttribute('aria-label') || e.textContent.trim() || e.closest('label') ||"
            "e.getAttribute('aria-labelledby'))).map(e => e.outerHTML.slice(0, 120))"
        )
        assert unnamed == [] and found.errors == []
