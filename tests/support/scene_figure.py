"""A kind of figure for tests of the pages that show all kinds: a few points in space, drawn from nothing."""

import sys
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import pandas as pd
import pytest

from explorer.kinds import KINDS, FigureKind
from explorer.source import Source
from explorer.view import View

__all__ = ["NAME", "install"]

NAME = "a-scene"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SceneView(View):
    def table(self) -> pd.DataFrame:
        return pd.DataFrame({"x": [0.0, 1.0, 2.0], "y": [1.0, 0.0, 2.0], "z": [2.0, 1.0, 0.0]})


def scene_view(source: Source, model: str) -> SceneView:
    return SceneView(
        kind=NAME, subject=(model,), title="<b>Three</b> points", caption="Points.", alt="Three points.", n=3
    )


def scene_page(view: SceneView) -> Any:
    import plotly.graph_objects as go

    return go.Figure(go.Scatter3d(mode="markers", marker={"size": 6}, **view.table().to_dict("list")))


def install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Offer the kind until the test ends."""
    module = ModuleType("explorer.figures.a_scene")
    module.a_scene_view, module.a_scene_page = scene_view, scene_page  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    kind = FigureKind(name=NAME, subject="model", summary="points")
    monkeypatch.setitem(KINDS, NAME, kind)  # type: ignore[arg-type]
