"""What a `config.json` says, where it says what it should: files hold lists, NaN and nonsense in the place of numbers.

A setting that is of another kind than expected counts as not there.
"""

import re
from collections.abc import Mapping
from typing import Any

__all__ = ["HEADS", "Config", "flag_in", "layer_of", "number_in", "part_of", "text_in"]

Config = Mapping[str, Any]
"""`config.json`, or a part of it that is a mapping itself."""

HEADS = ("num_attention_heads", "n_head", "num_heads", "n_heads", "encoder_attention_heads")
"""What the number of heads is called."""


def text_in(config: Config, name: str, default: str = "") -> str:
    """A setting that is a text."""
    value = config.get(name)
    return value if isinstance(value, str) else default


def number_in(config: Config, *names: str, layer: int | None = None) -> int | None:
    """The first of the settings that is a positive whole number; None where none is.

    Of a list with one number for each layer the one of `layer` counts; without a layer, or where it is no place in
    the list, the one that all of them share.
    """
    for name in names:
        value = config.get(name)
        if isinstance(value, list):
            value = _of_layer(value, layer)
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, int) and not isinstance(value, bool) and value > 0:
            return value
    return None


def _of_layer(values: list[Any], layer: int | None) -> Any:
    if layer is not None and layer < len(values):
        return values[layer]
    return values[0] if values and all(value == values[0] for value in values) else None


def layer_of(name: str) -> int | None:
    """The number of the layer that a tensor's name gives first; None without one."""
    match = re.search(r"\.(\d+)\.", name)
    return int(match[1]) if match else None


def flag_in(config: Config, name: str, default: bool = False) -> bool:
    """A setting that is true or false."""
    value = config.get(name)
    return value if isinstance(value, bool) else default


def part_of(config: Config, name: str) -> Config:
    """A part of the configuration, such as that of one tower; empty where there is none."""
    value = config.get(name)
    return value if isinstance(value, Mapping) else {}
