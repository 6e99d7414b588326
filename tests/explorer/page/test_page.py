"""The explorer in a real browser."""

import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from explorer.page.scene import SceneView
from explorer.page.write import explorer_html
from tests.explorer.page.scenes import made_scene
from tests.support.browser import Watched, watched

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.browser

Open = Callable[..., Watched]
STATE = "window.explorer.state()"


@pytest.fixture
def open_page(browser: "Browser", tmp_path: Path) -> Iterator[Open]:
    """Open a scene as a file; afterwards nothing was thrown, and nothing asked for that is not in the file."""
    opened = []

    def opens(view: SceneView, hash: str = "", **how: Any) -> Watched:
        path = tmp_path / "page.html"
        path.write_text(explorer_html(view), encoding="utf-8")
        context = watched(browser, **how)
        found = context.__enter__()
        opened.append((context, found))
        found.page.goto(f"{path.as_uri()}{hash}")
        found.page.evaluate("window.explorer.ready")
        return found

    yield opens
    for context, found in opened:
        errors, strange = found.errors, found.strange_requests()
        context.__exit__(None, None, None)
        assert not errors and not strange


def stage_of(found: Watched) -> np.ndarray:
    """Pixels of the stage, (height, width, 3)."""
    shot = found.page.locator(".stage").screenshot()
    return np.asarray(Image.open(io.BytesIO(shot)).convert("RGB"))


def until(found: Watched, expression: str) -> None:
    """Wait for an expression to be true. Playwright's own way needs `eval` in the page, which its policy forbids."""
    for _ in range(400):
        if found.page.evaluate(expression):
            return
        found.page.wait_for_timeout(25)
    raise AssertionError(f"{expression} was never true")


def centre(found: Watched) -> tuple[float, float]:
    box = found.page.locator(".stage canvas").bounding_box()
    assert box is not None
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def test_points_are_drawn_and_counted(open_page: Open) -> None:
    found = open_page(made_scene("alpha"))
    assert found.page.locator(".count").inner_text() == "2,000 of 524,288 shown"
    colours = stage_of(found).reshape(-1, 3)
    assert len(np.unique(colours, axis=0)) > 50 and (colours != 255).any(axis=1).mean() > 0.01


