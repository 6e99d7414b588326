"""A loss in shards: the loss and the gradients of the whole, whatever the number of threads."""

import pytest
import torch
from torch import Tensor

from pipeline.fit.problem import generator_for
from pipeline.fit.sharded_loss import add_up, differentiated, with_gradients

WEIGHT = torch.randn(2, 3, 1, generator=generator_for(0), requires_grad=True)
POINTS = torch.randn(50, 3, generator=generator_for(1))


def losses(shard: Tensor) -> Tensor:
    """Squares of a linear map of the points, summed, in two slots."""
    return (shard @ WEIGHT).square().sum(dim=(1, 2))


@pytest.mark.parametrize(("size", "threads"), [(50, 1), (20, 2), (7, 4)])
def test_shards_add_up_to_the_whole(size: int, threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.fit.sharded_loss.num_cores", lambda: threads)
    total, (gradient,) = add_up(differentiated(losses, [WEIGHT]), torch.split(POINTS, size))
    torch.testing.assert_close(total, losses(POINTS).detach())
    torch.testing.assert_close(gradient, torch.autograd.grad(losses(POINTS).sum(), [WEIGHT])[0])


@pytest.mark.parametrize("threads", [1, 3])
def test_shards_see_the_callers_autocast(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.fit.sharded_loss.num_cores", lambda: threads)
    seen = []

    def look(shard: Tensor) -> Tensor:
        seen.append((shard @ WEIGHT).dtype)
        return losses(shard).float()

    with torch.autocast("cpu", dtype=torch.bfloat16):
        add_up(differentiated(look, [WEIGHT]), torch.split(POINTS, 20))
    add_up(differentiated(look, [WEIGHT]), torch.split(POINTS, 20))
    assert seen == [torch.bfloat16] * 3 + [torch.float32] * 3


def test_an_error_in_a_shard_is_the_callers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.fit.sharded_loss.num_cores", lambda: 2)
    with pytest.raises(ZeroDivisionError):
        add_up(differentiated(lambda shard: losses(shard) / (1 // 0), [WEIGHT]), torch.split(POINTS, 20))


def test_known_gradients_are_scaled_slot_by_slot() -> None:
    total, gradients = add_up(differentiated(losses, [WEIGHT]), [POINTS])
    known = with_gradients(total, [WEIGHT], gradients)
    assert torch.equal(known, total)
    (found,) = torch.autograd.grad(known @ torch.tensor([2.0, 0.5]), [WEIGHT])
    torch.testing.assert_close(found, gradients[0] * torch.tensor([2.0, 0.5])[:, None, None])
