"""Compiled passes: what the networks compute without them, forward and back, in bfloat16's precision."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from dna_zoo.errors import SettingsError
from pipeline.fit import pointwise as pointwise_module
from pipeline.fit.fused_sirens import TARGETS, SirenKernel, compile_kernel, siren_kernel
from pipeline.fit.pointwise import PointwiseProblem, compiled
from pipeline.fit.problem import generator_for
from pipeline.fit.sizing import NetworkSize
from pipeline.settings import DnaType, FitSettings
from tests.support.small_models import matrix_spec

KINDS: list[DnaType] = ["spectral", "hierarchical", "adaptive"]
ROUNDING = 2**-8
"""bfloat16 next to 1; the polynomials are ten times closer."""
SPEC = matrix_spec("a", 30, 40)


@pytest.fixture(
    scope="module",
    params=[*TARGETS, (*TARGETS[1], "-mno-avx512bf16")],
    ids=["matrix unit", "this machine's vectors", "any machine", "vectors without bfloat16"],
)
def kernel(request: pytest.FixtureRequest) -> SirenKernel:
    """Compiled in each of the ways that this machine can run."""
    if shutil.which("cc") is None:
        pytest.skip("no C compiler")
    found = compile_kernel(request.param)
    if found is None and request.param:
        pytest.skip("not for this compiler or machine")
    assert found is not None
    return found


@pytest.fixture
def used(kernel: SirenKernel, monkeypatch: pytest.MonkeyPatch) -> SirenKernel:
    """The kernel that fits are given."""
    monkeypatch.setattr(pointwise_module, "siren_kernel", lambda: kernel)
    return kernel


def problem(kind: DnaType, *, num_slots: int = 2, **changes: Any) -> tuple[PointwiseProblem, FitSettings]:
    """Noise to be fitted, 1,000 points a step."""
    settings = FitSettings(**{"dna_type": kind, "batch_size": 1000, "precision": "bf16", "compile": "on"} | changes)
    values = torch.randn(num_slots, SPEC.num_weights, generator=generator_for(1))
    return PointwiseProblem(values, [SPEC], settings, with_place=True), settings


def losses_and_gradients(made: PointwiseProblem, net: nn.Module, *, autocast: bool) -> tuple[Tensor, list[Tensor]]:
    net.zero_grad()
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
        losses = made.loss(net, generator_for(2))
    losses.sum().backward()
    return losses.detach(), [parameter.grad.clone() for parameter in net.parameters() if parameter.grad is not None]


def build(made: PointwiseProblem, settings: FitSettings, width: int = 20, num_layers: int = 3) -> nn.Module:
    shape = NetworkSize(hidden_dim=width, num_layers=num_layers)
    return made.build(shape, settings, [generator_for(slot) for slot in range(made.num_slots)])


@pytest.mark.parametrize("scale", [0.1, 1.0, 100.0])
def test_waves_are_sine_and_slope_of_angles_in_turns(kernel: SirenKernel, scale: float) -> None:
    turns = torch.randn(7 * 16, generator=generator_for(0)) * scale
    sine, slope = kernel.waves(turns)
    radians = turns.double() * 2 * np.pi
    torch.testing.assert_close(sine.double(), radians.sin(), atol=ROUNDING, rtol=0)
    torch.testing.assert_close(slope.double(), 2 * np.pi * radians.cos(), atol=2 * np.pi * ROUNDING, rtol=0)


def test_what_is_no_number_stays_none(kernel: SirenKernel) -> None:
    sine, slope = kernel.waves(torch.tensor([np.nan, np.inf, -np.inf] + [0.0] * 13))
    for found in (sine, slope):
        assert found.isnan().tolist() == [True] * 3 + [False] * 13


@pytest.mark.parametrize(("width", "num_layers"), [(1, 1), (20, 1), (16, 2), (20, 3), (75, 4), (130, 2)])
@pytest.mark.parametrize("kind", KINDS)
def test_losses_and_gradients_are_those_of_the_network(
    used: SirenKernel, kind: DnaType, width: int, num_layers: int
) -> None:
    made, settings = problem(kind)
    net = build(made, settings, width, num_layers)
    assert made.kernel is used
    fused, fused_gradients = losses_and_gradients(made, net, autocast=True)
    made.kernel = None
    exact, gradients = losses_and_gradients(made, net, autocast=False)
    torch.testing.assert_close(fused, exact, atol=1e-3, rtol=0)
    for found, true in zip(fused_gradients, gradients, strict=True):
        assert float((found - true).norm()) <= 0.1 * float(true.norm()) + 1e-6


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_are_closer_than_those_of_plain_autocast(used: SirenKernel, kind: DnaType) -> None:
    made, settings = problem(kind)
    net = build(made, settings, 64)
    _, fused = losses_and_gradients(made, net, autocast=True)
    made.kernel = None
    _, plain = losses_and_gradients(made, net, autocast=True)
    _, exact = losses_and_gradients(made, net, autocast=False)
    errors = [
        sum(float((g - e).norm() / e.norm()) for g, e in zip(found, exact, strict=True)) for found in (fused, plain)
    ]
    assert errors[0] < errors[1]


@pytest.mark.parametrize("kind", KINDS)
def test_a_step_gives_the_same_bits_again_on_any_number_of_threads(
    used: SirenKernel, kind: DnaType, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, settings = problem(kind)
    net = build(made, settings)
    made.shard_size = 300
    found = []
    for threads in (1, 1, 2, 3):
        monkeypatch.setattr("pipeline.fit.sharded_loss.num_cores", lambda count=threads: count)
        losses, gradients = losses_and_gradients(made, net, autocast=True)
        found.append([losses, *gradients])
    for other in found[1:]:
        assert all(torch.equal(left, right) for left, right in zip(found[0], other, strict=True))


def test_a_diverged_network_has_no_loss(used: SirenKernel) -> None:
    made, settings = problem("hierarchical")
    net = build(made, settings)
    with torch.no_grad():
        next(net.parameters())[0] = np.nan
    losses, _ = losses_and_gradients(made, net, autocast=True)
    assert losses.isnan().tolist() == [True, False]


# When.


def test_short_fits_do_without_and_long_ones_are_compiled(used: SirenKernel) -> None:
    for epochs, is_compiled in ((1, False), (10**6, True)):
        made, settings = problem("spectral", compile="auto", epochs=epochs)
        build(made, settings)
        assert (made.kernel is used) == is_compiled


@pytest.mark.parametrize("changes", [{"compile": "off"}, {"precision": "fp32"}, {"precision": "fp16"}])
def test_compiled_layers_are_for_bf16_and_for_those_who_want_them(changes: dict[str, Any]) -> None:
    made, settings = problem("spectral", **changes)
    build(made, settings)
    assert made.kernel is None


def test_fp16_goes_back_through_the_scaled_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    """Gradients found on the way forward would have lost their small parts before they are scaled."""
    monkeypatch.setattr(pointwise_module, "with_gradients", None)
    made, settings = problem("spectral", precision="fp16")
    net = build(made, settings)
    with torch.autocast("cpu", dtype=torch.float16):
        losses = made.loss(net, generator_for(2))
    (losses.sum() * 2**20).backward()
    assert all(parameter.grad.any() for parameter in net.parameters() if parameter.grad is not None)


@pytest.mark.parametrize(("autocast", "tolerance"), [(False, 1e-4), (True, 0.05)])
@pytest.mark.parametrize("kind", ["spectral", "hierarchical", "adaptive"])
def test_what_torch_compiles_for_a_gpu_is_one_graph_of_the_same_losses(
    kind: DnaType, autocast: bool, tolerance: float
) -> None:
    """Traced and differentiated on a CPU; what a GPU's compiler makes of the graph is not tested here."""
    made, settings = problem(kind, compile="off")
    made.is_sharded = False
    net = build(made, settings)
    expected, gradients = losses_and_gradients(made, net, autocast=autocast)
    made.losses = compiled(made.point_losses, backend="aot_eager")
    losses, found = losses_and_gradients(made, net, autocast=autocast)
    torch.testing.assert_close(losses, expected, rtol=tolerance / 100, atol=0)
    for ours, plain in zip(found, gradients, strict=True):
        assert (ours - plain).abs().max() <= tolerance * plain.abs().max()


