"""The tensors of a model as a folder of transformers has them: read one at a time, some of them replaced."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np
import torch

from dna_zoo.errors import ExtractError
from pipeline.weights.reader import WeightReader
from pipeline.weights.views import put_view
from zoo.config import text_in
from zoo.tensors import FLOATING, TensorHeader, TensorKind, TensorSpec

__all__ = ["StoredModel", "torch_type"]

TYPES: Mapping[str, torch.dtype] = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
}
"""Of floating tensors; integers have the type in which they are read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredModel:
    """All tensors of a model under the names of its files, with the matrices that are replaced.

    What was quantised, or stored as a product, comes as plain numbers under the name that the model's class knows.
    """

    reader: WeightReader
    specs: tuple[TensorSpec, ...]
    """Of the whole model."""
    matrices: Mapping[str, Any] = field(default_factory=dict)
    """Name of a spec -> what stands for it, float32 (rows, cols); numpy arrays or torch tensors."""

    @property
    def headers(self) -> tuple[TensorHeader, ...]:
        return self.reader.headers

    @property
    def replaced(self) -> frozenset[str]:
        """Stored tensors that are not as in the files, second copies among them."""
        names = {spec.name for spec in self.specs if spec.name in self.matrices}
        return frozenset(spec.tensor for spec in self.specs if spec.name in names or spec.tied_to in names)

    def tensor(self, name: str) -> torch.Tensor:
        """The values in the shape and the number format of the file; a tensor of its own."""
        header = self.reader.tensors[name].header
        if header.dtype not in FLOATING:
            return torch.from_numpy(np.array(self.reader.tensors[name].array())).reshape(header.shape)
        values = np.array(self.reader.tensor(name))
        for spec in self.specs:
            # A second copy is a view of its own tensor, of the same shape as the first one's.
            source = spec.tied_to if spec.kind is TensorKind.TIED else spec.name
            if spec.tensor == name and source is not None and source in self.matrices:
                put_view(values, spec, np.asarray(self.matrices[source], dtype=np.float32))
        return torch.from_numpy(values).to(self.type_of(header))

    def type_of(self, header: TensorHeader) -> torch.dtype:
        """The format in which a floating tensor is kept: that of the file; of what was quantised, that of the model."""
        if self.reader.tensors[header.name].scheme is not None:
            config = self.reader.files.config
            return torch_type(text_in(config, "dtype") or text_in(config, "torch_dtype"))
        if header.dtype not in TYPES:
            raise ExtractError(
                f"{header.name!r} is stored as {header.dtype}, which a rebuilt model cannot hold.",
                hint="Save the model in float32, float16 or bfloat16, and mine that.",
            )
        return TYPES[header.dtype]

    def num_bytes(self, header: TensorHeader) -> int:
        """Size of the tensor in the new folder."""
        if header.dtype not in FLOATING:
            return int(self.reader.tensors[header.name].array().nbytes)
        return prod(header.shape) * self.type_of(header).itemsize


def torch_type(name: str) -> torch.dtype:
    """The floating format that a config.json names; float32 where it names none."""
    found = getattr(torch, name.removeprefix("torch."), None) if name else None
    return found if isinstance(found, torch.dtype) and found.is_floating_point else torch.float32
