"""Random numbers by seed and step alone: those of SplitMix64, the same for ever, even, and new at every step."""

import numpy as np
import pytest
import torch

from pipeline.fit.draws import DeviceDraws, Draws, HostDraws, splitmix64
from pipeline.fit.problem import Draw

CPU = torch.device("cpu")
BOTH: tuple[Draws, ...] = (HostDraws(3, CPU), DeviceDraws(3))


def at(draws: Draws, step: int) -> Draw:
    return draws.at(step, torch.tensor(step))


def test_the_generator_is_splitmix64() -> None:
    """The numbers from the seed 1234567 that the authors' program prints."""
    expected = np.array(
        [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431, 16408922859458223821],
        dtype=np.uint64,
    )
    found = splitmix64(torch.arange(5), 1234567).numpy().view(np.uint64)
    assert (found == expected).all()


def test_what_a_device_draws_never_changes() -> None:
    """Kept, as results on a device rest on it."""
    draw = at(DeviceDraws(0), 5)
    assert draw.indices(1000, 6).tolist() == [816, 466, 319, 628, 947, 290]
    assert draw.share(12, 3).tolist() == [6, 2, 9, 11]


@pytest.mark.parametrize("draws", BOTH)
def test_the_same_seed_and_step_draw_the_same_and_others_do_not(draws: Draws) -> None:
    first, again, later = (at(draws, step).indices(1 << 40, 8) for step in (7, 7, 8))
    assert torch.equal(first, again) and not torch.equal(first, later)
    other = type(draws)(4, CPU) if isinstance(draws, HostDraws) else DeviceDraws(4)
    assert not torch.equal(at(other, 7).indices(1 << 40, 8), first)


def test_two_questions_of_a_step_have_two_answers() -> None:
    draw = at(DeviceDraws(3), 0)
    assert not torch.equal(draw.indices(1 << 40, 8), draw.indices(1 << 40, 8))


@pytest.mark.parametrize("draws", BOTH)
def test_indices_are_even(draws: Draws) -> None:
    """Pearson's chi squared of 64 places, in steps and over them, far from neither 63 nor its spread of 11."""
    counts = torch.stack([torch.bincount(at(draws, step).indices(64, 4096), minlength=64) for step in range(100)])
    for count in (counts.sum(0), counts[0]):
        expected = count.sum() / 64
        assert 20 < float(((count - expected).square() / expected).sum()) < 130
    assert int(counts.min()) > 0


@pytest.mark.parametrize("length", [20, 23])
@pytest.mark.parametrize("draws", BOTH)
def test_the_steps_of_an_epoch_see_different_indices(draws: Draws, length: int) -> None:
    parts = [at(draws, step).share(length, 4) for step in range(8)]
    for epoch in (parts[:4], parts[4:]):
        seen = torch.cat(epoch)
        assert len(seen.unique()) == len(seen) >= length - length % 4
        assert int(seen.min()) >= 0 and int(seen.max()) < length
    assert not torch.equal(parts[0], parts[4])


def test_every_index_of_an_axis_comes_as_often() -> None:
    draws = DeviceDraws(0)
    counts = torch.bincount(torch.cat([at(draws, step).share(23, 4) for step in range(4000)]), minlength=23)
    expected = 4000 * 5 / 23
    assert float(((counts - expected).abs()).max()) < 5 * expected**0.5
