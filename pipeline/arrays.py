"""What arrays of numpy are called in annotations."""

from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Array", "Float32", "Float64", "Indices"]

Array = npt.NDArray[Any]
Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Indices = npt.NDArray[np.intp]
"""Places along an axis, or numbers of groups."""
