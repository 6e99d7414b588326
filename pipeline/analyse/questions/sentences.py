"""Answers in words."""

from collections.abc import Mapping, Sequence

from pipeline.analyse.questions.records import Answer, Confound

__all__ = ["explain"]


def explain(answer: Answer, *, alpha: float) -> str:
    """Why the verdict is what it is, what would change it, and what else may be behind it."""
    parts = [_reason(answer, alpha)]
    if answer.verdict == "yes" or (answer.p is not None and answer.p <= alpha):
        parts += [_confound(each) for each in answer.confounds]
    if answer.unlabelled:
        nouns = "model is" if answer.unlabelled == 1 else "models are"
        parts.append(f"{answer.unlabelled} {nouns} left out: no label of theirs is asked about here.")
    return " ".join(part for part in parts if part)


def _reason(answer: Answer, alpha: float) -> str:
    if answer.verdict == "not enough models":
        return _shortage(answer, alpha)
    if answer.name == "universal":
        return _universal(answer)
    if answer.name == "prediction":
        return _prediction(answer)
    return _separation(answer, alpha)


def _shortage(answer: Answer, alpha: float) -> str:
    """What there is, how far p could fall, and what would do."""
    if answer.name == "universal":
        return _too_few_witnesses(answer)
    have = _listed([f"{group.lineages} {group.label}" for group in answer.groups]) or "none"
    what = "Lineages whose label another has too" if answer.name == "prediction" else "Independent lineages"
    return " ".join((f"{what}: {have}.", _reach(answer, alpha), _wanted(answer.needed)))


def _reach(answer: Answer, alpha: float) -> str:
    if answer.least_p is None:
        return "There is nothing to compare."
    if answer.least_p > alpha:
        return f"No data on so few could give p below {answer.least_p:.3f}."
    return f"No data on so few could give p below {answer.least_p:.3f}, too much beside the other questions."


def _too_few_witnesses(answer: Answer) -> str:
    noun = "lineage agrees" if answer.lineages == 1 else "lineages agree"
    by_sign = 2.0 ** (1 - answer.lineages)
    if answer.least_p is not None and answer.least_p > by_sign:
        return "Too few nulls were drawn for any p to be small: mine with `--nulls 8` or more."
    return f"If {answer.lineages} independent {noun}, p is {min(by_sign, 1.0):.3f} at best. {_wanted(answer.needed)}"


def _wanted(needed: Mapping[str, int]) -> str:
    if not needed:
        return ""
    if list(needed) == ["any"]:
        return f"{needed['any']} more lineages would do."
    return f"{_listed([f'{count} more of {label}' for label, count in needed.items()])} would do."


def _separation(answer: Answer, alpha: float) -> str:
    if answer.verdict == "yes":
        strongest = [each for each in answer.findings if each.q is not None and each.q <= alpha]
        where = f" They differ most in {strongest[0].name}." if strongest else " No single dimension stands out."
        return "Signatures lie closer within labels than chance puts them." + where
    if answer.q is not None and answer.q <= alpha:
        return "Labels show, but explain next to nothing of the differences between signatures."
    return "Signatures lie no closer within labels than chance may put them."


def _prediction(answer: Answer) -> str:
    told = f"told rightly in {_percent(answer.observed)} (by chance {_percent(answer.chance)})"
    outcome = "" if answer.verdict == "yes" else ", which chance may well do"
    return f"With whole lineages left out, the label is {told}, the mean over labels{outcome}."


def _universal(answer: Answer) -> str:
    count = len(answer.findings)
    if answer.verdict != "yes":
        return (
            f"No statistic lies on the same side of its null in all {answer.lineages} lineages more surely than chance."
        )
    lines = [f"{each.name} ({'above' if _rises(each.values) else 'below'})" for each in answer.findings[:3]]
    noun = "statistic lies" if count == 1 else "statistics lie"
    return f"{count} {noun} on the same side of the null in all {answer.lineages} lineages, first {_listed(lines)}."


def _rises(values: Mapping[str, float | None]) -> bool:
    return (values["value"] or 0.0) > (values["null_mean"] or 0.0)


def _confound(confound: Confound) -> str:
    if confound.relation == "coincides":
        return f"But {confound.label} makes the same groups here: which of the two it is, this catalog cannot say."
    if confound.relation == "decides":
        return f"But {confound.label} decides the label here: models of one {confound.label} have one label."
    return f"But the groups differ in {confound.label}, too."


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.0f} %"


def _listed(items: Sequence[str]) -> str:
    """a, b and c."""
    return " and ".join(part for part in (", ".join(items[:-1]), *items[-1:]) if part)
