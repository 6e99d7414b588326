"""What a report cannot say, and why: too few nulls, too few models, what was not fitted, not read or not drawn."""

from collections.abc import Iterator, Sequence

from explorer.report.findings import Catalog
from patterndb.records import PatternRecord
from pipeline.analyse.classes import UNCALIBRATED
from pipeline.analyse.evidence import draws_for, smallest_p
from pipeline.analyse.sentences import ALPHA, judge

__all__ = ["limits_of_catalog", "limits_of_model", "mixed_settings"]


def limits_of_model(pattern: PatternRecord) -> Iterator[str]:
    """Sentences on one model."""
    judged = judge(pattern.statistics).values()
    if all(each.q is None for each in judged):
        yield "Nothing was tested: it was mined without nulls (`--nulls N`)."
    elif not any(each.is_found for each in judged):
        yield "No statistic differs from its null, so nothing is said of its weights."
    elif not all(each.is_found for each in judged if each.q is not None):
        yield "Some statistics do not differ from their nulls, so nothing is said of those."
    if (least := smallest_p(pattern.num_nulls)) > ALPHA:
        yield (
            f"With {pattern.num_nulls} draws of a null no statistic of a single tensor has p below {least:.3f}, so "
            f"single tensors have no findings; `--nulls {draws_for(ALPHA)}` is needed for that."
        )
    if pattern.pattern_class == UNCALIBRATED:
        yield "It has no class: that takes two nulls or more."
    yield from _limits_of_fit(pattern)
    if pattern.model.is_partial:
        yield "A considerable share of its file could not be read; all figures are of the rest."


def _limits_of_fit(pattern: PatternRecord) -> Iterator[str]:
    fit = pattern.fit
    if fit is None:
        yield "Nothing was fitted: it holds no matrix that could be."
    elif not fit.num_nulls:
        yield "No null was fitted, so how much of R² is structure is unknown."
    elif smallest_p(fit.num_nulls) > ALPHA:
        draws = "draw" if fit.num_nulls == 1 else "draws"
        yield (
            f"The gain over the null stands on {fit.num_nulls} fitted {draws}, which is too few for a p-value: it is "
            "in the tables and figures as measured, and is no finding."
        )


def limits_of_catalog(catalog: Catalog) -> Iterator[str]:
    """Sentences on the questions and levels that have no answer."""
    for answer in catalog.questions.answers:
        if answer.verdict != "yes":
            yield f"{answer.question} {answer.verdict.capitalize()}. {answer.sentence}"
    for level in catalog.taxonomy.agreement:
        if level.note:
            yield f"Whether the tree agrees with the declared {level.level} is not tested: {level.note}."
        elif level.q is None or level.q > ALPHA:
            yield f"That the tree agrees with the declared {level.level} is not shown{_because(level.p, level.q)}."


def _because(p: float | None, q: float | None) -> str:
    if p is None:
        return ": it could not be computed"
    return f" (p {p:.3f}, so few lineages allow no smaller)" if q is None else f" (q {q:.3f})"


def mixed_settings(patterns: Sequence[PatternRecord]) -> Iterator[str]:
    """A sentence where models were mined with different settings or versions."""
    for name, kept in (("settings", [p.settings for p in patterns]), ("versions", [_versions(p) for p in patterns])):
        if any(each != kept[0] for each in kept[1:]):
            yield f"The models were mined with different {name}; compare their figures with care."


def _versions(pattern: PatternRecord) -> dict[str, object]:
    return {name: value for name, value in pattern.provenance.items() if isinstance(value, str)}
