"""The training loop: it converges, keeps the best, stops in time, says what diverged, and goes on exactly."""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dna_zoo.errors import FitDivergedError
from pipeline.fit.trainer import HISTORY_POINTS, Trainer, TrainResult
from pipeline.kept.sealed import save_tensors
from pipeline.settings import DnaType, Optimizer, Schedule
from tests.support.fitting import gaussian, low_rank, quick, shuffled
from tests.support.training import Killed, assert_same, draw, kill_at, killed_and_resumed, state, trainer, wave

pytestmark = pytest.mark.slow

# It converges.


def test_separable_finds_a_planted_low_rank() -> None:
    result = trainer(quick(epochs=400, num_nulls=1), low_rank(24, 20, 2)).run()
    assert result.losses[0] < 0.03 < 0.2 < result.losses[1]


def test_separable_finds_a_planted_wave() -> None:
    assert trainer(quick(epochs=400, num_nulls=0), wave()).run().losses[0] < 0.01


@pytest.mark.parametrize("kind", ["spectral", "hierarchical", "adaptive"])
def test_pointwise_kinds_find_a_planted_wave(kind: DnaType) -> None:
    settings = quick(dna_type=kind, epochs=60, batch_size=120, num_nulls=0, omega=6.0, learning_rate=5e-3)
    assert trainer(settings, wave()).run().losses[0] < 0.05


@pytest.mark.parametrize("kind", ["separable", "spectral"])
def test_a_rerun_gives_the_same_bits(kind: DnaType) -> None:
    settings = quick(dna_type=kind)
    first, second = trainer(settings, gaussian(9, 8)), trainer(settings, gaussian(9, 8))
    assert first.run() == second.run()
    assert_same(state(first.net), state(second.net))


def test_a_slot_trains_as_it_would_alone() -> None:
    alone = trainer(quick(epochs=30, num_nulls=0), low_rank(12, 10, 2))
    among = trainer(quick(epochs=30, num_nulls=2), low_rank(12, 10, 2), 100 * gaussian(12, 10))
    assert among.run().losses[0] == pytest.approx(alone.run().losses[0], abs=1e-5)


@pytest.mark.parametrize("kind", ["separable", "spectral"])
def test_by_default_it_is_adam_on_a_cosine_bit_for_bit(kind: DnaType) -> None:
    """Written out: what the other optimisers and schedules share with it must not change it."""
    work, plain = (trainer(quick(dna_type=kind, epochs=30, clip_norm=1e9), gaussian(9, 8)) for _ in range(2))
    adam, total = torch.optim.Adam(plain.net.parameters(), fused=True), plain.total_steps
    warmup = max(int(0.05 * total), 1)
    for step in range(total):
        done = math.pi * (step - warmup) / max(total - warmup, 1)
        rate = (step + 1) / warmup if step < warmup else 0.5 * (1 + math.cos(done))
        adam.param_groups[0]["lr"] = 1e-2 * rate
        adam.zero_grad()
        plain.problem.loss(plain.net, draw(step)).sum().backward()
        adam.step()
        work._one_step()
    assert_same(state(work.net), state(plain.net))


# Batches add up.


POINTWISE: dict[str, Any] = {"dna_type": "spectral", "num_nulls": 1, "num_moves": 0}


def test_accumulated_batches_are_one_step_along_their_mean_gradient() -> None:
    work = trainer(quick(**POINTWISE, batch_size=16, accumulate=3, epochs=1), gaussian(8, 8))
    before, expected = state(work.net), trainer(quick(**POINTWISE, batch_size=16), gaussian(8, 8))
    losses = [expected.problem.loss(expected.net, draw(step)) for step in range(3)]
    torch.stack(losses).mean(dim=0).sum().backward()
    for _ in range(2):
        work._one_step()
        assert_same(before, state(work.net))
    work._clip = lambda: None  # type: ignore[method-assign]
    work._one_step()
    for mine, theirs in zip(work.net.parameters(), expected.net.parameters(), strict=True):
        assert mine.grad is not None and theirs.grad is not None
        torch.testing.assert_close(mine.grad, theirs.grad, atol=1e-6, rtol=1e-4)
    assert not torch.equal(next(work.net.parameters()), before["net.weights.0"])


def test_batches_left_over_at_the_end_make_a_step_of_their_own() -> None:
    settings = quick(**POINTWISE, batch_size=16, accumulate=3, optimizer="sgd", momentum=0.0, schedule="constant")
    work = trainer(settings, gaussian(8, 8), steps=4)
    for _ in range(3):
        work._one_step()
    before, alone = state(work.net), trainer(replace(settings, accumulate=1), gaussian(8, 8), steps=4)
    alone.net.load_state_dict(before)
    alone.step = 3
    work._one_step()
    alone._one_step()
    assert_same(state(work.net), state(alone.net))


