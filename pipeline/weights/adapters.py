"""Adapters of PEFT: low-rank updates of a model that is somewhere else, merged into it or taken as they are.

An adapter's own tensors, A (r, in) and B (out, r), are no weights of a model: any invertible r x r matrix between them
gives the same update. What can be looked at is the update s B A, or the base with the update added; with magnitudes m
(DoRA) the latter alone, since what is added depends on the base.
"""

import re
from collections.abc import Mapping
from functools import partial
from math import isfinite, sqrt
from typing import Any

import numpy as np

from dna_zoo.errors import ExtractError
from dna_zoo.text import printable
from pipeline.arrays import Array
from pipeline.weights.assembly import Recipe, Tensor, Tensors, assemble
from zoo.config import flag_in, part_of, text_in

__all__ = ["apply_adapter"]

PREFIX = "base_model.model."
DOWN = re.compile(r"\.lora_(?:embedding_)?A(?:\.\w+)?(?:\.weight)?$")
MAGNITUDE = re.compile(r"\.lora_magnitude_vector(?:\.\w+)?(?:\.weight)?$")
PLAIN = re.compile(r"[\w.-]+")
SAVED = re.compile(r"\.modules_to_save(?:\.default)?\.")


def apply_adapter(tensors: Tensors, config: Mapping[str, Any], base: Tensors | None) -> Tensors:
    """The base with the adapter merged into it, or without a base the adapter's updates.

    - `config`: `adapter_config.json`.

    Raises `ExtractError` for other kinds of adapters than LoRA, for LoRA with magnitudes (DoRA) without a base, and
    where an update has no weight of its shape in the base.
    """
    _require_lora(config)
    magnitudes = {MAGNITUDE.sub("", name): tensor for name, tensor in tensors.items() if MAGNITUDE.search(name)}
    if base is None and magnitudes:
        raise ExtractError(
            "This adapter has a magnitude for each output (DoRA), so that it has no update apart from its base.",
            hint="Mine it without --adapter delta; where its base is, --base PATH says.",
        )
    factors = {name: tensor for name, tensor in tensors.items() if not MAGNITUDE.search(name)}
    found = _updates(factors, config)
    if base is None:
        return found
    along = {
        f"{module.removeprefix(PREFIX)}.weight": (tensor, int(_is_turned(module, tensors, config)))
        for module, tensor in magnitudes.items()
    }
    return _merge(base, found, along)


def _updates(tensors: Tensors, config: Mapping[str, Any]) -> Tensors:
    """The update of each weight, s B A, under the weight's name; what the adapter trained in full as it is.

    s is `lora_alpha` / r, or / sqrt(r) with `use_rslora` (Hu et al. 2021).
    """

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
        if min(len(down), len(up)) < 2 or down[0] != up[1] or down[0] == 0:
            raise ExtractError(
                f"{name!r} of shape {list(down)} and its partner of shape {list(up)} are no two factors of an update.",
                hint="The adapter is not whole: save it with `save_pretrained` of peft.",
            )
        is_turned = _is_turned(DOWN.sub("", name), known, config)
        shape = (*((down[1], up[0]) if is_turned else (up[0], down[1])), *down[2:])
        make = partial(_update, scale=_scale(module, down[0], config), is_turned=is_turned)
        return Recipe(target=f"{module}.weight", shape=shape, parts=(name, other), make=make)

    return {_renamed(name): tensor for name, tensor in assemble(tensors, find).items()}


def _is_turned(module: str, tensors: Tensors, config: Mapping[str, Any]) -> bool:
    """Whether the weight is stored with its outputs along the second axis: GPT-2's `Conv1D`, and tables."""
    return flag_in(config, "fan_in_fan_out") or f"{module}.lora_embedding_A" in tensors


def _merge(base: Tensors, adapter: Tensors, magnitudes: Mapping[str, tuple[Tensor, int]]) -> Tensors:
    """The base with each update added, and with what the adapter trained in full in the place of its own.

    - `magnitudes`: of a weight with an update, the length of each of its outputs, and the axis of the outputs.
    """
    merged = dict(base)
    for name, update in adapter.items():
        target = next((each for each in (name, name.removeprefix("model.")) if each in base), None)
        if target is None or base[target].header.shape != update.header.shape:
            raise ExtractError(
                f"The adapter changes {name!r}, and the base has no such weight of shape {list(update.header.shape)}.",
                hint="Give the model that the adapter was trained on.",
            )
        if len(update.sources) > 1:
            update = _sum(target, base[target], update, magnitudes.get(name))
        merged[target] = update
    return merged


def _sum(name: str, weight: Tensor, update: Tensor, magnitude: tuple[Tensor, int] | None) -> Tensor:
    parts = {"weight": weight, "update": update} | ({"magnitude": magnitude[0]} if magnitude else {})
    make = partial(_of_length, axis=magnitude[1]) if magnitude else np.add
    recipe = Recipe(target=name, shape=weight.header.shape, parts=tuple(parts), make=make)
    return assemble(parts, lambda part, _: recipe if part == "weight" else None)[name]


def _of_length(weight: Array, update: Array, magnitude: Array, *, axis: int) -> Array:
    """m (W + s B A) / |W + s B A|, the norm over all but the axis of the outputs (Liu et al. 2024, equation 5)."""
    whole = weight.astype(np.float64) + update
    norms = np.sqrt(np.square(whole).sum(axis=tuple(each for each in range(whole.ndim) if each != axis), keepdims=True))
    return np.asarray(magnitude.reshape(norms.shape) * whole / np.where(norms > 0, norms, 1.0))


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
    """The value of the first pattern that the module's name ends in.

    To peft a pattern is a regular expression. A stranger's may take for ever: only names are followed.
    """
    for key, value in patterns.items():
        name = key.removeprefix("^").removesuffix("$").replace("\\.", ".")
        if not PLAIN.fullmatch(name):
            raise ExtractError(
                f"A pattern of the adapter's configuration is no name of a module: {printable(key, longest=60)!r}.",
                hint="Write a pattern for each module by its name.",
            )
        if module == name or (not key.startswith("^") and module.endswith(f".{name}")):
            return value
    return default


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
