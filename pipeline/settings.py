"""Settings of the pipeline: frozen, validated when made; with the weights, all that a result depends on."""

import functools
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import Field, asdict, dataclass, field, fields, replace
from types import NoneType
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from dna_zoo.errors import SettingsError, did_you_mean

__all__ = [
    "PRESETS",
    "RATE_BESIDE_ADAM",
    "AdapterUse",
    "AnalysisSettings",
    "Compile",
    "DnaType",
    "FitSettings",
    "MineSettings",
    "Optimizer",
    "Order",
    "Precision",
    "Range",
    "Schedule",
    "Scope",
    "Setting",
    "Split",
    "fit_settings",
    "make_settings",
    "preset",
]

AdapterUse = Literal["merged", "delta"]
DnaType = Literal["separable", "spectral", "hierarchical", "adaptive"]
Scope = Literal["tensor", "model"]
Order = Literal["raw", "seriated"]
Precision = Literal["fp32", "bf16", "fp16", "auto", "bf16-on-cuda"]
Compile = Literal["auto", "on", "off"]
Split = Literal["even", "gain"]
Optimizer = Literal["sgd", "rmsprop", "adam", "adamw", "muon"]
Schedule = Literal["constant", "cosine", "cosine-restarts", "one-cycle", "plateau"]


DEVICE_NAMES = r"auto|cpu|cuda(:\d{1,3})?"
LARGEST_SEED = 2**63 - 1
"""What a database keeps."""
Kind = TypeVar("Kind")


@dataclass(frozen=True, slots=True)
class Range:
    """Values that a setting may have besides None."""

    contains: Callable[[float], bool]
    says: str
    """What to give, as an error's hint ends with it."""


