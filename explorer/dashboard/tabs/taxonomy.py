"""Taxonomy: the tree that the signatures make, the tree that people declare, and how well they agree."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from dash import html

from dna_zoo.text import printable
from explorer.dashboard.board import Board, Failure
from explorer.dashboard.catalog import UNKNOWN
from explorer.dashboard.choice import MOST_MODELS
from explorer.dashboard.numbers import count, fixed, p_value
from explorer.dashboard.parts import draw_pictures, problem, tiles
from explorer.dashboard.state import State
from explorer.dashboard.tables import Column, Table, draw_table
from explorer.style import ThemeName
from patterndb.records import PatternSummary

__all__ = ["TABLES", "agreement_table", "draw"]

MOST_LISTED = 40


def draw(state: State, board: Board, theme: ThemeName) -> list[Any]:
    """The page of the tab, of at least one model."""
    return [
        *_fitness(state, board),
        draw_pictures(state, board, theme),
        draw_table(agreement_table(state, board), state),
        _declared(state, board.catalog().in_view(state)),
    ]


def _keys(state: State, board: Board) -> tuple[str, ...]:
    return tuple(pattern.model.key for pattern in board.catalog().in_view(state)[:MOST_MODELS])


def _fitness(state: State, board: Board) -> list[Any]:
    keys = _keys(state, board)
    found = board.taxonomy(keys)
    if isinstance(found, Failure):
        return [problem(found.message, found.hint)]
    total = len(board.catalog().in_view(state))
    many = f"the first of {count(total)}: choose or filter" if total > len(keys) else "all in view"
    detail = (
        "1: the distances are a tree" if found.cophenetic is not None else found.note or "all distances are the same"
    )
    return [
        tiles(
            ("Models in the tree", count(len(keys)), many), ("Cophenetic correlation", fixed(found.cophenetic), detail)
        )
    ]


def agreement_table(state: State, board: Board) -> Table:
    """Declared against found, a row a level."""
    found = board.taxonomy(_keys(state, board))
    levels = () if isinstance(found, Failure) else found.agreement
    names = ("level", "num_models", "num_lineages", "num_labels", "adjusted_rand", "p", "q", "note")
    rows = [{name: getattr(level, name) for name in names} for level in levels]
    return Table(
        name="agreement",
        caption="Agreement of what is declared with the tree",
        columns=COLUMNS,
        rows=rows,
        empty="No level can be judged.",
    )


def _declared(state: State, patterns: Sequence[PatternSummary]) -> html.Section:
    """modality / architecture / class, and the models."""
    tree: dict[str, dict[str, dict[str, list[str]]]] = defaultdict(lambda: defaultdict(lambda: defaultdict(list)))
    for pattern in patterns:
        model = pattern.model
        tree[model.modality or UNKNOWN][model.architecture or UNKNOWN][pattern.pattern_class].append(model.key)
    branches = [
        html.Li(
            [html.Strong(modality), html.Ul([_branch(state, name, twigs) for name, twigs in sorted(below.items())])]
        )
        for modality, below in sorted(tree.items())
    ]
    heading = html.H2(["Declared ", html.Span("modality, architecture, class", className="count")])
    return html.Section([heading, html.Ul(branches, className="tree")])


def _branch(state: State, name: str, twigs: Mapping[str, Sequence[str]]) -> html.Li:
    return html.Li([name, html.Ul([_twig(state, each, keys) for each, keys in sorted(twigs.items())])])


def _twig(state: State, name: str, keys: Sequence[str]) -> html.Li:
    links: list[Any] = []
    for key in keys[:MOST_LISTED]:
        links += [html.A(html.Bdi(printable(key)), href=f"#{state.but(tab='models', models=(key,)).to_hash()}"), " "]
    if len(keys) > MOST_LISTED:
        links.append(html.Span(f"and {count(len(keys) - MOST_LISTED)} more", className="quiet"))
    return html.Li([f"{name} ({count(len(keys))}): ", *links])


COLUMNS = (
    Column(name="level", heading="Level", is_number=False, meaning="What is declared of the models."),
    Column(name="num_models", heading="Models"),
    Column(name="num_lineages", heading="Lineages", meaning="Independent ones: models of one ancestor count once."),
    Column(name="num_labels", heading="Labels"),
    Column(name="adjusted_rand", heading="Adjusted Rand", meaning="0 what chance gives, 1 the same groups."),
    Column(name="p", heading="p", show=p_value, meaning="From permuting the labels of whole lineages."),
    Column(name="q", heading="q", show=p_value, meaning="p adjusted for all levels that could be evidence."),
    Column(name="note", heading="Why not", is_number=False),
)
TABLES: Mapping[str, Callable[[State, Board], Table]] = {"agreement": agreement_table}
