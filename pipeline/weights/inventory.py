"""Extract: what each tensor of a model is, and whether its values are sound."""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from dna_zoo.errors import ExtractError, NonFiniteWeightsError, PartialModelError
from dna_zoo.text import printable
from pipeline.events import Event, OnEvent, ignore
from pipeline.weights.account import MOST_UNREADABLE, Account, take_account
from pipeline.weights.experts import MOST_EXPERTS, is_flat, sample_experts
from pipeline.weights.files import WeightFiles
from pipeline.weights.reader import WeightReader
from pipeline.weights.traced import CONSIDERABLE, Tracer, share_without_role, without_role
from pipeline.weights.values import ValueRange, value_digest, value_notes, value_range
from zoo.config import Config, part_of, text_in
from zoo.fused import is_fused
from zoo.roles import describe_tensors
from zoo.tensors import TensorKind, TensorSpec
from zoo.tracing.held import may_differ
from zoo.tracing.traced import TracedWiring

__all__ = ["NAMES", "TRACED", "Inventory", "extract", "take_inventory"]

NAMES, TRACED = "names", "names and tracing"
PARAMETRISED = re.compile(r"(?:^|\.)parametrizations\.")
"""In the names that `torch.nn.utils.parametrize` gives."""


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
    wiring_source: str = NAMES
    """What says roles and axes: names alone, or names and the code of the architecture, which decides where both do."""

    @property
    def is_partial(self) -> bool:
        """Whether a considerable share of the model could not be read."""
        return self.account.unreadable_share > MOST_UNREADABLE

    @property
    def matrices(self) -> tuple[TensorSpec, ...]:
        return tuple(spec for spec in self.specs if spec.is_matrix)


def extract(
    files: WeightFiles,
    *,
    allow_nonfinite: bool = False,
    allow_partial: bool = False,
    tracer: Tracer | None = None,
    on_event: OnEvent = ignore,
) -> Inventory:
    """`take_inventory` of files that nothing else is read from."""
    with WeightReader(files) as reader:
        return take_inventory(
            reader, allow_nonfinite=allow_nonfinite, allow_partial=allow_partial, tracer=tracer, on_event=on_event
        )


def take_inventory(
    reader: WeightReader,
    *,
    allow_nonfinite: bool = False,
    allow_partial: bool = False,
    tracer: Tracer | None = None,
    on_event: OnEvent = ignore,
) -> Inventory:
    """Describe every tensor and look through every trained one for NaN and infinity.

    - `tracer`: asked for the wiring where names tell the role of too few weights, or may say otherwise than the code;
      None leaves it at the names.

    Raises `NonFiniteWeightsError` for those, unless `allow_nonfinite`: then their tensors are left out and listed.
    Raises `PartialModelError` where a considerable share of the weights cannot be read, unless `allow_partial`.
    """
    key = reader.files.key
    by_names = () if tracer is None else describe_tensors(reader.headers, reader.files.config)
    wiring, traced_notes = (None, ()) if tracer is None else _traced(reader, tracer, by_names)
    specs, shared, notes = _describe(reader, wiring, by_names)
    _require_unique(key, specs)
    skipped = sample_experts([spec.tensor for spec in specs])
    account = take_account(reader.stored, reader.tensors, specs)
    if account.unreadable_share > MOST_UNREADABLE and not allow_partial:
        raise _partial_error(key, account, reader.files.config)
    trained = _trained(specs, {*skipped, *account.reasons})
    found = _look_through(reader, trained, on_event)
    if copies := _equal_tensors(reader, trained, found):
        specs = describe_tensors(reader.headers, reader.files.config, shared={**shared, **copies}, wiring=wiring)
        account = take_account(reader.stored, reader.tensors, specs)
        trained = _trained(specs, {*skipped, *account.reasons})
        notes = (*notes, *_copy_notes(copies))
    account = replace(account, left_out=tuple(skipped), others=reader.others)
    specs = tuple(spec for spec in specs if spec.tensor not in skipped)
    num_weights = sum(spec.num_weights for spec in trained)
    if num_weights == 0:
        raise ExtractError(f"{key!r} holds no trained weights.", hint="Check that the file is the model's.")
    nonfinite = {name: each.nonfinite for name, each in found.items() if each.nonfinite}
    if nonfinite and not allow_nonfinite:
        raise _nonfinite_error(key, nonfinite, {spec.tensor: spec.dtype for spec in trained})
    specs = tuple(replace(spec, is_constant=True) if _is_constant(spec, found) else spec for spec in specs)
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
            *value_notes(trained, found),
            *_account_notes(account),
            *left_out,
            *traced_notes,
            *_parametrised_notes(specs),
            *_fused_notes(specs),
            *_stack_notes(specs),
            *_role_notes(specs),
        ),
        account=account,
        wiring_source=NAMES if wiring is None else TRACED,
    )


