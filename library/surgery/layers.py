"""The repeated blocks of a model, and what a tensor of one is called in another."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import takewhile

from torch import Tensor

from dna_zoo.errors import JoinError
from library.models import Loaded
from library.surgery.alignment import values_of
from zoo.blocks import place_tensors

__all__ = ["SETTINGS", "Layer", "layers_of", "parse_layers", "renamed", "require_same_layers", "require_same_settings"]

SETTINGS = (
    ("hidden_act", "activation_function", "hidden_activation", "feed_forward_proj"),
    ("num_attention_heads", "n_head", "num_heads"),
    ("num_key_value_heads",),
)
"""Settings, each under all its names, that give tensors of one shape another meaning."""


MOST_LAYERS = 10_000
"""No model has so many; a range with a digit too much is not written out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """One block."""

    index: int
    """From 0 in the order of execution, through the whole network."""
    names: Mapping[str, str]
    """What a tensor is called inside the block -> its name in the model."""


def layers_of(loaded: Loaded) -> tuple[Layer, ...]:
    """The blocks in the order of execution."""
    names = list(values_of(loaded.model))
    found: dict[int, list[str]] = {}
    for name, place in place_tensors(names, loaded.config.to_dict()).items():
        if place.block is not None:
            found.setdefault(place.block, []).append(name)
    return tuple(Layer(index=i, names=_inside(found[i])) for i in sorted(found))


def renamed(state: Mapping[str, Tensor], one: Layer, other: Layer) -> dict[str, Tensor]:
    """The tensors of a layer under the names of another."""
    return {other.names[key]: state[name] for key, name in one.names.items() if key in other.names}


def parse_layers(text: str) -> tuple[str, tuple[int, ...]]:
    """`MODEL:LAYERS` as the model and its layers: numbers and ranges (`0`, `1,3`, `0-2`).

    Raises `JoinError` for anything else.
    """
    model, colon, layers = text.rpartition(":")
    found: list[int] = []
    try:
        for piece in layers.split(","):
            first, _, last = piece.partition("-")
            numbers = range(int(first), int(last or first) + 1)
            if numbers.stop > MOST_LAYERS:
                raise ValueError(piece)
            found += numbers
    except ValueError:
        found = []
    if not (model and colon and found):
        raise JoinError(f"{text!r} names no layers.", hint="Write MODEL:LAYERS, for example bert-a:0-1 or bert-a:2.")
    return model, tuple(found)


def require_same_layers(donor: Loaded, one: Layer, host: Loaded, other: Layer) -> None:
    """Raise `JoinError` unless both layers are made of the same tensors, which mean the same."""
    if lone := sorted(one.names.keys() ^ other.names.keys()):
        raise JoinError(
            f"Layer {one.index} of {donor.name!r} and layer {other.index} of {host.name!r} are not made of the same"
            f" tensors: {lone[0]!r} is in one alone.",
            hint="Give models of one architecture.",
        )
    require_same_settings(donor, host)


def require_same_settings(a: Loaded, b: Loaded) -> None:
    """Raise `JoinError` where a setting differs that gives equal weights another meaning."""
    for names in SETTINGS:
        one, two = (_setting(each, names) for each in (a, b))
        if one != two:
            raise JoinError(
                f"{names[0]} is {one} in {a.name!r} and {two} in {b.name!r}: equal weights mean other things.",
                hint="Give two models of one architecture.",
            )


def _setting(loaded: Loaded, names: tuple[str, ...]) -> object:
    return next(
        (getattr(loaded.config, name) for name in names if getattr(loaded.config, name, None) is not None), None
    )


def _inside(names: list[str]) -> dict[str, str]:
    """Names without what all of them share, down to the last number in it."""
    parts = [name.split(".") for name in names]
    shared = len(list(takewhile(lambda each: len(set(each)) == 1, zip(*parts, strict=False))))
    shared = min(shared, min(map(len, parts)) - 1)
    start = max((i + 1 for i in range(shared) if parts[0][i].isdigit()), default=shared)
    return {".".join(each[start:]): name for each, name in zip(parts, names, strict=True)}
