"""Statistics of whole models as plain rows, and what they come to over many models."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from patterndb.multiplicity import q_values
from patterndb.records import Statistic

__all__ = ["ALPHA", "Measured", "Summary", "measured_rows", "summarise"]

ALPHA = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One statistic of one model; `q` is of the family of all its statistics."""

    model: str
    name: str
    null: str | None
    value: float
    null_mean: float | None
    z: float | None
    p: float | None
    q: float | None


OF_STATISTIC = ("name", "null", "value", "null_mean", "z", "p")


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """One statistic over several models."""

    name: str
    null: str | None
    models: int
    median: float
    null_median: float | None
    tested: int
    beyond: int


def measured_rows(statistics: Mapping[str, Sequence[Statistic]]) -> tuple[Measured, ...]:
    """- `statistics`: by model key."""
    return tuple(
        Measured(model=key, q=q, **{name: getattr(each, name) for name in OF_STATISTIC})
        for key in sorted(statistics)
        for each, q in zip(statistics[key], q_values([one.p for one in statistics[key]]), strict=True)
    )


def summarise(rows: Iterable[Measured]) -> list[Summary]:
    """A row a statistic, in the order of their first appearance."""
    found: dict[str, list[Measured]] = defaultdict(list)
    for row in rows:
        found[row.name].append(row)
    return [_summary(name, each) for name, each in found.items()]


def _summary(name: str, rows: Sequence[Measured]) -> Summary:
    nulls = [row.null_mean for row in rows if row.null_mean is not None]
    tested = [row.q for row in rows if row.q is not None]
    return Summary(
        name=name,
        null=next((row.null for row in rows if row.null), None),
        models=len(rows),
        median=median(row.value for row in rows),
        null_median=median(nulls) if nulls else None,
        tested=len(tested),
        beyond=sum(q <= ALPHA for q in tested),
    )