def _traced(
    reader: WeightReader, tracer: Tracer, by_names: Sequence[TensorSpec]
) -> tuple[TracedWiring | None, tuple[str, ...]]:
    """The traced wiring of a model whose names do not suffice, and a sentence about it; None where they do."""
    config = reader.files.config
    share = share_without_role(by_names)
    tells_little = share > CONSIDERABLE
    if not tells_little and not may_differ(config):
        return None, ()
    start = f"Names tell no role of {share:.0%} of the weights" if tells_little else _not_held(config)
    try:
        wiring = tracer.wiring(config)
    except ValueError as reason:
        return None, (f"{start}, and the code of the architecture could not be traced: {reason}.",)
    found = wiring.find(reader.headers)
    if not any(spec.tensor in found for spec in (without_role(by_names) if tells_little else by_names)):
        return None, (f"{start}, and {wiring.model} of transformers has no tensors of such names.",)
    return wiring, (f"{start}: roles and axes are traced from the code of {wiring.model}.",)


def _not_held(config: Mapping[str, Any]) -> str:
    return f"Names of the type {text_in(config, 'model_type')!r} may say otherwise than its code"


def _role_notes(specs: Sequence[TensorSpec]) -> tuple[str, ...]:
    """What has no role in the end, where that is a considerable share."""
    share, left = share_without_role(specs), without_role(specs)
    if share <= CONSIDERABLE:
        return ()
    largest = max(left, key=lambda spec: spec.num_weights).name
    count = "1 matrix" if len(left) == 1 else f"{len(left)} matrices"
    return (
        f"{share:.0%} of the weights are in {count} of no role that is known, such as {largest!r}:"
        " they have no part in what is measured by role, and are compared in the order of the file.",
    )


def _parametrised_notes(specs: Sequence[TensorSpec]) -> tuple[str, ...]:
    """What is stored in place of a weight, and computed from it in a way that the file does not say."""
    names = [*dict.fromkeys(spec.tensor for spec in specs if PARAMETRISED.search(spec.tensor))]
    if not names:
        return ()
    count = "1 tensor is" if len(names) == 1 else f"{len(names)} tensors are"
    return (f"{count} of a parametrization that is not known, such as {names[0]!r}: read as stored, not as in use.",)


def _fused_notes(specs: Sequence[TensorSpec]) -> tuple[str, ...]:
    """What is several matrices in one, and stays whole since nothing tells their rows apart."""
    whole = [spec.name for spec in without_role(specs) if is_fused(spec.tensor.removesuffix(".weight"))]
    if not whole:
        return ()
    count = "1 fused projection is" if len(whole) == 1 else f"{len(whole)} fused projections are"
    return (f"{count} of no layout that is known, such as {whole[0]!r}: each stays whole, without a role.",)


def _stack_notes(specs: Sequence[TensorSpec]) -> tuple[str, ...]:
    """Experts in two dimensions of which nothing says how many they are."""
    whole = [spec.name for spec in without_role(specs) if is_flat(spec.tensor)]
    if not whole:
        return ()
    count = "1 stack has" if len(whole) == 1 else f"{len(whole)} stacks have"
    return (
        f"{count} all experts of a module below each other, such as {whole[0]!r}, and config.json does not say how many"
        " (moe_num_experts): each stays whole, without a role.",
    )


def _trained(specs: Sequence[TensorSpec], apart: Collection[str]) -> list[TensorSpec]:
    return [spec for spec in specs if spec.kind is TensorKind.WEIGHT and spec.tensor not in apart]


def _equal_tensors(
    reader: WeightReader, trained: Sequence[TensorSpec], found: Mapping[str, ValueRange]
) -> dict[str, str]:
    """Name of each matrix that repeats another value for value -> the first of them; constants repeat nothing."""
    alike: dict[object, list[str]] = {}
    for spec in {spec.tensor: spec for spec in trained}.values():  # Once for all parts of a fused one.
        values = found[spec.tensor]
        if spec.rows == 1 or spec.cols == 1 or values.is_constant:
            continue
        alike.setdefault((spec.rows, spec.cols, values), []).append(spec.tensor)
    first: dict[tuple[tuple[int, ...], bytes], str] = {}
    originals = {}
    for name in (name for names in alike.values() if len(names) > 1 for name in names):
        digest = (reader.tensors[name].header.shape, value_digest(reader.chunks(name)))
        originals[name] = first.setdefault(digest, name)
    return {
        spec.tensor: originals[spec.tensor]
        for spec in trained
        if originals.get(spec.tensor, spec.tensor) != spec.tensor
    }


def _copy_notes(copies: Mapping[str, str]) -> tuple[str, ...]:
    name, first = next(iter(copies.items()))
    count = "1 matrix is" if len(copies) == 1 else f"{len(copies)} matrices are"
    return (f"{count} equal to another to the last bit and counted once: {name!r} repeats {first!r}.",)


