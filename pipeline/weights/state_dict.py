"""Which mapping of a PyTorch checkpoint holds the model: training saves it beside counters and optimiser states."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dna_zoo.errors import ExtractError

__all__ = ["StateDict", "choose_state_dict"]

NOT_WEIGHTS = ("optim", "sched", "scaler", "args", "config", "hyper", "callback", "loop", "rng", "metric", "history")
"""How words begin in the names of mappings that hold no model, whatever tensors are in them."""
WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
SMALL_SHARE = 0.01
"""Of the values of what is read; a mapping with less is not worth a word."""
AVERAGED = ("ema", "averaged", "swa", "teacher")
"""Parts of the names of running averages, which are what training meant to make."""
DEEPEST = 3
WRAPPERS = ("_orig_mod.", "module.", "_forward_module.", "_fsdp_wrapped_module.")
"""What `torch.compile`, data parallelism and their kin put before every name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StateDict:
    """The chosen tensors by name."""

    tensors: dict[str, Any]
    notes: tuple[str, ...] = ()


def choose_state_dict(loaded: Any, path: Path, wanted: str | None = None) -> StateDict:
    """The tensors of the model in what a file holds.

    - `wanted`: the key of the mapping to take, dots between levels.

    Without it the mapping with the most values is taken; an average of the weights wins over raw ones of its size.
    Raises `ExtractError` where there is none, or none of that key.
    """
    found = dict(_candidates(loaded))
    if wanted is not None and wanted not in found:
        raise ExtractError(
            f"{str(path)!r} holds no tensors under {wanted!r}.",
            hint=f"Give --state-dict one of: {', '.join(sorted(key for key in found if key))}.",
        )
    if not found:
        raise ExtractError(f"{str(path)!r} holds no tensors by name.", hint="Save the model's `state_dict()`.")
    sizes = {key: sum(int(each.numel()) for each in tensors.values()) for key, tensors in found.items()}
    key = wanted if wanted is not None else max(found, key=lambda key: (sizes[key], _is_average(key), -len(key)))
    others = sorted(other for other in found if other != key and sizes[other] > SMALL_SHARE * sizes[key])
    notes = (
        (
            f"{path.name} holds several sets of weights: {key!r} is read, and not {', '.join(map(repr, others))};"
            " --state-dict KEY reads another.",
        )
        if others and wanted is None
        else ()
    )
    return StateDict(tensors=_unwrapped(found[key]), notes=notes)


def _candidates(loaded: Any, key: str = "", depth: int = 0) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every mapping that holds tensors, with its key."""
    import torch

    if not isinstance(loaded, Mapping) or depth > DEEPEST or _is_no_model(key):
        return
    tensors = {str(name): value for name, value in loaded.items() if isinstance(value, torch.Tensor)}
    if tensors:
        yield key, tensors
    for name, value in loaded.items():
        yield from _candidates(value, f"{key}.{name}" if key else str(name), depth + 1)


def _is_no_model(key: str) -> bool:
    """By the words of the key: a scaler of gradients is none, and an upscaler is one."""
    words = [word.lower() for word in WORD.findall(key)]
    return "optim" in key.lower() or any(word.startswith(NOT_WEIGHTS) for word in words)


def _is_average(key: str) -> bool:
    return any(part in key.lower() for part in AVERAGED)


def _unwrapped(tensors: dict[str, Any]) -> dict[str, Any]:
    """The names without what wrappers put before all of them."""
    while prefix := next((each for each in WRAPPERS if all(name.startswith(each) for name in tensors)), ""):
        tensors = {name.removeprefix(prefix): value for name, value in tensors.items()}
    return tensors
