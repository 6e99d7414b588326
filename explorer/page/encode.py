"""A scene as one JSON document: numbers in base64, little-endian, so that a browser takes them as they are."""

import base64
import json
from typing import Any

import numpy as np
import numpy.typing as npt

from explorer.page.scene import BANDS, SceneModel, SceneTensor, SceneView
from explorer.style import NULL, OKABE_ITO, SEQUENTIAL, diverging

__all__ = ["SCENE_VERSION", "scene_document", "scene_json"]

SCENE_VERSION = 1
"""Of the document; `assets/scene.js` reads this one."""


def scene_json(view: SceneView) -> str:
    """The document as text that may stand inside a `<script>`: no `<`, and no line ends that JavaScript knows alone."""
    text = json.dumps(scene_document(view), ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c")


def scene_document(view: SceneView) -> dict[str, Any]:
    """Plain values for JSON.

    Arrays are `{"type": "u16", "data": base64}`; a picture has its rows, its columns and its largest size too.
    """
    return {
        "version": SCENE_VERSION,
        **view.words(),
        "bands": [[float(low), float(high)] for low, high in BANDS],
        "palettes": {
            "sequential": _colours(SEQUENTIAL),
            "diverging": _colours(diverging()),
            "categories": list(OKABE_ITO),
            "null": NULL,
        },
        "models": [_model(model) for model in view.models],
    }


def _model(model: SceneModel) -> dict[str, Any]:
    arrays = ("tensor", "rows", "cols", "file_rows", "file_cols", "values", "rebuilt", "clusters")
    return {
        "key": model.key,
        "total": model.total,
        "tensors": [_tensor(tensor) for tensor in model.tensors],
        "points": {name: _array(getattr(model, name)) for name in arrays},
    }


def _tensor(tensor: SceneTensor) -> dict[str, Any]:
    return {
        "name": tensor.name,
        "role": tensor.role,
        "layer": tensor.layer,
        "depth": tensor.depth,
        "shape": list(tensor.shape),
        "height": tensor.height,
        "r2": _number(tensor.r2),
        "null_r2": _number(tensor.null_r2),
        "bands": [
            {"value": _number(band.value), "null": _number(band.null_mean), "spread": _number(band.null_std)}
            for band in tensor.bands
        ],
        "picture": _picture(tensor.picture),
        "rebuilt": _picture(tensor.rebuilt),
    }


def _picture(values: npt.NDArray[Any]) -> dict[str, Any]:
    """In 255 steps from minus to plus the largest size: 128 is zero."""
    largest = float(np.abs(values).max(initial=0.0))
    steps = np.rint(values / (largest or 1.0) * 127).astype(np.int16) + 128
    return {"rows": values.shape[0], "cols": values.shape[1], "largest": largest, **_array(steps.astype(np.uint8))}


TYPES = {"uint8": "u8", "uint16": "u16", "uint32": "u32", "float32": "f32"}


def _array(values: npt.NDArray[Any]) -> dict[str, str]:
    little = values.astype(values.dtype.newbyteorder("<"), copy=False)
    return {"type": TYPES[values.dtype.name], "data": base64.b64encode(little.tobytes()).decode("ascii")}


def _number(value: float | None) -> float | None:
    return None if value is None or not np.isfinite(value) else float(value)


def _colours(name: Any) -> list[str]:
    """256 of a colour map, as #rrggbb."""
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    colours = colormaps[name] if isinstance(name, str) else name
    return [to_hex(colours(step / 255)) for step in range(256)]
