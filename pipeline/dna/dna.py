"""A DNA to work with: its tensors as matrices, as functions, and as the model's files have them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from html import escape
from math import prod
from operator import index
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dna_zoo.errors import DnaFileError, SettingsError, UnknownTensorError, did_you_mean
from pipeline.arrays import Float32
from pipeline.dna.contents import DnaContents, KeptTensor
from pipeline.dna.decoder import Decoder, axis_samples
from pipeline.dna.file import read_dna, write_dna
from pipeline.dna.frequencies import frequencies_of
from pipeline.dna.stored import DTYPES, is_covered, place
from pipeline.order import CanonicalOrder
from pipeline.settings import FitSettings
from zoo.layout import Layout
from zoo.tensors import Role, TensorSpec

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Dna", "DnaTensor"]

Coordinates = Tensor | npt.ArrayLike
FRAME_TYPES = {
    "role": "string",
    "block": "Int64",
    "depth": "float64",
    **dict.fromkeys(("rows", "cols"), "int64"),
    **dict.fromkeys(("r2", "null_r2", "means_null_r2"), "float64"),
}
"""Column of `Dna.frame` -> its type."""


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class DnaTensor:
    """One matrix (R rows, C columns) of a DNA: a function of row and column, and the weights that it stands for."""

    contents: DnaContents
    kept: KeptTensor

    @cached_property
    def decoder(self) -> Decoder:
        return Decoder.of(self.contents, self.kept)

    @property
    def name(self) -> str:
        return self.kept.spec.name

    @property
    def spec(self) -> TensorSpec:
        """All that is known of the tensor: axes, block, which part of a fused projection."""
        return self.kept.spec

    @property
    def layout(self) -> Layout:
        """Where it lies in the model's files."""
        return self.kept.layout

    @property
    def role(self) -> Role:
        return self.kept.spec.role

    @property
    def depth(self) -> float | None:
        """In [0, 1]; None where depth has no meaning."""
        return self.kept.spec.depth

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the matrix."""
        return self.kept.spec.rows, self.kept.spec.cols

    @property
    def r2(self) -> float | None:
        """As the fit reported it; None in files of an older version, as the nulls' are.

        Where signs are free, it is about the mean of the weights in the signs of the DNA, which the file's differ from.
        """
        return self.kept.r2

    @property
    def null_r2(self) -> float | None:
        """Of the same fit of shuffled copies, their mean."""
        return self.kept.null_r2

    @property
    def means_null_r2(self) -> float | None:
        """Of copies that keep the means of rows and columns."""
        return self.kept.means_null_r2

    @property
    def order(self) -> CanonicalOrder:
        """`rows`, `cols`, `row_signs`, `col_signs`: canonical[i, j] = file[rows[i], cols[j]] times the signs.

        It is the order of the DNA: that of the order stage, and then the moves of the fit.
        """
        return self.kept.order

    def canonical(self) -> Tensor:
        """The function at its samples: float32 (R, C) in the order of the DNA, means included."""
        out = torch.empty(self.shape)
        for rows, values in self.decoder.samples():
            out[rows] = torch.from_numpy(values)
        return out

    def in_file_order(self) -> Tensor:
        """The matrix view in the order and with the signs of the file, float32 (R, C)."""
        order, out = self.order, np.empty(self.shape, dtype=np.float32)
        cols = np.empty_like(order.cols)
        cols[order.cols] = np.arange(len(cols), dtype=cols.dtype)  # The column of the DNA that is each of the file's.
        for rows, values in self.decoder.samples():
            if order.row_signs is not None:
                values = values * order.row_signs[rows, None]
            if order.col_signs is not None:
                values = values * order.col_signs
            out[order.rows[rows]] = values[:, cols]
        return torch.from_numpy(out)

    def matrix(self, dtype: torch.dtype | Literal["stored"] | None = "stored") -> Tensor:
        """The weights as the model's files have them: their order, their signs, their shape.

        - `dtype`: that of the file unless it is given; None for float32, what the DNA says before it is rounded.

        A part of a fused projection or an expert of a stack has the shape of the matrix as the file writes it down:
        (R, C), or (C, R) where the file has inputs first. A file of an older version does not say how tensors lie in
        the model's files: from it, (R, C) in float32.
        """
        layout = self.layout
        kind = DTYPES[layout.dtype] if dtype == "stored" else dtype or torch.float32
        found = self.in_file_order()
        if layout.is_part:
            return (found.T.contiguous() if layout.transposed else found).to(kind)
        whole = torch.empty(layout.shape, dtype=kind)
        place(found, layout, whole)
        return whole

    def evaluate(self, rows: Coordinates, cols: Coordinates, depth: float | None = None) -> Tensor:
        """The function at row coordinates and column coordinates, float32 of shape `rows.shape + cols.shape`.

        - `rows`, `cols`: numbers, arrays or tensors in [-1, 1]; -1 is the first row (column) of the DNA's order, 1 the
          last. Every row coordinate is crossed with every column coordinate.
        - `depth`: in [0, 1], where one network serves the model (scope `model`): what it says of this role there, in
          the units of this tensor.

        All that makes a weight is included: scale times the network, plus the mean of the tensor, plus the row and
        column means that the DNA bought. Between two samples the network says what it says, though nothing trained it
        there; the means, which are known at samples alone, are interpolated linearly.
        """
        x, y = (_checked(values, name) for values, name in ((rows, "rows"), (cols, "cols")))
        found = self._evaluated(x.reshape(-1), y.reshape(-1), _depth_coordinate(depth, self.contents.settings))
        return found.reshape((*x.shape, *y.shape))

    def resample(self, shape: tuple[int, int]) -> Tensor:
        """The function on an even grid of that many rows and columns, from end to end, float32, in the DNA's order.

        `resample` of its own shape is `canonical()`. What is included is said at `evaluate`.
        """
        lengths = _lengths(shape)
        if lengths == self.shape:
            return self.canonical()
        rows, cols = (
            axis_samples(length, self.decoder.is_separable) if length > 1 else torch.zeros(1) for length in lengths
        )
        return self._evaluated(rows, cols, None)

    def _evaluated(self, rows: Tensor, cols: Tensor, depth: float | None) -> Tensor:
        """Values (M, N) at coordinates (M,) and (N,)."""
        out = torch.empty(len(rows), len(cols))
        row_means, col_means = _between(self.kept.row_means, rows), _between(self.kept.col_means, cols)
        for piece, values in self.decoder.grid(rows, cols, row_means=row_means, col_means=col_means, depth=depth):
            out[piece] = torch.from_numpy(values)
        return out

    def frequencies(self) -> "pd.DataFrame":
        """What the network oscillates with, the largest amplitude first (`pipeline.dna.frequencies`).

        A row for each unit of a first layer: whole cycles along the rows, columns and, with scope `model`, depths, and
        the amplitude in units of the weights, to first order.
        """
        return frequencies_of(self.decoder)

    def __repr__(self) -> str:
        depth = "" if self.depth is None else f", depth {self.depth:.2f}"
        rows, cols = self.shape
        return f"<DnaTensor {self.name!r}: {self.role.value}{depth}, {rows} x {cols}, {_fitted(self.r2, self.null_r2)}>"


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Dna(Mapping[str, DnaTensor]):
    """The DNA of a model: a mapping from the names of its matrices to their functions.

    Names are those of the model's files; a part of a fused projection has `[query]` and the like behind it.
    """

    contents: DnaContents

    @classmethod
    def load(cls, path: str | Path, *, order: str | Path | None = None) -> "Dna":
        """Read a file: `dna.safetensors`, or `dna.pt` of an older version. Needs no database and no weights.

        - `order`: for `dna.pt`, the file of the order stage, if it is not `order.safetensors` beside it.

        Raises `DnaFileError` for a file that is damaged, of a newer version, or no DNA.
        """
        path = Path(path).expanduser()
        if path.suffix == ".pt":
            from pipeline.dna.format_2 import read_format_2

            return cls(contents=read_format_2(path, None if order is None else Path(order)))
        return cls(contents=read_dna(path))

    def save(self, path: str | Path) -> None:
        """Write a self-contained file, there whole or not at all; by convention called `NAME.safetensors`.

        Raises `DnaFileError` for a DNA of an older version, which lacks what makes a file self-contained.
        """
        self._require_layouts()
        write_dna(Path(path).expanduser(), self.contents)

    @property
    def model(self) -> str:
        """The key under which the weights were first mined."""
        return self.contents.model

    @property
    def digest(self) -> str:
        """Of the files of the model's weights."""
        return self.contents.digest

    @property
    def settings(self) -> FitSettings:
        """Of the fit."""
        return self.contents.settings

    @property
    def versions(self) -> Mapping[str, str]:
        """Of dna-zoo, and of the stages that made it."""
        return self.contents.versions

    @property
    def reported(self) -> Mapping[str, float | None]:
        """Of the fit report over all tensors: `r2`, `null_r2`, `means_null_r2`, `bits_per_weight` and others."""
        return self.contents.reported

    @property
    def tensors(self) -> tuple[DnaTensor, ...]:
        """In the order of the model's files."""
        return tuple(self._by_name.values())

    @cached_property
    def _by_name(self) -> dict[str, DnaTensor]:
        return {kept.spec.name: DnaTensor(contents=self.contents, kept=kept) for kept in self.contents.tensors}

    def __getitem__(self, name: str) -> DnaTensor:
        if name not in self._by_name:
            near = did_you_mean(str(name), self._by_name)
            raise UnknownTensorError(f"The DNA has no tensor {name!r}.", hint=near or "`list(dna)` names them.")
        return self._by_name[name]

    def get(self, name: str, default: Any = None) -> Any:
        """The tensor of that name, or `default` where there is none."""
        return self._by_name.get(name, default)

    def __contains__(self, name: object) -> bool:
        return name in self._by_name

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_name)

    def __len__(self) -> int:
        return len(self.contents.tensors)

    def state_dict(self) -> dict[str, Tensor]:
        """Stored name -> tensor in the shape and dtype of the model's files.

        Parts of fused projections and experts of a stack are put together again, and second copies (tied tensors) are
        the same tensor object. Not here:

        - what the DNA does not hold: vectors (norms, biases), constant matrices, buffers;
        - stored tensors of which the DNA holds some parts alone (`incomplete`); `dna[name].matrix()` gives those.

        What the files store as something else (quantised, or multiplied out as weight norm is) comes under the name
        that it has in use, in float32. Raises `DnaFileError` for a file of an older version.
        """
        made: dict[object, Tensor] = {}
        found = {}
        for stored, parts in self._parts.items():
            if stored in self.incomplete:
                continue
            key = tuple((replace(layout, tensor=""), name) for layout, name in parts)
            if key not in made:
                made[key] = self._put_together(parts)
            found[stored] = made[key]
        return found

    def stored(self, name: str) -> Tensor:
        """One tensor of `state_dict()`, by its stored name."""
        if name not in self._parts or name in self.incomplete:
            raise UnknownTensorError(
                f"The DNA does not hold all of a stored tensor {name!r}.",
                hint=did_you_mean(name, self.stored_names) or "`dna.stored_names` are those that it holds.",
            )
        return self._put_together(self._parts[name])

    @property
    def stored_names(self) -> tuple[str, ...]:
        """The keys of `state_dict()`."""
        return tuple(name for name in self._parts if name not in self.incomplete)

    @cached_property
    def incomplete(self) -> frozenset[str]:
        """Stored tensors of which some parts are in the DNA, and others are not."""
        return frozenset(
            stored
            for stored, parts in self._parts.items()
            if not is_covered([(layout, prod(self[name].shape)) for layout, name in parts], parts[0][0].shape)
        )

    @cached_property
    def _parts(self) -> dict[str, list[tuple[Layout, str]]]:
        """Stored name -> the layouts and names of what lies in it."""
        self._require_layouts()
        parts: dict[str, list[tuple[Layout, str]]] = {}
        for layout, name in (
            *((kept.layout, kept.spec.name) for kept in self.contents.tensors),
            *((tie.layout, tie.of) for tie in self.contents.ties),
        ):
            parts.setdefault(layout.tensor, []).append((layout, name))
        return parts

    def _put_together(self, parts: list[tuple[Layout, str]]) -> Tensor:
        first = parts[0][0]
        whole = torch.empty(first.shape, dtype=DTYPES[first.dtype])
        for layout, name in parts:
            place(self[name].in_file_order(), layout, whole)
        return whole

    def _require_layouts(self) -> None:
        if not self.contents.has_layouts:
            raise DnaFileError(
                "A `dna.pt` of an older version does not say how its tensors lie in the model's files.",
                hint="Mine the model again with `dna-zoo mine KEY`: what was fitted is used again.",
            )

    def frame(self) -> "pd.DataFrame":
        """A row for each tensor: what it is, and how much of it the DNA holds, beside its nulls."""
        import pandas as pd

        rows = [
            (
                tensor.role.value,
                tensor.spec.block,
                tensor.depth,
                *tensor.shape,
                tensor.r2,
                tensor.null_r2,
                tensor.means_null_r2,
            )
            for tensor in self.tensors
        ]
        found = pd.DataFrame(rows, columns=list(FRAME_TYPES))
        # What no tensor has keeps its type: a block of a CNN, figures of a file of an older version.
        return found.astype(FRAME_TYPES).set_index(pd.Index(list(self), name="tensor"))

    def __repr__(self) -> str:
        weights = sum(prod(tensor.shape) for tensor in self.tensors)
        kind = f"{self.settings.dna_type}, scope {self.settings.scope}"
        fitted = _fitted(self.reported.get("r2"), self.reported.get("null_r2"))
        return f"<Dna of {self.model or 'a model'}: {len(self)} tensors, {weights:,} weights, {kind}, {fitted}>"

    def _repr_html_(self) -> str:
        table = self.frame().to_html(max_rows=12, float_format=lambda value: f"{value:.3f}", na_rep="-")
        return f"<p>{escape(repr(self)[1:-1])}</p>{table}"


