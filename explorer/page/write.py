"""One HTML file with everything in it: the scene, what draws it, and a policy that forbids it to ask for anything."""

import base64
import hashlib
import re
from html import escape
from importlib.resources import files
from typing import Literal

from explorer.page.encode import scene_json
from explorer.page.scene import SceneView

__all__ = ["MODULES", "explorer_html", "inlined_script", "read_asset"]

MODULES = (
    "scene.js",
    "state.js",
    "camera.js",
    "renderer.js",
    "pick.js",
    "charts.js",
    "gif.js",
    "controls.js",
    "viewer.js",
)
"""In the order in which they use each other: each imports those before it alone."""
_IMPORT = re.compile(r"^import\s[^;]*;\n", re.MULTILINE)
_PART = re.compile(r"\{\{(\w+)\}\}")
_EXPORT = re.compile(r"^export (?=const |function |class |async )", re.MULTILINE)


def read_asset(name: str) -> str:
    """A file of `assets/`, as it is in the package."""
    return files("explorer.page").joinpath("assets", name).read_text(encoding="utf-8")


def inlined_script() -> str:
    """All modules as one script: a page that is opened from a disk may not import other files."""
    return "\n".join(_EXPORT.sub("", _IMPORT.sub("", read_asset(name))) for name in MODULES)


def explorer_html(view: SceneView, *, theme: Literal["auto", "light", "dark"] = "auto") -> str:
    """The page. Names from outside stand in JSON and in escaped text alone."""
    script = inlined_script() + "\nstart();\n"
    policy = (
        f"default-src 'none'; script-src '{_digest(script)}'; style-src 'unsafe-inline'; img-src data: blob:; "
        "media-src blob:; base-uri 'none'; form-action 'none'"
    )
    parts = {
        "policy": escape(policy),
        "theme": theme,
        "title": escape(view.title),
        "caption": escape(view.caption),
        "alt": escape(view.alt),
        "style": read_asset("page.css"),
        "script": script,
        "scene": scene_json(view),
    }
    # In one pass: what stands in double braces in a part is none of ours.
    return _PART.sub(lambda found: parts[found[1]], read_asset("page.html"))


def _digest(script: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
