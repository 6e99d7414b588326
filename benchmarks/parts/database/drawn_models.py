"""Signatures of many models, drawn as they are in life: lineages of all sizes, kinds of architectures, missing roles.

What a search has to cope with is in them: children whose weights have a correlation of 0.2 to 1 with their root's,
lineages that are alike in kind, models of which half of the roles are missing, one architecture without the part of the
fingerprint by role.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["DrawnModel", "draw_models"]

Vector = npt.NDArray[np.float32]
ARCHITECTURES = 5
MOST_OF_A_LINEAGE = 20
LEAST_SHARE = 0.2
FACTORS = 32
"""What the statistics of models have in common: they are of the same singular values, and no independent numbers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawnModel:
    """One model: its key, the number of its lineage, its architecture, its signature with NaN for what it lacks."""

    key: str
    lineage: int
    architecture: int
    values: Vector


def draw_models(names: Sequence[str], count: int, *, seed: int = 0) -> Iterator[DrawnModel]:
    """`count` models with these dimensions, one lineage after the other; the same seed gives the same."""
    rng = np.random.default_rng(seed)
    is_key = np.array(["/keys_" in name for name in names])
    is_kind = np.array([not name.startswith("fingerprint/") for name in names])
    present = [_present(names, number, rng) for number in range(ARCHITECTURES)]
    centres = _normal(rng, ARCHITECTURES, len(names))
    factors = _normal(rng, FACTORS, len(names)) / np.float32(np.sqrt(FACTORS))
    known_keys = rng.random((ARCHITECTURES, is_key.sum()), dtype=np.float32)
    made = lineage = 0
    while made < count:
        architecture = int(rng.integers(ARCHITECTURES))
        root = _normal(rng, len(names))
        common = np.float32(0.9) * (_normal(rng, FACTORS) @ factors)
        kind = centres[architecture] + np.float32(0.3) * (common + np.float32(0.44) * root)
        own = rng.random(is_key.sum(), dtype=np.float32)
        keys = np.where(rng.random(is_key.sum()) < 0.5, known_keys[architecture], own)
        for child in range(min(int(rng.integers(1, MOST_OF_A_LINEAGE + 1)), count - made)):
            share = np.float32(1 if child == 0 else rng.uniform(LEAST_SHARE, 1))
            noise = _normal(rng, len(names))
            weights = share * root + np.sqrt(1 - share**2) * noise
            values = np.where(is_kind, kind + np.float32(0.2) * (np.float32(1.1) - share) * noise, weights)
            values[is_key] = keys
            values[~present[architecture]] = np.nan
            yield DrawnModel(key=f"model-{made:06}", lineage=lineage, architecture=architecture, values=values)
            made += 1
        lineage += 1


def _normal(rng: np.random.Generator, *shape: int) -> Vector:
    return rng.standard_normal(shape, dtype=np.float32)


def _present(names: Sequence[str], number: int, rng: np.random.Generator) -> npt.NDArray[np.bool_]:
    """Which dimensions an architecture has: roles are there or not, as a whole; the last has none by role."""
    groups = [name.rpartition("_" if name.startswith("fingerprint/") else "/")[0] for name in names]
    has: dict[str, bool] = {}
    for group in dict.fromkeys(groups):
        if group.startswith("fingerprint/") and not group.endswith(("names", "keys")):
            has[group] = number < ARCHITECTURES - 1 and rng.random() < 0.85
        else:
            has[group] = group.startswith(("fingerprint/", "model/")) or rng.random() < 0.6
    return np.array([has[group] for group in groups])
