"""Tensors of a donor at the shapes of a host of another width: its DNA read on a grid of other rows and columns.

Every tensor has an order of its own in its DNA. So units of two resampled tensors that meet in the network do not
correspond, as they do not in the orders of a random layer.
"""

import math
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

from dna_zoo.errors import JoinError
from library.models import Loaded
from library.surgery.transplantation import Resample
from pipeline.dna.dna import Dna, DnaTensor
from pipeline.dna.mined import mined_dna

if TYPE_CHECKING:
    from patterndb.store import PatternDatabase

__all__ = ["resampled", "resampler"]


def resampler(database: "PatternDatabase", key: str, loaded: Loaded, *, home: Path) -> Resample:
    """Of the model `loaded`, which was mined as `key`: a tensor and a shape -> the tensor at that shape.

    Raises `DnaFileError` where the DNA is not in this home folder.
    """
    pattern = database.load_pattern(key, with_tensors=False)
    dna, stored = mined_dna(pattern, database, home), _stored_names(loaded)
    return lambda name, tensor, shape: resampled(dna, stored.get(tensor.data_ptr(), name), tensor, shape)


def _stored_names(loaded: Loaded) -> dict[int, str]:
    """Where the values of a tensor are -> its name in the file; transformers renames some when it loads them."""
    from transformers.core_model_loading import revert_weight_conversion

    state = revert_weight_conversion(loaded.model, loaded.model.state_dict())
    return {tensor.data_ptr(): name for name, tensor in state.items()}


def resampled(dna: Dna, name: str, tensor: Tensor, shape: tuple[int, ...]) -> Tensor:
    """A tensor at another shape: a matrix through its DNA, a vector by linear interpolation of its values.

    A matrix is scaled by the root of the columns it loses, so that what it gives keeps its size. Raises `JoinError`
    for a matrix that the DNA does not hold.
    """
    if tensor.ndim == 1:
        vector: Tensor = functional.interpolate(tensor[None, None], size=shape[0], mode="linear", align_corners=True)
        return vector[0, 0]
    parts = [each for each in dna.tensors if each.layout.tensor == name and each.layout.entry is None]
    if not parts or len(shape) != 2:
        raise JoinError(
            f"The DNA of {dna.model!r} does not hold {name!r} as a matrix.", hint="Give models of one width."
        )
    parts.sort(key=lambda each: each.layout.row_slice or (0, 0))
    is_transposed = parts[0].layout.transposed
    rows, cols = (shape[1], shape[0]) if is_transposed else shape
    if rows % len(parts) or any(each.layout.row_period for each in parts):
        raise JoinError(f"{rows} rows of {name!r} are not {len(parts)} equal parts.", hint="Give models of one width.")
    found = torch.cat([_at(each, rows // len(parts), cols) for each in parts])
    return found.T.contiguous() if is_transposed else found


def _at(tensor: DnaTensor, rows: int, cols: int) -> Tensor:
    values = tensor.resample((rows, cols))
    return values * math.sqrt(tensor.shape[1] / cols)
