"""The parts of the comparison: aligning, balancing, wrong orders, pairs of tensors, evidence."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

from pipeline.lineage.alignment import align, balanced, centred, file_order_z, relations_z
from pipeline.lineage.evidence import LEAST_CORRELATION, LEAST_WEIGHTS, LEAST_Z, HeldOut, Nulls, decide
from pipeline.lineage.pairing import by_block, pair_specs, residual_group
from pipeline.lineage.records import Matrix
from zoo.tensors import Axis, Role, TensorSpec

RNG = np.random.default_rng


def gaussian(*shape: int, seed: int = 0) -> Matrix:
    return RNG(seed).standard_normal(shape, dtype=np.float32)


def test_a_planted_order_is_found() -> None:
    a, order = gaussian(30, 20), RNG(1).permutation(30)
    b = a[order] + 0.3 * gaussian(30, 20, seed=2)
    found = align(a, b)
    assert np.array_equal(order[found.b], found.a) and not found.in_file_order


def test_planted_signs_are_found() -> None:
    a, order = gaussian(30, 20), RNG(1).permutation(30)
    signs = RNG(2).choice(np.array([-1, 1], dtype=np.float32), 30)
    found = align(a, signs[:, None] * a[order], signed=True)
    left, right = found.rows(a, signs[:, None] * a[order])
    assert np.array_equal(left, right)


def test_a_narrower_model_takes_a_part_of_the_units() -> None:
    a = gaussian(30, 20)
    kept = RNG(1).permutation(30)[:12]
    found = align(a, a[kept])
    assert len(found) == 12 and np.array_equal(kept[found.b], found.a)


def test_file_order_is_kept_where_it_is_significant() -> None:
    a = gaussian(200, 20)
    b = a + 3 * gaussian(200, 20, seed=2)
    assert align(a, b).in_file_order
    assert not align(a, gaussian(200, 20, seed=3)).in_file_order


def test_z_of_the_file_order_is_exact() -> None:
    a, b = gaussian(5, 4), gaussian(5, 4, seed=1)
    similarity = (a @ b.T).astype(float)
    traces = [similarity[np.arange(5), order].sum() for order in itertools.permutations(range(5))]
    expected = (np.trace(similarity) - np.mean(traces)) / np.std(traces)
    assert file_order_z(a, b) == pytest.approx(expected, rel=1e-5)


def symmetric(size: int, *, seed: int) -> Matrix:
    values = gaussian(size, size, seed=seed)
    return values + values.T


def test_z_of_relations_is_exact() -> None:
    a, b = symmetric(5, seed=0), symmetric(5, seed=1)
    off = ~np.eye(5, dtype=bool)
    sums = [(a * b[np.ix_(order, order)])[off].sum() for order in map(list, itertools.permutations(range(5)))]
    assert relations_z(a, b) == pytest.approx((sums[0] - np.mean(sums)) / np.std(sums), rel=1e-4)


def test_relations_tell_file_order_from_another() -> None:
    a, order = symmetric(40, seed=0), RNG(1).permutation(40)
    b = a + symmetric(40, seed=2)
    assert relations_z(a, b) > 6 > 4 > abs(relations_z(a, b[np.ix_(order, order)]))
    assert relations_z(a, np.eye(40, dtype=np.float32)) == relations_z(a[:3, :3], a[:3, :3]) == 0


def test_balancing_undoes_scales_of_rows_and_columns() -> None:
    a = gaussian(40, 30)
    rows, cols = np.exp(gaussian(40, 1, seed=1)), np.exp(gaussian(1, 30, seed=2))
    one, two = balanced(a), balanced(a * rows * cols)
    correlation = float((one * two).sum() / np.linalg.norm(one) / np.linalg.norm(two))
    raw = float(np.corrcoef(a.ravel(), (a * rows * cols).ravel())[0, 1])
    assert correlation > 0.9 > 0.6 > raw


def test_balancing_keeps_zeros_and_centres() -> None:
    assert not balanced(np.zeros((3, 4), dtype=np.float32)).any()
    assert np.allclose(balanced(gaussian(9, 7)).mean(axis=0), 0, atol=1e-6)
    assert np.allclose(centred(gaussian(9, 7)).mean(axis=1), 0, atol=1e-6)


def test_wrong_orders_leave_no_unit_in_its_place() -> None:
    orders = Nulls(50, seed=0).orders("x", 9)
    assert orders.shape == (50, 9)
    assert not (orders == np.arange(9)).any()
    assert (np.sort(orders, axis=1) == np.arange(9)).all()


def test_wrong_orders_are_the_same_for_all_tensors_of_an_axis() -> None:
    nulls = Nulls(5, seed=0)
    assert np.array_equal(nulls.orders("x", 9), nulls.orders("x", 9))
    assert not np.array_equal(nulls.orders("x", 9), nulls.orders("y", 9))
    assert np.array_equal(Nulls(5, seed=0).orders("x", 9), nulls.orders("x", 9))


def test_a_held_out_correlation_is_pearsons() -> None:
    a, b = centred(gaussian(8, 50)), centred(gaussian(8, 50) + gaussian(8, 50, seed=1))
    norm = float(np.linalg.norm(a) * np.linalg.norm(b))
    nulls = Nulls(20, seed=0)
    found = nulls.held_out(a @ b.T, norm, axis="x", role=Role.FFN_OUT, weights=400, in_file_order=False)
    assert found is not None
    assert found.correlation == pytest.approx(np.corrcoef(a.ravel(), b.ravel())[0, 1], abs=1e-5)
    wrong = [np.corrcoef(a.ravel(), b[order].ravel())[0, 1] for order in nulls.orders("x", 8)]
    assert found.nulls == pytest.approx(wrong, abs=1e-5)


def held_out(correlation: float, *, spread: float = 0.01, weights: int = 5000, **changes: bool) -> HeldOut:
    nulls = spread * RNG(0).standard_normal(99)
    made = HeldOut(role=Role.FFN_OUT, weights=weights, correlation=correlation, nulls=nulls, in_file_order=False)
    return replace(made, **changes)


def test_a_verdict_needs_both_a_correlation_and_a_z() -> None:
    assert decide([held_out(2 * LEAST_CORRELATION)], num_nulls=99).verdict == "same lineage"
    small = decide([held_out(LEAST_CORRELATION / 2, spread=0.001)], num_nulls=99)
    assert small.verdict == "no evidence" and small.reason.endswith("correlation is below 0.1")
    loose = decide([held_out(2 * LEAST_CORRELATION, spread=0.2)], num_nulls=99)
    assert loose.verdict == "no evidence" and loose.reason.endswith("z is below 8")


def test_an_order_that_was_not_searched_for_needs_a_z_alone() -> None:
    found = decide([held_out(LEAST_CORRELATION / 2, spread=0.001, in_file_order=True)], num_nulls=99)
    assert found.verdict == "same lineage" and found.z is not None and found.z > LEAST_Z


def test_tensors_count_by_their_weights() -> None:
    found = decide([held_out(0.8, weights=3000), held_out(0.4, weights=1000)], num_nulls=99)
    assert found.correlation == pytest.approx(0.7)
    assert (found.tensors, found.weights) == (2, 4000)


def test_what_does_not_count_is_shown_alone() -> None:
    found = decide([held_out(0.8), held_out(0.0, counts=False)], num_nulls=99)
    assert found.correlation == pytest.approx(0.8)
    assert found.roles[0].correlation == pytest.approx(0.4)


def test_p_counts_wrong_alignments_at_least_as_good() -> None:
    test = held_out(0.0)
    found = decide([test], num_nulls=99)
    assert found.p == ((test.nulls >= 0).sum() + 1) / 100


def test_too_few_weights_cannot_be_judged() -> None:
    assert decide([], num_nulls=9).reason == "no axis in common"
    assert decide([held_out(0.9, weights=LEAST_WEIGHTS - 1)], num_nulls=99).verdict == "cannot say"


def spec(
    name: str, role: Role = Role.ATTENTION_QUERY, *, block: int | None = 0, row_axis: Axis = Axis.ATTENTION
) -> TensorSpec:
    return TensorSpec(name=name, tensor=name, dtype="F32", rows=8, cols=8, role=role, block=block, row_axis=row_axis)


def test_tensors_pair_by_their_names_inside_the_block() -> None:
    a = by_block(
        [spec("bert.encoder.layer.3.attention.query", block=3), spec("bert.encoder.layer.3.x", Role.FFN_IN, block=3)]
    )
    b = by_block([spec("encoder.layer.1.attention.query", block=1), spec("encoder.layer.1.x", Role.FFN_IN, block=1)])
    pairs = pair_specs(a[3], b[1])
    assert [(pair.a.role, pair.a.role is pair.b.role) for pair in pairs] == [
        (Role.ATTENTION_QUERY, True),
        (Role.FFN_IN, True),
    ]


def test_tensors_of_other_names_pair_by_their_role() -> None:
    a = {"attention.self.query.weight": spec("query"), "ffn": spec("ffn", Role.FFN_IN)}
    b = {"attention.q_lin.weight": spec("q_lin"), "lin1": spec("lin1", Role.FFN_IN)}
    assert {(pair.a.name, pair.b.name) for pair in pair_specs(a, b)} == {("query", "q_lin"), ("ffn", "lin1")}


def test_cross_attention_reads_the_residual_stream_of_the_encoder() -> None:
    own = spec("model.decoder.layers.0.self_attn.k_proj.weight", Role.ATTENTION_KEY)
    cross = spec("model.decoder.layers.0.encoder_attn.k_proj.weight", Role.ATTENTION_KEY)
    assert residual_group(own, axis="col") == ("decoder", 8)
    assert residual_group(cross, axis="col") == ("", 8)
    assert residual_group(own, axis="row") is None


def test_a_head_called_decoder_is_no_decoder() -> None:
    head = spec("cls.predictions.decoder.weight", Role.HEAD, block=None, row_axis=Axis.VOCABULARY)
    assert residual_group(head, axis="col") == ("", 8)
