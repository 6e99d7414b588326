"""The loop as a GPU runs it, on the CPU: a step asks for nothing, and results are those of looking at every step."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import pipeline.fit.separable as separable_module
from dna_zoo.errors import FitDivergedError
from pipeline.fit.pace import DEVICE, HOST, Pace, pace_of
from pipeline.fit.pointwise import PointwiseProblem
from pipeline.fit.problem import generator_for
from pipeline.fit.trainer import Trainer
from pipeline.fit.training_metrics import TrainingMetrics
from tests.support.devices import HostReads, allow_capturable, meta_device, recorder
from tests.support.fitting import gaussian, low_rank, quick
from tests.support.training import CPU, SIZE, Killed, assert_same, kill_at, prepare_all, state

LOOKING = Pace(check_every=1, on_device=True, captures=False)
"""As a device works, but with a look at every step."""
BLIND = replace(LOOKING, check_every=7)
CAPTURED = replace(BLIND, captures=True)
WAYS: dict[str, dict[str, Any]] = {
    "separable": {},
    "separable, one network": {"scope": "model"},
    "separable, bf16": {"precision": "bf16"},
    "spectral": {"dna_type": "spectral"},
    "hierarchical, one network": {"dna_type": "hierarchical", "scope": "model"},
    "adaptive, bf16": {"dna_type": "adaptive", "precision": "bf16"},
    "plateau": {"schedule": "plateau", "learning_rate": 0.3},
    "sgd": {"optimizer": "sgd", "weight_decay": 0.01},
    "rmsprop": {"optimizer": "rmsprop", "weight_decay": 0.01, "momentum": 0.5},
    "adamw": {"optimizer": "adamw", "schedule": "one-cycle"},
    "muon": {"optimizer": "muon", "weight_decay": 0.01, "dna_type": "spectral"},
    "fp16": {"precision": "fp16", "schedule": "cosine-restarts"},
    "fp16, rmsprop": {"precision": "fp16", "optimizer": "rmsprop"},
    "fp16, muon": {"precision": "fp16", "optimizer": "muon"},
    "accumulated": {"dna_type": "spectral", "accumulate": 3},
}


@pytest.fixture(autouse=True)
def capturable(monkeypatch: pytest.MonkeyPatch) -> None:
    allow_capturable(monkeypatch)


def work(
    changes: dict[str, Any], pace: Pace = LOOKING, device: torch.device = CPU, *, with_measure: bool = True, **more: Any
) -> Trainer:
    """A fit of two matrices of a few columns and their nulls, as on a device: in no shards."""
    settings = quick(**{"epochs": 24, "checkpoint_every": 5} | changes)
    found = prepare_all(settings, low_rank(12, 10, 2), gaussian(12, 10), device=device)
    problem, num_real = found.problem, 1 if settings.scope == "model" else 2
    if isinstance(problem, PointwiseProblem):
        problem.is_sharded = False
    net = problem.build(SIZE, settings, [generator_for(0, slot) for slot in range(problem.num_slots)]).to(device)
    more |= {"measure": TrainingMetrics(found, num_real=num_real, seed=0)} if with_measure else {}
    labels = [f"slot {slot}" for slot in range(problem.num_slots)]
    total = settings.epochs * problem.steps_per_epoch
    return Trainer(
        problem, net, settings, seed=0, labels=labels, num_real=num_real, total_steps=total, pace=pace, **more
    )


def reads_of(function: Callable[[], object]) -> list[str]:
    with HostReads() as reads:
        function()
    return reads.found


def reads_of_steps(fit: Trainer) -> list[str]:
    """Of an epoch and more, once the first has made what is made once."""
    for _ in range(fit.problem.steps_per_epoch):
        fit._one_step()
    return reads_of(lambda: [fit._one_step() for _ in range(fit.problem.steps_per_epoch + 3)])


# A step asks for nothing.


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_a_step_reads_nothing_and_copies_nothing(way: str) -> None:
    fit = work(WAYS[way])
    assert reads_of_steps(fit) == []


@pytest.mark.slow
@pytest.mark.parametrize("way", [way for way in WAYS if "fp16" not in way])
def test_a_step_runs_where_values_cannot_be_read(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """On `meta` any branch on a value is an error, and so is a tensor of the host beside one of the device."""
    with meta_device(monkeypatch) as device:
        fit = work(WAYS[way], device=device)
        assert reads_of_steps(fit) == []
        assert {parameter.device for parameter in fit.net.parameters()} == {device}


@pytest.mark.slow
@pytest.mark.parametrize("scope", ["tensor", "model"])
def test_steps_on_samples_of_a_long_axis_ask_for_nothing(scope: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(separable_module, "INDICES_PER_STEP", 5)
    with meta_device(monkeypatch) as device:
        fit = work({"scope": scope}, device=device)
        assert fit.problem.steps_per_epoch == 3
        assert reads_of_steps(fit) == []


def test_a_check_is_one_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    with meta_device(monkeypatch) as device:
        fit = work({"schedule": "plateau"}, device=device)
        fit._one_step()
        with HostReads() as reads, pytest.raises(NotImplementedError, match="meta"):
            fit._check()
    assert reads.found == [] and reads_of(work({})._check) == []


def test_the_host_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """An `.item()`, a branch, a batch that the host draws."""
    values = torch.arange(3.0)
    assert len(reads_of(lambda: values.sum().item())) == 1
    assert len(reads_of(lambda: bool((values > 7).any()))) == 1
    assert len(reads_of(lambda: values[values > 1])) == 1
    with meta_device(monkeypatch) as device:
        fit = work(WAYS["spectral"], replace(HOST), device=device)
        fit._one_step()
        assert "from one device to another" in reads_of(fit._one_step)[0]
        known = torch.zeros(3, device=device)
        assert len(reads_of(lambda: torch.where(known > 0, known, torch.tensor(1.0)))) == 1


# What comes out is what a look at each step would have given.


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_looking_seldom_changes_no_bit(way: str) -> None:
    looking, blind = work(WAYS[way]), work(WAYS[way], BLIND)
    assert blind.run() == looking.run()
    assert_same(state(blind.net), state(looking.net))


@pytest.mark.slow
@pytest.mark.parametrize("way", [way for way in WAYS if way != "accumulated"])
def test_a_step_that_is_recorded_once_gives_the_same_bits(way: str) -> None:
    """Nothing of a step depends on a number of the host: three are done, then their operations are done again."""
    eager, captured = work(WAYS[way], BLIND), work(WAYS[way], CAPTURED, recorder=recorder)
    assert captured.run() == eager.run()
    assert_same(state(captured.net), state(eager.net))
    assert captured.graphs.replays


@pytest.mark.parametrize("way", ["fp16", "fp16, rmsprop"])
def test_a_recording_that_breaks_off_in_the_optimiser_is_done_step_by_step(
    way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit = work(WAYS[way], CAPTURED, recorder=lambda step: record(step), with_measure=False)

    def refuse(*words: object, **more: object) -> None:
        raise RuntimeError("operation not permitted when stream is capturing")

    def record(step: Callable[[], None]) -> Callable[[], object]:
        """As CUDA does, nothing is computed by it."""
        before = fit.now.clone(), [each.detach().clone() for each in fit.net.parameters()]
        with monkeypatch.context() as patched:
            for optimizer in fit.optimizers:
                patched.setattr(optimizer, "step", refuse)
            try:
                step()
            finally:
                assert torch.equal(fit.now, before[0])
                assert all(map(torch.equal, fit.net.parameters(), before[1]))
        raise AssertionError("it was recorded")

    found = fit.run()
    assert fit.graphs.recorder is None and fit.step == fit.total_steps
    assert all(map(math.isfinite, found.losses))


def test_the_host_draws_as_it_always_did() -> None:
    blind, looking = work(WAYS["spectral"], replace(HOST, check_every=9)), work(WAYS["spectral"], HOST)
    assert blind.run() == looking.run()
    assert pace_of(CPU) == HOST and pace_of(torch.device("cuda:1")) == DEVICE


@pytest.mark.slow
@pytest.mark.parametrize("way", ["separable", "sgd", "rmsprop", "adamw", "muon"])
def test_a_rate_on_the_device_is_the_rate_of_the_host(way: str) -> None:
    """A separable DNA draws nothing, so the two differ by the rounding of the rate and by fused sums."""
    settings = WAYS[way] | {"dna_type": "separable", "num_moves": 0, "learning_rate": 1e-3}
    device, host = work(settings).run(), work(settings, HOST).run()
    assert device.losses == pytest.approx(host.losses, rel=0.02)
    assert [point["learning_rate"] for point in device.history] == [point["learning_rate"] for point in host.history]


@pytest.mark.slow
def test_a_killed_fit_goes_on_exactly(tmp_path: Path) -> None:
    for way in ("separable", "spectral", "plateau", "rmsprop"):
        path = tmp_path / f"{way}.pt"
        undisturbed = work(WAYS[way], BLIND)
        expected = undisturbed.run()
        with pytest.raises(Killed):
            work(WAYS[way], CAPTURED, recorder=recorder, checkpoint=path, on_step=kill_at(13)).run()
        resumed = work(WAYS[way], CAPTURED, recorder=recorder, checkpoint=path)
        assert resumed.run() == expected
        assert_same(state(resumed.net), state(undisturbed.net))


@pytest.mark.slow
@pytest.mark.parametrize("patience", [2, 3, 11])
def test_a_fit_stops_at_the_step_at_which_it_should(patience: int) -> None:
    settings = {"patience": patience, "learning_rate": 0.3, "schedule": "constant", "epochs": 200}
    looking, blind = work(settings).run(), work(settings, replace(BLIND, check_every=1000)).run()
    assert looking == blind and looking.stopped_early and looking.steps < 200


@pytest.mark.slow
def test_few_checks_are_needed_to_stop_in_time() -> None:
    fit = work({"patience": 40, "epochs": 200}, replace(BLIND, check_every=1000))
    checks: list[int] = []
    check = fit._check
    fit._check = lambda: (checks.append(fit.step), check())[1]  # type: ignore[method-assign,func-returns-value]
    fit.run()
    assert len(checks) <= 3 + 200 // 20


# What is not finite.


def diverged(fit: Trainer, at: int, slot: int, value: float) -> str:
    """What a fit says of a weight that becomes that value before step `at`."""

    def spoil(done: int) -> None:
        if done == at:
            with torch.no_grad():
                next(fit.net.parameters())[slot] = value

    fit.on_step = spoil
    with pytest.raises(FitDivergedError) as raised:
        fit.run()
    return str(raised.value)


@pytest.mark.parametrize(("at", "slot"), [(1, 0), (9, 3), (20, 1)])
def test_a_late_look_names_the_same_tensor_and_step(at: int, slot: int) -> None:
    told = {
        diverged(work({}, pace), at, slot, float("nan")) for pace in (LOOKING, BLIND, replace(BLIND, check_every=99))
    }
    assert told == {f"The loss of slot {slot} became non-finite at step {at} of 24."}


def test_the_gradient_is_named_where_the_loss_was_finite() -> None:
    fit = work({}, BLIND)
    losses_of = fit._losses

    def spoilt(step: int, now: torch.Tensor) -> torch.Tensor:
        losses = losses_of(step, now)
        if losses.requires_grad:
            losses.register_hook(lambda gradient: torch.where(now == 4, torch.inf, gradient))
        return losses

    fit._losses = spoilt  # type: ignore[method-assign]
    with pytest.raises(FitDivergedError, match=r"^The gradient norm of slot 0 became non-finite at step 4 of 24\.$"):
        fit.run()


def test_a_fit_that_diverged_is_left_at_its_best_and_its_checkpoint_is_good(tmp_path: Path) -> None:
    fit = work({}, BLIND, checkpoint=tmp_path / "train.pt")
    diverged(fit, 16, 0, float("inf"))
    assert all(parameter.isfinite().all() for parameter in fit.net.parameters())
    saved = torch.load(tmp_path / "train.pt", weights_only=True)
    assert saved["step"] == 15 and all(value.isfinite().all() for value in saved["net"].values())
