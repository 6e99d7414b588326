"""The lineage test on pairs of the population, and how well it tells related from unrelated models.

Pairs are chosen in two ways. `choose_pairs`, the short one: each child with its root (both, for a merge of two), each
member with every root of its architecture that is not its own, a shuffled copy also with its original, and each root
with one root of every other architecture. `every_pair`: all pairs of one architecture, which are all related pairs and
all unrelated pairs that are hard to tell apart, and a sample of pairs of two architectures.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from itertools import combinations
from pathlib import Path

import numpy as np
from cattrs import Converter

from benchmarks.population.members import RELATIONS
from benchmarks.relatedness.gallery import Member, weight_files
from benchmarks.relatedness.metrics import area_under_curve, rates_at, threshold_at
from benchmarks.relatedness.scoring import FALSE_POSITIVE_RATE
from pipeline.kept.stages import StageStore, content_key
from pipeline.lineage import LINEAGE_VERSION, Lineage, ModelWeights
from pipeline.lineage.compare import compare_weights
from pipeline.weights.inventory import extract
from pipeline.weights.reader import WeightReader
from zoo.tensors import TensorKind

__all__ = [
    "LineageScores",
    "Pair",
    "choose_pairs",
    "every_pair",
    "exact_interval",
    "lineage_of",
    "members_weights",
    "score_lineage",
]

_converter = Converter()
Pair = tuple[Member, Member]
Rule = Callable[[Member, Member], bool]
"""Whether a pair belongs to a set of pairs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LineageScores:
    """How well the test does on one set of pairs; NaN or None without pairs of a kind."""

    related_pairs: int
    unrelated_pairs: int
    auc: float
    """By z; pairs that cannot be tested count as the farthest."""
    tpr: float
    """At 1 % of all other pairs."""
    verdicts_on_related: Mapping[str, int]
    verdicts_on_unrelated: Mapping[str, int]
    related_called: float
    """Share of the related pairs that are called related."""
    unrelated_called: float
    """Share of the unrelated pairs with it."""
    unrelated_interval: tuple[float, float]
    """95 %, Clopper and Pearson's, as if pairs were independent; they are not where they share models."""
    lowest_of_related: tuple[float, float]
    """Correlation and z."""
    highest_of_unrelated: tuple[float, float]


def choose_pairs(members: Sequence[Member]) -> list[Pair]:
    """The short choice, each pair once: the first is the child, or the later name of two roots."""
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


def every_pair(members: Sequence[Member], *, num_apart: int, seed: int) -> list[Pair]:
    """All pairs of one architecture, and `num_apart` of two, drawn without replacement."""
    pairs = list(combinations(members, 2))
    together = [(a, b) for a, b in pairs if a.architecture == b.architecture]
    apart = [(a, b) for a, b in pairs if a.architecture != b.architecture]
    drawn = np.random.default_rng(seed).choice(len(apart), min(num_apart, len(apart)), replace=False)
    return together + [apart[index] for index in sorted(drawn)]


def lineage_of(pair: Pair, home: Path, *, num_nulls: int, seed: int) -> Lineage:
    """The evidence, computed unless `home` has it, under the key that the product keeps it by."""
    (digest, left), (other, right) = sorted((_weights(member, home) for member in pair), key=lambda found: found[0])
    key = content_key(LINEAGE_VERSION, [digest, other], num_nulls, seed)

    def compare(directory: Path) -> dict[str, object]:
        return asdict(compare_weights(left, right, num_nulls=num_nulls, seed=seed))

    return _converter.structure(StageStore(home).run("lineage", key, compare).result, Lineage)


def members_weights(member: Member, home: Path) -> ModelWeights:
    """All weights, in memory."""
    return _weights(member, home)[1]


@lru_cache(maxsize=512)
def _weights(member: Member, home: Path) -> tuple[str, ModelWeights]:
    """The digest and all weights, in memory: a member takes part in a hundred pairs."""
    files = weight_files(member, home)
    specs = extract(files).specs
    with WeightReader(files) as reader:
        matrices = {spec.name: reader.matrix(spec) for spec in specs if spec.kind is TensorKind.WEIGHT}
    return files.digest, ModelWeights(specs=specs, load=lambda spec: matrices[spec.name].copy(), config=files.config)


def exact_interval(count: int, total: int) -> tuple[float, float]:
    """95 % interval of a share (Clopper and Pearson 1934); NaN without trials."""
    from scipy.stats import binomtest

    if not total:
        return float("nan"), float("nan")
    found = binomtest(count, total).proportion_ci(0.95, method="exact")
    return float(found.low), float(found.high)


