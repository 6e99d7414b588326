"""What two runs found differently in the same models, and what they were told differently.

Numbers differ where they are further apart than a tolerance; how long something took never counts.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args

from patterndb.multiplicity import q_values
from patterndb.records import FitRecord, PatternRecord, RoleRecord, RunRecord, Statistic, TensorRecord
from patterndb.settings import flat

__all__ = ["KINDS", "TOLERANCE", "Difference", "Differences", "Kind", "compare_runs"]

Kind = Literal["status", "weights", "setting", "version", "class", "verdict", "fit", "statistic", "signature"]
KINDS: tuple[Kind, ...] = get_args(Kind)
TOLERANCE = 1e-6
"""Relative: the same computation on the same kind of machine is far within it."""
NOTHING = 1e-12
"""Numbers nearer than that are the same, however small they are."""
BEYOND_CHANCE = 0.05
"""A statistic whose q is at most that has a verdict: it differs from its null."""
VERSIONS = ("dna_zoo", "python", "numpy", "torch")
TOLD = ("dna_type", "scope", "order", "precision", "device", "null", "num_nulls")
"""Fields of a fit that settings decide, or that say where it was made."""
NUMBERS = ("value", "null_mean", "null_std", "z", "p")


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One thing that is not the same."""

    model: str
    kind: Kind
    where: str
    """A role or a tensor; empty for the model as a whole."""
    name: str
    a: Any
    b: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Differences:
    """Of two runs."""

    a: str
    b: str
    tolerance: float
    compared: tuple[tuple[str, str], ...]
    """Keys of the models that were compared, in A and in B."""
    only_a: tuple[str, ...]
    """Models that only A was asked for."""
    only_b: tuple[str, ...]
    found: tuple[Difference, ...]

    @property
    def are_equal(self) -> bool:
        """Whether both were asked for the same models, and nothing of them differs."""
        return not (self.found or self.only_a or self.only_b)

    def of(self, kind: Kind) -> tuple[Difference, ...]:
        return tuple(each for each in self.found if each.kind == kind)


Load = Callable[[str], PatternRecord]
"""From the key of a model to what the run found in it."""


def compare_runs(
    a: RunRecord, b: RunRecord, load_a: Load, load_b: Load, *, tolerance: float = TOLERANCE
) -> Differences:
    """Compare the runs model by model; two runs of one model each are compared whatever it is called."""
    keys_a, keys_b = [[model.key for model in run.models] for run in (a, b)]
    if len(keys_a) == len(keys_b) == 1:
        pairs = [(keys_a[0], keys_b[0])]
    else:
        pairs = [(key, key) for key in keys_a if key in keys_b]
    found = [each for one, two in pairs for each in _of_models(a, b, one, two, load_a, load_b, tolerance)]
    return Differences(
        a=a.run,
        b=b.run,
        tolerance=tolerance,
        compared=tuple(pairs),
        only_a=tuple(key for key in keys_a if key not in {one for one, _ in pairs}),
        only_b=tuple(key for key in keys_b if key not in {two for _, two in pairs}),
        found=tuple(found),
    )


def _of_models(
    a: RunRecord, b: RunRecord, one: str, two: str, load_a: Load, load_b: Load, tolerance: float
) -> Iterator[Difference]:
    """How the model fared, and what was found if both found something."""
    statuses = [next(model.status for model in run.models if model.key == key) for run, key in ((a, one), (b, two))]
    if statuses[0] != statuses[1]:
        yield Difference(model=one, kind="status", where="", name="status", a=statuses[0], b=statuses[1])
    if statuses == ["done", "done"]:
        yield from _of_patterns(load_a(one), load_b(two), _Numbers(one, tolerance))


@dataclass(frozen=True, slots=True)
class _Numbers:
    """Makes differences of one model."""

    model: str
    tolerance: float

    def between(self, kind: Kind, where: str, a: Mapping[str, Any], b: Mapping[str, Any]) -> Iterator[Difference]:
        """What differs in two mappings, by name; what one of them lacks is None there."""
        for name in dict.fromkeys([*a, *b]):
            one, two = a.get(name), b.get(name)
            if not self.are_same(one, two):
                yield Difference(model=self.model, kind=kind, where=where, name=name, a=one, b=two)

    def are_same(self, a: Any, b: Any) -> bool:
        if isinstance(a, float) and isinstance(b, float | int) and not isinstance(b, bool):
            both_nan = math.isnan(a) and math.isnan(b)
            return both_nan or math.isclose(a, b, rel_tol=self.tolerance, abs_tol=NOTHING)
        return bool(a == b)


