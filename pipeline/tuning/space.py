"""What a search may vary, kind by kind, and in which range."""

from collections.abc import Mapping
from typing import Any, get_args

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from pipeline.settings import RATE_BESIDE_ADAM, FitSettings, Optimizer, Schedule

__all__ = ["SPACES", "TRAINING", "space_of", "values_of"]

Space = Mapping[str, BaseDistribution]
"""Field of `FitSettings` -> what it may be, ends included."""

_POINTWISE: Space = {
    "hidden_dim": IntDistribution(low=16, high=128, log=True),
    "num_layers": IntDistribution(low=2, high=5),
    "omega": FloatDistribution(low=8.0, high=128.0, log=True),
    "learning_rate": FloatDistribution(low=1e-4, high=1e-2, log=True),
    "batch_size": CategoricalDistribution(choices=(4096, 8192, 32768)),
    "epochs": CategoricalDistribution(choices=(5, 10, 20)),
}
SPACES: Mapping[str, Space] = {
    "separable": {
        "rank": IntDistribution(low=2, high=48, log=True),
        "num_layers": IntDistribution(low=1, high=3),
        "bandwidth": FloatDistribution(low=0.25, high=4.0, log=True),
        "learning_rate": FloatDistribution(low=1e-3, high=5e-2, log=True),
        "epochs": CategoricalDistribution(choices=(100, 200, 400, 800)),
    },
    "spectral": _POINTWISE,
    "hierarchical": _POINTWISE,
    "adaptive": _POINTWISE,
}
"""Of `separable` the width follows from the rank and the budget, which is the user's; nothing else is left open."""
TRAINING: Space = {
    "optimizer": CategoricalDistribution(choices=get_args(Optimizer)),
    "schedule": CategoricalDistribution(choices=get_args(Schedule)),
}
"""What a search varies as well if it is asked to."""


def space_of(base: FitSettings, *, with_training: bool = False) -> dict[str, BaseDistribution]:
    """Every setting that the search varies, those of `TRAINING` among them if asked."""
    return {**SPACES[base.dna_type], **(TRAINING if with_training else {})}


def values_of(parameters: Mapping[str, Any], base: FitSettings) -> dict[str, Any]:
    """The settings that a trial's parameters stand for.

    The trial itself has the learning rate that Adam would have, so that what was learnt of one optimiser is of use for
    another; the value is that rate scaled for the trial's optimiser.
    """
    scale = RATE_BESIDE_ADAM[parameters.get("optimizer", base.optimizer)]
    return {**parameters, "learning_rate": parameters["learning_rate"] * scale}
