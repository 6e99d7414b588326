"""Alignment: of two networks with one architecture, which unit of one is which of the other."""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from library.surgery.matching import Match, match
from library.surgery.symmetry import Doubles, Indices, Network
from zoo.tracing.build import TinyModel
from zoo.tracing.derive import Group, derive, followed

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["Alignment", "align", "trace_network", "values_of"]

State = Mapping[str, Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class Alignment:
    """How a network is changed, its function unchanged, to lie near a reference."""

    network: Network
    match: Match

    @property
    def groups(self) -> tuple[Group, ...]:
        """The groups of axes that move."""
        change = self.match.change
        return tuple(g for g in self.network.free if g.atom in change.orders or g.atom in change.turns)

    @property
    def permutations(self) -> dict[str, Indices]:
        """For each group its kind and first tensor -> index i of the reference is this index of the network.

        Rotations within heads have none.
        """
        orders = self.match.change.orders
        return {f"{g.kind} of {g.members[0].parameter}": orders[g.atom] for g in self.groups if g.atom in orders}

    def apply(self, state: State) -> dict[str, Tensor]:
        """A state of the network after the change, in the dtypes it has; tensors that were not followed stay.

        Second names of a tied tensor go with the first.
        """
        made = {}
        for name in self.network.parts.keys() & state.keys():
            changed = self.network.changed(name, _double(state[name]), self.match.change)
            made[_place(state[name])] = torch.from_numpy(changed).to(state[name].dtype)
        return {name: made.get(_place(tensor), tensor) for name, tensor in state.items()}


def align(
    reference: State, state: State, *, model: "PreTrainedModel", example: Mapping[str, Tensor], turns: bool = True
) -> Alignment:
    """Match a network with a reference by their weights.

    - `reference`, `state`: tensors by name; those that both have with one shape are compared.
    - `model`: a network of that architecture, to be run once on `example`; its weights do not matter.
    - `turns`: whether dimensions within heads may be rotated where attention is bilinear in them.
    """
    network = trace_network(model, example)
    trained = {name for name, _ in model.named_parameters()}
    a, b = ({name: _double(side[name]) for name in network.parts if name in side} for side in (reference, state))
    names = [name for name in a.keys() & b.keys() & trained if a[name].shape == b[name].shape]
    return Alignment(network=network, match=match(network, a, b, names=sorted(names), turns=turns))


def trace_network(model: "PreTrainedModel", example: Mapping[str, Tensor]) -> Network:
    """What axes the network has, from one run in float64."""
    copy: Any = deepcopy(model)
    model = copy.double().eval()
    inputs: dict[str, Any] = {n: t.double() if t.is_floating_point() else t.clone() for n, t in example.items()}
    if hasattr(model.config, "use_cache"):
        inputs["use_cache"] = False
    tokens = [tensor for name, tensor in inputs.items() if name.endswith("input_ids")]
    tiny = TinyModel(model, inputs, tokens, int(getattr(model.config, "vocab_size", 0) or 0))

    def run() -> Any:
        found = tiny.run()
        # Behind a head nobody reads the streams, so that their order is arbitrary.
        return {"logits": found.logits} if getattr(found, "logits", None) is not None else found

    return Network(derive(model, run, tokens, tiny.vocabulary))


def values_of(model: "PreTrainedModel") -> dict[str, Tensor]:
    """Everything of a model that is a number: parameters and running statistics, tied ones once."""
    return {name: tensor.detach() for name, tensor in followed(model).items()}


def _place(tensor: Tensor) -> tuple[object, ...]:
    """Where the values of a tensor are."""
    return tensor.data_ptr(), tensor.shape, tensor.dtype


def _double(tensor: Tensor) -> Doubles:
    found: Doubles = tensor.detach().to(torch.float64).numpy()
    return found
