"""How much of a lineage that is left out the others explain, beside the same of random weights.

L = lineages, N = recombinations. All shares come from scalar products of the values (L, L), whatever their length is.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from library.patterns.measure import Measures
from library.patterns.records import Evidence, Key
from library.patterns.terms import NULL_OF
from patterndb.multiplicity import q_values

__all__ = ["LEAST_LINEAGES", "NUM_RECOMBINATIONS", "explained_share", "judge_parts", "shrunk_mean"]

LEAST_LINEAGES = 3
"""Of two, each is predicted by the other alone."""
NUM_RECOMBINATIONS = 999

Float64 = npt.NDArray[np.float64]
Choices = npt.NDArray[np.intp]
"""(N, L): which item each lineage gives; the first row is the lineages as they are."""


def shrunk_mean(values: Float64) -> Float64:
    """The mean over lineages (L, ...), times how reliable it is: 1 less its variance over its square, or 0.

    Noise that lineages do not share, such as that of few units, would otherwise be taken for structure (the positive
    part of James and Stein 1961).
    """
    mean = values.mean(axis=0)
    if len(values) < 2:
        return np.asarray(mean)
    variance = float(np.square(values - mean).sum()) / (len(values) - 1) / len(values)
    square = float(np.square(mean).sum())
    return np.asarray(mean * max(0.0, 1.0 - variance / square)) if square else np.asarray(mean)


def explained_share(values: Float64) -> float:
    """1 - sum |y - prediction by the others|^2 / sum |y|^2 over lineages (L, ...); 0 where all is 0.

    The prediction is the others' `shrunk_mean`.
    """
    flat = values.reshape(len(values), -1)
    errors, squares = _errors((flat @ flat.T)[None])
    return float(_share(errors, squares)[0])


def judge_parts(
    lineages: Sequence[Measures], shuffled: Sequence[Sequence[Measures]], *, seed: int
) -> dict[Key, Evidence]:
    """The evidence of each part that at least `LEAST_LINEAGES` lineages have.

    - `lineages`: what was measured in each.
    - `shuffled[i]`: the same of shuffled copies of lineage i, equally many of each lineage.

    A lineage and its shuffled copies are exchangeable if it does not matter where in a tensor a weight stands,
    whichever copies of the other lineages they are held against: each recombination takes one of them at random from
    every lineage, and p is the share of recombinations that explain as much. Where no shuffle changes anything
    (`roles`), each lineage's subjects change names at random, and all parts of the term are tested together, since
    single subjects are often alike.
    """
    counts = {key: [i for i, found in enumerate(lineages) if key in found] for found in lineages for key in found}
    members = {key: own for key, own in counts.items() if len(own) >= LEAST_LINEAGES}
    tests: dict[str, list[Key]] = defaultdict(list)
    for key in members:
        tests[key.term if NULL_OF[key.term] == "roles" else f"{key.subject} {key.term}"].append(key)
    tested = {}
    for number, keys in enumerate(tests.values()):
        rng = np.random.default_rng([seed, number])
        by_name = NULL_OF[keys[0].term] == "roles"
        errors = (
            _renamed(keys, members, lineages, rng) if by_name else [_mixed(keys[0], members, lineages, shuffled, rng)]
        )
        pooled = _share(np.sum([error for error, _ in errors], axis=0), np.sum([each for _, each in errors], axis=0))
        p = float(np.mean(pooled >= pooled[0] - 1e-12))
        tested[number] = (p, {key: _share(*own) for key, own in zip(keys, errors, strict=True)})
    found_q = q_values([p for p, _ in tested.values()])
    return {
        key: Evidence(
            lineages=len(members[key]),
            explained=float(shares[0]),
            null=float(shares[1:].mean()),
            p=p,
            q=1.0 if q is None else q,
        )
        for (p, parts), q in zip(tested.values(), found_q, strict=True)
        for key, shares in parts.items()
    }


def _mixed(
    key: Key,
    members: Mapping[Key, Sequence[int]],
    lineages: Sequence[Measures],
    shuffled: Sequence[Sequence[Measures]],
    rng: np.random.Generator,
) -> tuple[Float64, Float64]:
    """Errors and squares (N,) of recombinations of lineages with their shuffled copies."""
    items = [[lineages[i][key], *(draw[key] for draw in shuffled[i])] for i in members[key]]
    choices = np.stack([_random_choices(len(own), rng) for own in items], axis=1)
    return _recombined(items, choices)


def _renamed(
    keys: Sequence[Key], members: Mapping[Key, Sequence[int]], lineages: Sequence[Measures], rng: np.random.Generator
) -> list[tuple[Float64, Float64]]:
    """The same of each key, where every lineage's own keys are permuted at random."""
    own = {i: [key for key in keys if i in members[key]] for i in range(len(lineages))}
    orders = {i: _random_orders(len(found), rng) for i, found in own.items()}
    errors = []
    for key in keys:
        items = [[lineages[i][other] for other in own[i]] for i in members[key]]
        choices = np.stack([orders[i][:, own[i].index(key)] for i in members[key]], axis=1)
        errors.append(_recombined(items, choices))
    return errors


def _random_choices(count: int, rng: np.random.Generator) -> Choices:
    """(N,): the first item, then random ones."""
    return np.concatenate([[0], rng.integers(0, count, NUM_RECOMBINATIONS)])


def _random_orders(count: int, rng: np.random.Generator) -> Choices:
    """(N, count): the given order, then random ones."""
    orders = np.tile(np.arange(count), (NUM_RECOMBINATIONS + 1, 1))
    orders[1:] = rng.permuted(orders[1:], axis=1)
    return orders


def _recombined(items: Sequence[Sequence[Float64]], choices: Choices) -> tuple[Float64, Float64]:
    """Errors and squares (N,) of each choice of one item of every lineage."""
    flat = np.stack([item.ravel() for own in items for item in own])
    places = choices + np.cumsum([0, *map(len, items)])[:-1]
    products = flat @ flat.T
    return _errors(products[places[:, :, None], places[:, None, :]])


def _errors(products: Float64) -> tuple[Float64, Float64]:
    """Squared errors of predicting each lineage by the others, and squares, summed over lineages: (N,) each.

    - `products`: scalar products (N, L, L) of the lineages' values.
    """
    own = np.diagonal(products, axis1=1, axis2=2)
    sums, others = products.sum(axis=2), products.shape[1] - 1
    mean_square = (sums.sum(axis=1, keepdims=True) - 2 * sums + own) / others**2
    spread = (own.sum(axis=1, keepdims=True) - own) - others * mean_square
    variance = np.maximum(spread, 0.0) / max(others - 1, 1) / others if others > 1 else np.zeros_like(own)
    reliable = np.divide(variance, mean_square, out=np.ones_like(own), where=mean_square > 0)
    weight = np.maximum(0.0, 1.0 - reliable)
    errors = own - 2 * weight * (sums - own) / others + weight**2 * mean_square
    return errors.sum(axis=1), own.sum(axis=1)


def _share(errors: Float64, squares: Float64) -> Float64:
    return 1.0 - np.divide(errors, squares, out=np.ones_like(squares), where=squares > 0)
