"""Packed values come back as they went in."""

import numpy as np
import pytest

from patterndb.connection.floats import pack, unpack


@pytest.mark.parametrize("length", [0, 1, 7, 8, 9, 64, 1001])
@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_values_and_gaps_come_back(length: int, share: float) -> None:
    rng = np.random.default_rng(length)
    is_missing = rng.random(length) < share
    values = tuple(
        None if missing else float(value) for missing, value in zip(is_missing, rng.normal(size=length), strict=True)
    )
    assert unpack(pack(values), length) == values
