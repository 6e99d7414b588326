"""Small made-up scenes, so that a browser test needs no mined model."""

import numpy as np

from explorer.page.scene import NO_CLUSTER, SceneModel, SceneTensor, SceneView
from explorer.points import interleave
from patterndb.records import Statistic

__all__ = ["made_scene"]


def made_scene(*keys: str, num_points: int = 2_000, num_layers: int = 4, name: str = "layer.{}.weight") -> SceneView:
    """Models of square matrices, a query and an ffn one in each layer, whose values are their own row numbers."""
    return SceneView(
        kind="explore",
        subject=keys,
        title=f"The weights of {' and '.join(keys)}",
        caption="A made-up scene.",
        alt="Points.",
        n=num_points * len(keys),
        models=tuple(_model(key, num_points, num_layers, name) for key in keys),
    )


def _model(key: str, num_points: int, num_layers: int, name: str) -> SceneModel:
    side, rng = 256, np.random.default_rng(0)
    tensors = tuple(_tensor(name.format(at), at, num_layers, side) for at in range(2 * num_layers))
    order = interleave([num_points // len(tensors)] * len(tensors), rng)
    tensor = np.repeat(np.arange(len(tensors)), num_points // len(tensors))[order].astype(np.uint16)
    rows, cols = rng.integers(0, side, (2, len(tensor))).astype(np.uint32)
    return SceneModel(
        key=key,
        total=side * side * len(tensors),
        tensors=tensors,
        tensor=tensor,
        rows=rows,
        cols=cols,
        file_rows=rows,
        file_cols=cols,
        values=rows.astype(np.float32),
        rebuilt=rows.astype(np.float32) / 2,
        flipped=np.zeros(len(tensor), dtype=np.uint8),
        clusters=np.full(len(tensor), NO_CLUSTER, dtype=np.uint8),
    )


def _tensor(name: str, at: int, num_layers: int, side: int) -> SceneTensor:
    bands = tuple(
        Statistic(name=f"spectra.band_{band}", value=0.2, null="shuffle", num_nulls=8, null_mean=0.1, null_std=0.01)
        for band in range(8)
    )
    picture = np.linspace(-1, 1, 64 * 64, dtype=np.float32).reshape(64, 64)
    return SceneTensor(
        name=name,
        role=("attention_query", "ffn_in")[at % 2],
        layer=at // 2,
        depth=None,
        shape=(side, side),
        height=2 * (at + 0.5) / (2 * num_layers) - 1,
        r2=0.25,
        null_r2=0.05,
        bands=bands,
        picture=picture,
        rebuilt=picture,
    )
