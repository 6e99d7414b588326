"""Networks of an architecture that no rule of the zoo knows, trained in a fraction of a second.

Nodes of paths have one of `KINDS` kinds, as frequent as words are; a network hides one node and guesses its kind from
what its neighbours send. All trainings see the same chemistry in the same vocabulary, whatever their seed, so that what
a common vocabulary leaves in the tables of unrelated models is in them. Names tell no role.
"""

from collections.abc import Mapping

import numpy as np
import torch

from pipeline.lineage import ModelWeights
from zoo.roles import describe_tensors
from zoo.tensors import TensorHeader

__all__ = ["new_network", "trained", "weights_of"]

KINDS, WIDTH, INNER, STEPS = 48, 24, 32, 2
NODES, BATCH = 8, 64
RATE = 0.02
"""Root mean square of a first step; the weights' is 0.2."""

Network = Mapping[str, torch.Tensor]


def new_network(seed: int) -> Network:
    """Random weights."""
    shapes = {"vex.lut": (KINDS, WIDTH), "vex.sel": (KINDS, WIDTH)}
    for step in range(STEPS):
        own = {"pa": (WIDTH, WIDTH), "po": (WIDTH, WIDTH), "ra": (INNER, WIDTH), "ro": (WIDTH, INNER)}
        shapes |= {f"vex.q{step}.{name}": shape for name, shape in own.items()}
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(shape, generator=generator) / shape[1] ** 0.5 for name, shape in shapes.items()}


def trained(start: Network, *, seed: int, steps: int = 150, chemistry: int = 0) -> Network:
    """The network after `steps`, on batches that `seed` draws from one chemistry.

    Every step has one length for each tensor, which falls to 0: torch's optimisers take seconds to import.
    """
    network = {name: tensor.clone().requires_grad_() for name, tensor in start.items()}
    follows = torch.randperm(KINDS, generator=torch.Generator().manual_seed(chemistry))
    generator = torch.Generator().manual_seed(seed)
    for step in range(steps):
        nodes = _paths(follows, generator)
        hidden = torch.randint(NODES, (BATCH,), generator=generator)
        loss = torch.nn.functional.cross_entropy(_guess(network, nodes, hidden), nodes[torch.arange(BATCH), hidden])
        gradients = torch.autograd.grad(loss, list(network.values()))
        with torch.no_grad():
            for tensor, gradient in zip(network.values(), gradients, strict=True):
                tensor -= RATE * (1 - step / steps) * gradient * (tensor.numel() ** 0.5 / gradient.norm())
    return {name: tensor.detach() for name, tensor in network.items()}


def _paths(follows: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Kinds of nodes, (BATCH, NODES): most follow the one before, the others are drawn by Zipf's law."""
    frequency = 1 / torch.arange(1, KINDS + 1)
    nodes = torch.multinomial(frequency.expand(BATCH, -1), NODES, replacement=True, generator=generator)
    is_bound = torch.rand((BATCH, NODES), generator=generator) < 0.8
    for place in range(1, NODES):
        nodes[:, place] = torch.where(is_bound[:, place], follows[nodes[:, place - 1]], nodes[:, place])
    return nodes


def _guess(network: Network, nodes: torch.Tensor, hidden: torch.Tensor) -> torch.Tensor:
    """Logits of the kind of one hidden node of each path, (BATCH, KINDS)."""
    places = torch.arange(len(nodes))
    is_seen = torch.ones(nodes.shape)
    is_seen[places, hidden] = 0
    state = network["vex.lut"][nodes] * is_seen[..., None]
    for step in range(STEPS):
        pa, po, ra, ro = (network[f"vex.q{step}.{name}"] for name in ("pa", "po", "ra", "ro"))
        sent = state @ pa.T
        received = torch.nn.functional.pad(sent[:, :-1], (0, 0, 1, 0)) - torch.nn.functional.pad(
            sent[:, 1:], (0, 0, 0, 1)
        )
        state = state + torch.tanh(received) @ po.T
        state = state + torch.relu(state @ ra.T) @ ro.T
    return state[places, hidden] @ network["vex.sel"].T


def weights_of(network: Network) -> ModelWeights:
    """The network as the product reads one without a configuration."""
    headers = [TensorHeader(name=name, shape=tuple(tensor.shape), dtype="F32") for name, tensor in network.items()]
    values = {name: np.asarray(tensor.numpy(), dtype=np.float32) for name, tensor in network.items()}
    specs = describe_tensors(headers)
    return ModelWeights(
        specs=specs, load=lambda spec: values[spec.tensor].reshape(spec.rows, spec.cols).copy(), config={}
    )
