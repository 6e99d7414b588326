"""How much of a lineage that is left out the others explain, beside the same of random weights."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from library.patterns.measure import Measures
from library.patterns.records import Evidence, Key
from library.patterns.terms import NULL_OF
from patterndb.multiplicity import q_values

__all__ = ["LEAST_LINEAGES", "explained_share", "judge_parts", "shrunk_mean"]

LEAST_LINEAGES = 3
"""Of two, each is predicted by the other alone."""

Float64 = npt.NDArray[np.float64]


def shrunk_mean(values: Float64) -> Float64:
    """The mean over lineages (lineages, ...), times how reliable it is: 1 less its variance over its square, or 0.

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
    """1 - sum |y - prediction by the others|^2 / sum |y|^2 over lineages (lineages, ...); 0 where all is 0.

    The prediction is the others' `shrunk_mean`.
    """
    return _share([_errors([*values])])


def judge_parts(
    lineages: Sequence[Measures], shuffled: Sequence[Sequence[Measures]], *, num_draws: int, seed: int
) -> dict[Key, Evidence]:
    """The evidence of each part that at least `LEAST_LINEAGES` lineages have.

    - `lineages`: what was measured in each.
    - `shuffled[i][j]`: the same of draw j of shuffled copies of lineage i.

    Draws and value are exchangeable: under `shuffle` if it does not matter where in a tensor a weight stands; each part
    is tested. Under `roles` if within each lineage it does not matter which subject has which values: that is tested
    once for all parts of the term, which share their p, since single subjects are often alike.
    """
    counts = {key: [i for i, found in enumerate(lineages) if key in found] for found in lineages for key in found}
    members = {key: own for key, own in counts.items() if len(own) >= LEAST_LINEAGES}
    renamed = [_renamed(lineages, members, np.random.default_rng([seed, draw])) for draw in range(num_draws)]
    tests: dict[str, list[Key]] = defaultdict(list)
    for key in members:
        tests[key.term if NULL_OF[key.term] == "roles" else f"{key.subject} {key.term}"].append(key)

    def draw(keys: Sequence[Key], number: int) -> list[tuple[float, float]]:
        if NULL_OF[keys[0].term] == "roles":
            return [_errors([renamed[number][i][key] for i in members[key]]) for key in keys]
        return [_errors([shuffled[i][number][key] for i in members[key]]) for key in keys]

    tested = {}
    for name, keys in tests.items():
        errors = [_errors([lineages[i][key] for i in members[key]]) for key in keys]
        drawn = [draw(keys, number) for number in range(num_draws)]
        value = _share(errors)
        p = (1 + sum(_share(each) >= value - 1e-12 for each in drawn)) / (1 + num_draws)
        nulls = [float(np.mean([_share([each[place]]) for each in drawn])) for place in range(len(keys))]
        tested[name] = (p, dict(zip(keys, zip(errors, nulls, strict=True), strict=True)))
    found_q = q_values([p for p, _ in tested.values()])
    return {
        key: Evidence(lineages=len(members[key]), explained=_share([own]), null=null, p=p, q=1.0 if q is None else q)
        for (p, parts), q in zip(tested.values(), found_q, strict=True)
        for key, (own, null) in parts.items()
    }


def _errors(values: Sequence[Float64]) -> tuple[float, float]:
    """Squared errors of each lineage's prediction by the others, and its squares."""
    stacked = np.stack(values)
    others = np.stack([shrunk_mean(np.delete(stacked, place, axis=0)) for place in range(len(stacked))])
    return float(np.square(stacked - others).sum()), float(np.square(stacked).sum())


def _share(errors: Sequence[tuple[float, float]]) -> float:
    total = sum(squares for _, squares in errors)
    return 1.0 - sum(error for error, _ in errors) / total if total else 0.0


def _renamed(
    lineages: Sequence[Measures], tested: Mapping[Key, Sequence[int]], rng: np.random.Generator
) -> list[dict[Key, Float64]]:
    """Each lineage with the subjects of a term permuted among those that it has and that are tested."""
    found = []
    for lineage in lineages:
        own: dict[Key, Float64] = {}
        for term in sorted({key.term for key in tested if NULL_OF[key.term] == "roles"}):
            keys = sorted(key for key in tested if key.term == term and key in lineage)
            for key, other in zip(keys, rng.permutation(len(keys)), strict=True):
                own[key] = lineage[keys[other]]
        found.append(own)
    return found
