"""Align the residual streams of two models."""

from collections.abc import Callable

from pipeline.lineage.alignment import FILE_ORDER_Z, Alignment, align, file_order, file_order_z, unit_rows
from pipeline.lineage.anchors import LEAST_FEATURES, Anchors

__all__ = ["align_stream"]


def align_stream(anchors: Anchors, agreement: Callable[[Alignment], float]) -> Alignment:
    """The order of the files where one family of anchors bears it out; else the best of what each family suggests.

    `agreement` judges an alignment by weights that took no part in it; it is asked only if there is a choice.
    """
    families = [(anchors.a[name], anchors.b[name]) for name in anchors.a]
    sizes = len(families[0][0]), len(families[0][1])
    families.append(anchors.pooled())
    if max(file_order_z(unit_rows(a), unit_rows(b)) for a, b in families) >= FILE_ORDER_Z:
        return file_order(*sizes)
    candidates = [align(a, b, signed=anchors.signed) for a, b in families if a.shape[1] >= LEAST_FEATURES]
    return candidates[0] if len(candidates) == 1 else max(candidates, key=agreement)
