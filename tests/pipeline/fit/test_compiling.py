"""Compiled losses: those of the network, forward and back; what happens where the compiler does not work."""

import logging
import shutil
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dna_zoo.errors import SettingsError
from pipeline.fit import compiling, pointwise
from pipeline.fit.compiling import PointLosses, compiled
from pipeline.fit.pointwise import PointwiseProblem
from pipeline.fit.problem import generator_for
from pipeline.fit.sizing import NetworkSize
from pipeline.settings import DnaType, FitSettings
from tests.support.small_models import matrix_spec
from tests.support.training import draw

pytestmark = pytest.mark.slow

SPEC = matrix_spec("a", 30, 40)


def problem(kind: DnaType, **changes: Any) -> tuple[PointwiseProblem, FitSettings]:
    """Noise to be fitted in two slots, 1,000 points a step."""
    settings = FitSettings(**{"dna_type": kind, "batch_size": 1000, "compile": "on"} | changes)
    values = torch.randn(2, SPEC.num_weights, generator=generator_for(1))
    return PointwiseProblem(values, [SPEC], settings, with_place=True), settings


def build(made: PointwiseProblem, settings: FitSettings) -> nn.Module:
    return made.build(NetworkSize(hidden_dim=20, num_layers=3), settings, [generator_for(slot) for slot in range(2)])


def losses_and_gradients(
    made: PointwiseProblem, net: nn.Module, precision: str = "fp32"
) -> tuple[Tensor, list[Tensor]]:
    net.zero_grad()
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bf16"):
        losses = made.loss(net, draw(2))
    losses.sum().backward()
    return losses.detach(), [parameter.grad.clone() for parameter in net.parameters() if parameter.grad is not None]


def assert_close(found: tuple[Tensor, list[Tensor]], expected: tuple[Tensor, list[Tensor]], tolerance: float) -> None:
    torch.testing.assert_close(found[0], expected[0], rtol=tolerance / 10, atol=0)
    for ours, plain in zip(found[1], expected[1], strict=True):
        assert float((ours - plain).norm()) <= tolerance * float(plain.norm()) + 1e-6


@pytest.fixture
def traced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Torch traces and differentiates as always, but makes no kernels, which takes many seconds."""
    monkeypatch.setattr(
        pointwise, "compiled", lambda *given, **options: compiled(*given, **options, backend="aot_eager")
    )


@pytest.mark.usefixtures("traced")
@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")
@pytest.mark.parametrize("kind", ["hierarchical", "adaptive"])
def test_a_traced_network_has_the_same_losses_and_gradients(kind: DnaType) -> None:
    made, settings = problem(kind, compile="off")
    net = build(made, settings)
    expected = losses_and_gradients(made, net)
    made, settings = problem(kind)
    build(made, settings)
    assert_close(losses_and_gradients(made, net), expected, 1e-4)
    assert made.full_shard_losses != made.point_losses


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")
@pytest.mark.skipif(shutil.which("g++") is None, reason="no C++ compiler")
def test_compiled_passes_are_those_of_the_network_on_any_number_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pointwise, "POINTS_PER_SHARD", 300)
    made, settings = problem("hierarchical", precision="bf16")
    net = build(made, settings)
    assert made.shard_size == 250
    found = []
    for threads in (1, 2, 2):
        monkeypatch.setattr("pipeline.fit.sharded_loss.num_cores", lambda count=threads: count)
        found.append(losses_and_gradients(made, net, "bf16"))
    assert made.full_shard_losses != made.point_losses
    for losses, gradients in found[1:]:
        assert torch.equal(losses, found[0][0])
        assert all(torch.equal(left, right) for left, right in zip(gradients, found[0][1], strict=True))
    plain, settings = problem("hierarchical", compile="off")
    build(plain, settings)
    assert_close(found[0], losses_and_gradients(plain, net), 0.1)


# When.


@pytest.mark.parametrize(
    ("changes", "is_to_compile"),
    [
        ({"compile": "on"}, True),
        ({"compile": "auto", "epochs": 1}, False),
        ({"compile": "auto", "epochs": 10**6}, True),
        ({"compile": "off", "epochs": 10**6}, False),
    ],
)
def test_long_fits_are_compiled_and_short_ones_are_not(changes: dict[str, Any], is_to_compile: bool) -> None:
    made, settings = problem("spectral", **changes)
    build(made, settings)
    assert made.is_to_compile == is_to_compile


def test_fp16_goes_back_through_the_scaled_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    """Gradients found on the way forward would have lost their small parts before they are scaled."""
    monkeypatch.setattr(pointwise, "with_gradients", None)
    made, settings = problem("spectral", precision="fp16", compile="off")
    net = build(made, settings)
    with torch.autocast("cpu", dtype=torch.float16):
        losses = made.loss(net, draw(2))
    (losses.sum() * 2**20).backward()
    assert all(parameter.grad.any() for parameter in net.parameters() if parameter.grad is not None)


def _run(net: nn.Module, index: Tensor, losses: PointLosses) -> Tensor:
    return losses(net, index)


def test_there_is_a_graph_for_each_of_many_problems() -> None:
    """Torch refuses to compile one function for many."""
    for _ in range(10):
        made, settings = problem("spectral", compile="off")
        net, index = build(made, settings), torch.arange(10)
        losses = compiled(made.point_losses, partial(_run, net, index), must=True, backend="eager")
        assert torch.equal(losses(net, index), made.point_losses(net, index))


# Where the compiler does not work.


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(graph: object, inputs: object) -> None:
        raise OSError("There is no compiler.")

    monkeypatch.setattr(pointwise, "compiled", lambda *given, **options: compiled(*given, **options, backend=fail))
    compiling._tell_once.cache_clear()


@pytest.mark.usefixtures("broken")
def test_without_a_compiler_auto_goes_on_and_says_so_once(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        for _ in range(2):
            made, settings = problem("spectral", compile="auto", epochs=10**6)
            assert torch.isfinite(made.loss(build(made, settings), draw(0))).all()
    assert len([line for line in caplog.messages if "without it" in line]) == 1


@pytest.mark.usefixtures("broken")
def test_without_a_compiler_on_says_what_to_do() -> None:
    made, settings = problem("spectral")
    with pytest.raises(SettingsError, match="torch's compiler failed: There is no compiler") as raised:
        made.loss(build(made, settings), draw(0))
    assert "leave `--compile` out" in raised.value.hint and "\n" not in str(raised.value)


@pytest.mark.usefixtures("traced")
@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")
def test_an_error_of_the_loss_is_not_blamed_on_the_compiler() -> None:
    made, settings = problem("spectral")
    net = build(made, settings)
    made.values = made.values[:1, :3]
    with pytest.raises(IndexError):
        made.loss(net, draw(0))
