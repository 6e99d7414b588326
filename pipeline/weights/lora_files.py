"""LoRA updates in files without a configuration, as kohya's scripts and diffusers save them.

The factors are no weights of a model (`adapters`), and the file does not say of which model they are an update. So they
are read as updates, where that is asked for, and refused otherwise; they never pass for matrices.
"""

import re
from dataclasses import dataclass
from functools import partial
from math import prod

import numpy as np

from dna_zoo.errors import ExtractError
from pipeline.arrays import Array
from pipeline.settings import AdapterUse
from pipeline.weights.assembly import Recipe, Tensors, assemble

__all__ = ["loose_updates"]


@dataclass(frozen=True, slots=True)
class _Format:
    """A way to call the two factors of an update."""

    name: str
    down: re.Pattern[str]
    """End of the name of the factor (r, in), with what stands before it in a group."""
    up: str
    """The other factor's name, as a template of the groups."""


_FORMATS = (
    _Format("kohya", re.compile(r"^(.+)\.lora_down\.weight$"), r"\1.lora_up.weight"),
    _Format("diffusers", re.compile(r"^(.+[._])lora(_linear_layer)?\.down\.weight$"), r"\1lora\2.up.weight"),
    _Format("PEFT", re.compile(r"^(.+)\.lora_A((?:\.\w+)?)\.weight$"), r"\1.lora_B\2.weight"),
)
_OTHERS = {
    "LoHa": re.compile(r"\.hada_w\d_[ab]$"),
    "LoKr": re.compile(r"\.lokr_[wt]\d(?:_[ab])?$"),
    "DoRA": re.compile(r"\.(?:dora_scale|lora_magnitude_vector)\b"),
    "LoCon with a core": re.compile(r"\.lora_mid\.weight$"),
}
"""Kinds of updates that are not the product of two factors, and a name that gives each away."""
_LIKE_AN_UPDATE = re.compile("lora|dora_scale|hada_w|lokr_")
"""What every name holds that one of the patterns above finds."""
_MODULE = re.compile(r"_(?=(?:to_[qkv]|[qkv]_proj|out_proj|fc[12]|proj_in|proj_out)$)")
"""Kohya writes `_` for the dots of a path; the last of them can be told."""


def loose_updates(tensors: Tensors, use: AdapterUse) -> Tensors:
    """The tensors as they are, unless they are a LoRA: then the update alpha / r B A of each module, or a refusal.

    - `use`: "delta" where updates alone are asked for. Without an alpha in the file the scale is 1.

    Raises `ExtractError` for a LoRA that is not asked for as updates, lies beside the model's own weights, or is of
    another kind.
    """
    kind = _format_of(tensors)
    if kind is None:
        return tensors
    other = next((name for name, pattern in _OTHERS.items() if any(map(pattern.search, tensors))), None)
    if other is not None:
        raise ExtractError(
            f"This is an adapter of the kind {other} without its model, which dna-zoo does not read.",
            hint="Merge it into its model with the library that made it, and mine the result.",
        )
    found = assemble(tensors, partial(_recipe, kind=kind))
    own = [name for name, tensor in found.items() if len(tensor.sources) == 1 and not name.endswith(".alpha")]
    if own:
        raise ExtractError(
            f"This holds LoRA factors beside weights of a model, such as {own[0]!r}, and does not say their scale.",
            hint="Merge them with `merge_and_unload` of peft, and mine the result.",
        )
    if use != "delta":
        raise ExtractError(
            f"This holds LoRA updates (as {kind.name} saves them) and no model.",
            hint="Mine the updates alone with --adapter delta, or merge them into their model with the library that"
            " made them, and mine the result.",
        )
    return found


def _format_of(tensors: Tensors) -> _Format | None:
    """How the factors are called, if any name is that of a factor and its partner is there."""
    named = [name for name in tensors if _LIKE_AN_UPDATE.search(name)]
    for kind in _FORMATS:
        if any((match := kind.down.match(name)) and match.expand(kind.up) in tensors for name in named):
            return kind
    is_other = any(pattern.search(name) for name in named for pattern in _OTHERS.values())
    return _FORMATS[0] if is_other else None


def _recipe(name: str, tensors: Tensors, *, kind: _Format) -> Recipe | None:
    match = kind.down.match(name)
    up = match.expand(kind.up) if match else ""
    if match is None or up not in tensors:
        return None
    module = match[1].rstrip("._").removesuffix("_lora")
    down_shape, up_shape = tensors[name].header.shape, tensors[up].header.shape
    if len(down_shape) < 2 or len(up_shape) < 2 or up_shape[1] != down_shape[0] or prod(up_shape[2:]) != 1:
        raise ExtractError(
            f"The factors {name!r} and {up!r} are of {list(down_shape)} and {list(up_shape)}, which do not fit.",
            hint="The file is not whole, or of a kind that dna-zoo does not read: merge it with the library that made"
            " it.",
        )
    alpha = (f"{module}.alpha",) if f"{module}.alpha" in tensors else ()
    target = _MODULE.sub(".", module) if kind.name == "kohya" else module
    shape = (up_shape[0], *down_shape[1:])
    return Recipe(target=f"{target}.weight", shape=shape, parts=(name, up, *alpha), make=_update)


def _update(down: Array, up: Array, alpha: Array | None = None) -> Array:
    scale = 1.0 if alpha is None else float(np.asarray(alpha).reshape(-1)[0]) / len(down)
    return np.asarray(scale * np.tensordot(up.reshape(len(up), -1), down, axes=1))
