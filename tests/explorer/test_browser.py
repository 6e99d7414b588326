"""The browser of the tests: it draws with WebGL, and is seen when it throws or asks for what is elsewhere."""

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.browser import watched

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.browser


def test_it_has_webgl2_and_what_a_page_does_is_seen(browser: "Browser", tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text("<script>setTimeout(() => { throw Error('seen') })</script><img src='http://example.org/x.png'>")
    with watched(browser) as found:
        found.page.goto(page.as_uri())
        assert found.page.evaluate("!!document.createElement('canvas').getContext('webgl2')")
        assert any("seen" in each for each in found.errors)
        assert found.strange_requests() == ["http://example.org/x.png"]