def test_larger_steps_of_accumulated_batches_learn_too() -> None:
    settings = quick(**POINTWISE, epochs=60, batch_size=60, accumulate=2, omega=6.0, learning_rate=5e-3)
    assert trainer(settings, wave()).run().losses[0] < 0.05


# The best state is kept.


@pytest.mark.parametrize("rate", [1e-2, 0.3])
def test_what_is_left_is_the_best_that_was_seen(rate: float) -> None:
    settings = quick(epochs=80, learning_rate=rate, schedule="constant", num_nulls=0, num_moves=0)
    work = trainer(settings, low_rank(12, 10, 2))
    result = work.run()
    assert result.losses[0] == pytest.approx(min(point["loss"] for point in result.history), abs=1e-7)
    with torch.no_grad():
        assert float(work.problem.loss(work.net, draw())) == pytest.approx(result.losses[0], abs=1e-6)


def test_each_slot_keeps_its_own_best() -> None:
    settings = quick(epochs=60, learning_rate=0.3, schedule="constant", num_nulls=2)
    work = trainer(settings, low_rank(12, 10, 2))
    result = work.run()
    with torch.no_grad():
        losses = work.problem.loss(work.net, draw())
    torch.testing.assert_close(losses, torch.tensor(result.losses), atol=1e-6, rtol=1e-6)


def test_the_last_state_may_be_the_best() -> None:
    work = trainer(quick(epochs=1, learning_rate=1e-3, schedule="constant", num_nulls=0), wave())
    result = work.run()
    assert len(result.history) == 2
    assert result.losses[0] == pytest.approx(result.history[-1]["loss"])
    assert result.losses[0] < result.history[0]["loss"]


# It moves.


def test_moves_find_an_order_that_was_hidden() -> None:
    """The wave is a matrix of rank one, but its factors are smooth in one order alone."""
    hidden = shuffled(wave(300, 200))
    still, moved = (
        trainer(quick(epochs=120, num_moves=moves, bandwidth=0.01, num_nulls=0), hidden).run() for moves in (0, 3)
    )
    assert moved.losses[0] < 0.5 * still.losses[0]


def test_what_was_best_before_a_move_is_forgotten() -> None:
    settings = quick(epochs=40, num_moves=3, learning_rate=0.2, schedule="constant", num_nulls=2)
    work = trainer(settings, low_rank(12, 10, 2))
    result = work.run()
    with torch.no_grad():
        losses = work.problem.loss(work.net, draw())
    torch.testing.assert_close(losses, torch.tensor(result.losses), atol=1e-6, rtol=1e-6)


# It stops.


def test_a_fit_that_no_longer_improves_stops_after_its_patience() -> None:
    settings = quick(epochs=5000, learning_rate=1e-12, schedule="constant", patience=7, num_nulls=0)
    result = trainer(settings, gaussian(6, 6)).run()
    assert result.stopped_early and result.steps < 200


def test_patience_counts_epochs_not_steps() -> None:
    settings = quick(
        dna_type="spectral", epochs=500, batch_size=16, learning_rate=1e-12, schedule="constant", patience=3
    )
    waits: list[int] = []
    work = trainer(settings, gaussian(8, 8), on_step=lambda step: waits.append(step - work.best_step))
    assert work.run().stopped_early
    assert waits[-1] == max(waits) == 3 * work.problem.steps_per_epoch + 1


def test_without_patience_a_fit_runs_to_its_end() -> None:
    result = trainer(quick(epochs=40, learning_rate=1e-12, schedule="constant"), gaussian(6, 6)).run()
    assert not result.stopped_early and result.steps == 40


# History.


@pytest.mark.parametrize(("epochs", "batch_size"), [(1, 36), (7, 9), (399, 36), (400, 12)])
def test_the_history_spans_the_training(epochs: int, batch_size: int) -> None:
    """Whatever the number of steps in an epoch: a point in every two-hundredth of the training, and the end."""
    settings = quick(dna_type="spectral", epochs=epochs, batch_size=batch_size, num_nulls=0)
    work = trainer(settings, gaussian(6, 6))
    work._one_step = lambda: skip(work)  # type: ignore[method-assign]
    history = work.run().history
    assert min(epochs, HISTORY_POINTS) < len(history) <= 2 * HISTORY_POINTS + 1
    assert [point["step"] for point in history] == sorted({point["step"] for point in history})
    assert history[-1]["step"] == work.total_steps


