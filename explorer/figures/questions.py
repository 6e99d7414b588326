"""What the labels of models have to do with their weights: the effect of each question, with its interval."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from explorer.leaves import entries_of
from explorer.lettering import headline, plural, size_of
from explorer.pages import page_of
from explorer.panels import axes_for
from explorer.source import Source
from explorer.style import ACCENT, NULL, colour_of
from explorer.view import View
from pipeline.analyse.questions import ALPHA, Answer, Group, ask

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from plotly.graph_objects import Figure

__all__ = ["Effect", "QuestionsView", "interval_of_recalls", "plot_questions", "questions_page", "questions_view"]

NORMAL = 1.959964
"""Of a 95 % interval."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """The answer to one question; numbers are None where nothing could be computed."""

    question: str
    verdict: str
    measure: str
    effect: float | None
    low: float | None
    high: float | None
    p: float | None
    q: float | None
    models: int
    lineages: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class QuestionsView(View):
    """The answers in the order of the questions."""

    effects: tuple[Effect, ...]

    def table(self) -> "pd.DataFrame":
        import pandas as pd

        return pd.DataFrame(self.effects, columns=Effect.__slots__)


def questions_view(source: Source, models: Sequence[str] = (), *, seed: int = 0) -> QuestionsView:
    """Of these models, of all if none is named.

    Raises `NotMinedError`, naming near misses, and `StoreError` for signatures of different versions.

    - `seed`: of the permuted labels.
    """
    entries = entries_of(source, models)
    found = ask(entries, source.database.model_statistics(), seed=seed)
    effects = tuple(map(_effect, found.answers))
    yes = [each.question for each in effects if each.verdict == "yes"]
    return QuestionsView(
        kind="questions",
        subject=tuple(entry.model.key for entry in entries),
        title="What labels have to do with weights",
        subtitle=f"n = {plural(len(found.lineages), 'independent lineage')} of {plural(found.models, 'model')}",
        caption=(
            f"Effects over {plural(found.models, 'model')} in {plural(len(found.lineages), 'independent lineage')}: "
            "skill (0 chance, 1 every label predicted with its lineage left out), or the share of statistics that all "
            "lineages have in common. Bars are 95 % intervals of skill over lineages (Wilson's of each label, combined "
            f"by the method of variance estimates recovery). Filled: answered yes, q <= {ALPHA}, over labels "
            "permuted between lineages, which is the test; an interval is none. Grey is chance. What has no "
            "point could not be computed."
        ),
        alt=f"Answered yes: {', '.join(yes) or 'none'}; {sum(each.verdict == 'not enough models' for each in effects)} "
        f"of {len(effects)} questions need more models.",
        n=len(found.lineages),
        units={"effect": "skill, or share of statistics"},
        settings={"seed": seed, "alpha": ALPHA},
        effects=effects,
    )


def _effect(answer: Answer) -> Effect:
    low, high = _interval(answer)
    return Effect(
        question=answer.name,
        verdict=answer.verdict,
        measure=answer.measure,
        effect=answer.effect,
        low=low,
        high=high,
        p=answer.p,
        q=answer.q,
        models=answer.models,
        lineages=answer.lineages,
    )


def _interval(answer: Answer) -> tuple[float | None, float | None]:
    """Of skill, which is (balanced accuracy - chance) / (1 - chance); others have none."""
    tested = [group for group in answer.groups if group.recall is not None]
    if answer.measure != "skill" or answer.effect is None or not answer.chance or len(tested) < 2:
        return None, None
    low, high = interval_of_recalls(tested)
    return (low - answer.chance) / (1 - answer.chance), (high - answer.chance) / (1 - answer.chance)


def interval_of_recalls(groups: Sequence[Group]) -> tuple[float, float]:
    """The 95 % interval of the mean of the groups' recalls: Wilson's (1927) of each, combined as by Zou and Donner
    (2008)."""
    recalls = [group.recall or 0.0 for group in groups]
    limits = [_wilson(recall, group.lineages) for recall, group in zip(recalls, groups, strict=True)]
    mean = math.fsum(recalls) / len(groups)
    below = math.sqrt(math.fsum((recall - low) ** 2 for recall, (low, _) in zip(recalls, limits, strict=True)))
    above = math.sqrt(math.fsum((high - recall) ** 2 for recall, (_, high) in zip(recalls, limits, strict=True)))
    return mean - below / len(groups), mean + above / len(groups)


def _wilson(share: float, count: int) -> tuple[float, float]:
    square = NORMAL**2
    centre = (share + square / (2 * count)) / (1 + square / count)
    half = NORMAL / (1 + square / count) * math.sqrt(share * (1 - share) / count + square / (4 * count**2))
    return centre - half, centre + half


def plot_questions(view: QuestionsView, *, axes: "Axes | None" = None) -> "Axes":
    """A row a question; p, q and n stand at the right."""
    is_alone, axes = axes is None, axes_for(axes, 0.2 + 0.065 * len(view.effects))
    axes.axvline(0, color=NULL, lw=2, label="chance")
    for place, each in enumerate(view.effects):
        _draw_effect(axes, each, place)
    axes.set_yticks(range(len(view.effects)), [each.question for each in view.effects])
    lows = [each.low for each in view.effects if each.low is not None] + [0.0]
    axes.set(ylim=(len(view.effects) - 0.5, -0.5), xlim=(min(*lows, -0.1) - 0.05, 1.05), xlabel="effect")
    headline(axes, view, is_alone=is_alone)
    return axes


def _draw_effect(axes: "Axes", each: Effect, place: int) -> None:
    is_found = each.q is not None and each.q <= ALPHA and each.verdict == "yes"
    colour, marker = (ACCENT, "o") if each.measure == "skill" else (colour_of(1), "s")
    if each.low is not None and each.high is not None:
        axes.plot((each.low, each.high), (place, place), color=colour, lw=1.2)
    if each.effect is not None:
        paper = axes.get_facecolor()
        axes.plot(each.effect, place, marker, color=colour, mfc=colour if is_found else paper, ms=5)
    words = "too few" if each.p is None else f"p {_p(each.p)}, q {_p(each.q)}"
    axes.annotate(
        f"{words}, n = {each.lineages}", (1, place), xycoords=("axes fraction", "data"), xytext=(4, 0),
        textcoords="offset points", va="center", size=size_of(axes.yaxis.label) - 1, annotation_clip=False,
    )  # fmt: skip


def _p(value: float | None) -> str:
    return "–" if value is None else "<0.001" if value < 0.001 else f"{value:.3f}"


def questions_page(view: QuestionsView) -> "Figure":
    """The same for a page."""
    import plotly.graph_objects as go

    known = [each for each in view.effects if each.effect is not None]
    bars = {
        "type": "data",
        "array": [0.0 if each.high is None else each.high - (each.effect or 0.0) for each in known],
        "arrayminus": [0.0 if each.low is None else (each.effect or 0.0) - each.low for each in known],
    }
    figure = go.Figure()
    figure.add_scatter(
        x=[each.effect for each in known],
        y=[each.question for each in known],
        error_x=bars,
        mode="markers",
        marker={"color": ACCENT, "size": 10},
        text=[f"{each.verdict}, p {_p(each.p)}, q {_p(each.q)}, {each.lineages} lineages" for each in known],
        name="effect",
    )
    figure.add_vline(x=0, line={"color": NULL})
    order = [each.question for each in view.effects]
    figure.update_yaxes(type="category", categoryorder="array", categoryarray=order, autorange="reversed")
    figure.update_xaxes(title="effect")
    return page_of(figure, view)
