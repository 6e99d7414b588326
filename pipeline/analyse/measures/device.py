"""Statistics with PyTorch, of stacks of versions: all of one shape that a device holds at once, of several tensors.

Versions are made by the CPU, as on the host and bit for bit the same: the order of a null hangs on its last bit. While
a stack is measured the next one is drawn. It is copied over once, and what is found of it is read once, at its end.
What follows from singular values (ranks, power laws, percentiles) is worked out on the CPU, by the functions of the
host.
"""

import itertools
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from pipeline.analyse.aggregation import BEYOND_MEANS
from pipeline.analyse.measures.host import JUDGED_BEYOND_MEANS, measure_singular
from pipeline.analyse.measures.of_stacks import clusters_of, positions_of, residuals, values_of
from pipeline.analyse.measures.versions import Found, Version, which_means
from pipeline.analyse.sampling import NUM_SAMPLES
from pipeline.analyse.statistics.clusters import Clusters
from pipeline.arrays import Float32, Float64
from pipeline.dense.ordering import in_order
from pipeline.dense.spectrum import decompose, singular_values
from pipeline.dense.stacks import STACK_BYTES, halved_if_too_large, most_in_a_stack, read
from pipeline.machine.devices import exact_products, give_back_cached
from pipeline.machine.parallel import num_cores
from pipeline.nulls import NullKind
from pipeline.order import NUM_FEATURES
from zoo.tensors import TensorSpec

__all__ = ["OnDevice", "numbers_of"]

MOST_THREADS = 8
"""Versions made at a time. What they are does not depend on it."""

Drawn = list[Future[Float32]]
Numbers = Mapping[str, Float64]
Item = TypeVar("Item")


