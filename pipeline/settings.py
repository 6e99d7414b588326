"""Settings of the pipeline: frozen, validated when made; with the weights, all that a result depends on."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, get_args

from dna_zoo.errors import SettingsError

__all__ = [
    "PRESETS",
    "AnalysisSettings",
    "Compile",
    "DnaType",
    "FitSettings",
    "MineSettings",
    "Order",
    "Precision",
    "Scope",
    "preset",
]

DnaType = Literal["separable", "spectral", "hierarchical", "adaptive"]
Scope = Literal["tensor", "model"]
Order = Literal["raw", "seriated"]
Precision = Literal["fp32", "bf16", "fp16", "auto"]
Compile = Literal["auto", "on", "off"]
Schedule = Literal["constant", "cosine"]


_LEAST = {"epochs": 1, "batch_size": 1, "patience": 0, "num_nulls": 0, "checkpoint_every": 1, "max_parameters": 1}


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
    one parameter must stand for (see `pipeline.problem`)."""
    epochs: int = 400
    batch_size: int = 8192
    learning_rate: float = 1e-2
    schedule: Schedule = "cosine"
    clip_norm: float = 1.0
    """Largest gradient norm of one DNA; larger ones are scaled down to it."""
    precision: Precision = "fp32"
    """`auto` is bf16 for a pointwise kind where the device has it (`pipeline.fit.resolve_precision`), else fp32."""
    compile: Compile = "auto"
    """Whether a pointwise kind in bf16 on a CPU has its sine layers compiled (`pipeline.fused_sine`); `auto`: where the
    fit is long enough to pay for it and there is a C compiler."""
    patience: int = 0
    """Epochs without improvement before a fit stops; 0 never stops early."""
    num_nulls: int = 1
    """Shuffled and equally ordered copies the same fit is put through."""
    num_moves: int = 3
    """Times in a `separable` fit of seriated matrices that rows and columns are moved to the places along their axes
    where the network holds them best (`pipeline.problem`)."""
    checkpoint_every: int = 100
    """Epochs between the checkpoints that a killed fit goes on from."""

    def __post_init__(self) -> None:
        _require_choice("dna_type", self.dna_type, get_args(DnaType))
        _require_choice("scope", self.scope, get_args(Scope))
        _require_choice("order", self.order, get_args(Order))
        _require_choice("precision", self.precision, get_args(Precision))
        _require_choice("compile", self.compile, get_args(Compile))
        _require_choice("schedule", self.schedule, get_args(Schedule))
        _require(0 < self.budget <= 1, f"`budget` is {self.budget}.", "Give a share in (0, 1].")
        _require(self.learning_rate > 0, f"`learning_rate` is {self.learning_rate}.", "Give a positive number.")
        for name, least in (
            ("epochs", 1),
            ("batch_size", 1),
            ("patience", 0),
            ("num_nulls", 0),
            ("num_moves", 0),
            ("checkpoint_every", 0),
        ):
            value = getattr(self, name)
            _require(value >= least, f"`{name}` is {value}.", f"Give an integer of at least {least}.")
        for name in ("hidden_dim", "num_layers", "rank"):
            value = getattr(self, name)
            _require(value is None or value >= 1, f"`{name}` is {value}.", "Give an integer of at least 1.")


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


def preset(name: str, **changes: Any) -> FitSettings:
    """The preset called `name`, with every keyword that is not None put in its place.

    Where another kind is asked for than the preset's, and one is pointwise and the other is not, the training settings
    come from the quick way of that kind: a step and an epoch mean something else there.
    """
    if name not in PRESETS:
        raise SettingsError(f"Unknown preset {name!r}.", hint=f"Use one of: {', '.join(PRESETS)}.")
    base, given = PRESETS[name], {key: value for key, value in changes.items() if value is not None}
    asked = given.get("dna_type", base.dna_type)
    if (asked == "separable") != (base.dna_type == "separable"):
        source = PRESETS["quick"] if asked == "separable" else _POINTWISE
        given = {key: getattr(source, key) for key in _TRAINING} | given
    return replace(base, **given)
