"""Compare the weights of two models: align what a symmetry may have permuted, then test on other weights."""

from collections.abc import Callable, Sequence

import numpy as np

from pipeline.lineage.alignment import FILE_ORDER_Z, Alignment, align, file_order, file_order_z, unit_rows
from pipeline.lineage.anchors import LEAST_FEATURES, Anchors, collect_anchors, with_bridges
from pipeline.lineage.blocks import Block, BlockMatcher, BlockPairs
from pipeline.lineage.by_name import compare_by_name
from pipeline.lineage.context import Context
from pipeline.lineage.convolutions import convolution_tests
from pipeline.lineage.direction import with_direction
from pipeline.lineage.evidence import HeldOut, Nulls, decide
from pipeline.lineage.pairing import Link, Pair, by_block, pair_specs, same_name_and_shape
from pipeline.lineage.projections import attention_tests, feed_forward_tests
from pipeline.lineage.records import CANNOT_SAY, SAME_LINEAGE, Lineage, ModelWeights
from zoo.tensors import TensorKind

__all__ = ["compare_by_role", "compare_weights"]


def compare_weights(
    a: ModelWeights,
    b: ModelWeights,
    *,
    num_nulls: int = 199,
    seed: int = 0,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Lineage:
    """Whether the weights show that one model was trained from the other, or both from a third.

    By the axes that roles give, and where these show nothing, by the tensors of equal name and shape in file order.
    `on_progress` is told how many of how many blocks are done. The result depends on the weights, the number of nulls
    and the seed alone.
    """
    if _are_equal(a, b):
        return Lineage(verdict="the same weights", reason="every trained tensor is equal, by name and value")
    found = compare_by_role(a, b, num_nulls=num_nulls, seed=seed, on_progress=on_progress)
    if found.verdict != SAME_LINEAGE:
        # The second look changes no p that is reported: unrelated weights do not reach its z of 8.
        named = compare_by_name(a, b, num_nulls=num_nulls, seed=seed)
        found = named if named.verdict == SAME_LINEAGE or found.verdict == CANNOT_SAY else found
    return with_direction(found, a, b) if found.verdict == SAME_LINEAGE else found


def _are_equal(a: ModelWeights, b: ModelWeights) -> bool:
    """Whether both hold the same trained tensors, whatever kind of file they are in. Stops at the first difference."""
    pairs = same_name_and_shape(a.specs, b.specs)
    most = max(sum(spec.kind is TensorKind.WEIGHT for spec in model.specs) for model in (a, b))
    return len(pairs) == most and all(np.array_equal(a.load(pair.a), b.load(pair.b)) for pair in pairs)


def compare_by_role(
    a: ModelWeights,
    b: ModelWeights,
    *,
    num_nulls: int,
    seed: int,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Lineage:
    """The test on weights that took no part in an alignment of the axes that roles give."""
    names_a, names_b = by_block(a.specs), by_block(b.specs)
    outside = pair_specs(names_a.pop(None, {}), names_b.pop(None, {}))
    matcher = BlockMatcher(
        [Block(names, a) for names in names_a.values()], [Block(names, b) for names in names_b.values()]
    )
    alignments, matched = _align(outside, matcher, a, b, seed)
    context = Context(a, b, alignments, Nulls(num_nulls, seed), seed)
    tests: list[HeldOut] = []
    inside: list[Pair] = []
    for done, (block_a, block_b) in enumerate(matched):
        on_progress(done, len(matched))
        pairs = pair_specs(block_a.names, block_b.names)
        inside += pairs
        tests += feed_forward_tests(pairs, context)
        tests += attention_tests(pairs, context)
    tests += convolution_tests([*outside, *inside], context)
    on_progress(len(matched), len(matched))
    return decide(tests, num_nulls=num_nulls)


def _align(
    outside: Sequence[Pair], matcher: BlockMatcher, a: ModelWeights, b: ModelWeights, seed: int
) -> tuple[dict[Link, Alignment], BlockPairs]:
    """The alignments of the residual streams, and which block is which."""
    in_sequence = matcher.in_sequence()
    pairs = list(outside)
    # Norms and biases inside the blocks anchor too, where it is known which block is which.
    for block_a, block_b in in_sequence or ():
        pairs += pair_specs(block_a.names, block_b.names)
    alignments: dict[Link, Alignment] = {}
    for link, anchors in collect_anchors(pairs, a, b, seed=seed).items():
        bridged = with_bridges(anchors, link, outside, alignments, a, b)
        alignment = _align_residual_stream(bridged, matcher, link)
        if alignment is not None:
            alignments[link] = alignment
    return alignments, matcher.match(alignments) if in_sequence is None else in_sequence


def _align_residual_stream(anchors: Anchors, matcher: BlockMatcher, link: Link) -> Alignment | None:
    """File order where anchors or blocks show it, else the best alignment by the anchors; None without anchors.

    Between several alignments the weights that blocks read with decide; these are not among the tested weights.
    """
    families = list(anchors.families.values())
    if len(families) > 1:
        families.append(anchors.pooled())
    by_family = (file_order_z(unit_rows(a), unit_rows(b)) for a, b in families)
    if any(z >= FILE_ORDER_Z for z in by_family) or matcher.is_in_file_order(link):
        return file_order(link[0][1], link[1][1])
    candidates = [align(a, b, signed=anchors.signed) for a, b in families if a.shape[1] >= LEAST_FEATURES]
    if len(candidates) < 2:
        return candidates[0] if candidates else None
    return max(candidates, key=lambda alignment: matcher.agreement({link: alignment}))
