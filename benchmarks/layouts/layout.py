"""What a layout is, how one is read, and whether that is what it must be."""

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dna_zoo.errors import DnaZooError
from pipeline.fetch.plan import expand, key_of
from pipeline.fetch.request import ModelRequest
from pipeline.fetch.stage import fetch
from pipeline.weights.inventory import Inventory, take_inventory
from pipeline.weights.reader import WeightReader

__all__ = ["Layout", "Model", "Must", "Outcome", "try_layout"]

Model = Mapping[str, npt.NDArray[Any]]
"""Name -> values of each matrix and vector that must be there; parts of a fused one under the parts' names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Must:
    """What reading must give: a model, several, or a refusal."""

    model: Model = field(default_factory=dict)
    tolerance: float = 0.0
    """Largest difference of a value from the one it must have."""
    components: Mapping[str, Model] = field(default_factory=dict)
    """Several models, by what follows the folder's name in their keys; in place of `model`."""
    ties: Collection[str] = ()
    """Names of `model` that must count as copies."""
    scheme: str | None = None
    """Of all that is quantised."""
    said: str = ""
    """Pattern of a note, where it must be said."""
    refused: str = ""
    """Pattern of the refusal's sentence; empty where the layout must be read."""
    roles: Mapping[str, str] = field(default_factory=dict)
    depths: Mapping[str, float] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()
    """Names of `model` that must not be read."""
    path: Path | None = None
    """What is asked for, where that is not the folder."""
    key: str | None = None
    """What the model must be called."""
    how: Mapping[str, Any] = field(default_factory=dict)
    """Further fields of the request."""
    allow: Mapping[str, bool] = field(default_factory=dict)
    """Options of `take_inventory`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """One kind of checkpoint."""

    group: str
    name: str
    write: Callable[[Path], Must]
    """Writes it into an empty folder, the same bytes each time."""
    is_slow: bool = False
    """Whether a library is loaded that takes seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What was read, in words, and what is wrong with that."""

    layout: Layout
    read: str
    wrong: str = ""


def try_layout(layout: Layout, folder: Path) -> Outcome:
    """Write the layout below `folder`, read it as `dna-zoo mine` does, and compare."""
    source = folder / "model"
    source.mkdir(parents=True)
    must = layout.write(source)
    request = ModelRequest(name=str(must.path or source), **must.how)
    try:
        found = {key_of(each): _read(each, must, folder / "home") for each in expand(request)}
    except DnaZooError as error:
        sentence = f"{error.message} {error.hint}".replace(str(source), source.name)
        is_right = must.refused and re.search(must.refused, sentence)
        return Outcome(layout=layout, read=f"refused: {sentence}", wrong="" if is_right else "this refusal")
    name = key_of(request)
    keys = {f"{name}/{end}" if end else name for end in must.components} or {must.key or name}
    wrong = f"the models are called {[*found]}" if keys != found.keys() else ""
    read = "; ".join(told for told, _ in found.values())
    return Outcome(layout=layout, read=read, wrong=wrong or "".join(wrong for _, wrong in found.values()))


def _read(request: ModelRequest, must: Must, home: Path) -> tuple[str, str]:
    """What was read of one model, and what is wrong with it."""
    files = fetch(request, home=home, offline=True)
    with WeightReader(files) as reader:
        inventory = take_inventory(reader, **must.allow)
        model = must.components.get(files.key.partition("/")[2], must.model)
        return _told(inventory), _difference(must, model, reader, inventory)


def _told(inventory: Inventory) -> str:
    schemes = ", ".join(inventory.account.schemes)
    partial = "partial" if inventory.is_partial else ""
    parts = (
        f"{inventory.num_tensors} {'tensor' if inventory.num_tensors == 1 else 'tensors'}",
        f"{inventory.num_weights:,} weights",
        schemes,
        partial,
    )
    return ", ".join(filter(None, parts))


def _difference(must: Must, model: Model, reader: WeightReader, inventory: Inventory) -> str:
    """The first thing that is not what it must be; empty where all is."""
    if must.refused:
        return "it must be refused"
    specs = {spec.name: spec for spec in inventory.specs if spec.kind != "buffer"}
    wanted = model.keys() - {*must.left_out}
    if specs.keys() != wanted:
        return f"{min(specs.keys() ^ wanted)!r} is {'missing' if wanted - specs.keys() else 'too many'}"
    for name, spec in specs.items():
        found, value = reader.matrix(spec), np.asarray(model[name], dtype=np.float64)
        if not np.abs(found - value.reshape(found.shape)).max() <= must.tolerance:
            return f"{name!r} has other values"
        if must.roles.get(name, spec.role) != spec.role:
            return f"{name!r} has the role {spec.role}"
        if must.depths.get(name, spec.depth) != spec.depth:
            return f"{name!r} has the depth {spec.depth}"
    if ties := {*must.ties} - {spec.name for spec in inventory.specs if spec.kind == "tied"}:
        return f"{min(ties)!r} is no copy"
    if must.scheme is not None and [*inventory.account.schemes] != [must.scheme]:
        return f"the scheme is {[*inventory.account.schemes]}"
    if must.said and not any(re.search(must.said, note) for note in inventory.notes):
        return f"nothing is said of {must.said!r}"
    return ""
