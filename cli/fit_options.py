"""The options of the fit, made from the table of its settings, and the settings made of the options."""

import inspect
import shlex
from collections.abc import Callable
from typing import Annotated, Any

import typer

from pipeline.settings import PRESETS, FitSettings, Setting, fit_settings, preset

__all__ = [
    "DeviceOption",
    "NullsOption",
    "PresetOption",
    "SeedOption",
    "command_of",
    "documented",
    "with_fit_options",
]

FIT, MEASURE = "Fit", "Measurement"
OTHERWISE_GIVEN = ("num_nulls",)
"""Settings that have an option under another name, shared with the analysis."""

PresetOption = Annotated[
    str,
    typer.Option(
        "--preset",
        metavar="NAME",
        help=f"Named settings to start from. One of {', '.join(PRESETS)}.",
        rich_help_panel=FIT,
    ),
]
NullsOption = Annotated[
    int | None,
    typer.Option(
        "--nulls",
        metavar="N",
        help="Number of nulls for every fit and every statistic; z needs 2 or more. Default: the preset's for the fit,"
        " 8 for statistics.",
        rich_help_panel=MEASURE,
    ),
]
DeviceOption = Annotated[
    str,
    typer.Option(
        "--device",
        metavar="NAME",
        help="Where to compute. auto: CUDA if there is any. One of auto, cpu, cuda, cuda:N.",
        rich_help_panel=MEASURE,
    ),
]
SeedOption = Annotated[int, typer.Option("--seed", metavar="N", help="Random seed.", rich_help_panel=MEASURE)]


def with_fit_options(*names: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorate a command that takes `**fit`: it gets an option for each setting of the fit, or for those named.

    An option that is not given is None: the preset has the default.
    """
    chosen = [each for each in fit_settings() if each.name not in OTHERWISE_GIVEN and (not names or each.name in names)]

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        signature = inspect.signature(function, eval_str=True)
        own = [each for each in signature.parameters.values() if each.kind is not inspect.Parameter.VAR_KEYWORD]
        made = [
            inspect.Parameter(each.name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=_annotation(each))
            for each in chosen
        ]
        parameters = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in own] + made
        # Typer reads both.
        function.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
        function.__annotations__ = {each.name: each.annotation for each in parameters}
        return function

    return decorate


def _annotation(setting: Setting) -> Any:
    """The option of a setting as Typer takes it."""
    option = typer.Option(
        setting.option,
        metavar=_metavar(setting),
        help=_first_sentence(setting.help) + _ending(setting),
        rich_help_panel=FIT,
    )
    return Annotated[setting.kind | None, option]


def _metavar(setting: Setting) -> str:
    """`KIND` for names, else what sort of number."""
    return "NAME" if setting.choices else "N" if setting.kind is int else "X"


def _ending(setting: Setting) -> str:
    """The choices, which no terminal may cut."""
    return f" One of {', '.join(setting.choices)}." if setting.choices else ""


def _first_sentence(text: str) -> str:
    """With the sentence on the default, where there is one."""
    sentences = text.split(". ")
    kept = sentences[:1] + [each for each in sentences[1:] if each.startswith("Default")]
    return ". ".join(each.rstrip(".") for each in kept) + "."


def documented() -> str:
    """The table of docs/commands.md: a row for each option of the fit, with the default of the preset `quick`."""
    rows = [
        f"| `{each.option}` | {_taken(each)} | {'' if each.default is None else each.default} | {each.help} |"
        for each in fit_settings()
        if each.name not in OTHERWISE_GIVEN
    ]
    return "\n".join(["| option | takes | default | means |", "|---|---|---|---|", *rows]) + "\n"


def _taken(setting: Setting) -> str:
    """What the option takes."""
    if setting.choices:
        return ", ".join(f"`{name}`" for name in setting.choices)
    return setting.range.says if setting.range else ""


def command_of(model: str, settings: FitSettings, *, device: str = "auto", seed: int = 0) -> str:
    """The `dna-zoo mine` that fits the model with exactly these settings.

    A rate is always written: where none is given, another optimiser would get another one.
    """
    base = preset("quick", dna_type=settings.dna_type)
    changed = {
        each.name: getattr(settings, each.name)
        for each in fit_settings()
        if getattr(settings, each.name) != getattr(base, each.name)
    }
    given = {"dna_type": settings.dna_type, **changed, "learning_rate": settings.learning_rate}
    options = {each.name: "--nulls" if each.name == "num_nulls" else each.option for each in fit_settings()}
    words = ["dna-zoo", "mine", shlex.quote(model)]
    words += [f"{options[name]} {value}" for name, value in given.items()]
    words += [f"--device {device}"] * (device != "auto") + [f"--seed {seed}"] * (seed != 0)
    return " ".join(words)