def score_lineage(
    pairs: Sequence[Pair], found: Sequence[Lineage], *, in_detail: bool = False
) -> dict[str, LineageScores]:
    """`all`, each split, each architecture, and each relation as child and root, at one threshold for all.

    The unrelated pairs of a relation are those of its members. `in_detail`: also by split, with all related pairs of a
    relation, the easy and the hard relations together, and each kind of unrelated pair.
    """
    distances = np.array([_distance(item) for item in found])
    related = np.array([a.is_related(b) for a, b in pairs])
    threshold = threshold_at(distances, related, FALSE_POSITIVE_RATE)
    scores = {}
    for name, rule in [*_rules(pairs), *(_details(pairs) if in_detail else ())]:
        mask = np.array([rule(a, b) for a, b in pairs])
        if mask.any():
            items = [item for item, is_in in zip(found, mask, strict=True) if is_in]
            scores[name] = _score(items, distances[mask], related[mask], threshold)
    return scores


def _distance(item: Lineage) -> float:
    if item.z is not None:
        return -item.z
    return -np.inf if item.is_related else np.inf


def _score(items: Sequence[Lineage], distances: np.ndarray, related: np.ndarray, threshold: float) -> LineageScores:
    ours = [item for item, is_related in zip(items, related, strict=True) if is_related]
    others = [item for item, is_related in zip(items, related, strict=True) if not is_related]
    called = Counter(item.verdict for item in others)
    return LineageScores(
        related_pairs=len(ours),
        unrelated_pairs=len(others),
        auc=area_under_curve(distances, related),
        tpr=rates_at(threshold, distances, related)[0],
        verdicts_on_related=dict(Counter(item.verdict for item in ours)),
        verdicts_on_unrelated=dict(called),
        related_called=_share(ours),
        unrelated_called=_share(others),
        unrelated_interval=exact_interval(sum(item.is_related for item in others), len(others)),
        lowest_of_related=_extremes(ours, min),
        highest_of_unrelated=_extremes(others, max),
    )


def _share(items: Sequence[Lineage]) -> float:
    return sum(item.is_related for item in items) / len(items) if items else float("nan")


def _extremes(items: Sequence[Lineage], choose: Callable[..., float]) -> tuple[float, float]:
    """The least or the largest correlation, and z, of what could be tested."""
    correlations = (item.correlation for item in items if item.correlation is not None)
    zs = (item.z for item in items if item.z is not None)
    return choose(correlations, default=float("nan")), choose(zs, default=float("nan"))


def _rules(pairs: Sequence[Pair]) -> Iterator[tuple[str, Rule]]:
    yield "all", _is_any
    for name in _names(pairs, lambda m: m.split):
        yield name, _within(lambda m: m.split, name)
    for name in _names(pairs, lambda m: m.architecture):
        yield name, _within(lambda m: m.architecture, name)
    for name in _relations(pairs):
        yield name, _with_root(name)


def _details(pairs: Sequence[Pair]) -> Iterator[tuple[str, Rule]]:
    splits = _names(pairs, lambda m: m.split)
    scopes = {"": _is_any} | {f"{name}: ": _within(lambda m: m.split, name) for name in splits}
    rules = _KINDS | {name: _with_root(name) for name in _relations(pairs)}
    rules |= {f"{name}, all related": _with_related(name) for name in _relations(pairs)}
    for prefix, scope in scopes.items():
        for name, rule in rules.items():
            yield prefix + name, _both(scope, rule)


def _is_any(a: Member, b: Member) -> bool:
    return True


def _is_shuffled(a: Member, b: Member) -> bool:
    return "shuffled" in (a.relation, b.relation)


def _is_copy(a: Member, b: Member) -> bool:
    """A shuffled copy and what it is a copy of."""
    return any(x.relation == "shuffled" and x.origin == y.name for x, y in ((a, b), (b, a)))


_KINDS: Mapping[str, Rule] = {
    "easy": lambda a, b: a.architecture == b.architecture and {a.hardness, b.hardness} <= {"root", "easy"},
    "hard": lambda a, b: a.architecture == b.architecture and "hard" in (a.hardness, b.hardness),
    "another root": lambda a, b: a.architecture == b.architecture and not (a.is_related(b) or _is_shuffled(a, b)),
    "shuffled and original": _is_copy,
    "another architecture": lambda a, b: a.architecture != b.architecture,
}


def _both(first: Rule, second: Rule) -> Rule:
    return lambda a, b: first(a, b) and second(a, b)


def _within(group: Callable[[Member], str], name: str) -> Rule:
    return lambda a, b: group(a) == group(b) == name


def _with_related(relation: str) -> Rule:
    """Pairs of one architecture, one of them this kind of child."""
    return lambda a, b: a.architecture == b.architecture and relation in (a.relation, b.relation)


def _with_root(relation: str) -> Rule:
    """The same, but of the related pairs only those of a child and its root."""

    def rule(a: Member, b: Member) -> bool:
        is_other = not a.is_related(b) or {a.relation, b.relation} == {relation, "root"}
        return is_other and _with_related(relation)(a, b)

    return rule


def _relations(pairs: Sequence[Pair]) -> list[str]:
    present = _names(pairs, lambda m: m.relation)
    return [name for name in RELATIONS if name in present and name not in ("root", "shuffled")]


def _names(pairs: Sequence[Pair], group: Callable[[Member], str]) -> list[str]:
    return list(dict.fromkeys(group(member) for pair in pairs for member in pair))