def skip(work: Trainer) -> None:
    """A step that only looks at a loss."""
    ends_epoch, is_noted = work._ends_epoch(), work._is_noted()
    work._observe(torch.ones(work.problem.num_slots), ends_epoch=ends_epoch, is_noted=is_noted)
    if is_noted:
        work.pending.append((work.step, 0.0))
    work.step += 1


class Seven:
    """Takes a 7, and tells it."""

    num_sums = 1

    def take(self, net: nn.Module) -> Tensor:
        return torch.full((1,), 7.0)

    def tell(self, taken: Sequence[float], losses: Sequence[float]) -> dict[str, float]:
        return {"r2": taken[0], "mae": losses[0]}


def test_the_history_says_what_it_is_made_of() -> None:
    history = trainer(quick(epochs=3), gaussian(6, 6)).run().history
    assert set(history[0]) == {"step", "epoch", "learning_rate", "loss", "r2", "null_loss", "null_r2"}
    assert all(point["r2"] == 1 - point["loss"] for point in history)
    measured = trainer(quick(epochs=3), gaussian(6, 6), measure=Seven()).run().history
    assert all(point["r2"] == 7 and point["mae"] == point["loss"] for point in measured)
    assert "null_loss" not in trainer(quick(epochs=3, num_nulls=0), gaussian(6, 6)).run().history[0]


# Clipping.


def test_a_gradient_is_clipped_slot_by_slot() -> None:
    work = trainer(quick(num_nulls=0, clip_norm=0.5), gaussian(6, 6), gaussian(6, 6, 1))
    for parameter in work.net.parameters():
        parameter.grad = torch.zeros_like(parameter)
        parameter.grad[0] = 3.0
        parameter.grad[1] = 1e-6
    work._clip()
    norms = [math.sqrt(sum(float(p.grad[s].square().sum()) for p in work.net.parameters())) for s in (0, 1)]  # type: ignore[index]
    assert norms[0] == pytest.approx(0.5) and norms[1] < 1e-3


# It says what diverged.


def test_a_weight_that_is_no_number_is_named_with_its_step() -> None:
    work = trainer(quick(num_nulls=1), gaussian(6, 6), gaussian(6, 6, 1))
    with torch.no_grad():
        next(work.net.parameters())[1] = math.nan
    with pytest.raises(FitDivergedError, match=r"^The loss of slot 1 became non-finite at step 0 of 20\.$") as raised:
        work.run()
    assert "--learning-rate" in raised.value.hint


def test_a_rate_without_bounds_diverges_and_says_so() -> None:
    with pytest.raises(FitDivergedError, match=r"slot 0 became non-finite at step 1 of 20\.$"):
        trainer(quick(learning_rate=1e30, schedule="constant"), gaussian(6, 6)).run()


def test_a_gradient_that_overflows_is_named() -> None:
    work = trainer(quick(num_nulls=0), gaussian(6, 6))
    work.problem.loss = lambda net, generator: next(net.parameters()).sum().reshape(1) * 1e38 * 1e3 * 0  # type: ignore[method-assign]
    with pytest.raises(FitDivergedError, match=r"The (loss|gradient norm) of slot 0"):
        work.run()


# It goes on exactly.


@pytest.mark.parametrize(
    ("killed_at", "changes"),
    [
        (1, {}),
        (7, {"patience": 3, "learning_rate": 0.2}),
        (6, {"dna_type": "spectral", "batch_size": 20}),
        (9, {"dna_type": "adaptive", "batch_size": 20, "precision": "bf16"}),
    ],
)
def test_a_killed_fit_ends_with_the_bits_of_an_undisturbed_one(
    changes: dict[str, Any], killed_at: int, tmp_path: Path
) -> None:
    settings = quick(checkpoint_every=3, epochs=10, **changes)
    undisturbed = trainer(settings, low_rank(9, 8, 2))
    expected = undisturbed.run()
    resumed, found = killed_and_resumed(
        settings, low_rank(9, 8, 2), at=min(killed_at, expected.steps), directory=tmp_path
    )
    assert found == expected
    assert_same(state(resumed.net), state(undisturbed.net))


