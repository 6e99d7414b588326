"""Adapters of PEFT: low-rank updates of a model that is somewhere else, merged into it or taken as they are.

An adapter's own tensors, A (r, in) and B (out, r), are no weights of a model: any invertible r x r matrix between them
gives the same update. What can be looked at is the update s B A, or the base with the update added.
"""

import re
from collections.abc import Mapping
from functools import partial
from math import isfinite, sqrt
from typing import Any

import numpy as np
import numpy.typing as npt

from dna_zoo.errors import ExtractError
from pipeline.weights.assembly import Recipe, Tensor, Tensors, assemble
from zoo.config import flag_in, part_of, text_in

__all__ = ["merge", "updates"]

Array = npt.NDArray[Any]
PREFIX = "base_model.model."
DOWN = re.compile(r"\.lora_(?:embedding_)?A(?:\.\w+)?(?:\.weight)?$")
SAVED = re.compile(r"\.modules_to_save(?:\.default)?\.")


def updates(tensors: Tensors, config: Mapping[str, Any]) -> Tensors:
    """The update of each weight, s B A, under the weight's name; what the adapter trained in full as it is.

    - `config`: `adapter_config.json`; s is `lora_alpha` / r, or / sqrt(r) with `use_rslora` (Hu et al. 2021).

    Raises `ExtractError` for other kinds of adapters than LoRA, and for LoRA with magnitudes, which needs its base.
    """
    _require_lora(config)
    if any("lora_magnitude_vector" in name for name in tensors):
        raise ExtractError(
            "This adapter has a magnitude for each row (DoRA), so that it has no update apart from its base.",
            hint="Merge it with `merge_and_unload` of peft, and mine the result.",
        )

    def find(name: str, known: Tensors) -> Recipe | None:
        if not DOWN.search(name):
            return None
        other = DOWN.sub(lambda found: found[0].replace("A", "B", 1), name)
        if other not in known:
            raise ExtractError(
                f"{name!r} has no partner {other!r}.",
                hint="The adapter is not whole: save it with `save_pretrained` of peft.",
            )
        module = DOWN.sub("", name).removeprefix(PREFIX)
        down, up = (known[each].header.shape for each in (name, other))
        is_turned = flag_in(config, "fan_in_fan_out") or "lora_embedding" in name
        shape = (*((down[1], up[0]) if is_turned else (up[0], down[1])), *down[2:])
        make = partial(_update, scale=_scale(module, down[0], config), is_turned=is_turned)
        return Recipe(target=f"{module}.weight", shape=shape, parts=(name, other), make=make)

    return {_renamed(name): tensor for name, tensor in assemble(tensors, find).items()}


def merge(base: Tensors, adapter: Tensors) -> Tensors:
    """The base with each update added, and with what the adapter trained in full in the place of its own.

    Raises `ExtractError` where an update has no weight of its shape.
    """
    merged = dict(base)
    for name, update in adapter.items():
        target = next((each for each in (name, name.removeprefix("model.")) if each in base), None)
        if target is None or base[target].header.shape != update.header.shape:
            raise ExtractError(
                f"The adapter changes {name!r}, and the base has no such weight of shape {list(update.header.shape)}.",
                hint="Give the model that the adapter was trained on.",
            )
        merged[target] = update if len(update.sources) == 1 else _sum(target, base[target], update)
    return merged


def _sum(name: str, weight: Tensor, update: Tensor) -> Tensor:
    recipe = Recipe(target=name, shape=weight.header.shape, parts=("weight", "update"), make=np.add)
    return assemble({"weight": weight, "update": update}, lambda part, _: recipe if part == "weight" else None)[name]


def _update(down: Array, up: Array, *, scale: float, is_turned: bool) -> Array:
    product = scale * np.tensordot(up.reshape(up.shape[0], -1), down, axes=1)
    return np.asarray(product.swapaxes(0, 1) if is_turned else product)


def _scale(module: str, rank: int, config: Mapping[str, Any]) -> float:
    alpha = _of_module(module, part_of(config, "alpha_pattern"), config.get("lora_alpha", rank))
    if not isinstance(alpha, (int, float)) or not isfinite(alpha):
        raise ExtractError(
            f"`lora_alpha` of {module!r} is {alpha!r}.", hint="Write the number that it was trained with."
        )
    return alpha / (sqrt(rank) if flag_in(config, "use_rslora") else rank)


def _of_module(module: str, patterns: Mapping[str, Any], default: Any) -> Any:
    """The value of the first pattern that the module's name ends in."""
    return next((value for key, value in patterns.items() if re.search(rf"(?:^|\.){key}$", module)), default)


def _require_lora(config: Mapping[str, Any]) -> None:
    kind = text_in(config, "peft_type", "LORA").upper()
    if kind != "LORA":
        raise ExtractError(
            f"This is an adapter of the kind {kind}, which dna-zoo does not read.",
            hint="Merge it with `merge_and_unload` of peft, and mine the result.",
        )


def _renamed(name: str) -> str:
    """The name that the base has for what the adapter trained in full."""
    return SAVED.sub(".", name.removeprefix(PREFIX)).replace(".base_layer.", ".")
