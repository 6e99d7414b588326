"""Checkpoints of an architecture whose names tell no role, one in another order by the symmetries of its network."""

from typing import Any

import pytest
import torch

from benchmarks.traced_networks import distance, new_model, permute, train, weights_of
from pipeline.lineage.compare import compare_weights
from pipeline.lineage.records import SAME_LINEAGE
from zoo.tracing.of_config import trace_config
from zoo.tracing.traced import TracedWiring

pytestmark = pytest.mark.slow

State = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def states() -> tuple[Any, list[State]]:
    """The configuration; a model, one trained on from it and permuted, and one of other weights."""
    models = [train(new_model(seed), seed=seed, steps=6) for seed in range(2)]
    first, other = ({name: tensor.clone() for name, tensor in model.state_dict().items()} for model in models)
    child = permute(train(models[0], seed=9, steps=3, rate=3e-4).state_dict(), seed=1)
    return models[0].config.to_dict(), [first, child, other]


@pytest.fixture(scope="module")
def wiring(states: tuple[Any, list[State]]) -> TracedWiring:
    return trace_config(states[0])


def test_the_permuted_state_is_the_same_function() -> None:
    model = new_model(3).eval()
    ids = torch.randint(8, 64, (2, 8), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        before = model(input_ids=ids).logits
        model.load_state_dict(permute(model.state_dict(), seed=1))
        assert torch.allclose(model(input_ids=ids).logits, before, rtol=1e-4, atol=1e-3)


def test_a_descendant_in_another_order_is_found(states: tuple[Any, list[State]], wiring: TracedWiring) -> None:
    first, child, _ = (weights_of(state, wiring) for state in states[1])
    assert compare_weights(first, child).verdict == SAME_LINEAGE
    assert (distance(first, child) or 1) < 0.1


def test_names_alone_do_not_find_it(states: tuple[Any, list[State]]) -> None:
    first, child, _ = (weights_of(state, None) for state in states[1])
    assert compare_weights(first, child).verdict != SAME_LINEAGE
    assert distance(first, child) == 1


def test_other_weights_are_unrelated(states: tuple[Any, list[State]], wiring: TracedWiring) -> None:
    first, _, other = (weights_of(state, wiring) for state in states[1])
    assert compare_weights(first, other).verdict != SAME_LINEAGE
    assert (distance(first, other) or 0) > 0.9
