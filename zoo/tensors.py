"""What a tensor of a checkpoint is: its role, its matrix view, its place in depth, its axes.

Everything here is plain data; `zoo.roles` derives it from names and shapes, `pipeline.weights.inventory` reads by it.
"""

from dataclasses import dataclass
from enum import StrEnum

__all__ = ["CONVOLUTIONS", "EMBEDDINGS", "FLOATING", "Axis", "Role", "TensorHeader", "TensorKind", "TensorSpec"]


class Role(StrEnum):
    """What a tensor does in its network (a closed set)."""

    TOKEN_EMBEDDING = "token_embedding"
    POSITION_EMBEDDING = "position_embedding"
    PATCH_EMBEDDING = "patch_embedding"
    ATTENTION_QUERY = "attention_query"
    ATTENTION_KEY = "attention_key"
    ATTENTION_VALUE = "attention_value"
    ATTENTION_OUTPUT = "attention_output"
    FFN_IN = "ffn_in"
    FFN_OUT = "ffn_out"
    CONVOLUTION = "convolution"
    DEPTHWISE_CONVOLUTION = "depthwise_convolution"
    POINTWISE_CONVOLUTION = "pointwise_convolution"
    BOTTLENECK = "bottleneck"
    NORM = "norm"
    BIAS = "bias"
    HEAD = "head"
    OTHER = "other"
    ROUTER = "router"
    """Chooses experts. Behind `other`, since seeds and coordinates hold the place of a role."""


EMBEDDINGS = (Role.TOKEN_EMBEDDING, Role.POSITION_EMBEDDING, Role.PATCH_EMBEDDING)
CONVOLUTIONS = (Role.CONVOLUTION, Role.DEPTHWISE_CONVOLUTION, Role.POINTWISE_CONVOLUTION)


class TensorKind(StrEnum):
    """Whether a stored tensor is trained weights that count once, a second copy of some, or none at all."""

    WEIGHT = "weight"
    TIED = "tied"
    BUFFER = "buffer"


class Axis(StrEnum):
    """What the indices along one side of a matrix view stand for, and which symmetries that side has."""

    RESIDUAL = "residual"
    """The residual stream, which all blocks read and write."""
    ATTENTION = "attention"
    """Heads times head dimension: permutable, and free in sign for query/key and value/output pairs."""
    HIDDEN = "hidden"
    """Inner units of a feed-forward pair."""
    CHANNEL = "channel"
    """Channels of a convolution (times kernel positions, in the column axis of its view)."""
    VOCABULARY = "vocabulary"
    LABEL = "label"
    POSITION = "position"
    """Positions of a sequence or pixels of a patch: their order is real, not a symmetry."""

    @property
    def is_permutable(self) -> bool:
        """Whether the order of the indices is arbitrary."""
        return self is not Axis.POSITION

    @property
    def is_sign_free(self) -> bool:
        """Whether flipping signs along single indices (with their counterpart elsewhere) leaves the function, in every
        network. `TensorSpec.free_row_signs` and `free_col_signs` add what is arbitrary in one network."""
        return self is Axis.ATTENTION


FLOATING = frozenset({"F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2"})
"""Formats of plain numbers, in safetensors' names; all others are integers, or are not read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorHeader:
    """A tensor as the file declares it; no values."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    """safetensors' names: F64, F32, F16, BF16, I64, I32, U8, BOOL, ..."""
    num_bytes: int | None = None
    """In the file, where shape and dtype do not say it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorSpec:
    """One matrix (or vector) to mine: a view of a tensor in the file, and what it is.

    The view is taken in this order: drop `squeeze`d axes of length 1, transpose if `transposed`, keep rows
    `row_slice` of all or of every `row_period` (a fused projection gives several specs), reshape to `(rows, cols)`.
    Vectors have `rows == 1`.
    """

    name: str
    """Unique in the model: the tensor's name in the file, with `[query]` and the like for a part of a fused one."""
    tensor: str
    """Name in the file."""
    dtype: str
    rows: int
    cols: int
    role: Role
    kind: TensorKind = TensorKind.WEIGHT
    tied_to: str | None = None
    """`name` of the spec this tensor is a second copy of, for `kind == TIED`."""
    transposed: bool = False
    row_slice: tuple[int, int] | None = None
    row_period: int | None = None
    """Where parts alternate: the slice is taken of every so many rows."""
    block: int | None = None
    """Index of the block in execution order, None outside the blocks (embeddings, heads)."""
    depth: float | None = None
    """(block + 0.5) / block count in (0, 1); 0 for embeddings, 1 for heads; None where depth has no meaning."""
    row_axis: Axis = Axis.RESIDUAL
    col_axis: Axis = Axis.RESIDUAL
    free_row_signs: bool = False
    """Whether signs along the rows are arbitrary in this network, whatever `row_axis` says (see `zoo.signs`)."""
    free_col_signs: bool = False
    is_constant: bool = False
    """Whether all values are alike, where they were looked at: there is nothing to order, to fit or to compare."""

    @property
    def num_weights(self) -> int:
        return self.rows * self.cols

    @property
    def is_matrix(self) -> bool:
        """Whether this is fitted and seriated: two-dimensional trained weights that are not all the same."""
        return self.kind is TensorKind.WEIGHT and self.rows > 1 and self.cols > 1 and not self.is_constant
