"""Wirings that are kept as data: those of the zoo come with this package, so that its models need no tracing.

`shipped.json.gz` is written by `python -m tests.support.make_wirings`.
"""

import gzip
import hashlib
import json
import math
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from zoo.tracing.traced import TracedWiring

__all__ = ["SHIPPED", "TRACING_VERSION", "architecture_key", "architecture_of", "find_shipped"]

TRACING_VERSION = "4"
"""Raised when the same configuration gives another wiring than before."""
SHIPPED = "shipped.json.gz"
WIDE = 96
"""Settings from this number on that are sizes by their names count as one."""
SIZES = ("_dim", "_size", "_channels", "_width", "_rank", "_features", "_filters")
UNTOLD = frozenset(
    {"id2label", "label2id", "transformers_version", "torch_dtype", "dtype", "quantization_config", "auto_map"}
)
"""Settings that do not tell one architecture from another."""


def architecture_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """What of a `config.json` decides about the wiring, as plain JSON: two models that differ in sizes alone have it
    in common.

    Sizes become what they are in a tiny model (`zoo.tracing.build`).
    """
    from zoo.tracing.sizes import SMALL

    return {name: _part(name, value, config, SMALL) for name, value in sorted(config.items()) if _is_told(name)}


def _is_told(name: str) -> bool:
    return (
        name not in UNTOLD and not name.startswith("_") and not name.endswith(("token_id", "token_ids", "token_index"))
    )


def _part(name: str, value: Any, config: Mapping[str, Any], small: Mapping[str, int]) -> Any:
    if isinstance(value, Mapping):
        return architecture_of(value)
    if isinstance(value, list):
        return [_part(name, each, config, small) for each in value]
    if isinstance(value, float):
        return value if value in (0.0, 1.0) else "number" if math.isfinite(value) else "no number"
    if isinstance(value, bool) or not isinstance(value, int):
        return value
    if name == "num_key_value_heads" and value == config.get("num_attention_heads"):
        return "as many"
    if name in small:
        return min(value, small[name])
    return "wide" if value >= WIDE and name.endswith(SIZES) else value


def architecture_key(config: Mapping[str, Any], version: str) -> str:
    """A hash of the architecture and the version of `transformers`: 32 hex digits."""
    text = json.dumps([TRACING_VERSION, version, architecture_of(config)], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def find_shipped(config: Mapping[str, Any]) -> TracedWiring | None:
    """The wiring of a model of the zoo, or of one that differs from it in sizes alone."""
    found = _shipped()["wirings"].get(architecture_key(config, ""))
    return None if found is None else TracedWiring.of_json(found)


@cache
def _shipped() -> dict[str, Any]:
    """Version of `transformers` that it was traced with, and key -> wiring."""
    data: dict[str, Any] = json.loads(gzip.decompress((files("zoo.tracing") / SHIPPED).read_bytes()))
    return data
