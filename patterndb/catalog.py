"""The database as tables for pandas and for papers. What the columns mean: `patterndb.columns.COLUMN_MEANINGS`."""

import itertools
import math
from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from operator import itemgetter
from typing import Any

from dna_zoo.errors import SettingsError
from patterndb.catalog_table import CatalogTable
from patterndb.columns import COLUMN_MEANINGS, COLUMNS, STATISTIC_SUFFIXES
from patterndb.multiplicity import q_values
from patterndb.records import FitRecord, PatternSummary, SignatureEntry, TensorEntry
from patterndb.table_files import SUFFIXES, write_table

__all__ = [
    "COLUMN_MEANINGS",
    "SUFFIXES",
    "TABLES",
    "catalog_table",
    "distances_table",
    "require_table",
    "signatures_table",
    "tensors_table",
    "write_table",
]

Row = dict[str, Any]
TABLES = tuple(COLUMNS)
P_VALUE = 7
"""Place of p among the cells of a statistic."""
MODEL_FIELDS = (
    "repo", "revision", "sha256", "tier", "modality", "family", "architecture", "specialty", "objective",
    "is_distilled", "shares_layers", "licence", "num_weights", "num_tensors",
)  # fmt: skip


def catalog_table(patterns: Sequence[PatternSummary]) -> CatalogTable:
    """One row for each model key: its current pattern."""
    return CatalogTable.of_rows("catalog", (_catalog_row(pattern) for pattern in patterns if pattern.is_current))


def _catalog_row(pattern: PatternSummary) -> Row:
    return {
        "model": pattern.model.key,
        **{name: getattr(pattern.model, name) for name in MODEL_FIELDS},
        "parents": "; ".join(pattern.model.parents),
        "run": pattern.run,
        "pattern_key": pattern.pattern_key,
        "confirmed_at": pattern.confirmed_at,
        "pattern_class": pattern.pattern_class,
        "class_margin": pattern.class_margin,
        "signature_version": pattern.signature_version,
        **_score_columns(pattern.class_scores),
        **_fit_columns(pattern.fit),
    }


def tensors_table(entries: Sequence[TensorEntry], statistics: Iterable[tuple[Any, ...]]) -> CatalogTable:
    """One row for each tensor of the current patterns, with a few columns for each statistic.

    - `entries`: without statistics, a pattern's tensors in order and together;
    - `statistics`: as `patterndb.patterns.read_tensor_statistics` gives them.
    """
    first_rows: dict[str, int] = {}
    for place, entry in enumerate(entries):
        first_rows.setdefault(entry.pattern_key, place)
    extra = _statistic_columns(statistics, first_rows, len(entries))
    return CatalogTable.of_rows("tensors", map(_tensor_row, entries), extra)


def _tensor_row(entry: TensorEntry) -> Row:
    tensor = entry.tensor
    return {
        "model": entry.model,
        "pattern_key": entry.pattern_key,
        "tensor": tensor.name,
        **{name: getattr(tensor, name) for name in ("role", "block", "depth", "rows", "cols", "num_weights")},
        "pattern_class": tensor.pattern_class,
        **_score_columns(tensor.class_scores),
        **_fit_columns(tensor.fit),
    }


def _statistic_columns(
    statistics: Iterable[tuple[Any, ...]], first_of: Mapping[str, int], num_rows: int
) -> "dict[str, array[float]]":
    """The columns of every statistic by name, (rows,) float64 each, NaN for a tensor that lacks it.

    q is of the family of all tests of one model, so that no other model changes it. Packed, since there are hundreds
    of columns, and a tensor has a part of them.
    """
    missing = array("d", [math.nan]) * num_rows
    found: dict[str, list[array[float]]] = {}
    for pattern_key, family in itertools.groupby(statistics, key=itemgetter(0)):
        tests, first = list(family), first_of[pattern_key]
        for test, q in zip(tests, q_values([test[P_VALUE] for test in tests]), strict=True):
            _, tensor, name, value, mean, std, z, p, low, high = test
            if name not in found:
                found[name] = [missing[:] for _ in STATISTIC_SUFFIXES]
            for column, cell in zip(found[name], (value, mean, std, z, p, q, low, high), strict=True):
                if cell is not None:
                    column[first + tensor] = cell
    return {
        f"{name}{suffix}": column
        for name in sorted(found)
        for suffix, column in zip(STATISTIC_SUFFIXES, found[name], strict=True)
    }


def signatures_table(entries: Sequence[SignatureEntry]) -> CatalogTable:
    """One row for each dimension that a model's signature has."""
    return CatalogTable.of_rows("signatures", (row for entry in entries for row in _signature_rows(entry)))


def _signature_rows(entry: SignatureEntry) -> Iterable[Row]:
    signature = entry.signature
    missing = (None,) * len(signature.names)
    p_values = signature.p or missing
    for name, value, z, p, q in zip(
        signature.names, signature.values, signature.z or missing, p_values, q_values(p_values), strict=True
    ):
        if value is not None:
            role, _, rest = name.partition("/")
            third, _, statistic = rest.partition("/")
            yield {
                "model": entry.model.key, "pattern_key": entry.pattern_key, "version": signature.version,
                "dimension": name, "role": role, "third": third, "statistic": statistic,
                "value": value, "z": z, "p": p, "q": q,
            }  # fmt: skip


def distances_table(entries: Sequence[SignatureEntry]) -> CatalogTable:
    """One row for each pair of models whose signatures have the same version, and dimensions in common."""
    # Distances need numpy, which the other tables do without.
    import numpy as np

    from patterndb.similarity import align, pairwise_distances

    rows: list[Row] = []
    for version in sorted({entry.signature.version for entry in entries}):
        members = [entry for entry in entries if entry.signature.version == version]
        distances = pairwise_distances(*align([entry.signature for entry in members]))
        for i, j in zip(*np.triu_indices(len(members), 1), strict=True):
            if np.isfinite(distances[i, j]):
                rows.append({"a": members[i].model.key, "b": members[j].model.key, "distance": float(distances[i, j])})
    return CatalogTable.of_rows("distances", rows)


def _score_columns(scores: Mapping[str, float]) -> Row:
    return {f"score_{name}": score for name, score in scores.items()}


def _fit_columns(fit: FitRecord | None) -> Row:
    return {} if fit is None else {f"fit_{field.name}": getattr(fit, field.name) for field in fields(fit)}


def require_table(table: str) -> None:
    """Raise `SettingsError` for a name that is none of `TABLES`."""
    if table not in TABLES:
        raise SettingsError(f"There is no table {table!r} to export.", hint=f"Use one of: {', '.join(TABLES)}.")
