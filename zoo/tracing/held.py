"""Which model types' names were held against their code, and agree with it.

`held.json` is written by `python -m tests.support.make_held` from what `python -m benchmarks.wiring` has found.
"""

import json
from functools import cache
from importlib.resources import files

from zoo.config import Config, text_in

__all__ = ["HELD", "WIRING_VERSION", "may_differ", "wiring_version"]

HELD = "held.json"
WIRING_VERSION = "2"
"""Raised when names of bare files, or of types in `held.json`, say something else than before."""


def may_differ(config: Config) -> bool:
    """Whether the code of the model type that `config` names has to be asked, since names alone may say otherwise."""
    kind = text_in(config, "model_type")
    return bool(kind) and kind not in _held()["agree"]


def wiring_version(config: Config) -> tuple[str, ...]:
    """What the results of a model depend on beside its names and the version of extract; empty for most.

    Types whose names always agreed with their code are what they were.
    """
    kind = text_in(config, "model_type")
    return () if kind and kind in _held()["agree"] - _held()["mended"] else ("wiring", WIRING_VERSION)


@cache
def _held() -> dict[str, frozenset[str]]:
    """`agree`: nothing is said otherwise; `mended`, of these: it was, until the rules of names were mended."""
    data = json.loads((files("zoo.tracing") / HELD).read_text(encoding="utf-8"))
    return {name: frozenset(types) for name, types in data.items()}
