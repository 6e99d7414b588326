"""Weight-level evidence on pairs: `pipeline.lineage` on every child and root, and on roots that are not its own.

All pairs would take hours and say the same, so these are taken: each child with its root (both, for a merge of two),
each member with every root of its architecture that is not its own, a shuffled copy with what it is a copy of too, and
each root with one root of every other architecture.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from cattrs import Converter

from benchmarks.kinship.gallery import Member, weight_files
from benchmarks.kinship.metrics import area_under_curve, rates_at, threshold_at
from benchmarks.kinship.scoring import FALSE_POSITIVE_RATE
from pipeline.extract import WeightReader, extract
from pipeline.lineage import LINEAGE_VERSION, Lineage, ModelWeights, compare_weights
from pipeline.stages import StageStore, content_key

__all__ = ["LineageScores", "choose_pairs", "lineage_of", "score_lineage"]

_converter = Converter()
Pair = tuple[Member, Member]


@dataclass(frozen=True, slots=True, kw_only=True)
class LineageScores:
    """How well the evidence tells kin, for one set of pairs."""

    kin_pairs: int
    other_pairs: int
    auc: float
    """By z; what cannot be tested counts as farthest."""
    tpr: float
    """At 1 % of all other pairs."""
    verdicts_on_kin: Mapping[str, int]
    verdicts_on_others: Mapping[str, int]


def choose_pairs(members: Sequence[Member]) -> list[Pair]:
    """The pairs to compare, each once: the first is the child, or the later name of two roots."""
    roots = [member for member in members if member.relation == "root"]
    own = [(m, root) for m in members for root in roots if m is not root and root.architecture == m.architecture]
    among_roots = {frozenset((a.name, b.name)): (a, b) for a, b in own if a in roots}
    children = [(a, b) for a, b in own if a not in roots]
    rank = {root.name: rank for rank, root in enumerate(roots)}
    by_architecture = {name: [r for r in roots if r.architecture == name] for name in {r.architecture for r in roots}}
    apart = [
        (root, others[rank[root.name] % len(others)])
        for root in roots
        for name, others in sorted(by_architecture.items())
        if name < root.architecture
    ]
    return [*children, *among_roots.values(), *apart]


def lineage_of(pair: Pair, home: Path, *, num_nulls: int, seed: int) -> Lineage:
    """The evidence, computed unless `home` has it, under the key that the product keeps it by."""
    files = sorted((weight_files(member, home) for member in pair), key=lambda found: found.digest)
    key = content_key(LINEAGE_VERSION, [found.digest for found in files], num_nulls, seed)

    def compare(directory: Path) -> dict[str, object]:
        with WeightReader(files[0]) as left, WeightReader(files[1]) as right:
            weights = [
                ModelWeights(specs=extract(found).specs, load=reader.matrix, config=found.config)
                for found, reader in zip(files, (left, right), strict=True)
            ]
            return asdict(compare_weights(*weights, num_nulls=num_nulls, seed=seed))

    return _converter.structure(StageStore(home).run("lineage", key, compare).result, Lineage)


def score_lineage(pairs: Sequence[Pair], found: Sequence[Lineage]) -> dict[str, LineageScores]:
    """`all`, each split, each architecture, and each relation of the child, at one threshold for all."""
    distances = np.array([np.inf if item.z is None else -item.z for item in found])
    kin = np.array([a.is_kin(b) for a, b in pairs])
    threshold = threshold_at(distances, kin, FALSE_POSITIVE_RATE)
    verdicts = np.array([item.verdict for item in found])

    def score(keep: Sequence[bool]) -> LineageScores:
        mask = np.array(keep)
        ours, is_kin = distances[mask], kin[mask]
        return LineageScores(
            kin_pairs=int(is_kin.sum()),
            other_pairs=int((~is_kin).sum()),
            auc=area_under_curve(ours, is_kin),
            tpr=rates_at(threshold, ours, is_kin)[0],
            verdicts_on_kin=dict(Counter(verdicts[mask][is_kin].tolist())),
            verdicts_on_others=dict(Counter(verdicts[mask][~is_kin].tolist())),
        )

    groups: list[Callable[[Member], str]] = [lambda m: m.split, lambda m: m.architecture, lambda m: m.relation]
    scores = {"all": score([True] * len(pairs))}
    for group in groups:
        for name in dict.fromkeys(group(a) for a, _ in pairs):
            scores[name] = score([group(a) == name for a, _ in pairs])
    return scores
