"""Settings of the pipeline: frozen, validated when made; with the weights, all that a result depends on."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, get_args

from dna_zoo.errors import SettingsError

__all__ = [
    "PRESETS",
    "RATE_BESIDE_ADAM",
    "AnalysisSettings",
    "Compile",
    "DnaType",
    "FitSettings",
    "MineSettings",
    "Optimizer",
    "Order",
    "Precision",
    "Schedule",
    "Scope",
    "preset",
]

DnaType = Literal["separable", "spectral", "hierarchical", "adaptive"]
Scope = Literal["tensor", "model"]
Order = Literal["raw", "seriated"]
Precision = Literal["fp32", "bf16", "fp16", "auto"]
Compile = Literal["auto", "on", "off"]
Optimizer = Literal["sgd", "rmsprop", "adam", "adamw", "muon"]
Schedule = Literal["constant", "cosine", "cosine-restarts", "one-cycle", "plateau"]


_CHOICES = {
    "dna_type": DnaType,
    "scope": Scope,
    "order": Order,
    "precision": Precision,
    "compile": Compile,
    "optimizer": Optimizer,
    "schedule": Schedule,
}
_LEAST = {
    "epochs": 1,
    "batch_size": 1,
    "accumulate": 1,
    "patience": 0,
    "num_nulls": 0,
    "num_moves": 0,
    "checkpoint_every": 1,
    "max_parameters": 1,
}
_WITH_MOMENTUM = ("sgd", "rmsprop", "muon")


def _require(condition: bool, message: str, hint: str) -> None:
    if not condition:
        raise SettingsError(message, hint=hint)


def _require_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    _require(value in choices, f"`{name}` cannot be {value!r}.", f"Use one of: {', '.join(choices)}.")


@dataclass(frozen=True, slots=True, kw_only=True)
class FitSettings:
    """How a DNA is fitted.

    `hidden_dim`, `num_layers` and `rank` left None are chosen from `budget`, the DNA's parameters as a share of the
    weights it stands for. An epoch is one pass over the weights: for `separable` that is one full-batch step.
    """

    dna_type: DnaType = "separable"
    scope: Scope = "tensor"
    order: Order = "seriated"
    budget: float = 0.01
    hidden_dim: int | None = None
    num_layers: int | None = None
    rank: int | None = None
    max_parameters: int = 20_000
    """Most parameters of one DNA chosen from `budget`; keeps huge embeddings affordable."""
    omega: float = 30.0
    """First-layer frequency of the pointwise kinds, radians per unit of a coordinate; hidden layers of every kind."""
    bandwidth: float = 1.0
    """First-layer frequency of `separable`: this times the axis's Nyquist frequency over the square of the numbers that
    one parameter must stand for (see `pipeline.fit.problem`)."""
    epochs: int = 400
    batch_size: int = 8192
    accumulate: int = 1
    """Batches of a pointwise kind whose mean gradient makes one step of the optimiser."""
    optimizer: Optimizer = "adam"
    learning_rate: float = 1e-2
    """The largest of the schedule. `preset` scales it for the optimiser where it is not given."""
    momentum: float | None = None
    """Of `sgd`, `muon` and `rmsprop`; None: 0.9, 0.95 and 0. See `pipeline.fit.optimisers`."""
    weight_decay: float = 0.0
    """Of the networks' parameters: decoupled from the gradient in `adamw` and `muon`, a part of it in the others."""
    schedule: Schedule = "cosine"
    """What the learning rate does over the fit (`pipeline.fit.schedules`)."""
    warmup: float | None = None
    """Share of the fit that the rate rises for; None: what is usual for the schedule."""
    clip_norm: float = 1.0
    """Largest gradient norm of one DNA; larger ones are scaled down to it."""
    precision: Precision = "fp32"
    """`auto` is bf16 for a pointwise kind where the device has it (`resolve_precision`), else fp32."""
    compile: Compile = "auto"
    """Whether a pointwise kind in bf16 on a CPU is trained by compiled passes; `auto`: where the fit
    is long enough to pay for it and there is a C compiler. On CUDA `on` leaves the whole to torch's compiler,
    and `auto` is `off`."""
    patience: int = 0
    """Epochs without improvement before a fit stops; 0 never stops early."""
    num_nulls: int = 1
    """Shuffled and equally ordered copies the same fit is put through."""
    num_moves: int = 3
    """Times in a `separable` fit of seriated matrices that rows and columns are moved to the places along their axes
    where the network holds them best (`pipeline.fit.problem`)."""
    checkpoint_every: int = 100
    """Epochs between the checkpoints that a killed fit goes on from."""

    def __post_init__(self) -> None:
        for name, kind in _CHOICES.items():
            _require_choice(name, getattr(self, name), get_args(kind))
        _require(0 < self.budget <= 1, f"`budget` is {self.budget}.", "Give a share in (0, 1].")
        for name, least in _LEAST.items():
            value = getattr(self, name)
            _require(value >= least, f"`{name}` is {value}.", f"Give an integer of at least {least}.")
        for name in ("hidden_dim", "num_layers", "rank"):
            value = getattr(self, name)
            _require(value is None or value >= 1, f"`{name}` is {value}.", "Give an integer of at least 1.")
        self._check_training()

    def _check_training(self) -> None:
        for name in ("learning_rate", "clip_norm"):
            value = getattr(self, name)
            _require(0 < value < math.inf, f"`{name}` is {value}.", "Give a positive number.")
        decay, warmup, momentum = self.weight_decay, self.warmup, self.momentum
        _require(0 <= decay < math.inf, f"`weight_decay` is {decay}.", "Give 0 or a positive number.")
        _require(warmup is None or 0 <= warmup < 1, f"`warmup` is {warmup}.", "Give a share of the fit in [0, 1).")
        _require(momentum is None or 0 <= momentum < 1, f"`momentum` is {momentum}.", "Give a number in [0, 1).")
        _require(
            momentum is None or self.optimizer in _WITH_MOMENTUM,
            f"`momentum` is {momentum}, and `{self.optimizer}` keeps its own averages.",
            f"Leave it out, or use one of: {', '.join(_WITH_MOMENTUM)}.",
        )
        _require(
            self.accumulate == 1 or self.dna_type != "separable",
            f"`accumulate` is {self.accumulate}, and a separable DNA sees whole matrices at every step:"
            " there is nothing to accumulate.",
            "Leave it at 1, or take a pointwise kind: `--dna-type spectral`.",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class AnalysisSettings:
    """How statistics are taken."""

    num_nulls: int = 8
    max_rows: int = 4096
    """Matrices with more rows are analysed on a sample of this many rows, and say so."""

    def __post_init__(self) -> None:
        _require(self.num_nulls >= 0, f"`num_nulls` is {self.num_nulls}.", "Give an integer of at least 0.")
        _require(self.max_rows >= 2, f"`max_rows` is {self.max_rows}.", "Give an integer of at least 2.")


@dataclass(frozen=True, slots=True, kw_only=True)
class MineSettings:
    """All that the result of a mined model depends on besides its weights."""

    preset: str = "quick"
    fit: FitSettings = field(default_factory=FitSettings)
    analysis: AnalysisSettings = field(default_factory=AnalysisSettings)
    device: str = "cpu"
    seed: int = 0
    allow_nonfinite: bool = False

    def __post_init__(self) -> None:
        _require(self.seed >= 0, f"`seed` is {self.seed}.", "Give an integer of at least 0.")

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON, for keys and for the record."""
        return asdict(self)


PRESETS: Mapping[str, FitSettings] = {
    "quick": FitSettings(),
    "reference": FitSettings(
        dna_type="hierarchical",
        scope="model",
        hidden_dim=256,
        num_layers=5,
        epochs=100,
        batch_size=8192,
        learning_rate=1e-4,
    ),
    "thorough": FitSettings(budget=0.045, max_parameters=30_000, epochs=1600, num_nulls=2),
}
"""Named starting points; `dna-zoo mine --preset`. `reference` is the idea as it was born."""


_POINTWISE = FitSettings(
    dna_type="spectral",
    omega=70.0,
    epochs=10,
    learning_rate=2e-3,
    precision="auto",
    checkpoint_every=1,
)
"""From `benchmarks/pointwise.py`: higher frequencies learn too slowly, lower ones store more of the null."""
_TRAINING = ("omega", "epochs", "learning_rate", "schedule", "precision", "patience", "checkpoint_every")
RATE_BESIDE_ADAM: Mapping[Optimizer, float] = {"sgd": 5.0, "rmsprop": 0.2, "adam": 1.0, "adamw": 1.0, "muon": 1.0}
"""An optimiser's learning rate over that of Adam, which the presets hold; from `benchmarks/optimisers.py`."""


def preset(name: str, **changes: Any) -> FitSettings:
    """The preset called `name`, with every keyword that is not None put in its place.

    Where another kind is asked for than the preset's, and one is pointwise and the other is not, the training settings
    come from the quick way of that kind: a step and an epoch mean something else there. Where an optimiser is asked for
    and no learning rate, the preset's is scaled for it.
    """
    if name not in PRESETS:
        raise SettingsError(f"Unknown preset {name!r}.", hint=f"Use one of: {', '.join(PRESETS)}.")
    base, given = PRESETS[name], {key: value for key, value in changes.items() if value is not None}
    asked = given.get("dna_type", base.dna_type)
    if (asked == "separable") != (base.dna_type == "separable"):
        source = PRESETS["quick"] if asked == "separable" else _POINTWISE
        given = {key: getattr(source, key) for key in _TRAINING} | given
    settings = replace(base, **given)
    if changes.get("learning_rate") is not None:
        return settings
    ratio = RATE_BESIDE_ADAM[settings.optimizer] / RATE_BESIDE_ADAM[base.optimizer]
    return replace(settings, learning_rate=settings.learning_rate * ratio)
