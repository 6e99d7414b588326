"""Extract: what each tensor of a model is, and whether its values are sound."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from dna_zoo.errors import ExtractError, NonFiniteWeightsError, PartialModelError
from pipeline.events import Event, OnEvent, ignore
from pipeline.weights.account import MOST_UNREADABLE, Account, take_account
from pipeline.weights.experts import MOST_EXPERTS, sample_experts
from pipeline.weights.files import WeightFiles
from pipeline.weights.reader import WeightReader
from zoo.roles import describe_tensors
from zoo.tensors import TensorKind, TensorSpec

__all__ = ["Inventory", "extract", "take_inventory"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """What a model's files hold."""

    specs: tuple[TensorSpec, ...]
    """In the order of the files; tensors in `nonfinite`, and those that cannot be read, are left out."""
    num_weights: int
    """Trained weights, tied ones once, buffers not, non-finite tensors with the rest."""
    num_tensors: int
    """Tensors that hold them; a fused projection is one."""
    nonfinite: Mapping[str, int] = field(default_factory=dict)
    """Tensor -> how many of its values are NaN or infinite."""
    notes: tuple[str, ...] = ()
    """Sentences for the report."""
    account: Account = field(default_factory=Account)
    """What became of every byte."""

    @property
    def is_partial(self) -> bool:
        """Whether a considerable share of the model could not be read."""
        return self.account.unreadable_share > MOST_UNREADABLE

    @property
    def matrices(self) -> tuple[TensorSpec, ...]:
        return tuple(spec for spec in self.specs if spec.is_matrix)


def extract(
    files: WeightFiles, *, allow_nonfinite: bool = False, allow_partial: bool = False, on_event: OnEvent = ignore
) -> Inventory:
    """`take_inventory` of files that nothing else is read from."""
    with WeightReader(files) as reader:
        return take_inventory(reader, allow_nonfinite=allow_nonfinite, allow_partial=allow_partial, on_event=on_event)


def take_inventory(
    reader: WeightReader, *, allow_nonfinite: bool = False, allow_partial: bool = False, on_event: OnEvent = ignore
) -> Inventory:
    """Describe every tensor and look through every trained one for NaN and infinity.

    Raises `NonFiniteWeightsError` for those, unless `allow_nonfinite`: then their tensors are left out and listed.
    Raises `PartialModelError` where a considerable share of the weights cannot be read, unless `allow_partial`.
    """
    key = reader.files.key
    specs, notes = _describe(reader)
    skipped = sample_experts([spec.tensor for spec in specs])
    account = replace(take_account(reader.stored, reader.tensors, specs), left_out=tuple(skipped))
    specs = tuple(spec for spec in specs if spec.tensor not in skipped)
    if account.unreadable_share > MOST_UNREADABLE and not allow_partial:
        raise _partial_error(key, account)
    trained = [spec for spec in specs if spec.kind is TensorKind.WEIGHT and spec.tensor not in account.reasons]
    num_weights = sum(spec.num_weights for spec in trained)
    if num_weights == 0:
        raise ExtractError(f"{key!r} holds no trained weights.", hint="Check that the file is the model's.")
    nonfinite = _count_nonfinite(reader, trained, num_weights, on_event)
    if nonfinite and not allow_nonfinite:
        raise _nonfinite_error(key, nonfinite)
    left_out = (f"{name!r} is left out: {n:,} values are not finite." for name, n in nonfinite.items())
    return Inventory(
        specs=tuple(spec for spec in specs if spec.tensor not in nonfinite and spec.tensor not in account.reasons),
        num_weights=num_weights,
        num_tensors=len({spec.tensor for spec in trained}),
        nonfinite=nonfinite,
        notes=(
            *reader.notes,
            *notes,
            *_sample_notes(skipped),
            *_rounding_notes(trained),
            *_account_notes(account),
            *left_out,
        ),
        account=account,
    )


def _partial_error(key: str, account: Account) -> PartialModelError:
    name, reason = next(iter(account.reasons.items()))
    others = f", and {len(account.reasons) - 1} more tensors" if len(account.reasons) > 1 else ""
    return PartialModelError(
        f"{account.unreadable_share:.0%} of {key!r} cannot be read: {name!r} ({reason}){others}.",
        hint="Mine the model in another format, or what can be read of it with --allow-partial.",
    )


def _sample_notes(skipped: Mapping[str, str]) -> tuple[str, ...]:
    """How many experts stand for the others."""
    if not skipped:
        return ()
    modules = len(set(skipped.values()))
    return (
        f"{MOST_EXPERTS} experts at random stand for all of each of {modules} modules: {len(skipped):,} tensors are not"
        " looked at.",
    )


def _account_notes(account: Account) -> tuple[str, ...]:
    """A sentence for each scheme, and one for what could not be read."""
    quantised = tuple(
        f"{size:,} bytes are quantised ({scheme}) and were turned back." for scheme, size in account.schemes.items()
    )
    if not account.reasons:
        return quantised
    name, reason = next(iter(account.reasons.items()))
    missing = (
        f"{account.unreadable:,} bytes ({account.unreadable_share:.1%}) cannot be read and are left out:"
        f" {len(account.reasons)} tensors, the first {name!r} ({reason})."
    )
    return (*quantised, missing)


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
