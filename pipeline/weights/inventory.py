"""Extract: what each tensor of a model is, and whether its values are sound."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from dna_zoo.errors import ExtractError, NonFiniteWeightsError
from pipeline.events import Event, OnEvent, ignore
from pipeline.weights.files import WeightFiles
from pipeline.weights.reader import WeightReader
from zoo.roles import describe_tensors
from zoo.tensors import TensorKind, TensorSpec

__all__ = ["Inventory", "extract", "take_inventory"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """What a model's files hold."""

    specs: tuple[TensorSpec, ...]
    """In the order of the files; tensors in `nonfinite` are left out."""
    num_weights: int
    """Trained weights, tied ones once, buffers not, non-finite tensors with the rest."""
    num_tensors: int
    """Tensors that hold them; a fused projection is one."""
    nonfinite: Mapping[str, int] = field(default_factory=dict)
    """Tensor -> how many of its values are NaN or infinite."""
    notes: tuple[str, ...] = ()
    """Sentences for the report."""

    @property
    def matrices(self) -> tuple[TensorSpec, ...]:
        return tuple(spec for spec in self.specs if spec.is_matrix)


def extract(files: WeightFiles, *, allow_nonfinite: bool = False, on_event: OnEvent = ignore) -> Inventory:
    """`take_inventory` of files that nothing else is read from."""
    with WeightReader(files) as reader:
        return take_inventory(reader, allow_nonfinite=allow_nonfinite, on_event=on_event)


def take_inventory(reader: WeightReader, *, allow_nonfinite: bool = False, on_event: OnEvent = ignore) -> Inventory:
    """Describe every tensor and look through every trained one for NaN and infinity.

    Raises `NonFiniteWeightsError` for those, unless `allow_nonfinite`: then their tensors are left out and listed.
    """
    key = reader.files.key
    specs, notes = _describe(reader)
    trained = [spec for spec in specs if spec.kind is TensorKind.WEIGHT]
    num_weights = sum(spec.num_weights for spec in trained)
    if num_weights == 0:
        raise ExtractError(f"{key!r} holds no trained weights.", hint="Check that the file is the model's.")
    nonfinite = _count_nonfinite(reader, trained, num_weights, on_event)
    if nonfinite and not allow_nonfinite:
        raise _nonfinite_error(key, nonfinite)
    left_out = (f"{name!r} is left out: {n:,} values are not finite." for name, n in nonfinite.items())
    return Inventory(
        specs=tuple(spec for spec in specs if spec.tensor not in nonfinite),
        num_weights=num_weights,
        num_tensors=len({spec.tensor for spec in trained}),
        nonfinite=nonfinite,
        notes=(*notes, *_rounding_notes(trained), *left_out),
    )


def _describe(reader: WeightReader) -> tuple[tuple[TensorSpec, ...], tuple[str, ...]]:
    """The specs; what is a copy by name alone is held against its original, and counted apart if it differs."""
    shared, config = reader.shared, reader.files.config
    specs = describe_tensors(reader.headers, config, shared=shared)
    by_storage = {*shared, *shared.values()}
    apart = {
        spec.tensor: spec.tied_to
        for spec in specs
        if spec.tied_to is not None and not {spec.tensor, spec.tied_to} <= by_storage
        if not reader.are_equal(spec.tensor, spec.tied_to)
    }
    if not apart:
        return specs, ()
    # A tensor that shares storage with itself alone is a copy of nothing.
    specs = describe_tensors(reader.headers, config, shared={**shared, **{name: name for name in apart}})
    return specs, tuple(
        f"{name!r} is named like a copy of {first!r} and differs from it: it counts apart."
        for name, first in apart.items()
    )


def _count_nonfinite(reader: WeightReader, trained: list[TensorSpec], total: int, on_event: OnEvent) -> dict[str, int]:
    found = {}
    done = 0
    for name in dict.fromkeys(spec.tensor for spec in trained):
        num_nonfinite = 0
        for values in reader.chunks(name):
            num_nonfinite += values.size - int(np.count_nonzero(np.isfinite(values)))
            done += values.size
        if num_nonfinite:
            found[name] = num_nonfinite
        on_event(
            Event(kind="progress", model=reader.files.key, stage="extract", done=done, total=total, unit="weights")
        )
    return found


def _nonfinite_error(key: str, nonfinite: Mapping[str, int]) -> NonFiniteWeightsError:
    name, count = next(iter(nonfinite.items()))
    others = f", and {len(nonfinite) - 1} more of its tensors hold such values" if len(nonfinite) > 1 else ""
    return NonFiniteWeightsError(
        f"{name!r} of {key!r} holds {count:,} values that are NaN or infinite{others}.",
        hint="Fetch the model again, or leave such tensors out with --allow-nonfinite.",
    )


def _rounding_notes(trained: list[TensorSpec]) -> tuple[str, ...]:
    num_wide = len({spec.tensor for spec in trained if spec.dtype == "F64"})
    return (f"{num_wide} tensors are stored as float64 and read as float32.",) if num_wide else ()