def _of_patterns(a: PatternRecord, b: PatternRecord, numbers: _Numbers) -> Iterator[Difference]:
    """Everything in two patterns: first what was told, then what was found."""
    yield from numbers.between("weights", "", {"sha256": a.model.sha256}, {"sha256": b.model.sha256})
    yield from numbers.between("setting", "", dict(flat(a.settings)), dict(flat(b.settings)))
    yield from numbers.between(
        "version", "", *({name: each.provenance.get(name) for name in VERSIONS} for each in (a, b))
    )
    yield from numbers.between("class", "", {"class": a.pattern_class}, {"class": b.pattern_class})
    yield from _of_fits("", a.fit, b.fit, numbers)
    yield from _of_statistics("", a.statistics, b.statistics, numbers)
    yield from _of_parts({each.role: each for each in a.roles}, {each.role: each for each in b.roles}, numbers)
    yield from _of_parts({each.name: each for each in a.tensors}, {each.name: each for each in b.tensors}, numbers)
    yield from numbers.between("signature", "", *(_signature(each) for each in (a, b)))
    yield from _of_verdicts(a, b, numbers)


def _signature(pattern: PatternRecord) -> Mapping[str, float | None]:
    return dict(zip(pattern.signature.names, pattern.signature.values, strict=True))


def _of_parts(
    a: Mapping[str, RoleRecord | TensorRecord], b: Mapping[str, RoleRecord | TensorRecord], numbers: _Numbers
) -> Iterator[Difference]:
    """Roles or tensors: class, fit and statistics of each."""
    for name in dict.fromkeys([*a, *b]):
        one, two = a.get(name), b.get(name)
        classes = ({"class": "absent" if each is None else each.pattern_class} for each in (one, two))
        yield from numbers.between("class", name, *classes)
        yield from _of_fits(name, one.fit if one else None, two.fit if two else None, numbers)
        yield from _of_statistics(name, one.statistics if one else (), two.statistics if two else (), numbers)


def _of_fits(where: str, a: FitRecord | None, b: FitRecord | None, numbers: _Numbers) -> Iterator[Difference]:
    names = [each.name for each in fields(FitRecord) if each.name not in ("seconds", *TOLD)]
    sides = ({} if each is None else {name: getattr(each, name) for name in names} for each in (a, b))
    yield from numbers.between("fit", where, *sides)


def _of_statistics(
    where: str, a: Sequence[Statistic], b: Sequence[Statistic], numbers: _Numbers
) -> Iterator[Difference]:
    """The value of each statistic; where it is the same, what of its null is not."""
    sides = [{each.name: each for each in side} for side in (a, b)]
    for name in dict.fromkeys([*sides[0], *sides[1]]):
        values = (
            {f"{name}.{field}" if field != "value" else name: getattr(side[name], field) for field in NUMBERS}
            if name in side
            else {}
            for side in sides
        )
        yield from list(numbers.between("statistic", where, *values))[:1]


def _of_verdicts(a: PatternRecord, b: PatternRecord, numbers: _Numbers) -> Iterator[Difference]:
    """Which statistics differ from their nulls beyond chance in one of them alone."""
    for one, two in zip(_families(a), _families(b), strict=True):
        verdicts = (_verdicts(family) for family in (one, two))
        for each in numbers.between("verdict", "", *verdicts):
            where, _, name = each.name.rpartition("\n")
            yield Difference(model=each.model, kind="verdict", where=where, name=name, a=each.a, b=each.b)


def _families(pattern: PatternRecord) -> Iterator[Sequence[tuple[str, Statistic]]]:
    """Statistics that are tested together, each with where it is: of the model, of its roles, of its tensors."""
    yield [("", each) for each in pattern.statistics]
    yield [(role.role, each) for role in pattern.roles for each in role.statistics]
    yield [(tensor.name, each) for tensor in pattern.tensors for each in tensor.statistics]


def _verdicts(family: Sequence[tuple[str, Statistic]]) -> Mapping[str, str | None]:
    """Place and name -> what q says; None without a p-value."""
    adjusted = q_values([each.p for _, each in family])
    return {
        f"{where}\n{each.name}": None if q is None else "beyond chance" if q <= BEYOND_CHANCE else "no evidence"
        for (where, each), q in zip(family, adjusted, strict=True)
    }
