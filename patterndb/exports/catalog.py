"""The database as frames of pandas. What the columns mean: `patterndb.exports.columns.COLUMN_MEANINGS`."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from patterndb.connection.batches import batches
from patterndb.exports.columns import COLUMNS, STATISTIC_SUFFIXES
from patterndb.multiplicity import q_values, q_values_of
from patterndb.patterns.reading import Columns
from patterndb.patterns.rows import STATISTIC_FLOATS
from patterndb.records import (
    PatternRecord,
    PatternSummary,
    RoleEntry,
    RoleRecord,
    SignatureEntry,
    Statistic,
    TensorEntry,
    TensorRecord,
)
from patterndb.similarity import all_distances

__all__ = [
    "all_roles_frame",
    "catalog_frame",
    "distances_frames",
    "pairs_frame",
    "pattern_tensors_frame",
    "roles_frame",
    "signature_frame",
    "signatures_frame",
    "statistics_frame",
    "tensors_frame",
]

Row = dict[str, Any]
Statistics = tuple[str, Columns]
"""The key of a pattern, and what its tensors or roles have."""
Places = dict[tuple[str, int], int]
"""The key of a pattern and the position of a tensor or role there -> the number of its row."""


def _frame(table: str, rows: Iterable[Row], *more: pd.DataFrame) -> pd.DataFrame:
    """The table with all its columns and their types, also without rows; `more` columns come after them.

    Of a row, what is not there is missing, and what the table has no column for is left out.
    """
    rows = list(rows)
    known = {
        name: pd.Series([row.get(name) for row in rows], dtype=column.dtype) for name, column in COLUMNS[table].items()
    }
    frame = pd.concat([pd.DataFrame(known), *more], axis=1)
    frame.attrs["table"] = table
    return frame


def catalog_frame(patterns: Sequence[PatternSummary]) -> pd.DataFrame:
    """One row for each pattern."""
    return _frame("catalog", map(_catalog_row, patterns))


def _catalog_row(pattern: PatternSummary) -> Row:
    model = pattern.model
    parents = "; ".join(model.parents)
    facts = _values(model) | {"model": model.key, "parents": parents}
    return _values(pattern) | facts | _values(pattern.chosen) | _findings(pattern)


def tensors_frame(
    entries: Sequence[TensorEntry], statistics: Iterable[Statistics], names: Sequence[str] | None = None
) -> pd.DataFrame:
    """One row for each tensor of the patterns, with a few columns for each statistic.

    - `entries`: without statistics, a pattern's tensors in order;
    - `statistics`: as `patterndb.patterns.read_part_statistics` gives them;
    - `names`: of the statistics that have columns; None for those that are there.
    """
    return _frame("tensors", map(_tensor_row, entries), _statistic_columns(statistics, _places(entries), names))


def all_roles_frame(
    entries: Sequence[RoleEntry], statistics: Iterable[Statistics], names: Sequence[str] | None = None
) -> pd.DataFrame:
    """One row for each role of the patterns, likewise; its statistics are pooled over the tensors of the role."""
    return _frame("roles", map(_role_entry_row, entries), _statistic_columns(statistics, _places(entries), names))


def _places(entries: Iterable[TensorEntry | RoleEntry]) -> Places:
    """The number of the row of each entry."""
    counts: Counter[str] = Counter()
    places: Places = {}
    for number, entry in enumerate(entries):
        places[entry.pattern_key, counts[entry.pattern_key]] = number
        counts[entry.pattern_key] += 1
    return places


def _role_entry_row(entry: RoleEntry) -> Row:
    return _values(entry) | _values(entry.chosen) | _role_row(entry.role)


def _tensor_row(entry: TensorEntry) -> Row:
    tensor = entry.tensor
    return _values(entry) | _values(entry.chosen) | _values(tensor) | {"tensor": tensor.name} | _findings(tensor)


def _statistic_columns(
    statistics: Iterable[Statistics], places: Places, known: Sequence[str] | None = None
) -> pd.DataFrame:
    """The columns of every statistic, float64, NaN for a tensor that lacks it: a row for each of the places.

    - `known`: the statistics; None for those that are there.

    q is of the family of all tests of one model, so that no other model changes it.
    """
    found = list(statistics)
    names = sorted({name for _, columns in found for name in columns["name"]} if known is None else known)
    numbers = {name: number for number, name in enumerate(names)}
    values = np.full((len(places), len(names), len(STATISTIC_SUFFIXES)), np.nan)
    for pattern_key, columns in found:
        rows = [places[pattern_key, position] for position in columns["position"]]
        values[rows, [numbers[name] for name in columns["name"]]] = _measured(columns)
    shown = [f"{name}{suffix}" for name in names for suffix in STATISTIC_SUFFIXES]
    return pd.DataFrame(values.reshape(len(places), len(shown)), columns=shown)


def _measured(columns: Columns) -> npt.NDArray[np.float64]:
    """The values of `STATISTIC_SUFFIXES` of each statistic of a pattern, (statistics, suffixes)."""
    floats = {name: np.array(columns[name], dtype=np.float64) for name in STATISTIC_FLOATS}
    by_suffix = {"": floats["value"], ".q": q_values_of(floats["p"])}
    by_suffix |= {f".{name}": values for name, values in floats.items() if name != "value"}
    return np.stack([by_suffix[suffix] for suffix in STATISTIC_SUFFIXES], axis=1)


def signatures_frame(entries: Sequence[SignatureEntry]) -> pd.DataFrame:
    """One row for each dimension that a model's signature has."""
    return _frame("signatures", (row for entry in entries for row in _signature_rows(entry)))


