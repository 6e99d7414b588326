"""Which tensors of a checkpoint are the model: training saves it beside counters, optimiser states and averages."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dna_zoo.errors import ExtractError

__all__ = ["StateDict", "choose_set", "choose_state_dict"]

NOT_WEIGHTS = ("optim", "sched", "scaler", "args", "config", "hyper", "callback", "loop", "rng", "metric", "history")
"""How words begin in the names of mappings that hold no model, whatever tensors are in them."""
WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
SMALL_SHARE = 0.01
"""Of the values of what is read; a mapping with less is not worth a word."""
AVERAGED = frozenset({"ema", "averaged", "swa", "teacher"})
"""Words in the names of running averages, which are what training meant to make."""
DEEPEST = 3
WRAPPERS = ("_orig_mod.", "module.", "_forward_module.", "_fsdp_wrapped_module.")
"""What `torch.compile`, data parallelism and their kin put before every name."""


Measure = Callable[[Any], tuple[int, int]]
"""Of a tensor: how many values it has, and how many bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StateDict:
    """The chosen tensors by name."""

    key: str
    """What `--state-dict` calls them; empty for tensors that are in nothing else."""
    tensors: dict[str, Any]
    notes: tuple[str, ...] = ()
    others: Mapping[str, int] = field(default_factory=dict)
    """Key of each set of weights that is not read -> its bytes, without what both have."""


def choose_state_dict(loaded: Any, path: Path, wanted: str | None = None, *, is_part: bool = False) -> StateDict:
    """The tensors of the model in what a file of PyTorch holds.

    - `wanted`: the key of the mapping to take, dots between levels.
    - `is_part`: whether it is one of several shards; then `choose_set` chooses among the tensors of all.

    Without it the mapping with the most values is taken; an average of the weights wins over raw ones of its size.
    Raises `ExtractError` where there is none, or none of that key.
    """
    found = {key: each for key, whole in _candidates(loaded) for key, each in _sets(key, whole, is_part)}
    wanted = None if is_part and wanted not in found else wanted
    return _choose(found, f"{str(path)!r}", path.name, wanted, _measured)


def choose_set(tensors: dict[str, Any], name: str, wanted: str | None, measure: Measure) -> StateDict:
    """The same among the tensors of files that have them by name alone: an average is known by its prefix.

    - `tensors`: what has a `header`, by name.
    - `name`: of the model or its file, for what is said.
    """
    return _choose(dict(_apart("", tensors)), repr(name), name, wanted, measure)


def _measured(tensor: Any) -> tuple[int, int]:
    return tensor.numel(), tensor.numel() * tensor.element_size()


def _choose(
    found: Mapping[str, dict[str, Any]], where: str, name: str, wanted: str | None, measure: Measure
) -> StateDict:
    if wanted is not None and wanted not in found:
        keys = ", ".join(sorted(key for key in found if key))
        raise ExtractError(
            f"{where} holds no tensors under {wanted!r}.",
            hint=f"Give --state-dict one of: {keys}." if keys else "Leave --state-dict away: it holds one set.",
        )
    if not found:
        raise ExtractError(f"{where} holds no tensors by name.", hint="Save the model's `state_dict()`.")
    sizes = {key: sum(measure(each)[0] for each in tensors.values()) for key, tensors in found.items()}
    key = wanted if wanted is not None else _chosen(sizes)
    others = sorted(other for other in found if other != key and sizes[other] > SMALL_SHARE * sizes[key])
    notes = (
        (
            f"{name} holds several sets of weights: {key!r} is read, and not {', '.join(map(repr, others))};"
            " --state-dict KEY reads another.",
        )
        if others and wanted is None
        else ()
    )
    read = {id(tensor) for tensor in found[key].values()}
    left = {
        other: sum(measure(tensor)[1] for tensor in found[other].values() if id(tensor) not in read) for other in others
    }
    return StateDict(key=key, tensors=_unwrapped(found[key]), notes=notes, others=left)


def _sets(key: str, tensors: dict[str, Any], is_part: bool) -> Iterator[tuple[str, dict[str, Any]]]:
    return iter([(key, tensors)]) if is_part else _apart(key, tensors)


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


def _apart(key: str, tensors: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The mapping, or two where it holds an average beside what is averaged: each with all that is neither.

    Names below the two prefixes are the same but for dots, which some averages leave out (`model_ema.inputweight`).
    """
    below: dict[str, dict[str, str]] = {}
    for name, tensor in tensors.items():
        prefix, _, rest = name.partition(".")
        if rest and _has_axes(tensor):
            below.setdefault(prefix, {})[rest.replace(".", "")] = name
    pairs = ((one, two) for one in below if _is_average(one) for two in below if not _is_average(two))
    pair = next((pair for pair in pairs if below[pair[0]].keys() <= below[pair[1]].keys()), None)
    if pair is None:
        yield key, tensors
        return
    averages, raws = (below[prefix] for prefix in pair)
    of_both = {*averages.values(), *raws.values()}
    others = {name: value for name, value in tensors.items() if name not in of_both}
    has_dots = all(name.partition(".")[2] == raws[plain].partition(".")[2] for plain, name in averages.items())
    named = {name if has_dots else raws[plain]: tensors[name] for plain, name in averages.items()}
    yield f"{key}.{pair[0]}".lstrip("."), others | named
    yield f"{key}.{pair[1]}".lstrip("."), others | {name: tensors[name] for name in raws.values()}


def _has_axes(tensor: Any) -> bool:
    # A nested tensor of torch has no shape, and says how many axes it has.
    return (len(tensor.header.shape) if hasattr(tensor, "header") else tensor.dim()) > 0


def _chosen(sizes: Mapping[str, int]) -> str:
    """The largest mapping; of those that are nearly as large an average, and then the one of the shortest key."""
    least = (1 - SMALL_SHARE) * max(sizes.values())
    return max((key for key in sizes if sizes[key] >= least), key=lambda key: (_is_average(key), sizes[key], -len(key)))


def _is_no_model(key: str) -> bool:
    """By the words of the key: a scaler of gradients is none, and an upscaler is one."""
    return "optim" in key.lower() or any(word.startswith(NOT_WEIGHTS) for word in _words(key))


def _words(key: str) -> list[str]:
    return [word.lower() for word in WORD.findall(key)]


def _is_average(key: str) -> bool:
    return not AVERAGED.isdisjoint(_words(key))


def _unwrapped(tensors: dict[str, Any]) -> dict[str, Any]:
    """The names without what wrappers put before all of them."""
    while tensors and (prefix := next((w for w in WRAPPERS if all(name.startswith(w) for name in tensors)), "")):
        tensors = {name.removeprefix(prefix): value for name, value in tensors.items()}
    return tensors
