"""Transplant: layers of one model in another, and what they are worth there before and after a short fine-tune."""

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from dna_zoo.errors import JoinError
from library.models import Loaded
from library.surgery.alignment import Alignment, align, values_of
from library.surgery.layers import Layer, layers_of, renamed, require_same_layers
from library.surgery.tasks import Score, Task, fine_tune, score

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["LEARNING_RATE", "STEPS", "Resample", "Transplant", "Variant", "transplant"]

STEPS = 100
LEARNING_RATE = 1e-3
State = Mapping[str, Tensor]
Resample = Callable[[str, Tensor, tuple[int, ...]], Tensor]
"""Name of a tensor of the donor, the tensor and a shape -> the tensor at that shape."""
Layers = Literal["aligned", "unaligned", "random", "host's own"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """The host with other layers in the same places."""

    layers: Layers
    before: Score
    after: Score
    """After the fine-tune: all weights, the same batches for every variant."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Transplant:
    """A host with layers of a donor."""

    donor: str
    host: str
    pairs: tuple[tuple[int, int], ...]
    """A layer of the donor, the layer of the host in whose place it is."""
    model: "PreTrainedModel"
    """With the layers that were asked for, after the fine-tune."""
    alignment: Alignment | None
    resampled: tuple[str, ...]
    """Tensors of the host whose values come from another shape."""
    task: Task
    steps: int
    variants: tuple[Variant, ...]
    """What was asked for comes first."""


def transplant(
    donor: Loaded,
    host: Loaded,
    *,
    donor_layers: Sequence[int],
    host_layers: Sequence[int],
    task: Task,
    aligned: bool = False,
    resample: Resample | None = None,
    steps: int = STEPS,
    learning_rate: float = LEARNING_RATE,
    seed: int = 0,
) -> Transplant:
    """Put layers of the donor into the host, in the order given.

    - `aligned`: reorder the donor's residual stream as the host's first. Its units are permuted, and flipped where no
      norm reads their signs (RMS norm). A rotation would fit the weights better and is not used: layer norm takes the
      mean of the units and each has a gain, so that a rotated network would compute something else.
    - `resample`: how tensors of another shape come to that of the host; without it they are refused.
    - `task`: of the host.
    - `seed`: of the batches, and of the random layers.

    Raises `JoinError` for layers that do not fit.
    """
    pairs = _pairs(donor, host, donor_layers, host_layers)
    given = _for_host(donor, host, pairs)
    own = values_of(host.model)
    given, resampled = _fitted(donor, host, given, own, pairs, resample)
    names = [name for _, layer in pairs for name in layer.names.values()]
    layers: dict[Layers, State] = {}
    alignment = None
    if aligned:
        alignment = align(own, given, model=host.model, example=task.example)
        layers["aligned"] = alignment.apply(given)
    layers |= {"unaligned": given, "random": _random(host, seed), "host's own": own}
    variants, models = [], []
    for kind, state in layers.items():
        model = _with(host.model, {name: state[name] for name in names})
        before = score(model, task)
        if steps:
            fine_tune(model, task, steps=steps, learning_rate=learning_rate, seed=seed)
        variants.append(Variant(layers=kind, before=before, after=score(model, task) if steps else before))
        models.append(model)
    return Transplant(
        donor=donor.name,
        host=host.name,
        pairs=tuple((one.index, other.index) for one, other in pairs),
        model=models[0],
        alignment=alignment,
        resampled=resampled,
        task=task,
        steps=steps,
        variants=tuple(variants),
    )


def _pairs(
    donor: Loaded, host: Loaded, donor_layers: Sequence[int], host_layers: Sequence[int]
) -> list[tuple[Layer, Layer]]:
    if not donor_layers or len(donor_layers) != len(host_layers):
        raise JoinError(
            f"{len(donor_layers)} layers cannot take the place of {len(host_layers)}.",
            hint="Name as many layers in `--from` as in `--to`.",
        )
    if len(set(host_layers)) < len(host_layers):
        raise JoinError("A layer of the host is named twice.", hint="Name each layer in `--to` once.")
    sides = [(donor, donor_layers), (host, host_layers)]
    found = [[_layer(loaded, index) for index in indices] for loaded, indices in sides]
    pairs = list(zip(*found, strict=True))
    for one, other in pairs:
        require_same_layers(donor, one, host, other)
    return pairs


def _layer(loaded: Loaded, index: int) -> Layer:
    layers = layers_of(loaded)
    if not 0 <= index < len(layers):
        hint = f"Name layers from 0 to {len(layers) - 1}." if layers else "Give models with repeated blocks."
        raise JoinError(f"{loaded.name!r} has {len(layers)} layers, and so no layer {index}.", hint=hint)
    return layers[index]


def _for_host(donor: Loaded, host: Loaded, pairs: Sequence[tuple[Layer, Layer]]) -> dict[str, Tensor]:
    """The donor's tensors under the host's names: the layers that move, and all else that has the same place in both.

    What does not move is there to align the residual streams by.
    """
    state = values_of(donor.model)
    own, theirs = layers_of(host), layers_of(donor)
    inside = {name for layer in theirs for name in layer.names.values()}
    found = {name: tensor for name, tensor in state.items() if name not in inside}
    taken = {other.index for _, other in pairs}
    if len(own) == len(theirs):
        for one, other in zip(theirs, own, strict=True):
            if other.index not in taken:
                found |= renamed(state, one, other)
    for one, other in pairs:
        found |= renamed(state, one, other)
    return found


def _fitted(
    donor: Loaded,
    host: Loaded,
    given: dict[str, Tensor],
    own: State,
    pairs: Sequence[tuple[Layer, Layer]],
    resample: Resample | None,
) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """What of `given` has the host's shapes, or is brought to them since it moves; and the names of the latter."""
    names = {other.names[key]: one.names[key] for one, other in pairs for key in other.names}
    apart = {name: old for name, old in names.items() if given[name].shape != own[name].shape}
    if apart and resample is None:
        name, old = next(iter(apart.items()))
        sizes = " and ".join("x".join(map(str, side[name].shape)) for side in (given, own))
        raise JoinError(
            f"{old!r} of {donor.name!r} and {name!r} of {host.name!r} have the shapes {sizes}.",
            hint="Give models of one width, or change the layers' with `--resample`.",
        )
    found = dict(given)
    for name, old in apart.items():
        assert resample is not None
        found[name] = resample(old, given[name], tuple(own[name].shape)).to(own[name].dtype)
    return {name: tensor for name, tensor in found.items() if name in own and tensor.shape == own[name].shape}, tuple(
        apart
    )


def _random(host: Loaded, seed: int) -> State:
    """The host's architecture as it starts, before any training."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return values_of(type(host.model)(deepcopy(host.config)))


@torch.no_grad()
def _with(model: "PreTrainedModel", state: State) -> "PreTrainedModel":
    """A copy of the model with these tensors."""
    found: Any = deepcopy(model)
    for name, tensor in values_of(found).items():
        if name in state:
            tensor.copy_(state[name])
    made: PreTrainedModel = found.eval()
    return made
