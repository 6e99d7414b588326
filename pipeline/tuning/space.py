"""What a search may vary, kind by kind, and in which range."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, get_args

from pipeline.settings import RATE_BESIDE_ADAM, FitSettings, Optimizer, Schedule

if TYPE_CHECKING:
    from optuna.trial import BaseTrial

__all__ = ["SPACES", "TRAINING", "Choice", "Range", "settings_of", "suggest"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """Numbers from `low` to `high`, both included; whole ones if both are `int`."""

    low: float
    high: float
    log: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One of a few names, or of a few numbers whose order says little, or whose steps are coarse."""

    values: tuple[int | str, ...]


Space = Mapping[str, Range | Choice]
"""Field of `FitSettings` -> what it may be."""

_POINTWISE: Space = {
    "hidden_dim": Range(low=16, high=128, log=True),
    "num_layers": Range(low=2, high=5),
    "omega": Range(low=8.0, high=128.0, log=True),
    "learning_rate": Range(low=1e-4, high=1e-2, log=True),
    "batch_size": Choice(values=(4096, 8192, 32768)),
    "epochs": Choice(values=(5, 10, 20)),
}
SPACES: Mapping[str, Space] = {
    "separable": {
        "rank": Range(low=2, high=48, log=True),
        "num_layers": Range(low=1, high=3),
        "bandwidth": Range(low=0.25, high=4.0, log=True),
        "learning_rate": Range(low=1e-3, high=5e-2, log=True),
        "epochs": Choice(values=(100, 200, 400, 800)),
    },
    "spectral": _POINTWISE,
    "hierarchical": _POINTWISE,
    "adaptive": _POINTWISE,
}
"""Of `separable` the width follows from the rank and the budget, which is the user's; nothing else is left open."""
TRAINING: Space = {"optimizer": Choice(values=get_args(Optimizer)), "schedule": Choice(values=get_args(Schedule))}
"""What a search varies as well if it is asked to."""


def suggest(trial: "BaseTrial", base: FitSettings, *, with_training: bool = False) -> dict[str, Any]:
    """Values for every setting that the search varies, those of `TRAINING` among them if asked.

    The trial itself has the learning rate that Adam would have, so that what was learnt of one optimiser is of use for
    another; the value is that rate scaled for the trial's optimiser.
    """
    space = {**SPACES[base.dna_type], **(TRAINING if with_training else {})}
    values = {name: _suggest_one(trial, name, domain) for name, domain in space.items()}
    optimizer = values.get("optimizer", base.optimizer)
    return values | {"learning_rate": values["learning_rate"] * RATE_BESIDE_ADAM[optimizer]}


def _suggest_one(trial: "BaseTrial", name: str, domain: Range | Choice) -> Any:
    if isinstance(domain, Choice):
        return trial.suggest_categorical(name, domain.values)
    if isinstance(domain.low, int) and isinstance(domain.high, int):
        return trial.suggest_int(name, domain.low, domain.high, log=domain.log)
    return trial.suggest_float(name, domain.low, domain.high, log=domain.log)


def settings_of(base: FitSettings, values: Mapping[str, Any]) -> FitSettings:
    """The settings of one trial. Raises `SettingsError` where they contradict each other."""
    return replace(base, **values)