def _fitted(r2: float | None, null_r2: float | None) -> str:
    known = "not known" if r2 is None else f"{r2:.3f}"
    return f"R² {known} (null {'not known' if null_r2 is None else f'{null_r2:.3f}'})"


def _lengths(shape: tuple[int, int]) -> tuple[int, int]:
    """Rows and columns as plain numbers; raises `SettingsError` for anything but two whole numbers from 1 on."""
    try:
        rows, cols = (index(length) for length in shape)
    except (TypeError, ValueError):
        rows, cols = 0, 0
    if min(rows, cols) < 1:
        raise SettingsError(f"`shape` is {shape!r}.", hint="Give rows and columns, whole numbers of at least 1.")
    return rows, cols


def _checked(values: Coordinates, name: str) -> Tensor:
    """Coordinates as float32, in their shape; raises `SettingsError` outside [-1, 1], and for what is no array."""
    try:
        found = (
            values.detach().cpu().float()
            if isinstance(values, Tensor)
            else torch.from_numpy(np.array(values, np.float32))
        )
    except (TypeError, ValueError, RuntimeError) as error:
        raise SettingsError(
            f"`{name}` is no array of numbers ({type(error).__name__}).", hint="Give numbers, an array or a tensor."
        ) from error
    if not bool((found.abs() <= 1).all()):
        raise SettingsError(
            f"`{name}` holds coordinates outside [-1, 1].", hint="-1 is the first row or column, 1 the last."
        )
    return found


def _depth_coordinate(depth: float | None, settings: FitSettings) -> float | None:
    if depth is None:
        return None
    if settings.scope != "model":
        raise SettingsError(
            "`depth` is given, and this DNA has one network for each tensor: depth is no coordinate of it.",
            hint="Leave it out, or mine with `--scope model`.",
        )
    if not 0 <= depth <= 1:
        raise SettingsError(f"`depth` is {depth}.", hint="Give a number in [0, 1].")
    return 2 * depth - 1


def _between(means: Float32 | None, coords: Tensor) -> Float32 | None:
    """Means, known at even samples from -1 to 1, at these coordinates; float32."""
    if means is None:
        return None
    return np.asarray(np.interp(coords.numpy(), np.linspace(-1, 1, len(means)), means), dtype=np.float32)