@pytest.mark.parametrize(
    ("optimizer", "schedule"),
    [
        ("sgd", "plateau"),
        ("rmsprop", "one-cycle"),
        ("adam", "cosine-restarts"),
        ("adamw", "constant"),
        ("muon", "plateau"),
    ],
)
def test_every_optimiser_and_schedule_goes_on_exactly(optimizer: Optimizer, schedule: Schedule, tmp_path: Path) -> None:
    """In large steps, so that a plateau has halved rates when the fit is killed, and its patience is running."""
    settings = quick(
        optimizer=optimizer, schedule=schedule, learning_rate=0.3, weight_decay=0.01, patience=9, num_nulls=1,
        checkpoint_every=5, epochs=24,
    )  # fmt: skip
    undisturbed = trainer(settings, low_rank(9, 8, 2))
    expected = undisturbed.run()
    resumed, found = killed_and_resumed(settings, low_rank(9, 8, 2), at=min(18, expected.steps), directory=tmp_path)
    assert found == expected
    assert_same(state(resumed.net), state(undisturbed.net))


def test_the_plateau_that_is_resumed_had_come_down() -> None:
    settings = quick(schedule="plateau", learning_rate=0.3, num_nulls=1, epochs=24)
    work = trainer(settings, low_rank(9, 8, 2), on_step=kill_at(15))
    with pytest.raises(Killed):
        work.run()
    assert work.plateau is not None and float(work.plateau.factors.min()) < 1


@pytest.mark.parametrize("accumulate", [2, 7])
def test_a_fit_killed_between_accumulated_batches_goes_on_exactly(accumulate: int, tmp_path: Path) -> None:
    """Five batches an epoch, so that checkpoints fall between them."""
    settings = quick(**POINTWISE, batch_size=16, accumulate=accumulate, checkpoint_every=1, epochs=4, optimizer="muon")
    undisturbed = trainer(settings, low_rank(9, 8, 2))
    expected = undisturbed.run()
    assert undisturbed.problem.steps_per_epoch == 5
    resumed, found = killed_and_resumed(settings, low_rank(9, 8, 2), at=13, directory=tmp_path)
    assert found == expected
    assert_same(state(resumed.net), state(undisturbed.net))


def test_it_goes_on_from_the_checkpoint_and_not_from_the_start(tmp_path: Path) -> None:
    settings, steps = quick(checkpoint_every=3, epochs=10), []
    checkpoint = tmp_path / "train.pt"
    with pytest.raises(Killed):
        trainer(settings, gaussian(6, 6), checkpoint=checkpoint, on_step=kill_at(8)).run()
    trainer(settings, gaussian(6, 6), checkpoint=checkpoint, on_step=steps.append).run()
    assert steps == [7, 8, 9, 10]


def test_a_checkpoint_holds_tensors_and_plain_containers_only(tmp_path: Path) -> None:
    checkpoint = tmp_path / "train.pt"
    trainer(quick(checkpoint_every=4), gaussian(6, 6), checkpoint=checkpoint).run()
    assert torch.load(checkpoint, weights_only=True)["step"] == 20


def test_saving_is_all_or_nothing_and_the_same_bytes_every_time(tmp_path: Path) -> None:
    first, second = tmp_path / "a" / "x.pt", tmp_path / "b" / "other name.pt"
    for path in (first, second):
        save_tensors({"value": torch.arange(4.0)}, path)
    assert first.read_bytes() == second.read_bytes()
    with pytest.raises(AttributeError):
        save_tensors({"value": lambda: None}, first)
    assert [path.name for path in first.parent.iterdir()] == ["x.pt"]
    assert torch.equal(torch.load(first, weights_only=True)["value"], torch.arange(4.0))


# Mixed precision.


@pytest.mark.parametrize(("precision", "kind"), [("bf16", "spectral"), ("fp16", "separable")])
def test_half_precision_trains_about_as_well(precision: str, kind: DnaType) -> None:
    settings = quick(dna_type=kind, epochs=100, batch_size=120, num_nulls=0, omega=6.0)
    exact = trainer(settings, wave()).run().losses[0]
    work = trainer(replace(settings, precision=precision), wave())
    assert work.run().losses[0] < exact + 0.1
    assert {parameter.dtype for parameter in work.net.parameters()} == {torch.float32}


@pytest.mark.parametrize("optimizer", ["adam", "muon"])
def test_fp16_scales_its_gradients_and_skips_an_overflow(optimizer: Optimizer) -> None:
    settings = quick(precision="fp16", optimizer=optimizer, schedule="plateau", num_nulls=0, epochs=3)
    work = trainer(settings, wave())
    work.scaler._init_scale = 2.0**40
    before = state(work.net)
    work._one_step()
    assert_same(before, state(work.net))
    assert work.scaler.get_scale() == 2.0**39


def test_the_result_is_plain() -> None:
    result = trainer(quick(epochs=2), gaussian(6, 6)).run()
    assert isinstance(result, TrainResult) and len(result.losses) == 2
    assert all(isinstance(value, float) for value in (*result.losses, *result.history[0].values()))
