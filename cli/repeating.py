"""The command that repeats what a run was asked of one model."""

import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from dna_zoo.errors import DnaZooError
from pipeline.settings import PRESETS, AnalysisSettings, FitSettings, fit_settings, make_settings
from zoo.registry import ALL_CARDS

__all__ = ["mine_command"]

Words = Iterator[str]


def mine_command(asked: Mapping[str, Any], settings: Mapping[str, Any]) -> str | None:
    """`dna-zoo mine ...` for one model of a request and its settings; None where an older version wrote what no option
    says today."""
    try:
        fit = FitSettings(**settings["fit"])
        analysis = AnalysisSettings(**settings["analysis"])
        words = ["dna-zoo", "mine", *_model(asked), *_options(fit, analysis, settings)]
    except (KeyError, TypeError, DnaZooError):
        return None
    return shlex.join(words)


def _model(asked: Mapping[str, Any]) -> Words:
    """Which model, and how it is read."""
    name, key, weights = asked["name"], asked.get("key"), asked.get("weights")
    if weights and name in ALL_CARDS:
        yield from ("--weights", f"{name}={weights}")
    elif weights:
        yield from ("--local", weights, "--name", key or name)
    else:
        yield name
    for option, nothing in (("state_dict", None), ("adapter", "merged"), ("base", None)):
        if asked.get(option) not in (None, nothing):
            yield from (f"--{option.replace('_', '-')}", asked[option])


def _options(fit: FitSettings, analysis: AnalysisSettings, settings: Mapping[str, Any]) -> Words:
    """What differs from the preset. A rate is written where another optimiser would get another one."""
    name = settings["preset"]
    chosen: dict[str, Any] = {"dna_type": fit.dna_type}
    nulls = None if analysis == AnalysisSettings() and fit.num_nulls == PRESETS[name].num_nulls else fit.num_nulls
    base = make_settings(name, nulls=nulls, device="cpu", seed=0, dna_type=fit.dna_type).fit
    changed = [each for each in fit_settings() if getattr(fit, each.name) != getattr(base, each.name)]
    if name != "quick":
        yield from ("--preset", name)
    if fit.dna_type != PRESETS[name].dna_type:
        yield from ("--dna-type", fit.dna_type)
    chosen |= {each.name: getattr(fit, each.name) for each in changed if each.name != "num_nulls"}
    if make_settings(name, nulls=nulls, device="cpu", seed=0, **chosen).fit != fit:
        chosen["learning_rate"] = fit.learning_rate
    for setting in fit_settings():
        if setting.name in chosen and setting.name != "dna_type":
            yield from (setting.option, str(chosen[setting.name]))
    if nulls is not None:
        yield from ("--nulls", str(nulls))
    yield from ("--device", settings["device"])
    yield from ("--seed", str(settings["seed"])) if settings["seed"] else ()
    yield from (f"--{each.replace('_', '-')}" for each in ("allow_nonfinite", "allow_partial") if settings.get(each))
