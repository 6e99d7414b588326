"""Compare the weights of two models: align what a symmetry may have permuted, then test on what took no part."""

from collections.abc import Callable, Mapping, Sequence

from pipeline.lineage.alignment import Alignment
from pipeline.lineage.anchors import collect_anchors
from pipeline.lineage.context import Context
from pipeline.lineage.convolutions import convolution_tests
from pipeline.lineage.evidence import HeldOut, Nulls, decide
from pipeline.lineage.pairing import Group, Pair, by_block, pair_specs
from pipeline.lineage.projections import attention_tests, feed_forward_tests
from pipeline.lineage.records import Lineage, ModelWeights
from pipeline.lineage.streams import Probes, align_stream, match_blocks, probe_blocks
from zoo.tensors import TensorSpec

__all__ = ["LINEAGE_VERSION", "compare_weights"]

LINEAGE_VERSION = "1"
Names = Mapping[str, TensorSpec]
Streams = dict[tuple[Group, Group], Alignment]


def compare_weights(
    a: ModelWeights,
    b: ModelWeights,
    *,
    num_nulls: int = 199,
    seed: int = 0,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Lineage:
    """Weight-level evidence that two models descend from one another or from one root.

    `on_progress` is told how many of how many blocks are done. The result does not depend on anything but the weights,
    the number of nulls and the seed.
    """
    blocks_a, blocks_b = by_block(a.specs), by_block(b.specs)
    outside = pair_specs(blocks_a.get(None, {}), blocks_b.get(None, {}))
    streams, matched = _align(outside, blocks_a, blocks_b, a, b, seed)
    nulls = Nulls(num_nulls, seed)
    context = Context(a, b, streams, nulls, seed)
    tests: list[HeldOut] = []
    inside: list[Pair] = []
    for done, (block_a, block_b) in enumerate(matched):
        on_progress(done, len(matched))
        pairs = pair_specs(blocks_a[block_a], blocks_b[block_b])
        inside += pairs
        tests += feed_forward_tests(pairs, context)
        tests += attention_tests(pairs, context)
    tests += convolution_tests([*outside, *inside], a, b, nulls, seed)
    on_progress(len(matched), len(matched))
    return decide(tests, num_nulls=num_nulls)


def _align(
    outside: Sequence[Pair],
    blocks_a: Mapping[int | None, Names],
    blocks_b: Mapping[int | None, Names],
    a: ModelWeights,
    b: ModelWeights,
    seed: int,
) -> tuple[Streams, list[tuple[int, int]]]:
    """The streams aligned, and which block is which."""
    numbers_a = [block for block in blocks_a if block is not None]
    numbers_b = [block for block in blocks_b if block is not None]
    in_sequence = list(zip(numbers_a, numbers_b, strict=False))
    has_equal_depth = len(numbers_a) == len(numbers_b)
    pairs = list(outside)
    # Norms and biases inside the blocks anchor too, where it is known which block is which.
    for block_a, block_b in in_sequence if has_equal_depth else ():
        pairs += pair_specs(blocks_a[block_a], blocks_b[block_b])
    anchors = collect_anchors(pairs, a, b, seed=seed)
    probes: list[Probes] = []

    def agreement(link: tuple[Group, Group], alignment: Alignment) -> float:
        if not probes:
            probes.extend((probe_blocks(blocks_a, a), probe_blocks(blocks_b, b)))
        return match_blocks(probes[0], probes[1], {link: alignment})[1]

    streams = {
        link: align_stream(found, lambda alignment, link=link: agreement(link, alignment))  # type: ignore[misc]
        for link, found in anchors.items()
    }
    if has_equal_depth:
        return streams, in_sequence
    if not probes:
        probes.extend((probe_blocks(blocks_a, a), probe_blocks(blocks_b, b)))
    return streams, match_blocks(probes[0], probes[1], streams)[0]
