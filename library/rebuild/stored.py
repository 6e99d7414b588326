"""The tensors of a model as a folder of transformers has them: read one at a time, some of them replaced."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from dna_zoo.errors import ExtractError
from library.models import known_names
from pipeline.dna.dna import Dna
from pipeline.dna.stored import DTYPES, place
from pipeline.weights.assembly import DerivedTensor, Tensor
from pipeline.weights.reader import WeightReader
from zoo.config import text_in
from zoo.layout import Layout
from zoo.tensors import FLOATING

__all__ = ["Parts", "StoredModel", "parts_of"]

Float32 = npt.NDArray[np.float32]
Parts = Mapping[str, tuple[tuple[Layout, str], ...]]
"""Stored tensor -> where matrices lie in it, and their names; a second copy has the name of the first."""


def parts_of(dna: Dna) -> Parts:
    """Where the matrices of a DNA lie. Raises `DnaFileError` for a DNA of an older version, which does not say."""
    found: dict[str, list[tuple[Layout, str]]] = {name: [] for name in dna.stored_names}
    for layout, name in (
        *((kept.layout, kept.spec.name) for kept in dna.contents.tensors),
        *((tie.layout, tie.of) for tie in dna.contents.ties),
    ):
        found.setdefault(layout.tensor, []).append((layout, name))
    return {name: tuple(parts) for name, parts in found.items()}


@dataclass(frozen=True, kw_only=True, eq=False)
class StoredModel:
    """All tensors of a model under the names that its class knows, with the matrices that are replaced.

    What was quantised comes as plain numbers, experts in the stacks of the files, and what is stored as lengths and
    directions (weight norm) as these, where the class has them as its parameters.
    """

    reader: WeightReader
    parts: Parts
    matrices: Mapping[str, Any] = field(default_factory=dict)
    """Name of a matrix -> what stands for it, float32 (rows, cols) in the order of the file."""

    @cached_property
    def tensors(self) -> dict[str, Tensor]:
        """By name, in the order of the files."""
        found: dict[str, Tensor] = {}
        for name in self.reader.tensors:
            for written, tensor in self._written_of(name).items():
                found.setdefault(written, tensor)
        return found

    @cached_property
    def replaced(self) -> frozenset[str]:
        """Stored tensors that are not as in the files, second copies among them."""
        return frozenset(written for name in self.parts if self._is_changed(name) for written in self._written_of(name))

    def tensor(self, name: str) -> torch.Tensor:
        """The values in the shape and the number format of the file; a tensor of its own."""
        tensor = self.tensors[name]
        if name in self._product_of and self._is_changed(self._product_of[name]):
            return self._factor(name).to(self.type_of(name))
        whole = _values(tensor)
        if tensor.header.dtype not in FLOATING:
            return whole
        whole = self._with_matrices(name, whole.to(self.type_of(name)))
        for entry, layout in self._entries.get(name, ()):
            if self._is_changed(entry):
                place(self._with_matrices(entry, _values(self.reader.tensors[entry])), layout, whole)
        return whole

    def _is_changed(self, name: str) -> bool:
        return any(source in self.matrices for _, source in self.parts.get(name, ()))

    def _with_matrices(self, name: str, whole: torch.Tensor) -> torch.Tensor:
        """The tensor, with what stands for its matrices put into it."""
        for layout, source in self.parts.get(name, ()):
            if source in self.matrices:
                place(torch.from_numpy(np.ascontiguousarray(self.matrices[source])), layout, whole)
        return whole

    def _written_of(self, name: str) -> Mapping[str, Tensor]:
        """What is written of a tensor of the model, by name: itself, the stack that it is an entry of, or factors."""
        tensor = self.reader.tensors.get(name)
        if isinstance(tensor, DerivedTensor) and tensor.cut:
            stack, layout = tensor.cut
            return {layout.tensor: stack}
        return self._factors.get(name) or {name: tensor or self.reader.stored[name]}

    @cached_property
    def _entries(self) -> dict[str, list[tuple[str, Layout]]]:
        """Stacks that are computed -> their entries, and where these lie."""
        found: dict[str, list[tuple[str, Layout]]] = {}
        for name, tensor in self.reader.tensors.items():
            if isinstance(tensor, DerivedTensor) and tensor.cut and not tensor.layout:
                found.setdefault(tensor.cut[1].tensor, []).append((name, tensor.cut[1]))
        return found

    @cached_property
    def _factors(self) -> dict[str, dict[str, Tensor]]:
        """Products that are written as what they are made of -> that by name."""
        found = {
            name: {part.header.name: part for part in tensor.parts}
            for name, tensor in self.reader.tensors.items()
            if isinstance(tensor, DerivedTensor) and tensor.split
        }
        files = self.reader.files
        known = known_names(files.key, files.config) if found else frozenset()
        return {name: factors for name, factors in found.items() if not _is_among(name, known)}

    @cached_property
    def _product_of(self) -> dict[str, str]:
        return {factor: name for name, factors in self._factors.items() for factor in factors}

    def _factor(self, name: str) -> torch.Tensor:
        """One of those that make a product that is replaced, float."""
        product = self._product_of[name]
        tensor = self.reader.tensors[product]
        assert isinstance(tensor, DerivedTensor) and tensor.split is not None
        arrays = tensor.split(self._with_matrices(product, _values(tensor)).numpy())
        return torch.from_numpy(np.ascontiguousarray(arrays[list(self._factors[product]).index(name)]))

    def type_of(self, name: str) -> torch.dtype:
        """The format in which a floating tensor is kept: that of the file; of what was quantised or has 8 bits, which
        no class computes with, the model's."""
        tensor = self.tensors[name]
        if tensor.scheme is not None or tensor.header.dtype.startswith("F8"):
            config = self.reader.files.config
            return _torch_type(text_in(config, "dtype") or text_in(config, "torch_dtype"))
        if tensor.header.dtype not in DTYPES:
            raise ExtractError(
                f"{name!r} is stored as {tensor.header.dtype}, which a rebuilt model cannot hold.",
                hint="Save the model in float32, float16 or bfloat16, and mine that.",
            )
        return DTYPES[tensor.header.dtype]

    def num_bytes(self, name: str) -> int:
        """Size of the tensor in the new folder."""
        tensor = self.tensors[name]
        if tensor.header.dtype not in FLOATING:
            return int(tensor.array().nbytes)
        return prod(tensor.header.shape) * self.type_of(name).itemsize


def _values(tensor: Tensor) -> torch.Tensor:
    """All that a copy of it has to hold, in its shape, contiguous."""
    return torch.from_numpy(np.array(tensor.exact(), order="C")).reshape(tensor.header.shape)


def _is_among(name: str, known: Collection[str]) -> bool:
    """Whether a tensor of a file is one of these, which may have another prefix (of a class without its head)."""
    return any(name == each or name.endswith(f".{each}") or each.endswith(f".{name}") for each in known)


def _torch_type(name: str) -> torch.dtype:
    """The floating format that a config.json names; float32 where it names none."""
    found = getattr(torch, name.removeprefix("torch."), None) if name else None
    return found if isinstance(found, torch.dtype) and found.is_floating_point else torch.float32
