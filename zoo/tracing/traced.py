"""The wiring that a trace has found, as plain data: by name in a tiny model, found again in a checkpoint of any size.

Nothing here needs torch. A tiny model has fewer layers than a checkpoint. So a tensor is found by its *form*: its name
with `*` for each number that counts the layers of a list. Where tensors of one form differ from layer to layer (two
kinds of layers in turns), the layer that holds the same tensors stands for it.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Self

from zoo.tensors import Axis, Role, TensorHeader

__all__ = ["TracedTensor", "TracedWiring", "outer_layer"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TracedTensor:
    """What the run of a tiny model has shown of one parameter."""

    role: Role
    ndim: int
    row_axis: Axis = Axis.RESIDUAL
    """Of the matrix (out, in), whatever the order in the file is."""
    col_axis: Axis = Axis.RESIDUAL
    transposed: bool = False
    """Stored (in, out)."""
    free_row_signs: bool = False
    free_col_signs: bool = False
    parts: int = 1
    """Parts of equal size along the rows, one behind the other, which meet the same units (gate and up)."""
    free_parts: tuple[bool, ...] = ()
    """Whether signs are free along the rows of each part; empty for a matrix of one."""

    @property
    def is_known(self) -> bool:
        return self.role is not Role.OTHER

    def as_row(self) -> list[Any]:
        """Plain JSON."""
        signs = f"{int(self.free_row_signs)}{int(self.free_col_signs)}"
        parts = "".join(str(int(is_free)) for is_free in self.free_parts)
        return [self.role, self.ndim, self.row_axis, self.col_axis, self.transposed, signs, self.parts, parts]

    @classmethod
    def of_row(cls, row: Sequence[Any]) -> Self:
        """From `as_row`."""
        role, ndim, row_axis, col_axis, transposed, signs, parts, free_parts = row
        return cls(
            role=Role(role),
            ndim=ndim,
            row_axis=Axis(row_axis),
            col_axis=Axis(col_axis),
            transposed=transposed,
            free_row_signs=signs[0] == "1",
            free_col_signs=signs[1] == "1",
            parts=parts,
            free_parts=tuple(sign == "1" for sign in free_parts),
        )


@dataclass(frozen=True)
class TracedWiring:
    """What the code of an architecture says of all its parameters."""

    model: str
    """Class that was traced."""
    lists: tuple[str, ...]
    """Forms of the paths whose next component counts layers, in the order of execution."""
    heads: int | None
    """Heads of the tiny model's attention; None where it has none, or several kinds."""
    tensors: Mapping[str, TracedTensor]
    """By name in the tiny model, in the order of execution."""
    stopped_by: tuple[str, ...] = ()
    """Operations that no rule knows: what they touch has no symmetry that is known."""

    def as_json(self) -> dict[str, Any]:
        """Plain JSON."""
        rows = {name: tensor.as_row() for name, tensor in self.tensors.items()}
        return {
            "model": self.model,
            "lists": self.lists,
            "heads": self.heads,
            "stopped_by": self.stopped_by,
            "tensors": rows,
        }

    @classmethod
    def of_json(cls, data: Mapping[str, Any]) -> Self:
        """From `as_json`. Raises `ValueError`, `KeyError` or `TypeError` for anything else."""
        return cls(
            model=data["model"],
            lists=tuple(data["lists"]),
            heads=data["heads"],
            tensors={name: TracedTensor.of_row(row) for name, row in data["tensors"].items()},
            stopped_by=tuple(data["stopped_by"]),
        )

    def with_names(self, names: Mapping[str, str]) -> Self:
        """With second names beside those of the code, where both count the same layers by the same numbers."""
        known = frozenset(self.lists)
        lists, tensors = dict.fromkeys(self.lists), dict(self.tensors)
        for own, other in names.items():
            own_counts = [place for place, _ in _counts(own, known)]
            numbers, others = ([p for p, part in enumerate(n.split(".")) if part.isdigit()] for n in (own, other))
            if own not in tensors or len(numbers) != len(others):
                continue
            tensors[other] = tensors[own]
            parts = other.split(".")
            for place in (there for here, there in zip(numbers, others, strict=True) if here in own_counts):
                lists[".".join(parts[:place])] = None
                parts[place] = "*"
        return replace(self, lists=tuple(lists), tensors=tensors)

    @property
    def stacks(self) -> tuple[str, ...]:
        """The lists that are in no other one."""
        return tuple(path for path in self.lists if "*" not in path.split("."))

    def find(self, headers: Iterable[TensorHeader]) -> dict[str, TracedTensor]:
        """Name in a checkpoint -> what is known of the tensor; tensors that the code does not have are left out.

        A class with a head puts a prefix before the names of its base; both spellings are found.
        """
        ndims = {header.name: len(header.shape) for header in headers}
        spellings = [self._spelled(ndims, prefix) for prefix in self._prefixes(ndims)]
        best = max(spellings, key=len, default={})
        layers = _layers(best.values(), self.lists)
        found = {name: self._of_form(own, ndims[name], layers) for name, own in best.items()}
        return {name: tensor for name, tensor in found.items() if tensor is not None}

    def _prefixes(self, names: Iterable[str]) -> list[str]:
        """What a checkpoint's names may lack (`bert.`), or have too much (`-model.`)."""
        own = Counter(name.split(".")[0] for name in self.tensors if "." in name)
        theirs = Counter(name.split(".")[0] for name in names if "." in name)
        return [
            "",
            *(f"{first}." for first, _ in own.most_common(3)),
            *(f"-{first}." for first, _ in theirs.most_common(3)),
        ]

    def _spelled(self, ndims: Mapping[str, int], prefix: str) -> dict[str, str]:
        """Name in the checkpoint -> name as the code has it, for those that it has."""
        found = {}
        for name in ndims:
            own = name.removeprefix(prefix[1:]) if prefix.startswith("-") else f"{prefix}{name}"
            for spelling in (own, name):  # Heads have no prefix.
                if (self._form(spelling), ndims[name]) in self._by_form:
                    found[name] = spelling
                    break
        return found

    def _form(self, name: str) -> str:
        return _form(name, frozenset(self.lists))

    @cached_property
    def _by_form(self) -> dict[tuple[str, int], list[str]]:
        found: dict[tuple[str, int], list[str]] = defaultdict(list)
        for name, tensor in self.tensors.items():
            found[self._form(name), tensor.ndim].append(name)
        return dict(found)

    @cached_property
    def _own_layers(self) -> dict[str, frozenset[str]]:
        return _layers(self.tensors, self.lists)

    def _of_form(self, name: str, ndim: int, layers: Mapping[str, frozenset[str]]) -> TracedTensor | None:
        """The tensor of this form; of several that differ the one in a layer of the same tensors."""
        names = self._by_form[self._form(name), ndim]
        candidates = [self.tensors[each] for each in names]
        if all(candidate == candidates[0] for candidate in candidates):
            return candidates[0]
        layer = _inner_layer(name, self.lists)
        alike = [n for n in names if self._own_layers.get(_inner_layer(n, self.lists)) == layers.get(layer)]
        if not alike:
            return None
        # A first layer may be another than those behind it.
        return self.tensors[name if name in alike else alike[-1]]


