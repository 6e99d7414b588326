"""The tables of docs/lineage.md, from what `benchmarks.lineage` left."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.parts.scaffold import filled

__all__ = ["COMMAND", "PAGE", "TABLES"]

PAGE = Path(__file__).parents[2] / "docs" / "lineage.md"
COMMAND = "python -m benchmarks.lineage --page {}"
SETS: Mapping[str, str] = {
    "all": "all",
    "tuned": "BERT, GPT-2, ViT, ResNet",
    "held-out": "ALBERT, OPT, T5, MobileNetV2",
    "albert": "ALBERT",
    "opt": "OPT",
    "t5": "T5",
    "mobilenet": "MobileNetV2",
    "easy": "easy kinds and roots",
    "hard": "a hard kind in the pair",
}
"""Pairs, as the results and as the page name them."""
WITH_ALL = ", all related"
Scores = Mapping[str, Any]


def _pairs(found: Mapping[str, Scores]) -> Iterator[str]:
    """The scores of sets of pairs, then those of each kind of child with its root and with all related models."""
    yield "| pairs | related | AUC | TPR | called | smallest r, z | unrelated | called, 95 % | largest r, z |"
    yield "|---" * 9 + "|"
    for key, name in SETS.items():
        own = found[key]
        cells = (
            f"{own['related_pairs']:,}",
            *(_share(own[each]) for each in ("auc", "tpr", "related_called")),
            _extreme(own["lowest_of_related"]),
            f"{own['unrelated_pairs']:,}",
            f"{_called(own).partition(' ')[0]}, {100 * own['unrelated_interval'][0]:.2f}–{_most(own)}",
            _extreme(own["highest_of_unrelated"]),
        )
        yield f"| {name} | {' | '.join(cells)} |"
    yield ""
    yield _sentence(found)
    yield ""
    yield (
        "| kind | with its root: n | AUC | TPR | called | smallest r "
        "| with all related: n | AUC | TPR | called | held-out: n | called |"
    )
    yield "|---" * 12 + "|"
    for name in (key.removesuffix(WITH_ALL) for key in found if key.endswith(WITH_ALL) and ": " not in key):
        root, every, held_out = found[name], found[name + WITH_ALL], found[f"held-out: {name}{WITH_ALL}"]
        cells = (*_scored(root), f"{root['lowest_of_related'][0]:.2f}", *_scored(every))
        last = (str(held_out["related_pairs"]), _share(held_out["related_called"]))
        yield f"| {name} | {' | '.join((*cells, *last))} |"


def _cost(found: Sequence[Scores]) -> Iterator[str]:
    """Seconds and memory of each pair."""
    yield "| against | seconds | of these CPU | peak memory | r | z | verdict |"
    yield "|---" * 7 + "|"
    for row in found:
        yield (
            f"| {row['against']} | {row['s']:.0f} | {row['cpu s']:.1f} | {row['peak MB']:.0f} MB "
            f"| {row['r']:.2f} | {row['z']:,.1f} | {row['verdict']} |"
        )


def _sentence(found: Mapping[str, Scores]) -> str:
    """How often unrelated pairs of each kind are called related, and where nothing can be said."""
    named = {
        "another root": "of another root of the same architecture",
        "shuffled and original": "shuffled copies with their originals",
        "another architecture": "of another architecture",
    }
    called = [f"{_called(found[key])} {what} (at most {_most(found[key])})" for key, what in named.items()]
    verdicts = [found["all"][f"verdicts_on_{which}"].get("cannot say", 0) for which in ("related", "unrelated")]
    apart = found["another architecture"]["verdicts_on_unrelated"].get("cannot say", 0)
    return filled(
        f"Of unrelated pairs {called[0]}, {called[1]} and {called[2]} are called *same lineage*.",
        f"*Cannot say* is the answer to {verdicts[0]} related and to {verdicts[1]} unrelated pairs,",
        f"of which {apart} are of two architectures.",
    )


def _called(own: Scores) -> str:
    return f"{round(own['unrelated_called'] * own['unrelated_pairs'])} of {own['unrelated_pairs']:,}"


def _most(own: Scores) -> str:
    return f"{100 * own['unrelated_interval'][1]:.2f} %"


def _scored(own: Scores) -> tuple[str, ...]:
    return (str(own["related_pairs"]), *(_share(own[each]) for each in ("auc", "tpr", "related_called")))


def _share(value: float) -> str:
    """Three digits; where that would be 1.000 and is not, four."""
    if value == 1:
        return "1"
    if value >= 0.99995:
        return "> 0.9999"
    return f"{value:.4f}" if value >= 0.9995 else f"{value:.3f}"


def _extreme(pair: tuple[float, float]) -> str:
    """A correlation and its z."""
    r, z = pair
    return f"{r:.3f}, {z:.1f}" if abs(r) < 0.1 else f"{r:.2f}, {z:.0f}"


TABLES: Mapping[str, Callable[[Any], Iterator[str]]] = {"population": _pairs, "cost": _cost}
"""Part of the results -> its lines in the page."""
