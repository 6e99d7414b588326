"""Signatures of a catalog as it is in life: lineages of all sizes, kinds of a few architectures, missing dimensions."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["NAMES", "DrawnModel", "draw_models"]

Vector = npt.NDArray[np.float64]
ROLES, SUMS, KEYS, KINDS = 8, 64, 8, 12
PER_ROLE, PER_KIND = 48, 10
NAMES = (
    *(f"kind{role}/all/statistic_{number:02}" for role in range(KINDS) for number in range(PER_KIND)),
    *(f"fingerprint/{role}/inputs_{number:03}" for role in range(ROLES) for number in range(PER_ROLE)),
    *(f"fingerprint/all/names_{number:03}" for number in range(SUMS)),
    *(f"fingerprint/all/keys_{number:02}" for number in range(KEYS)),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawnModel:
    """One model: its signature, NaN for what its architecture lacks, and the lineage it is of."""

    key: str
    lineage: int
    values: Vector


def draw_models(count: int, *, seed: int = 0, architectures: int = 5, most: int = 20) -> Iterator[DrawnModel]:
    """Models by lineage; of each lineage a root and children with 0.2 to 1 of its weights."""
    rng = np.random.default_rng(seed)
    present = _architectures(rng, architectures)
    centres = rng.normal(size=(architectures, KINDS * PER_KIND))
    shared_keys = rng.random((architectures, KEYS))
    made = lineage = 0
    while made < count:
        architecture = int(rng.integers(architectures))
        root, kind = (
            rng.normal(size=ROLES * PER_ROLE + SUMS),
            centres[architecture] + 0.3 * rng.normal(size=centres.shape[1]),
        )
        keys = np.where(rng.random(KEYS) < 0.5, shared_keys[architecture], rng.random(KEYS))
        for child in range(min(int(rng.integers(1, most + 1)), count - made)):
            share = 1.0 if child == 0 else float(rng.uniform(0.2, 1.0))
            own = share * root + np.sqrt(1 - share**2) * rng.normal(size=len(root))
            moved = kind + (1.1 - share) * 0.2 * rng.normal(size=len(kind))
            values = np.concatenate([moved, own, keys]).astype(np.float32).astype(np.float64)
            values[~present[architecture]] = np.nan
            if rng.random() < 0.1:
                values[rng.integers(KINDS) * PER_KIND] = np.nan
            yield DrawnModel(key=f"model-{made:06}", lineage=lineage, values=values)
            made += 1
        lineage += 1


def _architectures(rng: np.random.Generator, count: int) -> Sequence[npt.NDArray[np.bool_]]:
    """Which dimensions models of each architecture have; the last has nothing of the part by role."""
    found = []
    for number in range(count):
        kinds = np.repeat(rng.random(KINDS) < 0.7, PER_KIND)
        kinds[:PER_KIND] = True
        roles = np.repeat(rng.random(ROLES) < 0.6, PER_ROLE) & (number < count - 1)
        found.append(np.concatenate([kinds, roles, np.ones(SUMS + KEYS, dtype=bool)]))
    return found