class OnDevice:
    """`Measures` of a device of PyTorch's, a CPU included."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.num_reads = 0
        """Stacks whose numbers were read so far."""

    def groups(self, specs: Sequence[TensorSpec], max_rows: int) -> Iterator[Sequence[TensorSpec]]:
        """Matrices of one shape and of the same symmetries, up to `STACK_BYTES` of what is looked at of them."""
        alike: dict[object, list[TensorSpec]] = defaultdict(list)
        for spec in specs:
            alike[_shape_and_symmetry(spec)].append(spec)
        for group in alike.values():
            is_sampled = group[0].rows > max_rows
            seen = min(group[0].rows, max_rows) * group[0].cols * (1 + NUM_SAMPLES * is_sampled)
            yield from _cut(group, max(STACK_BYTES // (4 * seen), 1))

    def of(self, versions: Sequence[Version]) -> list[Found]:
        """The statistics of all versions, stack by stack."""
        found: dict[int, Future[Found]] = {}
        give_back_cached(self.device)
        with exact_products(), ThreadPoolExecutor(min(num_cores(), MOST_THREADS)) as threads:
            for places, drawn in _drawn_ahead(self.stacks(versions), versions, threads):
                first = versions[places[0]]
                # What follows from the numbers waits for no one: the device goes on with the next stack.
                for place, numbers in zip(places, self._numbers(first, drawn), strict=True):
                    found[place] = threads.submit(_found, numbers, first.kinds)
            return [found[place].result() for place in range(len(versions))]

    def stacks(self, versions: Sequence[Version]) -> list[Sequence[int]]:
        """Places of the versions that are measured together: of the same statistics and rows."""
        alike: dict[object, list[int]] = defaultdict(list)
        for place, version in enumerate(versions):
            alike[version.kinds, version.needs_order, version.num_rows].append(place)
        stacks: list[Sequence[int]] = []
        for places in alike.values():
            first = versions[places[0]]
            stacks += _cut(places, most_in_a_stack(first.num_rows, first.spec.cols, self.device))
        return stacks

    def _numbers(self, first: Version, drawn: Sequence[Future[Float32]]) -> list[Numbers]:
        """Of a stack that begins with this version, or where the device has too little memory for it, of its halves."""

        def measure(matrices: Sequence[Float32]) -> list[Numbers]:
            stack = torch.from_numpy(np.stack(matrices)).to(self.device)
            numbers = read(numbers_of(stack, first.spec, first.kinds, needs_order=first.needs_order))
            self.num_reads += 1
            return [{name: values[place] for name, values in numbers.items()} for place in range(len(matrices))]

        return halved_if_too_large([each.result() for each in drawn], measure, self.device, first.spec.name)


def _shape_and_symmetry(spec: TensorSpec) -> tuple[Any, ...]:
    return spec.rows, spec.cols, spec.row_axis, spec.col_axis, spec.free_row_signs, spec.free_col_signs


def _cut(items: Sequence[Item], most: int) -> list[Sequence[Item]]:
    """Pieces of at most so many, as even as they can be."""
    count = -(-len(items) // most)
    bounds = [len(items) * number // count for number in range(count + 1)]
    return [items[start:end] for start, end in itertools.pairwise(bounds)]


def _drawn_ahead(
    stacks: Iterable[Sequence[int]], versions: Sequence[Version], threads: ThreadPoolExecutor
) -> Iterator[tuple[Sequence[int], Drawn]]:
    """The matrices of each stack; those of the next one are being made meanwhile."""
    waiting: list[tuple[Sequence[int], Drawn]] = []
    for places in stacks:
        waiting.append((places, [threads.submit(versions[place].make) for place in places]))
        if len(waiting) > 1:
            yield waiting.pop(0)
    yield from waiting


def numbers_of(stack: Tensor, spec: TensorSpec, kinds: Sequence[NullKind], *, needs_order: bool) -> dict[str, Tensor]:
    """All that is asked of matrices (B, R, C), still on the device: (B,) or (B, ...) by name.

    Singular values stand for what follows from them; those of the matrices less their means end in `BEYOND_MEANS`.
    """
    found: dict[str, Tensor] = {}
    spectra = decompose(stack, NUM_FEATURES) if needs_order else None
    stack = stack if spectra is None else in_order(stack, spec, spectra)
    if "shuffle" in kinds:
        found["singular"] = singular_values(stack) if spectra is None else spectra.singular
        found |= positions_of(stack)
    if "rotate" in kinds:
        found |= clusters_of(stack, is_centred=which_means(spec)["cols"])
    if "gaussian" in kinds:
        found |= values_of(stack)
    if "means" in kinds:
        beyond = residuals(stack, **which_means(spec))
        spectra = decompose(beyond, NUM_FEATURES)
        positions = {"singular": spectra.singular} | positions_of(in_order(beyond, spec, spectra))
        found |= {name + BEYOND_MEANS: values for name, values in positions.items()}
    return found


def _found(numbers: Numbers, kinds: Sequence[NullKind]) -> Found:
    """What was read of one matrix, with what follows from its singular values."""
    plain = {name: float(values[0]) for name, values in numbers.items() if "." in name and len(values) == 1}
    found = {name: value for name, value in plain.items() if not name.endswith(BEYOND_MEANS)}
    if "singular" in numbers:
        found |= measure_singular(numbers["singular"])
    if "means" in kinds:
        beyond = measure_singular(numbers["singular" + BEYOND_MEANS])
        beyond |= {name.removesuffix(BEYOND_MEANS): value for name, value in plain.items()}
        found |= {name + BEYOND_MEANS: beyond[name] for name in JUDGED_BEYOND_MEANS}
    return Found(statistics=found, clusters=_clusters(numbers, found) if "rotate" in kinds else None)


def _clusters(numbers: Numbers, found: Mapping[str, float]) -> Clusters:
    return Clusters(
        labels=numbers["labels"].astype(np.intp),
        sizes=numbers["sizes"],
        norms=numbers["norms"],
        explained=found["clusters.explained"],
        separation=found["clusters.separation"],
    )
