"""What a file of DNA holds, as plain frozen data: networks, and of each tensor how their outputs become its weights."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch

from pipeline.arrays import Float32
from pipeline.fit.sizing import NetworkSize
from pipeline.order import CanonicalOrder
from pipeline.settings import FitSettings
from zoo.layout import Layout
from zoo.tensors import TensorSpec

__all__ = ["DnaContents", "KeptNetwork", "KeptTensor", "KeptTie"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class KeptNetwork:
    """A stack of networks of one shape; with scope `model` there is one stack of one network."""

    size: NetworkSize
    in_dim: int
    """Coordinates: 1 (separable) or 2, and with scope `model` 2 more, depth and role."""
    row_omega: float | None = None
    """First-layer frequency of the rows of a separable kind, radians per unit of the coordinate."""
    col_omega: float | None = None
    state: Mapping[str, torch.Tensor] = field(default_factory=dict)
    """Parameters by name, float32; the first axis counts the networks."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class KeptTensor:
    """A matrix (R, C): w[i, j] = mean + row_means[i] + col_means[j] + scale f(x_i, y_j), in the order of the DNA."""

    spec: TensorSpec
    layout: Layout
    network: int
    """Number of its stack."""
    slot: int
    """Number of its network in the stack."""
    place: tuple[float, float]
    """Depth and role as coordinates in [-1, 1]."""
    order: CanonicalOrder
    """Which row and column of the file stands where in the DNA, and with which sign."""
    mean: float
    scale: float
    row_means: Float32 | None = None
    """(R,); None where the DNA did not buy them."""
    col_means: Float32 | None = None
    r2: float | None = None
    """As the fit reported it, over all weights of the tensor."""
    null_r2: float | None = None
    """Mean over the shuffled copies."""
    means_null_r2: float | None = None
    """Mean over the copies that keep the means of rows and columns, wherever these pay."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptTie:
    """A stored tensor, or a part of one, that repeats a tensor of the DNA."""

    layout: Layout
    of: str
    """Name of the tensor that it repeats."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DnaContents:
    """A DNA as it is in its file."""

    model: str
    """The key under which the weights were first mined."""
    digest: str
    """Of the files of weights; empty where it is not known."""
    settings: FitSettings
    versions: Mapping[str, str]
    """Of dna-zoo, and of the stages that made it."""
    networks: tuple[KeptNetwork, ...]
    tensors: tuple[KeptTensor, ...]
    ties: tuple[KeptTie, ...] = ()
    reported: Mapping[str, float | None] = field(default_factory=dict)
    """Figures of the fit report over all tensors (`REPORTED` in `make.py`)."""
    has_layouts: bool = True
    """False for a file of an older version, which does not say how tensors lie in the files of the model."""
