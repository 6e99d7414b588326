"""Compare the weights of two models: align what a symmetry may have permuted, then test on other weights."""

from collections.abc import Callable, Sequence

from pipeline.lineage.alignment import Alignment
from pipeline.lineage.anchors import collect_anchors, with_bridges
from pipeline.lineage.blocks import BlockMatcher
from pipeline.lineage.context import Context
from pipeline.lineage.convolutions import convolution_tests
from pipeline.lineage.evidence import HeldOut, Nulls, decide
from pipeline.lineage.pairing import Group, Pair, by_block, pair_specs
from pipeline.lineage.projections import attention_tests, feed_forward_tests
from pipeline.lineage.records import Lineage, ModelWeights
from pipeline.lineage.residual_alignment import align_residual_stream

__all__ = ["compare_weights"]

Alignments = dict[tuple[Group, Group], Alignment]


def compare_weights(
    a: ModelWeights,
    b: ModelWeights,
    *,
    num_nulls: int = 199,
    seed: int = 0,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Lineage:
    """Whether the weights show that one model was trained from the other, or both from a third.

    `on_progress` is told how many of how many blocks are done. The result depends on the weights, the number of nulls
    and the seed alone.
    """
    matcher = BlockMatcher(a, b, by_block(a.specs), by_block(b.specs))
    outside = pair_specs(matcher.blocks_a.get(None, {}), matcher.blocks_b.get(None, {}))
    alignments, matched = _align(outside, matcher, seed)
    nulls = Nulls(num_nulls, seed)
    context = Context(a, b, alignments, nulls, seed)
    tests: list[HeldOut] = []
    inside: list[Pair] = []
    for done, (block_a, block_b) in enumerate(matched):
        on_progress(done, len(matched))
        pairs = pair_specs(matcher.blocks_a[block_a], matcher.blocks_b[block_b])
        inside += pairs
        tests += feed_forward_tests(pairs, context)
        tests += attention_tests(pairs, context)
    tests += convolution_tests([*outside, *inside], a, b, nulls, seed)
    on_progress(len(matched), len(matched))
    return decide(tests, num_nulls=num_nulls)


def _align(outside: Sequence[Pair], matcher: BlockMatcher, seed: int) -> tuple[Alignments, list[tuple[int, int]]]:
    """The alignments of the residual streams, and which block is which."""
    in_sequence = matcher.in_sequence()
    pairs = list(outside)
    # Norms and biases inside the blocks anchor too, where it is known which block is which.
    for block_a, block_b in in_sequence or ():
        pairs += pair_specs(matcher.blocks_a[block_a], matcher.blocks_b[block_b])
    alignments: Alignments = {}
    for link, anchors in collect_anchors(pairs, matcher.a, matcher.b, seed=seed).items():
        bridged = with_bridges(anchors, link, outside, alignments, matcher.a, matcher.b)
        alignment = align_residual_stream(bridged, matcher, link)
        if alignment is not None:
            alignments[link] = alignment
    return alignments, matcher.match(alignments) if in_sequence is None else in_sequence
