"""Small trainings for tests: a problem and a stack of known size, kills, planted waves."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from pipeline.fit.draws import HostDraws
from pipeline.fit.prepare import PreparedProblem, prepare
from pipeline.fit.problem import Draw, Problem, generator_for
from pipeline.fit.sizing import NetworkSize
from pipeline.fit.trainer import Trainer, TrainResult
from pipeline.nulls import ordinals_of
from pipeline.settings import FitSettings
from tests.support.fitting import Float32
from tests.support.small_models import matrix_spec

CPU = torch.device("cpu")
SIZE = NetworkSize(hidden_dim=16, num_layers=2, rank=4)


class Killed(Exception):
    """Stands in for a kill."""


def draw(step: int = 0, seed: int = 0) -> Draw:
    """What a step of a fit on the CPU draws."""
    return HostDraws(seed, CPU).at(step, torch.tensor(step))


def prepare_all(settings: FitSettings, *matrices: Float32, device: torch.device = CPU) -> PreparedProblem:
    """These matrices, called a, b, ..., ready to be fitted."""
    values = dict(zip("abcdef", matrices, strict=False))
    specs = [matrix_spec(name, *matrix.shape) for name, matrix in values.items()]
    return prepare(
        specs,
        lambda spec: values[spec.name],
        settings,
        seed=0,
        ordinals=ordinals_of(specs),
        device=device,
    )


def prepared(settings: FitSettings, *matrices: Float32) -> Problem:
    """The problem of fitting these matrices of one shape."""
    return prepare_all(settings, *matrices).problem


def trainer(
    settings: FitSettings, *matrices: Float32, steps: int | None = None, size: NetworkSize = SIZE, **more: Any
) -> Trainer:
    problem = prepared(settings, *matrices)
    net = problem.build(size, settings, [generator_for(0, slot) for slot in range(problem.num_slots)])
    labels = [f"slot {slot}" for slot in range(problem.num_slots)]
    total = settings.epochs * problem.steps_per_epoch if steps is None else steps
    return Trainer(problem, net, settings, seed=0, labels=labels, num_real=len(matrices), total_steps=total, **more)


def state(net: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in net.state_dict().items()}


def assert_same(left: Mapping[str, torch.Tensor], right: Mapping[str, torch.Tensor]) -> None:
    for name, value in left.items():
        assert torch.equal(value, right[name]), name


def kill_at(step: int) -> Callable[[int], None]:
    def on_step(done: int) -> None:
        if done == step:
            raise Killed

    return on_step


def killed_and_resumed(
    settings: FitSettings, matrix: Float32, *, at: int, directory: Path
) -> tuple[Trainer, TrainResult]:
    """A training that was killed after step `at`, and what it came to when it went on."""
    checkpoint = directory / "train.pt"
    with pytest.raises(Killed):
        trainer(settings, matrix, checkpoint=checkpoint, on_step=kill_at(at)).run()
    resumed = trainer(settings, matrix, checkpoint=checkpoint)
    return resumed, resumed.run()


def wave(rows: int = 24, cols: int = 20) -> Float32:
    x, y = torch.linspace(0, 6.0, rows)[:, None], torch.linspace(0, 4.0, cols)[None, :]
    return (torch.sin(x) * torch.cos(y)).numpy()
