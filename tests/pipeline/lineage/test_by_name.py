"""Models of an architecture that nobody knows are compared by names and shapes, and common structure is no descent."""

from collections.abc import Callable
from itertools import combinations

import numpy as np
import pytest
import torch

from benchmarks.lineage_calibration import KINDS, drawn_pairs
from benchmarks.relatedness.unknown_networks import Network, new_network, trained, weights_of
from pipeline.lineage import Lineage, ModelWeights
from pipeline.lineage.by_name import compare_by_name
from pipeline.lineage.compare import compare_by_role, compare_weights
from pipeline.lineage.records import Matrix

FEW = 39
"""Wrong orders: enough for z."""


@pytest.fixture(scope="module")
def networks() -> dict[str, Network]:
    """Six trainings of one architecture, a child and a grandchild of the first, and random weights."""
    torch.set_num_threads(1)
    found = {f"seed-{seed}": trained(new_network(seed), seed=seed, steps=30) for seed in range(6)}
    found["child"] = trained(found["seed-0"], seed=10, steps=20, chemistry=1)
    found["grandchild"] = {name: tensor.round(decimals=1) for name, tensor in found["child"].items()}
    return found | {"untrained": new_network(7)}


def by_name(a: ModelWeights, b: ModelWeights) -> Lineage:
    return compare_by_name(a, b, num_nulls=FEW, seed=0)


def test_descent_is_seen_in_an_unknown_architecture_and_nothing_else_is(networks: dict[str, Network]) -> None:
    family = {"seed-0", "child", "grandchild"}
    models = {name: weights_of(network) for name, network in networks.items()}
    for a, b in combinations(models, 2):
        found = compare_weights(models[a], models[b], num_nulls=FEW)
        assert found.verdict == ("same lineage" if {a, b} <= family else "no evidence"), (a, b)
        assert compare_by_role(models[a], models[b], num_nulls=FEW, seed=0).verdict == "cannot say"


def test_the_figures_are_those_of_all_matrices_in_file_order(networks: dict[str, Network]) -> None:
    found = compare_weights(weights_of(networks["seed-0"]), weights_of(networks["child"]), num_nulls=FEW)
    assert (found.tensors, found.weights) == (10, sum(each.numel() for each in networks["seed-0"].values()))
    assert found.in_file_order and found.correlation is not None and found.correlation > 0.9
    assert found.reason.startswith("10 of 10 matrices of equal name and shape")


def test_another_order_of_the_units_is_not_undone(networks: dict[str, Network]) -> None:
    order = torch.randperm(24, generator=torch.Generator().manual_seed(0))
    copy = {name: each[:, order] if each.shape[1] == 24 else each for name, each in networks["child"].items()}
    copy = {name: each[order] if each.shape[0] == 24 else each for name, each in copy.items()}
    assert by_name(weights_of(networks["child"]), weights_of(copy)).verdict == "no evidence"


def pair(change: Callable[[str, Matrix, int], Matrix], size: int = 64, count: int = 8) -> Lineage:
    """Two models of square matrices of noise, each changed by its name and the number of its model."""
    models = []
    for number in (0, 1):
        rng = np.random.default_rng(number)
        matrices = {f"m{i}": rng.standard_normal((size, size), dtype=np.float32) for i in range(count)}
        values = {name: torch.from_numpy(change(name, each, number)) for name, each in matrices.items()}
        models.append(weights_of(values))
    return by_name(*models)


def test_constants_of_the_architecture_are_no_descent() -> None:
    """Bases of a Fourier transform, stored with the weights, are equal in all models of a kind."""
    wave = np.cos(np.outer(np.arange(64), np.arange(64)) * np.pi / 64).astype(np.float32)
    found = pair(lambda name, noise, number: 3 * wave if name in ("m0", "m1") else noise)
    assert found.z is not None and found.z > 8
    assert (found.verdict, found.reason[:18]) == ("no evidence", "only 2 of 8 matric")
    assert pair(lambda name, noise, number: 3 * wave if number == 0 else noise, count=1).verdict == "no evidence"


def test_one_table_alone_is_no_descent() -> None:
    wave = np.random.default_rng(9).standard_normal((64, 64), dtype=np.float32)
    found = pair(lambda name, noise, number: wave + 0.1 * noise, count=1)
    assert found.correlation is not None and found.correlation > 0.9 and found.verdict == "no evidence"


def test_a_multiple_of_the_identity_is_no_descent() -> None:
    found = pair(lambda name, noise, number: noise + 6 * np.eye(64, dtype=np.float32))
    assert found.z is not None and abs(found.z) < 4


def test_a_vocabulary_in_common_is_no_descent() -> None:
    """Wrong rows would show that the rows of frequent tokens are long in both models; wrong columns keep that."""
    frequency = np.exp(np.random.default_rng(9).standard_normal(512))

    def table(name: str, noise: Matrix, number: int) -> Matrix:
        # The directions of two models lie nearer to each other than most.
        direction = np.random.default_rng([number, *name.encode()]).standard_normal(64) + np.repeat((0.7, -0.7), 32)
        return (noise[:1] + 4 * np.outer(frequency, direction)).astype(np.float32)

    found = pair(table)
    assert found.correlation is not None and found.correlation > 0.2
    assert found.z is not None and found.z < 8


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_p_is_uniform_where_nothing_but_the_kind_is_in_common(kind: str) -> None:
    found = [compare_by_name(a, b, num_nulls=19, seed=seed).p for seed, (a, b) in enumerate(drawn_pairs(kind, 60))]
    for level, most in ((0.05, 9), (0.25, 26)):  # P(more) < 0.001 of a binomial of 60.
        assert sum(p is not None and p <= level + 1e-9 for p in found) <= most
