"""Bits shared out over parts of a model: a code for each part, with the least error for the bits in all."""

import numpy as np
import numpy.typing as npt

__all__ = ["allocate"]

BISECTIONS = 60
MOST_FILLS = 1000
"""Single parts that are given a larger code with what is left over; more than that would not be seen in a figure."""

Float64 = npt.NDArray[np.float64]


def allocate(bits: Float64, errors: Float64, budget: float) -> npt.NDArray[np.intp]:
    """The code of each part (U,), of those in `bits` and `errors` (U, O): the least error for at most `budget` bits.

    The first code of each part must be its cheapest; `inf` bits mark codes that a part does not have. Of a price in
    error for a bit, each part takes the code with the least error and price together, and the price is the lowest that
    the budget allows (Shoham and Gersho 1988, "Efficient bit allocation for an arbitrary set of quantizers"). What is
    left over buys larger codes for single parts. Where even the cheapest codes are too many bits, these are taken.
    """
    cheapest = np.zeros(len(bits), dtype=np.intp)
    if _total(bits, cheapest) > budget:
        return cheapest
    chosen = _at_price(bits, errors, 0.0)
    if _total(bits, chosen) <= budget:
        return chosen
    low, high = 0.0, 1.0
    while _total(bits, _at_price(bits, errors, high)) > budget:
        low, high = high, high * 4
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        if _total(bits, _at_price(bits, errors, middle)) > budget:
            low = middle
        else:
            high = middle
    return _filled(bits, errors, _at_price(bits, errors, high), budget)


def _at_price(bits: Float64, errors: Float64, price: float) -> npt.NDArray[np.intp]:
    absent = np.isinf(bits)
    priced = np.where(absent, np.inf, errors + price * np.where(absent, 0.0, bits))
    return np.asarray(np.argmin(priced, axis=1), dtype=np.intp)


def _total(bits: Float64, chosen: npt.NDArray[np.intp]) -> float:
    return float(np.take_along_axis(bits, chosen[:, None], axis=1).sum())


def _filled(bits: Float64, errors: Float64, chosen: npt.NDArray[np.intp], budget: float) -> npt.NDArray[np.intp]:
    """With what is left of the budget: always the change of one part that takes most error away for a bit."""
    left = budget - _total(bits, chosen)
    each = np.arange(len(bits))
    for _ in range(MOST_FILLS):
        more = bits - bits[each, chosen][:, None]
        less = errors[each, chosen][:, None] - errors
        fits = (more > 0) & (more <= left) & (less > 0)
        worth = np.divide(less, more, out=np.zeros_like(less), where=fits)
        part, code = np.unravel_index(np.argmax(worth), worth.shape)
        if worth[part, code] <= 0:
            break
        left -= more[part, code]
        chosen[part] = code
    return chosen