def _require_unique(key: str, specs: Sequence[TensorSpec]) -> None:
    """Raise `ExtractError` where a tensor is named like a part of a fused one."""
    seen: set[str] = set()
    for spec in specs:
        if spec.name in seen:
            raise ExtractError(
                f"{key!r} has two matrices called {spec.name!r}: a tensor, and the part of a fused one.",
                hint="Give one of the two another name in the file.",
            )
        seen.add(spec.name)


def _partial_error(key: str, account: Account, config: Config) -> PartialModelError:
    name, reason = next(iter(account.reasons.items()))
    left = len(account.reasons) - 1
    others = f", and {left} more tensor{'s' * (left > 1)}" if left else ""
    method = printable(text_in(part_of(config, "quantization_config"), "quant_method"), longest=60)
    scheme = f" Its config.json says that it is quantised by {method!r}." if method else ""
    return PartialModelError(
        f"{account.unreadable_share:.0%} of {key!r} cannot be read: {name!r} ({reason}){others}.{scheme}",
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
    """A sentence for each scheme, for each set of weights that was not chosen, and one for what could not be read."""
    others = (f"{size:,} bytes are of {name!r}, which is not read." for name, size in account.others.items())
    quantised = (
        *(f"{size:,} bytes are quantised ({scheme}) and were turned back." for scheme, size in account.schemes.items()),
        *others,
    )
    if not account.reasons:
        return quantised
    name, reason = next(iter(account.reasons.items()))
    missing = (
        f"{account.unreadable:,} bytes ({account.unreadable_share:.1%}) cannot be read and are left out:"
        f" {len(account.reasons)} tensors, the first {name!r} ({reason})."
    )
    return (*quantised, missing)


def _describe(
    reader: WeightReader, wiring: TracedWiring | None, by_names: tuple[TensorSpec, ...]
) -> tuple[tuple[TensorSpec, ...], Mapping[str, str], tuple[str, ...]]:
    """The specs, what shares storage, and notes.

    - `by_names`: the specs where neither wiring nor shared storage says more; empty if they were not made.

    What is a copy by name alone is held against its original, and counted apart if it differs.
    """
    shared, config = reader.shared, reader.files.config
    is_known = bool(by_names) and wiring is None and not shared
    specs = by_names if is_known else describe_tensors(reader.headers, config, shared=shared, wiring=wiring)
    by_storage, tensors = {*shared, *shared.values()}, {spec.name: spec.tensor for spec in specs}
    ties = {spec.tensor: tensors[spec.tied_to] for spec in specs if spec.tied_to is not None}
    apart = {
        name: original
        for name, original in ties.items()
        if not {name, original} <= by_storage and not reader.are_equal(name, original)
    }
    if not apart:
        return specs, shared, ()
    # A tensor that shares storage with itself alone is a copy of nothing.
    shared = {**shared, **{name: name for name in apart}}
    specs = describe_tensors(reader.headers, config, shared=shared, wiring=wiring)
    return (
        specs,
        shared,
        tuple(
            f"{name!r} is named like a copy of {first!r} and differs from it: it counts apart."
            for name, first in apart.items()
        ),
    )


def _look_through(reader: WeightReader, trained: list[TensorSpec], on_event: OnEvent) -> dict[str, ValueRange]:
    """What the values of each trained tensor are like."""
    found: dict[str, ValueRange] = {}
    done, total = 0, sum(spec.num_weights for spec in trained)
    for name in dict.fromkeys(spec.tensor for spec in trained):
        found[name] = value_range(reader.chunks(name))
        done += found[name].count
        on_event(
            Event(kind="progress", model=reader.files.key, stage="extract", done=done, total=total, unit="weights")
        )
    return found


def _is_constant(spec: TensorSpec, found: Mapping[str, ValueRange]) -> bool:
    return spec.rows > 1 and spec.cols > 1 and spec.tensor in found and found[spec.tensor].is_constant


def _nonfinite_error(key: str, nonfinite: Mapping[str, int], dtypes: Mapping[str, str]) -> NonFiniteWeightsError:
    name, count = next(iter(nonfinite.items()))
    values = "1 value that is" if count == 1 else f"{count:,} values that are"
    kind = "NaN, infinite or beyond the range of float32" if dtypes[name] == "F64" else "NaN or infinite"
    left = len(nonfinite) - 1
    others = f", and {left} more of its tensors hold{'s' * (left == 1)} such values" if left else ""
    return NonFiniteWeightsError(
        f"{name!r} of {key!r} holds {values} {kind}{others}.",
        hint="Leave such tensors out with --allow-nonfinite, or mine an earlier checkpoint.",
    )


def _rounding_notes(trained: list[TensorSpec]) -> tuple[str, ...]:
    num_wide = len({spec.tensor for spec in trained if spec.dtype == "F64"})
    return (f"{num_wide} tensors are stored as float64 and read as float32.",) if num_wide else ()
