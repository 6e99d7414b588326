"""Each answer as a sentence or two of plain English."""

from collections.abc import Mapping, Sequence

from pipeline.analyse.questions.records import Answer, Confound, Relation

__all__ = ["explain"]

CONFOUNDED: Mapping[Relation, str] = {
    "coincides": "But the same groups are made by {}, so either may be the cause.",
    "decides": "But the label is determined here by {}, which may be the cause.",
    "differs": "But the groups also differ in {}.",
}


def explain(answer: Answer, *, alpha: float) -> str:
    """Why the verdict is what it is, how many more models are needed, and what else may explain the pattern."""
    parts = [_reason(answer, alpha)]
    if answer.verdict == "yes" or (answer.p is not None and answer.p <= alpha):
        parts.append(_confounds(answer.confounds))
    if answer.unlabelled:
        are, they = ("model is", "it has") if answer.unlabelled == 1 else ("models are", "they have")
        parts.append(f"{answer.unlabelled} {are} left out because {they} none of the labels compared.")
    return " ".join(part for part in parts if part)


def _reason(answer: Answer, alpha: float) -> str:
    if answer.verdict == "not enough models":
        return _shortage(answer, alpha)
    if answer.name == "universal":
        return _universal(answer)
    return _separation(answer, alpha)


def _shortage(answer: Answer, alpha: float) -> str:
    """The lineages there are, the smallest possible p, and how many more are needed."""
    if answer.name == "universal":
        return _too_few_agree(answer)
    have = _listed([f"{group.lineages} {group.label}" for group in answer.groups]) or "none"
    parts = (f"Independent lineages: {have}.", _smallest_p(answer, alpha), _wanted(answer.needed))
    return " ".join(part for part in parts if part)


def _smallest_p(answer: Answer, alpha: float) -> str:
    if answer.least_p is None:
        return "There is nothing to compare."
    corrected = "" if answer.least_p > alpha else " after correction"
    return f"The smallest possible p is {answer.least_p:.3f}, which is not significant{corrected}."


def _too_few_agree(answer: Answer) -> str:
    by_sign = min(2.0 ** (1 - answer.lineages), 1.0)
    if answer.least_p is not None and answer.least_p > by_sign:
        return "Too few nulls were drawn for a small p: mine with `--nulls 8` or more."
    noun = "lineage" if answer.lineages == 1 else "lineages"
    return (
        f"With {answer.lineages} independent {noun} the smallest possible p is {by_sign:.3f}. {_wanted(answer.needed)}"
    )


def _wanted(needed: Mapping[str, int]) -> str:
    if not needed:
        return ""
    verb = "is" if list(needed.values()) == [1] else "are"
    return f"At least {_listed([_lineages(label, count) for label, count in needed.items()])} {verb} needed."


def _lineages(label: str, count: int) -> str:
    """`5 more independent decoder lineages`."""
    noun = "lineage" if count == 1 else "lineages"
    if label == "any":
        return f"{count} more independent {noun}"
    if label in ("any label", "another label"):
        return f"{count} more independent {noun} with {label}"
    return f"{count} more independent {label} {noun}"


def _separation(answer: Answer, alpha: float) -> str:
    """One statement of the classifier and the dimensions, since they are one test."""
    rates = f"{_percent(answer.observed)} of the cases (by chance {_percent(answer.chance)}), the mean over labels"
    alone = [group.label for group in answer.groups if group.recall is None]
    parts = [
        f"With whole lineages left out, the label is predicted correctly in {rates}.",
        _of_dimensions(answer, alpha),
        f"Not tested: {_listed(alone)}, of one lineage each." if alone else "",
    ]
    return " ".join(part for part in parts if part)


def _of_dimensions(answer: Answer, alpha: float) -> str:
    if answer.verdict == "yes":
        strongest = [each for each in answer.findings if each.q is not None and each.q <= alpha]
        return f"The labels differ most in {strongest[0].name}." if strongest else "No single dimension is significant."
    if answer.q is not None and answer.q <= alpha:
        return "This is significant, but very little better than chance."
    return "Neither this nor the strongest dimension is significant."


def _universal(answer: Answer) -> str:
    count = len(answer.findings)
    if answer.verdict != "yes":
        return f"No statistic lies significantly often on the same side of its null in the {answer.lineages} lineages."
    lines = [f"{each.name} ({'above' if _rises(each.values) else 'below'})" for each in answer.findings[:3]]
    noun = "statistic lies" if count == 1 else "statistics lie"
    return f"In all {answer.lineages} lineages {count} {noun} on the same side of the null, first {_listed(lines)}."


def _rises(values: Mapping[str, float | None]) -> bool:
    return (values["value"] or 0.0) > (values["null_mean"] or 0.0)


def _confounds(confounds: Sequence[Confound]) -> str:
    """What else may be the cause: the facets of each relation together."""
    names = {relation: [each.label for each in confounds if each.relation == relation] for relation in CONFOUNDED}
    return " ".join(text.format(_listed(names[relation])) for relation, text in CONFOUNDED.items() if names[relation])


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.0f} %"


def _listed(items: Sequence[str]) -> str:
    """a, b and c."""
    return " and ".join(part for part in (", ".join(items[:-1]), *items[-1:]) if part)
