"""What a search may vary, kind by kind, and in which range."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pipeline.settings import FitSettings

if TYPE_CHECKING:
    from optuna.trial import BaseTrial

__all__ = ["SPACES", "Choice", "Range", "settings_of", "suggest"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """Numbers from `low` to `high`, both included; whole ones if both are `int`."""

    low: float
    high: float
    log: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One of a few numbers whose order says little, or whose steps are coarse."""

    values: tuple[int, ...]


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


def suggest(trial: "BaseTrial", dna_type: str) -> dict[str, Any]:
    """Values for every setting that the search varies."""
    return {name: _suggest_one(trial, name, domain) for name, domain in SPACES[dna_type].items()}


def _suggest_one(trial: "BaseTrial", name: str, domain: Range | Choice) -> float:
    if isinstance(domain, Choice):
        return int(trial.suggest_categorical(name, domain.values))
    if isinstance(domain.low, int) and isinstance(domain.high, int):
        return trial.suggest_int(name, domain.low, domain.high, log=domain.log)
    return trial.suggest_float(name, domain.low, domain.high, log=domain.log)


def settings_of(base: FitSettings, values: Mapping[str, Any]) -> FitSettings:
    """The settings of one trial. Raises `SettingsError` where they contradict each other."""
    return replace(base, **values)
