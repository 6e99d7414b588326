"""Values and formats that are odd, in single tensors of an otherwise plain model."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.layouts.layout import Layout, Must
from benchmarks.layouts.models import llama, projections, save, save_torch, tensors_of

__all__ = ["LAYOUTS"]

ONE = "model.layers.0.mlp.down_proj.weight"
Change = Callable[[Any], Any]


def _one(folder: Path, change: Change, **must: Any) -> Must:
    """The model with one matrix changed."""
    model: dict[str, Any] = dict(llama())
    model[ONE] = change(model[ONE].copy())
    save_torch(folder, tensors_of(model))
    return Must(model=model, **must) if "refused" not in must else Must(**must)


def _all(folder: Path, change: Change, **must: Any) -> Must:
    """The model with every projection changed."""
    names = [f"{name}.weight" for name in projections(llama())]
    model: dict[str, Any] = dict(llama())
    model |= {name: change(model[name]) for name in names}
    save(folder, {name: torch.from_numpy(value) for name, value in model.items()})
    return Must(model=model, **must) if "refused" not in must else Must(**must)


def _with(value: float) -> Change:
    def change(matrix: Any) -> Any:
        matrix[3, 5] = value
        return matrix

    return change


def _with_beyond(matrix: Any) -> Any:
    return _with(1e300)(matrix.astype(np.float64))


def _saved_as(folder: Path, dtype: torch.dtype) -> Must:
    tensors = {name: value.to(dtype) for name, value in tensors_of(llama()).items()}
    save(folder, tensors)
    return Must(model={name: value.double().numpy() for name, value in tensors.items()}, tolerance=1e-8)


def _meta(folder: Path) -> Must:
    tensors = {name: value.to("meta") if "layers.1" in name else value for name, value in tensors_of(llama()).items()}
    save_torch(folder, tensors)
    return Must(refused="a name and a shape without values")


def _sparse(folder: Path) -> Must:
    tensors = tensors_of(llama())
    save_torch(folder, tensors | {ONE: tensors[ONE].to_sparse()})
    return Must(model=llama())


def _ties(folder: Path) -> Must:
    """Two tables whose names do not say that one repeats the other; the second is listed as its copy."""
    model = llama()
    table = model["model.embed_tokens.weight"]
    model |= {"model.encoder_table.weight": table, "model.decoder_table.weight": table.copy()}
    save(folder, model)
    ties = {"model.encoder_table.weight", "model.decoder_table.weight"}
    return Must(model=model, ties=ties, said="to the last bit")


def _buffers(folder: Path) -> Must:
    """Indices and masks: no weights, and not a part that is missing."""
    extra = {"position_ids": np.arange(64)[None], "attn.bias": np.tril(np.ones((1, 1, 8, 8), bool))}
    save(folder, {**llama(), **extra})
    return Must(model=llama())


def _layout(name: str, write: Callable[[Path], Must]) -> Layout:
    return Layout(group="values", name=name, write=write)


def _constant(folder: Path, value: float) -> Must:
    return _one(folder, lambda matrix: np.full_like(matrix, value), said=f"constant.*{ONE}")


LAYOUTS = (
    _layout("float64", partial(_all, change=lambda matrix: matrix.astype(np.float64), said="read as float32")),
    _layout("float16", partial(_saved_as, dtype=torch.float16)),
    _layout("bfloat16", partial(_saved_as, dtype=torch.bfloat16)),
    _layout("fp8 without scales", partial(_saved_as, dtype=torch.float8_e4m3fn)),
    _layout("indices and masks", _buffers),
    _layout("empty tensors", partial(_one, change=lambda matrix: matrix[:0, 0], refused=f"'{ONE}' .empty.")),
    _layout("meta tensors", _meta),
    _layout("complex numbers", partial(_one, change=lambda each: each.astype(np.complex64), refused="complex64")),
    _layout("float64 beyond float32", partial(_one, change=_with_beyond, refused="beyond the range of float32")),
    _layout("denormal numbers", partial(_all, change=lambda each: each * np.float32(1e-40), said="below 1e-30")),
    _layout("a constant matrix", partial(_constant, value=0.02)),
    _layout("a matrix of zeros", partial(_constant, value=0.0)),
    _layout("all matrices constant", partial(_all, change=np.zeros_like, said="constant")),
    _layout("one value of 1e30", partial(_one, change=_with(1e30), said=f"'{ONE}'.*1e\\+30")),
    _layout("one value of 3e38", partial(_one, change=_with(3e38), said=f"'{ONE}'.*3e\\+38")),
    _layout("NaN in one layer", partial(_one, change=_with(np.nan), refused="1 value.* NaN.*--allow-nonfinite")),
    _layout(
        "... with --allow-nonfinite",
        partial(_one, change=_with(np.nan), left_out=(ONE,), allow={"allow_nonfinite": True}, said="left out"),
    ),
    _layout("a sparse tensor", _sparse),
    _layout("ties that no name tells", _ties),
)
