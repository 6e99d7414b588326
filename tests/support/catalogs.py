"""Catalogs of made-up models: signatures drawn at random, with differences planted where a test wants them."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from patterndb.records import ModelRecord, SignatureEntry, SignatureRecord, Statistic

__all__ = ["make_catalog", "make_model_statistics"]

NUM_DIMENSIONS = 24


def make_catalog(
    rng: np.random.Generator,
    facts: Sequence[Mapping[str, Any]],
    *,
    shift: Mapping[str, float] | None = None,
    children: int = 0,
) -> tuple[SignatureEntry, ...]:
    """One lineage for each of `facts` (fields of a `ModelRecord`), the founder and so many nearly equal children.

    `shift` moves the first dimensions of every model that has one of these labels. Vision models lack the last ones.
    """
    entries = []
    for number, fact in enumerate(facts):
        values = rng.normal(size=NUM_DIMENSIONS)
        values[:8] += sum((shift or {}).get(str(label), 0.0) for label in fact.values())
        if fact.get("modality") == "vision":
            values[-4:] = np.nan
        for child in range(1 + children):
            key, parents = (f"m{number}", ()) if child == 0 else (f"m{number}-{child}", (f"m{number}",))
            own = values + 0.05 * rng.normal(size=NUM_DIMENSIONS) * (child > 0)
            entries.append(_entry(key, parents, own, fact))
    return tuple(entries)


def _entry(key: str, parents: tuple[str, ...], values: Any, facts: Mapping[str, Any]) -> SignatureEntry:
    return SignatureEntry(
        model=ModelRecord(key=key, sha256=f"sha256 of {key}", **{"parents": parents, "num_weights": 1000, **facts}),
        pattern_key=f"pattern of {key}",
        pattern_class="structured",
        signature=SignatureRecord(
            version="1",
            names=tuple(f"model/all/dimension-{index:02}" for index in range(NUM_DIMENSIONS)),
            values=tuple(None if np.isnan(value) else float(value) for value in values),
        ),
    )


def make_model_statistics(
    rng: np.random.Generator, entries: Sequence[SignatureEntry], *, rise: float, num_nulls: int = 8
) -> dict[str, tuple[Statistic, ...]]:
    """Ten statistics of each model, pooled over five tensors; the first two `rise` above their nulls, in units of their
    spread."""
    from pipeline.analyse.evidence import pooled_statistic

    def pooled(index: int) -> Statistic:
        items = rng.normal(size=(5, 1 + num_nulls)) / 5**0.5
        items[:, 0] += rise / 5 * (index < 2)
        return pooled_statistic(f"statistic-{index}", "shuffle", [1.0] * 5, items.tolist(), items.tolist())

    return {entry.pattern_key: tuple(pooled(index) for index in range(10)) for entry in entries}