def outer_layer(name: str, lists: Iterable[str]) -> str:
    """The path down to the outermost number that counts layers; empty outside of all lists."""
    return _up_to(name, next((place for place, _ in _counts(name, frozenset(lists))), -1))


def _inner_layer(name: str, lists: Iterable[str]) -> str:
    """The path down to the innermost number that counts layers; empty outside of all lists."""
    return _up_to(name, max((place for place, _ in _counts(name, frozenset(lists))), default=-1))


def _up_to(name: str, place: int) -> str:
    return ".".join(name.split(".")[: place + 1])


def _counts(name: str, lists: frozenset[str]) -> Iterator[tuple[int, str]]:
    """The places of numbers that count layers, and the form of the path before each."""
    forms: list[str] = []
    for place, part in enumerate(name.split(".")):
        path = ".".join(forms)
        is_count = part.isdigit() and path in lists
        forms.append("*" if is_count else part)
        if is_count:
            yield place, path


def _form(name: str, lists: frozenset[str]) -> str:
    """The name with `*` for the numbers that count layers."""
    parts = name.split(".")
    for place, _ in _counts(name, lists):
        parts[place] = "*"
    return ".".join(parts)


def _layers(names: Iterable[str], lists: Sequence[str]) -> dict[str, frozenset[str]]:
    """Layer -> the names of its tensors inside of it."""
    found: dict[str, set[str]] = defaultdict(set)
    for name in names:
        if layer := _inner_layer(name, lists):
            found[layer].add(name[len(layer) :])
    return {layer: frozenset(inside) for layer, inside in found.items()}