def test_all_models_turn_together_under_mouse_wheel_keys_and_touch(open_page: Open) -> None:
    found = open_page(made_scene("alpha", "beta"), touch=True)
    before = found.page.evaluate(STATE)
    x, y = centre(found)
    found.page.mouse.move(x - 100, y)
    found.page.mouse.down()
    found.page.mouse.move(x - 20, y + 40, steps=4)
    found.page.mouse.up()
    dragged = found.page.evaluate(STATE)
    assert dragged["yaw"] < before["yaw"] and dragged["pitch"] > before["pitch"]
    found.page.mouse.wheel(0, -400)
    until(found, f"{STATE}.distance < {dragged['distance']}")
    found.page.locator(".stage canvas").focus()
    found.page.keyboard.press("ArrowLeft")
    assert found.page.evaluate(STATE)["yaw"] != dragged["yaw"]
    touched = found.page.evaluate(STATE)
    client = found.page.context.new_cdp_session(found.page)
    for kind, dx in (("touchStart", 0), ("touchMove", 60), ("touchEnd", None)):
        points = [] if dx is None else [{"x": x + dx, "y": y}]
        client.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    until(found, f"{STATE}.yaw != {touched['yaw']}")
    found.page.wait_for_timeout(400)
    picture = stage_of(found)
    left, right = np.array_split(picture[60:, : picture.shape[1] // 2 * 2], 2, axis=1)
    assert np.abs(left.astype(int) - right.astype(int)).mean() < 1  # The same points under the same camera.


def test_a_pinch_comes_nearer(open_page: Open) -> None:
    found = open_page(made_scene("alpha"), touch=True)
    before, (x, y) = found.page.evaluate(STATE)["distance"], centre(found)
    client = found.page.context.new_cdp_session(found.page)
    for kind, apart in (("touchStart", 20), ("touchMove", 60), ("touchMove", 90), ("touchEnd", 0)):
        points = [{"x": x - apart, "y": y, "id": 0}, {"x": x + apart, "y": y, "id": 1}] if apart else []
        client.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    until(found, f"{STATE}.distance < {before}")
    assert found.page.evaluate(STATE)["yaw"] == pytest.approx(0.7, abs=0.01), "two fingers do not turn it"


def test_layers_play_one_after_the_other_until_paused(open_page: Open) -> None:
    found = open_page(made_scene("alpha"), "#speed=8")
    found.page.get_by_role("button", name="play").click()
    for layer in range(3):
        until(found, f"{STATE}.layer === {layer}")
    found.page.get_by_role("button", name="pause").click()
    kept = found.page.evaluate(STATE)["layer"]
    found.page.wait_for_timeout(300)
    assert found.page.evaluate(STATE)["layer"] == kept
    assert found.page.locator(".count").inner_text() == "500 of 524,288 shown"


def test_a_link_shows_what_was_seen(open_page: Open) -> None:
    found = open_page(made_scene("alpha", "beta"))
    found.page.evaluate(
        "window.explorer.set({yaw: Math.SQRT2, distance: 2, colour: 'role', layer: 2, picked: 'layer.4.weight', "
        "model: 1, roles: ['ffn_in']})"
    )
    until(found, "location.hash.includes('layer.4.weight')")
    seen, link = stage_of(found), found.page.url
    again = open_page(made_scene("alpha", "beta"), link[link.index("#") :])
    assert again.page.evaluate(STATE) == found.page.evaluate(STATE)
    assert np.array_equal(stage_of(again), seen)


def test_a_hash_that_makes_no_sense_is_left_aside(open_page: Open) -> None:
    found = open_page(
        made_scene("alpha"), "#yaw=NaN&colour=%3Cscript%3E&layer=-4&model=99&target=1+2&shown=1e99&picked=none"
    )
    assert found.page.locator(".count").inner_text() == "2,000 of 524,288 shown"


def test_what_is_under_the_pointer_is_told(open_page: Open) -> None:
    found = open_page(made_scene("alpha"), "#size=10")
    found.page.mouse.move(*centre(found))
    tip = found.page.locator(".tip")
    tip.wait_for(state="visible")
    lines = tip.inner_text().splitlines()
    row, column = (int(part.split()[1]) for part in lines[2].split(", "))
    assert lines[0].startswith("layer.") and 0 <= column < 256
    assert lines[3] == f"weight {row}, DNA {f'{row / 2:g}'}"
    found.page.mouse.click(*centre(found))
    assert found.page.locator(".picked h2").inner_text() == lines[0]


def test_a_role_is_switched_off_and_colours_change(open_page: Open) -> None:
    found = open_page(made_scene("alpha"))
    found.page.get_by_label("ffn in").uncheck()
    until(found, "document.querySelector('.count').textContent.startsWith('1,000 ')")
    before = stage_of(found)
    found.page.get_by_label("colour").select_option("role")
    found.page.wait_for_timeout(400)
    assert (stage_of(found) != before).any()


def test_keys_go_through_the_matrices_and_say_what_they_are(open_page: Open) -> None:
    found = open_page(made_scene("alpha"))
    found.page.locator(".stage canvas").focus()
    found.page.keyboard.press("n")
    found.page.keyboard.press("n")
    assert found.page.evaluate(STATE)["picked"] == "layer.1.weight"
    assert "R squared 0.25, null 0.05" in found.page.locator("[aria-live=polite]").inner_text()
    words = found.page.locator(".spectrum").get_attribute("aria-label")
    assert words is not None and "8 are more than two standard deviations" in words
    assert found.page.locator(".picked canvas").count() == 2


def test_enter_tells_the_point_in_the_middle(open_page: Open) -> None:
    found = open_page(made_scene("alpha"))
    found.page.locator(".stage canvas").focus()
    found.page.keyboard.press("Enter")
    told = found.page.locator("[aria-live=polite]").inner_text()
    picked = found.page.evaluate(STATE)["picked"]
    assert picked.startswith("layer.") and told.startswith(f"{picked}, row ") and "the DNA says" in told


def test_a_layer_is_switched_off_and_the_link_keeps_it(open_page: Open) -> None:
    found = open_page(made_scene("alpha"))
    found.page.get_by_label("layer 2", exact=True).focus()
    found.page.keyboard.press("Space")
    until(found, "location.hash === '#layers-off=1'")
    assert found.page.locator(".count").inner_text() == "1,500 of 524,288 shown"


def test_the_numbers_of_the_picked_matrix_stand_in_a_table(open_page: Open) -> None:
    found = open_page(made_scene("alpha"), "#picked=layer.3.weight")
    found.page.get_by_text("numbers", exact=True).click()
    rows = found.page.locator("details tbody tr")
    assert rows.count() == 8 and rows.first.locator("td").all_inner_texts() == ["0.2", "0.1", "0.01"]


def test_who_asks_for_less_motion_sees_at_most_one_layer_a_second(open_page: Open) -> None:
    found = open_page(made_scene("alpha"), "#speed=8", reduced_motion=True)
    found.page.evaluate("window.steps = []; window.setInterval = (_, wait) => { steps.push(wait); return 1; }")
    found.page.get_by_role("button", name="play").click()
    assert found.page.evaluate("steps.filter(Boolean)") == [1000]  # What drives the browser waits for nothing.
    button = "getComputedStyle(document.querySelector('button')).transitionDuration"
    assert found.page.evaluate(button) == "0s"


def test_models_stand_below_each_other_where_the_window_is_narrow(open_page: Open) -> None:
    found = open_page(made_scene("alpha", "beta"), width=390, height=844)
    assert found.page.evaluate("document.documentElement.scrollWidth") <= 390
    alpha, beta = (found.page.locator(".name").nth(at).bounding_box() for at in (0, 1))
    assert alpha is not None and beta is not None and beta["y"] > alpha["y"] + 100


def test_pictures_and_films_are_saved(open_page: Open, tmp_path: Path) -> None:
    found = open_page(made_scene("alpha", num_points=400), width=700, height=560)
    for name, suffix in (("PNG", ".png"), ("GIF", ".gif"), ("video", "")):
        with found.page.expect_download() as saved:
            found.page.get_by_role("button", name=name).click()
        path = tmp_path / saved.value.suggested_filename
        saved.value.save_as(path)
        assert path.suffix in (suffix, ".mp4", ".webm")
        if suffix:
            with Image.open(path) as picture:
                first = np.asarray(picture.convert("RGB"))
                assert len(np.unique(first.reshape(-1, 3), axis=0)) > 10
                if suffix == ".gif":
                    assert picture.n_frames == 36  # type: ignore[attr-defined]
                    picture.seek(9)
                    assert (np.asarray(picture.convert("RGB")) != first).any()
        else:
            assert path.read_bytes()[4:8] == b"ftyp" or path.read_bytes()[:4] == b"\x1aE\xdf\xa3"


@pytest.mark.slow
def test_a_million_points_are_ready_and_still_answer(open_page: Open) -> None:
    found = open_page(made_scene("alpha", num_points=1_000_000), "#shown=1000000")
    assert found.page.locator(".count").inner_text().startswith("1,000,000 of ")
    found.page.evaluate(
        "window.told = [];"
        "new MutationObserver(() => told.push(document.querySelector('.count').textContent.split(' ')[0]))"
        ".observe(document.querySelector('.count'), { childList: true })"
    )
    found.page.locator(".stage canvas").focus()
    found.page.keyboard.press("ArrowLeft")
    until(found, "told.includes('1,000,000')")
    assert found.page.evaluate("told")[0] == "30,000"


def test_names_from_outside_are_inert(open_page: Open) -> None:
    evil = "</script><img src=x onerror=alert(1)>"
    found = open_page(made_scene(evil, name=evil + "{}"))
    found.page.locator(".stage canvas").focus()
    found.page.keyboard.press("n")
    assert found.page.locator(".picked h2").inner_text() == evil + "0"
    assert found.page.locator("img").count() == 0


def test_a_browser_without_webgl2_says_so(open_page: Open, browser: "Browser", tmp_path: Path) -> None:
    path = tmp_path / "bare.html"
    path.write_text(explorer_html(made_scene("alpha")), encoding="utf-8")
    with watched(browser) as found:
        found.page.add_init_script(
            "const own = HTMLCanvasElement.prototype.getContext;"
            "HTMLCanvasElement.prototype.getContext = function (kind, ...more) {"
            "  return kind === 'webgl2' ? null : own.call(this, kind, ...more); }"
        )
        found.page.goto(path.as_uri())
        assert "no WebGL2" in found.page.get_by_role("alert").inner_text()
        found.page.get_by_label("matrix", exact=True).select_option("0 layer.2.weight")
        assert found.page.locator(".picked h2").inner_text() == "layer.2.weight" and not found.errors


def test_the_document_is_json_that_no_name_can_leave(tmp_path: Path) -> None:
    html = explorer_html(made_scene("a</script>b", name="x\u2028<!--{}"))
    text = html.split('id="scene">')[1].split("</script>")[0]
    assert json.loads(text)["models"][0]["key"] == "a</script>b" and "<" not in text
