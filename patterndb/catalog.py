"""The database as tables for pandas and for papers.

What the columns mean: `patterndb.columns.COLUMN_MEANINGS`. pandas is imported when a table is built, not before.
"""

import itertools
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from dna_zoo.errors import SettingsError
from patterndb.columns import COLUMN_MEANINGS, COLUMNS, STATISTIC_SUFFIXES
from patterndb.multiplicity import q_values
from patterndb.records import FitRecord, PatternSummary, SignatureEntry, TensorEntry
from patterndb.similarity import align, pairwise_distances
from patterndb.table_files import SUFFIXES, write_table

if TYPE_CHECKING:
    import pandas as pd

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
Float64 = npt.NDArray[np.float64]
TABLES = tuple(COLUMNS)
MODEL_FIELDS = (
    "repo", "revision", "sha256", "tier", "modality", "family", "architecture", "specialty", "objective",
    "is_distilled", "shares_layers", "licence", "num_weights", "num_tensors",
)  # fmt: skip


def catalog_table(patterns: Sequence[PatternSummary]) -> "pd.DataFrame":
    """One row for each model key: its current pattern."""
    return _make_frame("catalog", (_catalog_row(pattern) for pattern in patterns if pattern.is_current))


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


def tensors_table(entries: Sequence[TensorEntry]) -> "pd.DataFrame":
    """One row for each tensor of the current patterns, with a few columns for each statistic."""
    return _make_frame("tensors", map(_tensor_row, entries), _statistic_columns(entries))


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


def _statistic_columns(entries: Sequence[TensorEntry]) -> dict[str, Float64]:
    """The columns of every statistic by name, (entries,) each, NaN for a tensor that lacks it.

    A statistic at a time: there are hundreds of columns, and a tensor has a part of them.
    """
    adjusted = _q_by_model(entries)
    places: dict[str, list[int]] = defaultdict(list)
    found: dict[str, list[tuple[float | None, ...]]] = defaultdict(list)
    for place, entry in enumerate(entries):
        for each, q in zip(entry.tensor.statistics, adjusted[place], strict=True):
            places[each.name].append(place)
            null = (each.null_mean, each.null_std, each.z, each.p, q)
            found[each.name].append((each.value, *null, each.low, each.high))
    columns: dict[str, Float64] = {}
    for name in sorted(found):
        cells = np.full((len(STATISTIC_SUFFIXES), len(entries)), np.nan)
        cells[:, places[name]] = np.array(found[name], dtype=np.float64).T
        columns |= {f"{name}{suffix}": cells[row] for row, suffix in enumerate(STATISTIC_SUFFIXES)}
    return columns


def _q_by_model(entries: Sequence[TensorEntry]) -> list[tuple[float | None, ...]]:
    """The q-value of every test, by entry; the family is all tests of one model, so that no other changes them."""
    families: dict[str, list[int]] = defaultdict(list)
    for place, entry in enumerate(entries):
        families[entry.model].append(place)
    found: list[tuple[float | None, ...]] = [()] * len(entries)
    for family in families.values():
        tests = [[each.p for each in entries[place].tensor.statistics] for place in family]
        adjusted = iter(q_values(tuple(itertools.chain.from_iterable(tests))))
        for place, own in zip(family, tests, strict=True):
            found[place] = tuple(itertools.islice(adjusted, len(own)))
    return found


def signatures_table(entries: Sequence[SignatureEntry]) -> "pd.DataFrame":
    """One row for each dimension that a model's signature has."""
    return _make_frame("signatures", (row for entry in entries for row in _signature_rows(entry)))


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


def distances_table(entries: Sequence[SignatureEntry]) -> "pd.DataFrame":
    """One row for each pair of models whose signatures have the same version, and dimensions in common."""
    rows = []
    for version in sorted({entry.signature.version for entry in entries}):
        members = [entry for entry in entries if entry.signature.version == version]
        distances = pairwise_distances(*align([entry.signature for entry in members]))
        for i, j in zip(*np.triu_indices(len(members), 1), strict=True):
            if np.isfinite(distances[i, j]):
                rows.append({"a": members[i].model.key, "b": members[j].model.key, "distance": distances[i, j]})
    return _make_frame("distances", rows)


def _score_columns(scores: Mapping[str, float]) -> Row:
    return {f"score_{name}": score for name, score in scores.items()}


def _fit_columns(fit: FitRecord | None) -> Row:
    return {} if fit is None else {f"fit_{field.name}": getattr(fit, field.name) for field in fields(fit)}


def _make_frame(table: str, rows: Iterable[Row], extra: Mapping[str, Float64] | None = None) -> "pd.DataFrame":
    """A frame with all columns of the table in their order and types, also when there are no rows.

    `extra` are columns that depend on what was measured. `attrs["table"]` names the table.
    """
    import pandas as pd

    rows = list(rows)
    columns = {
        name: pd.Series([row.get(name) for row in rows], dtype=column.dtype) for name, column in COLUMNS[table].items()
    }
    frame = pd.DataFrame({**columns, **(extra or {})})
    frame.attrs["table"] = table
    return frame


def require_table(table: str) -> None:
    """Raise `SettingsError` for a name that is none of `TABLES`."""
    if table not in TABLES:
        raise SettingsError(f"There is no table {table!r} to export.", hint=f"Use one of: {', '.join(TABLES)}.")
