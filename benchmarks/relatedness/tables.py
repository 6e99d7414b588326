"""The tables that the benchmark prints."""

from collections.abc import Iterable, Mapping, Sequence

from benchmarks.relatedness.lineage import LineageScores
from benchmarks.relatedness.scoring import Evaluation, Scores

__all__ = ["by_architecture", "by_cell", "by_relation", "lineage_table", "rates_table", "summary"]

FIGURES = ("mean_average_precision", "precision_at_1", "auc", "tpr", "tpr_same_architecture")


def summary(found: Mapping[str, Evaluation]) -> str:
    """One line a method and split, with intervals under mAP and TPR."""
    header = ("method", "models", "mAP", "95 %", "P@1", "AUC", "TPR@1%", "95 %", "same arch.")
    rows = [
        (f"{name}, {split}", *_score_cells(scores))
        for split in next(iter(found.values())).splits
        for name, evaluation in found.items()
        for scores in (evaluation.splits[split],)
    ]
    extra = [
        f"{name}: at the one threshold of all, {_rates(e.at_threshold)}; "
        f"held-out at the tuned threshold TPR {e.transferred[0]:.3f}, FPR {e.transferred[1]:.4f}; "
        f"permutation costs {e.permutation_gap:.3f} mAP; shuffled copies called related "
        f"{e.shuffled_called_related:.3f}, nearest to a query {e.shuffled_nearest} times"
        for name, e in found.items()
    ]
    return "\n".join([_table(header, rows), "", *extra])


def by_architecture(found: Mapping[str, Evaluation]) -> str:
    """mAP, TPR and FPR of each architecture at the one threshold, by method."""
    header = ("architecture", *(f"{name}" for name in found))
    names = next(iter(found.values())).architectures
    rows = [(name, *(_architecture_cell(e.architectures[name]) for e in found.values())) for name in names]
    return "mAP / TPR / FPR within the architecture at the one threshold\n" + _table(header, rows)


def by_relation(found: Mapping[str, Evaluation]) -> str:
    """mAP and TPR of each kind of child, by method."""
    header = ("relation", *(f"{name}" for name in found))
    relations = next(iter(found.values())).relations
    rows = [
        (
            name,
            *(f"{r.mean_average_precision:.3f} / {r.tpr:.3f}" for e in found.values() for r in (e.relations[name],)),
        )
        for name in relations
    ]
    return "mAP as queries / TPR of child and root at the one threshold\n" + _table(header, rows)


def rates_table(found: Mapping[str, tuple[float, float, int, int]], threshold: float) -> str:
    """What one fixed threshold finds, in each group of pairs."""
    rows = [
        (group, f"{related}", f"{tpr:.4f}", f"{unrelated}", f"{fpr:.5f}")
        for group, (tpr, fpr, related, unrelated) in found.items()
    ]
    header = ("pairs within", "related", "of these called", "unrelated", "of these called")
    return f"Called related: weights at most {threshold:g}\n" + _table(header, rows)


def by_cell(name: str, found: Evaluation) -> str:
    """mAP of one method, architecture against relation."""
    architectures, relations = list(found.architectures), list(found.relations)
    rows = [
        (
            relation,
            *(
                f"{found.cells[cell].mean_average_precision:.2f}" if cell in found.cells else ""
                for cell in (f"{architecture}/{relation}" for architecture in architectures)
            ),
        )
        for relation in relations
    ]
    return f"mAP of the {name}\n" + _table(("relation", *architectures), rows)


def lineage_table(scores: Mapping[str, LineageScores]) -> str:
    """AUC, TPR and verdicts of the lineage test."""
    header = ("pairs", "related", "unrelated", "AUC", "TPR@1%", "verdicts on related", "verdicts on unrelated")
    rows = [
        (
            name,
            f"{s.related_pairs}",
            f"{s.unrelated_pairs}",
            f"{s.auc:.4f}",
            f"{s.tpr:.3f}",
            _counts(s.verdicts_on_related),
            _counts(s.verdicts_on_unrelated),
        )
        for name, s in scores.items()
    ]
    return _table(header, rows)


def _score_cells(scores: Scores) -> tuple[str, ...]:
    low, high = scores.intervals["mean_average_precision"]
    tpr_low, tpr_high = scores.intervals["tpr"]
    return (
        str(scores.models),
        f"{scores.mean_average_precision:.3f}",
        f"{low:.3f}-{high:.3f}",
        f"{scores.precision_at_1:.3f}",
        f"{scores.auc:.4f}",
        f"{scores.tpr:.3f}",
        f"{tpr_low:.3f}-{tpr_high:.3f}",
        f"{scores.tpr_same_architecture:.3f}",
    )


def _rates(found: Mapping[str, tuple[float, float]]) -> str:
    return ", ".join(f"{split} TPR {tpr:.3f} and FPR {fpr:.4f}" for split, (tpr, fpr) in found.items())


def _architecture_cell(figures: Mapping[str, float]) -> str:
    return f"{figures['mean_average_precision']:.3f} / {figures['tpr']:.3f} / {figures['fpr']:.3f}"


def _counts(verdicts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(verdicts.items(), key=lambda item: -item[1]))


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines)