SHARE = Range(lambda value: 0 < value <= 1, "a share in (0, 1]")
POSITIVE = Range(lambda value: 0 < value < math.inf, "a positive number")
NOT_NEGATIVE = Range(lambda value: 0 <= value < math.inf, "0 or a positive number")
BELOW_ONE = Range(lambda value: 0 <= value < 1, "a number in [0, 1)")
FROM_0 = Range(lambda value: value >= 0, "an integer of at least 0")
FROM_1 = Range(lambda value: value >= 1, "an integer of at least 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What is known of a setting of the fit. Validation, options of the commands and documents follow from it."""

    name: str
    help: str
    """Plain sentences; the first is what `--help` shows."""
    kind: type
    """int, float or str."""
    choices: tuple[str, ...]
    """The names that it may have; empty for numbers."""
    range: Range | None
    """What numbers it may have."""
    default: Any

    @property
    def option(self) -> str:
        """As it is written on the command line."""
        return "--" + self.name.replace("_", "-")


def _setting(default: Kind, help: str, range: Range | None = None) -> Kind:
    """A field of `FitSettings`; `None` as a value means that something else decides."""
    found: Kind = field(default=default, metadata={"help": help, "range": range})
    return found


def _require(condition: bool, message: str, hint: str) -> None:
    if not condition:
        raise SettingsError(message, hint=hint)


@dataclass(frozen=True, slots=True, kw_only=True)
class FitSettings:
    """How a DNA is fitted.

    `hidden_dim`, `num_layers` and `rank` left None are chosen from `budget`. An epoch is one pass over the weights: for
    `separable` that is one full-batch step.
    """

    dna_type: DnaType = _setting("separable", "Kind of coordinate network.")
    scope: Scope = _setting("tensor", "One DNA for each tensor, or one for the model.")
    order: Order = _setting("seriated", "Rows and columns as stored, or in canonical order.")
    budget: float = _setting(0.01, "Parameters of the DNA as a share of the weights it stands for.", SHARE)
    split: Split = _setting(
        "gain",
        "How the budget is shared out over tensors with a separable DNA each: by their weights (even), or to where"
        " their singular values, beside those of their nulls, say that it gains most (gain). A given width or rank is"
        " the same for all.",
    )
    hidden_dim: int | None = _setting(None, "Width of the network. Default: by the budget.", FROM_1)
    num_layers: int | None = _setting(None, "Sine layers of the network. Default: by the budget.", FROM_1)
    rank: int | None = _setting(None, "Rank of a separable DNA. Default: by the budget.", FROM_1)
    max_parameters: int = _setting(
        20_000,
        "Most parameters of one DNA that is sized by the budget. It keeps large embeddings affordable.",
        FROM_1,
    )
    omega: float = _setting(
        30.0,
        "First-layer frequency of the pointwise kinds, in radians per unit of a coordinate.",
        POSITIVE,
    )
    bandwidth: float = _setting(
        1.0,
        "Factor on the first-layer frequency of a separable DNA. The frequency is this times the Nyquist frequency of"
        " the axis over the square of the numbers that one parameter stands for.",
        POSITIVE,
    )
    epochs: int = _setting(400, "Passes over the weights.", FROM_1)
    batch_size: int = _setting(8192, "Weights in a step of a pointwise kind.", FROM_1)
    accumulate: int = _setting(
        1,
        "Batches of a pointwise kind whose mean gradient makes one step of the optimiser. A separable DNA sees whole"
        " matrices at every step, so it takes no other value than 1.",
        FROM_1,
    )
    optimizer: Optimizer = _setting(
        "adam",
        "Optimiser. Muon takes the weights between two layers, and AdamW the others.",
    )
    learning_rate: float = _setting(
        1e-2,
        "Largest learning rate of the schedule. Default: the preset's, scaled for the optimiser (5 times Adam's for"
        " sgd, a fifth for rmsprop).",
        POSITIVE,
    )
    momentum: float | None = _setting(
        None,
        "Momentum of sgd, muon or rmsprop. Default: 0.9, 0.95 and 0. The other optimisers have their own averages.",
        BELOW_ONE,
    )
    weight_decay: float = _setting(
        0.0,
        "Weight decay: decoupled from the gradient in adamw and muon, a part of it in the others.",
        NOT_NEGATIVE,
    )
    schedule: Schedule = _setting(
        "cosine",
        "Schedule of the learning rate. cosine-restarts goes down three times, each twice as long as the one before;"
        " plateau halves the rate of a network that has not improved for a fortieth of the epochs.",
    )
    warmup: float | None = _setting(
        None,
        "Share of the fit in which the learning rate rises. Default: 0.05 for cosines, 0.3 for one-cycle, 0 for the"
        " others.",
        BELOW_ONE,
    )
    clip_norm: float = _setting(1.0, "Largest norm of a network's gradient; larger ones are scaled down.", POSITIVE)
    precision: Precision = _setting(
        "fp32",
        "Number format of the network in training. auto: bf16 for a pointwise kind where the device has it, else fp32."
        " bf16-on-cuda: that on CUDA, and fp32 on every CPU; the preset reference has it. By every preset a pointwise"
        " kind is trained in bf16 on CUDA.",
    )
    compile: Compile = _setting(
        "auto",
        "Whether torch compiles the losses of a pointwise kind. auto: where the fit is long enough to gain by it, and"
        " the compiler works.",
    )
    patience: int = _setting(
        0,
        "Epochs without improvement before a fit stops; 0 never stops early. With the schedule plateau, give more than"
        " a fortieth of the epochs.",
        FROM_0,
    )
    num_nulls: int = _setting(
        1, "Copies, shuffled and with their means kept, that are ordered and fitted in the same way.", FROM_0
    )
    num_moves: int = _setting(
        3,
        "Times in a separable fit of seriated matrices that rows and columns are moved to where the network holds them"
        " best.",
        FROM_0,
    )
    checkpoint_every: int = _setting(100, "Epochs between the checkpoints that a killed fit goes on from.", FROM_1)

    def __post_init__(self) -> None:
        for setting in fit_settings():
            _check(setting, getattr(self, setting.name))
        _require(
            self.momentum is None or self.optimizer in _WITH_MOMENTUM,
            f"`momentum` is {self.momentum}, and `{self.optimizer}` keeps its own averages.",
            f"Leave it out, or use one of: {', '.join(_WITH_MOMENTUM)}.",
        )
        _require(
            self.accumulate == 1 or self.dna_type != "separable",
            f"`accumulate` is {self.accumulate}, and a separable DNA sees whole matrices at every step:"
            " there is nothing to accumulate.",
            "Leave it at 1, or take a pointwise kind: `--dna-type spectral`.",
        )


_WITH_MOMENTUM = ("sgd", "rmsprop", "muon")


@functools.cache
def fit_settings() -> tuple[Setting, ...]:
    """The table of the fit's settings, in the order of `FitSettings`."""
    hints = get_type_hints(FitSettings)
    return tuple(_described(each, hints[each.name]) for each in fields(FitSettings))


def _described(each: Field[Any], annotation: Any) -> Setting:
    choices = get_args(annotation) if get_origin(annotation) is Literal else ()
    kind = str if choices else next(each for each in (get_args(annotation) or (annotation,)) if each is not NoneType)
    return Setting(
        name=each.name,
        help=each.metadata["help"],
        kind=kind,
        choices=choices,
        range=each.metadata["range"],
        default=each.default,
    )


def _check(setting: Setting, value: Any) -> None:
    """Raise `SettingsError` for a value that the setting may not have."""
    if setting.choices:
        hint = f"Use one of: {', '.join(setting.choices)}."
        _require(value in setting.choices, f"`{setting.name}` cannot be {value!r}.", hint)
    elif setting.range is not None and value is not None:
        _require(setting.range.contains(value), f"`{setting.name}` is {value}.", f"Give {setting.range.says}.")


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
    allow_partial: bool = False

    def __post_init__(self) -> None:
        _require(
            0 <= self.seed <= LARGEST_SEED, f"`seed` is {self.seed}.", f"Give an integer from 0 to {LARGEST_SEED}."
        )
        _require(
            not self.device.startswith("mps"),
            "`--device mps` is not supported: a fit keeps exact sums in float64, which MPS does not have.",
            "Use `--device cpu`.",
        )
        _require(
            re.fullmatch(DEVICE_NAMES, self.device) is not None,
            f"`device` cannot be {self.device!r}.",
            "Use one of: auto, cpu, cuda, cuda:N (N from 0).",
        )

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
        precision="bf16-on-cuda",
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


def make_settings(
    name: str,
    *,
    nulls: int | None,
    device: str,
    seed: int,
    allow_nonfinite: bool = False,
    allow_partial: bool = False,
    **fit: Any,
) -> MineSettings:
    """All settings of a mining: what is None is the preset's; `nulls` holds for fit and analysis.

    Raises `SettingsError` for a value out of its range, and for a setting that there is not.
    """
    known = [setting.name for setting in fit_settings()]
    for unknown in (each for each in fit if each not in known):
        hint = did_you_mean(unknown, known) or "`pipeline.settings.FitSettings` has them all."
        raise SettingsError(f"There is no setting {unknown!r}.", hint=hint)
    chosen = preset(name, num_nulls=nulls, **fit)
    analysis = AnalysisSettings() if nulls is None else AnalysisSettings(num_nulls=nulls)
    return MineSettings(
        preset=name,
        fit=chosen,
        analysis=analysis,
        device=device,
        seed=seed,
        allow_nonfinite=allow_nonfinite,
        allow_partial=allow_partial,
    )
