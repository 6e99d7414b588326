"""The options of `mine` that say how to fit and measure, and the settings made of them."""

from pathlib import Path
from typing import Annotated, Any, get_args

import typer

from dna_zoo.errors import SettingsError
from pipeline.settings import (
    PRESETS,
    AnalysisSettings,
    Compile,
    DnaType,
    MineSettings,
    Optimizer,
    Order,
    Precision,
    Schedule,
    Scope,
    preset,
)

__all__ = ["FIT_OPTIONS", "make_settings"]

DEVICES = ("auto", "cpu", "cuda")
FIT_OPTIONS = (
    "dna_type",
    "scope",
    "order",
    "budget",
    "rank",
    "hidden_dim",
    "num_layers",
    "epochs",
    "batch_size",
    "accumulate",
    "optimizer",
    "learning_rate",
    "momentum",
    "weight_decay",
    "schedule",
    "warmup",
    "clip_norm",
    "precision",
    "compile",
    "patience",
    "checkpoint_every",
)
"""Parameters of the command that are settings of the fit under the same name."""
SOURCES, FIT, MEASURE = "Models", "Fit", "Measurement"


def _option(*names: str, panel: str, help: str, metavar: str | None = None) -> Any:
    """An option without a default of its own: the preset has it."""
    return typer.Option(*names, help=help, metavar=metavar, rich_help_panel=panel, show_default=False)


def _choice(kind: Any) -> str:
    """`a|b|c` of a Literal."""
    return "|".join(get_args(kind))


WeightsOption = Annotated[
    list[str] | None,
    _option("--weights", panel=SOURCES, metavar="KEY=PATH", help="Read KEY's weights from this file or directory."),
]
LocalOption = Annotated[
    list[Path] | None,
    _option("--local", panel=SOURCES, metavar="PATH", help="A file or directory that is no model of the zoo."),
]
LocalNamesOption = Annotated[
    list[str] | None, _option("--name", panel=SOURCES, metavar="KEY", help="What to call the --local before it.")
]
PresetOption = Annotated[
    str, typer.Option("--preset", metavar="|".join(PRESETS), help="Named settings to start from.", rich_help_panel=FIT)
]
DnaTypeOption = Annotated[
    str | None,
    _option("--dna-type", panel=FIT, metavar="KIND", help=f"Kind of coordinate network: {_choice(DnaType)}."),
]
ScopeOption = Annotated[
    str | None, _option("--scope", panel=FIT, metavar=_choice(Scope), help="One DNA for each tensor, or for the model.")
]
OrderOption = Annotated[
    str | None, _option("--order", panel=FIT, metavar=_choice(Order), help="Rows and columns as stored, or canonical.")
]
BudgetOption = Annotated[
    float | None, _option("--budget", panel=FIT, help="Parameters of the DNA as a share of the weights, in (0, 1].")
]
RankOption = Annotated[int | None, _option("--rank", panel=FIT, help="Of a separable DNA; default: by the budget.")]
HiddenDimOption = Annotated[int | None, _option("--hidden-dim", panel=FIT, help="Width; default: by the budget.")]
NumLayersOption = Annotated[int | None, _option("--num-layers", panel=FIT, help="Depth; default: by the budget.")]
EpochsOption = Annotated[int | None, _option("--epochs", panel=FIT, help="Passes over the weights.")]
BatchSizeOption = Annotated[int | None, _option("--batch-size", panel=FIT, help="Weights in a step.")]
AccumulateOption = Annotated[
    int | None,
    _option("--accumulate", panel=FIT, metavar="N", help="Batches of a pointwise kind in one step of the optimiser."),
]
OptimizerOption = Annotated[
    str | None, _option("--optimizer", panel=FIT, metavar=_choice(Optimizer), help="Default: adam.")
]
LearningRateOption = Annotated[
    float | None,
    _option(
        "--learning-rate", panel=FIT, help="The largest of the fit; default: the preset's, scaled for the optimiser."
    ),
]
MomentumOption = Annotated[
    float | None,
    _option("--momentum", panel=FIT, help="Of sgd, rmsprop or muon, in [0, 1); default: 0.9, 0 and 0.95."),
]
WeightDecayOption = Annotated[float | None, _option("--weight-decay", panel=FIT, help="Default: 0.")]
ScheduleOption = Annotated[
    str | None,
    _option("--schedule", panel=FIT, metavar=_choice(Schedule), help="Of the learning rate; default: cosine."),
]
WarmupOption = Annotated[
    float | None,
    _option(
        "--warmup",
        panel=FIT,
        help="Share of the fit that the rate rises for, in [0, 1);"
        " default: 0.05 for cosines, 0.3 for one-cycle, 0 for the others.",
    ),
]
ClipNormOption = Annotated[
    float | None, _option("--clip-norm", panel=FIT, help="Largest norm of a network's gradient; default: 1.")
]
PrecisionOption = Annotated[
    str | None, _option("--precision", panel=FIT, metavar=_choice(Precision), help="Of the network in training.")
]
CompileOption = Annotated[
    str | None,
    _option("--compile", panel=FIT, metavar=_choice(Compile), help="Passes of pointwise kinds; auto: bf16 on a CPU."),
]
PatienceOption = Annotated[
    int | None, _option("--patience", panel=FIT, help="Epochs without improvement before a fit stops; 0: never.")
]
CheckpointEveryOption = Annotated[
    int | None,
    _option(
        "--checkpoint-every", panel=FIT, metavar="N", help="Epochs between the checkpoints a killed fit goes on from."
    ),
]
NullsOption = Annotated[
    int | None,
    _option(
        "--nulls",
        panel=MEASURE,
        metavar="N",
        help="Shuffled copies that every fit and statistic is held against; z takes 2 or more."
        " Default: what the preset has for the fit, 8 for statistics.",
    ),
]
DeviceOption = Annotated[
    str,
    typer.Option(
        "--device", metavar="|".join(DEVICES), help="Where to fit; auto: CUDA if any.", rich_help_panel=MEASURE
    ),
]
SeedOption = Annotated[int, typer.Option("--seed", help="Of everything random.", rich_help_panel=MEASURE)]


def make_settings(
    name: str, *, nulls: int | None, device: str, seed: int, allow_nonfinite: bool, **fit: Any
) -> MineSettings:
    """The settings that the options amount to; those left None are the preset's. Raises `SettingsError`."""
    if device not in DEVICES:
        raise SettingsError(f"`device` cannot be {device!r}.", hint=f"Use one of: {', '.join(DEVICES)}.")
    fit_settings = preset(name, num_nulls=nulls, **fit)
    analysis = AnalysisSettings() if nulls is None else AnalysisSettings(num_nulls=nulls)
    return MineSettings(
        preset=name,
        fit=fit_settings,
        analysis=analysis,
        device=device,
        seed=seed,
        allow_nonfinite=allow_nonfinite,
    )
