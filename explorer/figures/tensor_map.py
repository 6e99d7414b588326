"""Matrices of one or several models as points: those whose statistics are alike lie near each other."""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from dna_zoo.errors import SettingsError
from explorer.map_view import MapView, words_of
from explorer.map_view import draw_map as plot_tensor_map
from explorer.map_view import map_page as tensor_map_page
from explorer.maps import agreement, make_map
from explorer.source import Source
from patterndb.records import TensorEntry, TensorRecord
from pipeline.analyse.signature import MATRIX_DIMENSIONS

__all__ = ["plot_tensor_map", "tensor_map_page", "tensor_map_view", "values_of"]

Float64 = npt.NDArray[np.float64]
MOST_POINTS = 500
"""Matrices on a map: t-SNE of more takes longer than a figure may."""


def tensor_map_view(source: Source, models: Sequence[str] = (), *, seed: int = 0) -> MapView:
    """A map of the matrices of these models, of all models if none is named, by their statistics.

    Of many matrices as many of each model are drawn at random. Raises `NotMinedError`, and `SettingsError` where there
    are fewer than three matrices.
    """
    entries, total = _sampled(_entries(source, models), seed)
    values = np.array([values_of(entry.tensor) for entry in entries]).reshape(len(entries), len(MATRIX_DIMENSIONS))
    found = make_map(values, seed=seed)
    keys = tuple(dict.fromkeys(entry.model for entry in entries))
    roles = [entry.tensor.role for entry in entries]
    agreed = agreement(found, roles, [keys.index(entry.model) for entry in entries], seed=seed, within=True)
    sampled = f" of {total:,}, drawn at random," if len(entries) < total else ""
    what = (
        f"{len(entries):,} matrices{sampled} of {_of(keys)} by {values.shape[1]} statistics each, in the units of the "
        f"signature; roles are permuted within each model."
    )
    caption, alt = words_of(found, agreed, label="role", point="matrices", what=what)
    return MapView(
        kind="tensor-map",
        subject=keys,
        title="Matrices by their statistics",
        subtitle=f"{len(entries):,} matrices of {_of(keys)}, coloured by role",
        caption=caption,
        alt=alt,
        n=len(entries),
        settings={**found.settings, "method": found.method, "most_points": MOST_POINTS},
        names=tuple(entry.tensor.name for entry in entries),
        models=tuple(entry.model for entry in entries),
        labels=tuple(roles),
        label="role",
        point="matrices",
        places=found.places,
        found=found,
        agreement=agreed,
    )


def values_of(tensor: TensorRecord) -> list[float]:
    """A matrix as the signature would have it: each statistic's effect over its null, in the signature's units."""
    known = {each.name: each for each in tensor.statistics}
    found = []
    for name, dimension in MATRIX_DIMENSIONS.items():
        each = known.get(name)
        if each is None or not math.isfinite(each.value):
            found.append(math.nan)
        else:
            found.append(dimension.place(dimension.effect(each.value, each.null_mean or 0.0)))
    return found


def _of(keys: Sequence[str]) -> str:
    return keys[0] if len(keys) == 1 else f"{len(keys)} models"


def _entries(source: Source, models: Sequence[str]) -> list[TensorEntry]:
    """Matrices with statistics of positions, which vectors have not."""
    if models:
        patterns = [source.pattern(key) for key in dict.fromkeys(models)]
        found = [
            TensorEntry(model=pattern.model.key, pattern_key=pattern.pattern_key, tensor=tensor)
            for pattern in patterns
            for tensor in pattern.tensors
        ]
    else:
        found = list(source.database.tensors())
    kept = [entry for entry in found if any(each.name == "spectra.centroid" for each in entry.tensor.statistics)]
    if len(kept) < 3:
        raise SettingsError(f"A map needs three matrices, and there are {len(kept)}.", hint="Name more models.")
    return kept


def _sampled(entries: list[TensorEntry], seed: int) -> tuple[list[TensorEntry], int]:
    """At most `MOST_POINTS`, of each model in its share, in the order they came."""
    if len(entries) <= MOST_POINTS:
        return entries, len(entries)
    rng = np.random.default_rng([seed, len(entries)])
    places = np.sort(rng.choice(len(entries), MOST_POINTS, replace=False))
    return [entries[place] for place in places], len(entries)
