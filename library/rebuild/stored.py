"""The tensors of a model as a folder of transformers has them: read one at a time, some of them replaced."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from dna_zoo.errors import ExtractError
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
    directions (weight norm) as these, which the class has as its parameters.
    """

    reader: WeightReader
    parts: Parts
    matrices: Mapping[str, Any] = field(default_factory=dict)
    """Name of a matrix -> what stands for it, float32 (rows, cols) in the order of the file."""

    @cached_property
    def tensors(self) -> dict[str, Tensor]:
        """By name, in the order of the files."""
        found: dict[str, Tensor] = {}
        for name, tensor in self.reader.tensors.items():
            layout = tensor.layout if isinstance(tensor, DerivedTensor) else None
            whole = layout.tensor if layout else name
            for part, each in self._split.get(name, {whole: self.reader.stored[whole] if layout else tensor}).items():
                found.setdefault(part, each)
        return found

    @cached_property
    def replaced(self) -> frozenset[str]:
        """Stored tensors that are not as in the files, second copies among them."""
        names = {tensor for tensor, parts in self.parts.items() if any(name in self.matrices for _, name in parts)}
        return frozenset(part for name in names for part in self._split.get(name, (name,)))

    @cached_property
    def _split(self) -> dict[str, dict[str, Tensor]]:
        """Tensors of the model that are written as their parts -> these by name."""
        return {
            name: {part.header.name: part for part in tensor.parts}
            for name, tensor in self.reader.tensors.items()
            if isinstance(tensor, DerivedTensor) and tensor.split
        }

    @cached_property
    def _whole_of(self) -> dict[str, str]:
        """Name of a part -> the tensor that it is a part of."""
        return {part: name for name, parts in self._split.items() for part in parts}

    def tensor(self, name: str) -> torch.Tensor:
        """The values in the shape and the number format of the file; a tensor of its own."""
        tensor = self.tensors[name]
        if name in self._whole_of and name in self.replaced:
            return self._part(name).to(self.type_of(name))
        whole = _values(tensor)
        if tensor.header.dtype not in FLOATING:
            return whole
        return self._with_matrices(name, whole.to(self.type_of(name)))

    def _with_matrices(self, name: str, whole: torch.Tensor) -> torch.Tensor:
        """The tensor, with what stands for its matrices put into it."""
        for layout, source in self.parts.get(name, ()):
            if source in self.matrices:
                place(torch.from_numpy(np.ascontiguousarray(self.matrices[source])), layout, whole)
        return whole

    def _part(self, name: str) -> torch.Tensor:
        """A part of a tensor that is replaced, float."""
        whole = self._whole_of[name]
        tensor = self.reader.tensors[whole]
        assert isinstance(tensor, DerivedTensor) and tensor.split is not None
        arrays = tensor.split(self._with_matrices(whole, _values(tensor)).numpy())
        return torch.from_numpy(np.ascontiguousarray(arrays[list(self._split[whole]).index(name)]))

    def type_of(self, name: str) -> torch.dtype:
        """The format in which a floating tensor is kept: that of the file; of what was quantised, the model's."""
        tensor = self.tensors[name]
        if tensor.scheme is not None:
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
    """All that a copy of it has to hold, in its shape."""
    return torch.from_numpy(np.array(tensor.exact())).reshape(tensor.header.shape)


def _torch_type(name: str) -> torch.dtype:
    """The floating format that a config.json names; float32 where it names none."""
    found = getattr(torch, name.removeprefix("torch."), None) if name else None
    return found if isinstance(found, torch.dtype) and found.is_floating_point else torch.float32
