"""How large a DNA is: hidden width, layers and rank from a budget of parameters.

The constants come from the frontier measured on MiniLM-L6 (`benchmarks/fidelity.py`): two sine layers a side, and a
rank that grows a little faster than the width.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

from pipeline.fit.networks import pointwise_parameters, separable_parameters
from pipeline.settings import FitSettings

__all__ = ["MOMENTS", "NetworkSize", "choose_size", "step_size"]

MOMENTS = 2
"""Numbers of a DNA that are no parameters of its network: mean and scale of a tensor."""
SEPARABLE_LAYERS = 2
POINTWISE_LAYERS = 3
RANK_AT = (1474, 6)
RANK_GROWTH = 0.6
"""Parameters and rank of a 384 x 384 matrix's DNA at 1 %, and the power of the parameters that the rank grows with.

A higher rank holds more of the matrix and still more of its null; this one is close to the largest structure gain."""
BRANCH_RANK = 5
"""About the rank of one branch of a separable DNA."""
SMALLEST_WIDTH = 4
RATE_WIDTH = 48
LARGEST_POINTWISE_STEP = 0.0128
"""A pointwise DNA's largest learning rate times the root of its width (`benchmarks/pointwise.py`): at twice this, steps
of Adam turn the phases of the sines faster than they can be put right, and the fit stays at the mean."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkSize:
    """Width, sine layers and, for `separable`, rank and branches of one network."""

    hidden_dim: int
    """Of each branch."""
    num_layers: int
    rank: int = 1
    """Of all branches together."""
    num_branches: int = 1


def step_size(settings: FitSettings, size: NetworkSize) -> float:
    """The learning rate of a network of this width.

    `settings.learning_rate` is for a separable DNA up to `RATE_WIDTH` wide; a wider one takes proportionally less, as a
    step of Adam moves every weight by the rate, and a unit's input by the rate times the width. A pointwise one takes
    at most `LARGEST_POINTWISE_STEP` over the root of its width. A step of SGD is as long as the gradient says: its
    rate stays as it is.
    """
    if settings.optimizer == "sgd":
        return settings.learning_rate
    if settings.dna_type != "separable":
        return min(settings.learning_rate, LARGEST_POINTWISE_STEP / math.sqrt(size.hidden_dim))
    return settings.learning_rate * min(RATE_WIDTH / size.hidden_dim, 1.0)


def choose_size(
    settings: FitSettings,
    *,
    num_weights: int,
    shortest_axis: int,
    in_dim: int,
    level: float = 1.0,
    spent: int = 0,
) -> NetworkSize:
    """The size asked for; what is left open is chosen so that the network stays within its budget.

    The budget is `level * settings.budget * num_weights` parameters, at most `max_parameters`, and pays for mean and
    scale too, and for the `spent` row and column means.
    A network has at least `SMALLEST_WIDTH` units: a tiny tensor gets more than its share, and the report counts them.
    """
    budget = max(min(level * settings.budget * num_weights, settings.max_parameters) - spent, 1.0)
    allowed = budget - MOMENTS
    if settings.dna_type == "separable":
        base, rank = RANK_AT
        rank = settings.rank or max(2, min(round(rank * (max(budget, 0) / base) ** RANK_GROWTH), shortest_axis))
        layers = settings.num_layers or SEPARABLE_LAYERS
        branches = max(round(rank / BRANCH_RANK), 1)
        width = settings.hidden_dim or _widest(
            allowed, lambda hidden: 2 * separable_parameters(in_dim, hidden, layers, rank, branches)
        )
        return NetworkSize(hidden_dim=width, num_layers=layers, rank=rank, num_branches=branches)
    layers = settings.num_layers or POINTWISE_LAYERS
    width = settings.hidden_dim or _widest(
        allowed, lambda hidden: pointwise_parameters(settings.dna_type, in_dim, hidden, layers)
    )
    return NetworkSize(hidden_dim=width, num_layers=layers)


def _widest(allowed: float, count: Callable[[int], int]) -> int:
    """The greatest hidden width whose network, by `count`, has at most `allowed` parameters."""
    width = SMALLEST_WIDTH
    while count(width + 1) <= allowed:
        width += 1
    return width
