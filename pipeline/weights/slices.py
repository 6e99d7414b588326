"""Slices of tensor parallelism: `consolidated.00.pth` and more, each with a part of every matrix, as Llama saves them.

Names say along which axis a matrix was cut (Megatron-LM, Shoeybi et al. 2019: by outputs where a block begins, by
inputs where it ends). A name that is not known is refused, and nothing is put together by guess.
"""

import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from dna_zoo.errors import DamagedFileError, ExtractError
from pipeline.arrays import Array
from pipeline.weights.assembly import Recipe, Tensors, assemble

__all__ = ["find_slices", "is_sliced", "join_slices", "slice_key"]

_FILE = re.compile(r"consolidated\.(\d+)\.(?:pth|pt)$")
_MARK = "#"
"""Between a tensor's name and the number of its slice."""
_BY_OUTPUT = re.compile(r"(?:^|\.)(?:wq|wk|wv|w1|w3|output)\.weight$")
_BY_INPUT = re.compile(r"(?:^|\.)(?:wo|w2)\.weight$")
_TABLE = re.compile(r"(?:^|\.)tok_embeddings\.weight$")
_WHOLE = re.compile(r"(?:^|\.)(?:\w*norm\.weight|rope\.freqs)$")
"""What every slice has a copy of."""


def find_slices(path: Path) -> tuple[Path, ...]:
    """All slices of the model that a file is one slice of, in order; the file alone if it is none.

    Raises `DamagedFileError` where one of them is missing.
    """
    if not _FILE.match(path.name):
        return (path,)
    found = {int(match[1]): each for each in path.parent.iterdir() if (match := _FILE.match(each.name))}
    missing = sorted({*range(max(found) + 1)} - found.keys())
    if missing:
        raise DamagedFileError(
            f"{str(path.parent)!r} holds {len(found)} slices of a model, and not the one of number {missing[0]}.",
            hint="Put it beside the others: each holds a part of every matrix.",
        )
    return tuple(found[number] for number in sorted(found))


def is_sliced(paths: Sequence[Path]) -> bool:
    """Whether the files are slices of one model."""
    return len(paths) > 1 and all(_FILE.match(path.name) for path in paths)


def slice_key(name: str, number: int) -> str:
    """What a tensor of a slice is called before it is put together."""
    return f"{name}{_MARK}{number}"


def join_slices(tensors: Tensors, count: int) -> Tensors:
    """The matrices of `count` slices put together. Raises `ExtractError` for names that are not known."""
    widths = {tensors[key].header.shape[0] for key in tensors if key.endswith(f"norm.weight{_MARK}0")}
    return assemble(tensors, partial(_recipe, count=count, widths=widths))


def _recipe(key: str, tensors: Tensors, *, count: int, widths: set[int]) -> Recipe | None:
    name, _, number = key.rpartition(_MARK)
    if number != "0":
        return None
    parts = tuple(slice_key(name, each) for each in range(count))
    shapes = [tensors[part].header.shape for part in parts if part in tensors]
    if len(shapes) < count or len({*shapes}) > 1:
        raise ExtractError(
            f"The slices of {name!r} are {len(shapes)} of {count}, of the shapes {sorted({*map(str, shapes)})}.",
            hint="Take all slices from one source.",
        )
    shape = shapes[0]
    if len(shape) == 1 and _WHOLE.search(name):
        return Recipe(target=name, shape=shape, parts=parts, make=partial(_same, name=name))
    axis = _axis(name, shape, widths)
    joined = (*shape[:axis], shape[axis] * count, *shape[axis + 1 :])
    return Recipe(target=name, shape=joined, parts=parts, make=lambda *arrays: np.concatenate(arrays, axis=axis))


def _axis(name: str, shape: tuple[int, ...], widths: set[int]) -> int:
    """Along which axis the slices of a matrix follow one another."""
    if _BY_OUTPUT.search(name) and len(shape) == 2:
        return 0
    if _BY_INPUT.search(name) and len(shape) == 2:
        return 1
    if _TABLE.search(name) and len(shape) == 2 and widths:
        # Llama 1 and 2 cut the table by columns, Llama 3 by rows: then its rows are as wide as the norms.
        return 0 if shape[1] in widths else 1
    raise ExtractError(
        f"The model is in slices for tensor parallelism, and how {name!r} was cut is not known.",
        hint="Convert the model with the script that `transformers` has for it, and mine the result.",
    )


def _same(*arrays: Array, name: str) -> Array:
    if not all(np.array_equal(arrays[0], each) for each in arrays[1:]):
        raise DamagedFileError(
            f"Every slice has {name!r} whole, and their values differ.", hint="Take all slices from one source."
        )
    return arrays[0]
