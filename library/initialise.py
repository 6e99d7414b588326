"""Start a model from a shared pattern: random weights that have what models of the kind have in common."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from zlib import crc32

import numpy as np
import torch
from torch import nn

from dna_zoo.errors import LibraryError, SettingsError
from dna_zoo.text import shell_word
from library.live import LiveTensors
from library.patterns.measure import num_heads_of
from library.patterns.records import Key, Part, SharedPattern
from library.patterns.terms import MATRIX_TERMS, VECTOR_TERM
from library.patterns.terms.products import PRODUCTS, Pair, find_pairs, impose_product
from library.patterns.views import View, matrix_views, vector_views
from zoo.tensors import TensorSpec

__all__ = ["Initialisation", "initialise_"]

SCALE = "scale"


@dataclass(frozen=True, slots=True, kw_only=True)
class Initialisation:
    """What was set, and what kept its default start."""

    terms: Mapping[str, tuple[str, ...]]
    """Tensor (or part of a fused one) -> the terms that it got."""
    untested: tuple[str, ...]
    """Terms among them that were never tested on a left-out lineage."""
    default: tuple[str, ...]
    """Trained tensors of which the pattern says nothing, or nothing that holds."""


def initialise_(
    model: nn.Module, pattern: SharedPattern, generator: torch.Generator, *, terms: Collection[str] | None = None
) -> Initialisation:
    """Set the parameters of `model`, of any width and depth, in place, and say what was set.

    Roles come from the names and shapes of its parameters and from `model.config`, if it has one (of transformers, a
    mapping, a dataclass, or any object with settings). A matrix that no
    used part of the pattern speaks of keeps its values, and so does the scale of one whose scale is not in it. The same
    generator state gives the same weights.

    - `generator`: on any device; one number is drawn of it.
    - `terms`: names of the terms to use; all where not given.

    Raises `LibraryError` if no part of the pattern fits or the model has no values yet, and `SettingsError` for a term
    that there is not.
    """
    _require_terms(terms or ())
    used = {key: part for key, part in pattern.parts.items() if part.is_used and (terms is None or key.term in terms)}
    seed = int(torch.randint(2**62, (1,), generator=generator, device=generator.device))
    target = LiveTensors(model)
    found: dict[str, tuple[str, ...]] = {}
    views = {}
    for view in matrix_views(target.specs, target.load, target.shape_of):
        shaped, names = _shaped(view, used, _rng(seed, view.spec))
        if names:
            views[view.spec.name], found[view.spec.name] = shaped, names
    for pair in find_pairs(target.specs):
        key = Key(pair.subject, PRODUCTS)
        if key in used:
            _join(pair, used[key], views, target, seed)
            found[pair.led.name] = (*found.get(pair.led.name, ()), PRODUCTS)
    for view in views.values():
        target.store(view)
    for view in vector_views(target.specs, target.load):
        key = Key(view.subject, VECTOR_TERM.name)
        if key in used:
            target.store(VECTOR_TERM.apply(view, used[key].at(view.spec.depth), _rng(seed, view.spec)))
            found[view.spec.name] = (VECTOR_TERM.name,)
    if not found:
        if pattern.tested and not pattern.holding:
            raise LibraryError(
                f"Nothing of the pattern {pattern.name!r} is used here: what was tested of it explains nothing of a"
                " left-out lineage.",
                hint=f"Build one from other models; `dna-zoo library show {shell_word(pattern.name)}` tells of each"
                " part.",
            )
        raise LibraryError(
            f"No part of the pattern {pattern.name!r} fits a role of this model.",
            hint="Build one from models of the same kind: `dna-zoo library build NAME --where ...`.",
        )
    named = {name for own in found.values() for name in own}
    tested = {key.term for key, part in used.items() if part.evidence is not None}
    return Initialisation(
        terms=found,
        untested=tuple(sorted(named - tested)),
        default=tuple(spec.name for spec in target.specs if spec.kind == "weight" and spec.name not in found),
    )


def _require_terms(names: Collection[str]) -> None:
    known = (*(term.name for term in MATRIX_TERMS), PRODUCTS, VECTOR_TERM.name)
    if isinstance(names, str) or not set(names) <= {*known}:
        raise SettingsError(
            f"`terms` is {names!r}, and not all of it are names of terms.",
            hint=f"Give a list of some of {', '.join(known)}.",
        )


def _shaped(view: View, used: Mapping[Key, Part], rng: np.random.Generator) -> tuple[View, tuple[str, ...]]:
    """Random weights with all that the pattern knows of the matrix, and the names of those terms."""
    parts = {term: used.get(Key(subject, term.name)) for term in MATRIX_TERMS if (subject := term.subject(view))}
    fitting = {term: part for term, part in parts.items() if part is not None}
    if not fitting:
        return view, ()
    # The second moments of all pairs of places say more than the spectrum along them.
    if any(term.name == "places" for term in fitting):
        fitting = {term: part for term, part in fitting.items() if term.name != "axis"}
    size = float(np.sqrt(np.mean(np.square(view.values)))) or 1.0
    shaped = view.with_values(rng.standard_normal(view.values.shape) * size)
    for term, part in fitting.items():
        shaped = term.apply(shaped, part.at(view.spec.depth), rng)
    if SCALE not in {term.name for term in fitting}:
        rms = float(np.sqrt(np.mean(np.square(shaped.values)))) or 1.0
        shaped = shaped.with_values(shaped.values * (size / rms))
    return shaped, tuple(term.name for term in fitting)


def _join(pair: Pair, part: Part, views: dict[str, View], target: LiveTensors, seed: int) -> None:
    """Turn the led matrix of a pair towards or away from its leader."""
    leader, led = (views.get(spec.name) or target.view(spec) for spec in (pair.leader, pair.led))
    heads = num_heads_of(pair.leader, target.config) if pair.has_heads else 1
    factor = led.values.T if pair.led_writes else led.values
    rng = _rng(seed, pair.led, stream=1)
    turned = impose_product(leader.values, factor, part.at(pair.leader.depth), heads, rng)
    views[pair.led.name] = led.with_values(np.ascontiguousarray(turned.T if pair.led_writes else turned))


def _rng(seed: int, spec: TensorSpec, stream: int = 0) -> np.random.Generator:
    return np.random.default_rng([seed, crc32(spec.name.encode()), stream])
