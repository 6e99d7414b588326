"""A rounded or pruned copy is younger than what it was made from; of anything else the weights do not tell."""

from collections.abc import Callable, Mapping

import numpy as np
import pytest
import torch

from benchmarks.parts.scaffold import read_results
from benchmarks.relatedness.unknown_networks import Network, new_network, weights_of
from pipeline.lineage.compare import compare_weights
from pipeline.lineage.direction import HELD_OUT, WRONG_AT_MOST, find_older
from pipeline.lineage.records import Matrix

Change = Callable[[Matrix], Matrix]


def rounded(bits: int) -> Change:
    """To the nearest of 2^bits - 1 levels, one step for each row."""

    def change(values: Matrix) -> Matrix:
        groups = values.reshape(len(values), -1)
        step = np.abs(groups).max(axis=1, keepdims=True) / (2 ** (bits - 1) - 1)
        return (np.round(groups / step) * step).reshape(values.shape)

    return change


def pruned(values: Matrix) -> Matrix:
    """Without the smallest third, as magnitudes have it."""
    return np.where(np.abs(values) < np.quantile(np.abs(values), 1 / 3), 0, values)


def noised(share: float) -> Change:
    return lambda values: values + share * np.random.default_rng(values.size).standard_normal(values.shape)


REDUCED: Mapping[str, Change] = {
    "8 bits, a step for each row": rounded(8),
    "4 bits, a step for each column": lambda values: rounded(4)(values.T).T,
    "float16": lambda values: values.astype(np.float16),
    "bfloat16": lambda values: torch.from_numpy(values).bfloat16().float().numpy(),
    "pruned by magnitude": pruned,
    "pruned by a mask": lambda values: values * (np.random.default_rng(1).random(values.shape) < 0.7),
}


def changed(network: Network, change: Change) -> Network:
    return {
        name: torch.from_numpy(np.ascontiguousarray(change(tensor.numpy()), dtype=np.float32))
        for name, tensor in network.items()
    }


ORIGINAL = new_network(0)


@pytest.mark.parametrize("kind", REDUCED)
def test_a_reduced_copy_is_the_younger(kind: str) -> None:
    copy = changed(ORIGINAL, REDUCED[kind])
    assert find_older(weights_of(ORIGINAL), weights_of(copy)) == "a"
    assert find_older(weights_of(copy), weights_of(ORIGINAL)) == "b"


@pytest.mark.parametrize("kind", [kind for kind in REDUCED if kind != "float16"])
def test_two_reduced_copies_of_one_model_are_not_in_sequence(kind: str) -> None:
    """Neither can be computed from the other. From a float16 copy it can: it is nearly as good as the original."""
    copy = weights_of(changed(ORIGINAL, REDUCED[kind]))
    assert find_older(copy, weights_of(changed(ORIGINAL, noised(0.01)))) is None
    assert find_older(copy, weights_of(changed(ORIGINAL, rounded(6)))) is None


def test_a_child_of_a_rounded_model_is_not_taken_for_its_parent() -> None:
    """Its weights are on no grid any more: that the other's are tells nothing."""
    parent = changed(ORIGINAL, REDUCED["bfloat16"])
    assert find_older(weights_of(parent), weights_of(changed(parent, noised(0.01)))) is None


@pytest.mark.parametrize("kind", REDUCED)
def test_a_copy_with_scaled_units_is_no_original(kind: str) -> None:
    """What is pruned or rounded keeps the order of the weights along a row of it, but does not come from it."""
    scale = np.exp2(np.random.default_rng(0).uniform(-2, 2, (64, 1))).astype(np.float32)
    scaled = changed(ORIGINAL, lambda values: values * scale[: len(values)])
    assert find_older(weights_of(ORIGINAL), weights_of(scaled)) is None
    assert find_older(weights_of(scaled), weights_of(changed(ORIGINAL, REDUCED[kind]))) is None


def test_some_matrices_changed_otherwise_tell_nothing() -> None:
    copy = changed(ORIGINAL, pruned)
    assert find_older(weights_of(ORIGINAL), weights_of({**copy, "vex.lut": ORIGINAL["vex.lut"]})) == "a"
    other = changed(ORIGINAL, noised(0.01))["vex.lut"]
    assert find_older(weights_of(ORIGINAL), weights_of({**copy, "vex.lut": other})) is None


def test_the_comparison_says_which_came_first_and_how_sure_that_is() -> None:
    a, b = weights_of(ORIGINAL), weights_of(changed(ORIGINAL, rounded(4)))
    found = compare_weights(a, b, num_nulls=39)
    assert (found.verdict, found.older) == ("same lineage", "a")
    assert found.direction_error == WRONG_AT_MOST
    child = compare_weights(a, weights_of(changed(ORIGINAL, noised(0.1))), num_nulls=39)
    assert (child.older, child.direction) == (None, "the weights do not tell which came first")
    assert compare_weights(a, weights_of(new_network(1)), num_nulls=39).direction is None


def test_the_error_that_is_printed_is_that_of_the_kept_result() -> None:
    kept = next(row for row in read_results("direction")["answers"] if row["half"] == "held-out" and "answers" in row)
    assert (kept["answers"], kept["wrong"]) == (HELD_OUT, 0)
    assert pytest.approx(kept["interval"][1]) == WRONG_AT_MOST