def test_a_compiler_of_torch_that_fails_says_what_to_do() -> None:
    def fail(graph: object, inputs: object) -> None:
        raise OSError("There is no compiler.")

    made, settings = problem("spectral", compile="off")
    losses = compiled(made.point_losses, backend=fail)
    with pytest.raises(SettingsError, match="torch's compiler failed") as raised:
        losses(build(made, settings), torch.arange(10))
    assert "leave `--compile` out" in raised.value.hint and "\n" not in str(raised.value)


@pytest.fixture
def without_compiler(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CC", str(tmp_path / "no-such-compiler"))
    monkeypatch.setattr(pointwise_module, "siren_kernel", siren_kernel.__wrapped__)


@pytest.mark.usefixtures("without_compiler")
def test_without_a_compiler_auto_goes_on_and_on_says_what_to_do() -> None:
    made, settings = problem("spectral", compile="auto", epochs=10**6)
    assert torch.isfinite(made.loss(build(made, settings), generator_for(0))).all()
    made, settings = problem("spectral", compile="on")
    with pytest.raises(SettingsError, match="no C compiler") as raised:
        build(made, settings)
    assert "CC" in raised.value.hint


def test_a_compiler_that_fails_is_as_good_as_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    compiler = tmp_path / "cc"
    compiler.write_text("#!/bin/sh\nexit 1\n")
    compiler.chmod(0o755)
    monkeypatch.setenv("CC", str(compiler))
    assert siren_kernel.__wrapped__() is None