def _signature_rows(entry: SignatureEntry) -> Iterator[Row]:
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


def distances_frames(entries: Sequence[SignatureEntry], size: int) -> Iterator[pd.DataFrame]:
    """One row for each pair of models whose signatures have the same version, and dimensions in common.

    At least one frame, of at most `size` rows each.
    """
    pieces = batches(_distance_rows(entries), size)
    yield _frame("distances", next(pieces, ()))
    for piece in pieces:
        yield _frame("distances", piece)


def pairs_frame(values: Mapping[str, npt.NDArray[Any]]) -> pd.DataFrame:
    """The table `distances` of columns that are there already."""
    frame = pd.DataFrame(
        {name: pd.Series(values[name], dtype=each.dtype) for name, each in COLUMNS["distances"].items()}
    )
    frame.attrs["table"] = "distances"
    return frame


def _distance_rows(entries: Sequence[SignatureEntry]) -> Iterator[Row]:
    for version in sorted({entry.signature.version for entry in entries}):
        members = [entry for entry in entries if entry.signature.version == version]
        found = all_distances(members)
        for i, j in zip(*np.triu_indices(len(members), 1), strict=True):
            pair = {"weights": float(found.weights[i, j]), "kind": float(found.kind[i, j])}
            if np.isfinite([*pair.values()]).any():
                a, b = members[i].model, members[j].model
                yield {
                    "a": a.key, "b": b.key, "is_same_file": a.sha256 == b.sha256,
                    "is_partial": bool(a.is_partial or b.is_partial), **pair,
                }  # fmt: skip


def pattern_tensors_frame(pattern: PatternRecord) -> pd.DataFrame:
    """The tensors of one pattern, by name: the columns of `tensors_frame` without the model's."""
    key = pattern.pattern_key
    entries = [TensorEntry(model=pattern.model.key, pattern_key=key, tensor=tensor) for tensor in pattern.tensors]
    frame = tensors_frame(entries, [_bare_statistics(key, [tensor.statistics for tensor in pattern.tensors])])
    return frame.drop(columns=["model", "pattern_key"]).set_index("tensor")


def roles_frame(pattern: PatternRecord) -> pd.DataFrame:
    """One row for each role of a pattern, by name: counts, class, fit, and its pooled statistics."""
    key, roles = pattern.pattern_key, pattern.roles
    places = {(key, position): position for position in range(len(roles))}
    statistics = _statistic_columns([_bare_statistics(key, [role.statistics for role in roles])], places)
    known = pd.DataFrame([_role_row(role) for role in roles])
    # What no role has, as a null that was not drawn, is a number all the same.
    known = known.astype({name: each.dtype for name, each in COLUMNS["roles"].items() if name in known})
    return pd.concat([known, statistics], axis=1).set_index("role") if roles else known


def statistics_frame(pattern: PatternRecord) -> pd.DataFrame:
    """One row for each statistic of a pattern's model as a whole, by name."""
    frame = pd.DataFrame([_values(each) for each in pattern.statistics], columns=[f.name for f in fields(Statistic)])
    frame["q"] = q_values([each.p for each in pattern.statistics])
    numbers = {name: "float64" for name in (*STATISTIC_FLOATS, "q")}
    return frame.astype(numbers).set_index("name")


def signature_frame(pattern: PatternRecord) -> pd.DataFrame:
    """One row for each dimension that a pattern's signature has, by name."""
    entry = SignatureEntry(
        model=pattern.model,
        pattern_key=pattern.pattern_key,
        pattern_class=pattern.pattern_class,
        signature=pattern.signature,
    )
    return signatures_frame([entry]).drop(columns=["model", "pattern_key", "version"]).set_index("dimension")


def _bare_statistics(pattern_key: str, owners: Sequence[Sequence[Statistic]]) -> Statistics:
    """As `patterndb.patterns.read_part_statistics` gives them, of the owners in their order."""
    found = [(position, each) for position, statistics in enumerate(owners) for each in statistics]
    columns = {name: [getattr(each, name) for _, each in found] for name in ("name", *STATISTIC_FLOATS)}
    return pattern_key, {"position": [position for position, _ in found], **columns}


def _role_row(role: RoleRecord) -> Row:
    fit = _values(role.fit) if role.fit else {}
    names = ("role", "tensors", "weights", "pattern_class")
    return {name: getattr(role, name) for name in names} | {f"fit_{name}": value for name, value in fit.items()}


def _values(record: Any) -> Row:
    """The fields of a record by name."""
    return {field.name: getattr(record, field.name) for field in fields(record)}


def _findings(pattern: PatternSummary | TensorRecord) -> Row:
    """Columns of the scores and of the fit."""
    scores = {f"score_{name}": score for name, score in pattern.class_scores.items()}
    fit = _values(pattern.fit) if pattern.fit else {}
    return scores | {f"fit_{name}": value for name, value in fit.items()}
