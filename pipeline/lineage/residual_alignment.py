"""Align the residual streams of two models."""

from pipeline.lineage.alignment import FILE_ORDER_Z, Alignment, align, file_order, file_order_z, unit_rows
from pipeline.lineage.anchors import LEAST_FEATURES, Anchors
from pipeline.lineage.blocks import BlockMatcher
from pipeline.lineage.pairing import Group

__all__ = ["align_residual_stream"]


def align_residual_stream(anchors: Anchors, matcher: BlockMatcher, link: tuple[Group, Group]) -> Alignment | None:
    """File order where anchors or blocks show it, else the best alignment by the anchors; None without anchors.

    Between several alignments the weights that blocks read with decide; these are not among the tested weights.
    """
    families = [(anchors.a[name], anchors.b[name]) for name in anchors.a]
    if len(families) > 1:
        families.append(anchors.pooled())
    by_family = (file_order_z(unit_rows(a), unit_rows(b)) for a, b in families)
    if any(z >= FILE_ORDER_Z for z in by_family) or matcher.is_in_file_order(link):
        return file_order(link[0][1], link[1][1])
    candidates = [align(a, b, signed=anchors.signed) for a, b in families if a.shape[1] >= LEAST_FEATURES]
    if len(candidates) < 2:
        return candidates[0] if candidates else None
    return max(candidates, key=lambda alignment: matcher.agreement({link: alignment}))
