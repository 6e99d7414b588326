"""Tabs are functions of the state and the database; what they say is there, and in every state of the database."""

import csv
import datetime as dt
import io
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from dash.development.base_component import Component

from explorer.dashboard.board import Board, Failure, Picture, Request
from explorer.dashboard.choice import kind_of, kinds_of, requests_of
from explorer.dashboard.numbers import MISSING, compact, duration, fixed
from explorer.dashboard.progress import draw_progress
from explorer.dashboard.sidebar import control_values, draw_header
from explorer.dashboard.state import TABS, State
from explorer.dashboard.tables import PAGE_ROWS, Column, Table, as_csv
from explorer.dashboard.tabs import TABLES, draw_tab, find_table
from explorer.kinds import KINDS
from patterndb.records import RunModelRecord, StageRecord
from tests.explorer.dashboard.conftest import MADE, MakeBoard, made
from tests.support.mining import database_of


def parts(component: Any) -> Iterator[Any]:
    """All components and texts below, in order."""
    if isinstance(component, (list, tuple)):
        for each in component:
            yield from parts(each)
    elif component is not None:
        yield component
        if isinstance(component, Component):
            yield from parts(getattr(component, "children", None))


def text_of(component: Any) -> str:
    return " ".join(str(each) for each in parts(component) if not isinstance(each, Component))


def links_of(component: Any) -> dict[str, str]:
    """Text -> address."""
    found = [each for each in parts(component) if isinstance(each, Component) and getattr(each, "href", None)]
    return {text_of(link.children).strip(): link.href for link in found}


def drawn(state: State, board: Board) -> list[Any]:
    return draw_tab(state, board, "light")


@pytest.mark.parametrize("tab", TABS)
def test_a_tab_is_a_function_of_the_state(tab: Any, board: Board) -> None:
    state = State(tab=tab, models=("beta", "gamma"))
    first, again = (str([each.to_plotly_json() for each in drawn(state, board)]) for _ in range(2))
    assert first == again


@pytest.mark.parametrize("tab", TABS)
def test_an_empty_database_says_how_to_begin(tab: Any, board_of: MakeBoard) -> None:
    assert "dna-zoo mine minilm-l6" in text_of(drawn(State(tab=tab), board_of()))


@pytest.mark.parametrize("tab", TABS)
def test_a_single_model_without_a_fit_is_shown(tab: Any, board_of: MakeBoard) -> None:
    pattern = made("alone", 0)
    tensors = tuple(replace(each, fit=None) for each in pattern.tensors)
    roles = tuple(replace(each, fit=None) for each in pattern.roles)
    board = board_of(replace(pattern, fit=None, tensors=tensors, roles=roles))
    said = text_of(drawn(State(tab=tab, models=("alone",)), board))
    assert {
        "overview": "1 without a fit", "models": "Nothing was fitted", "comparisons": "A pair needs two mined models",
        "taxonomy": "not enough models", "statistics": "spectral_entropy",
    }[tab] in said  # fmt: skip


@pytest.mark.parametrize("tab", TABS)
def test_filters_that_leave_nothing_can_be_dropped(tab: Any, board: Board) -> None:
    links = links_of(drawn(State(tab=tab, modalities=("audio",)), board))
    assert State.from_hash(links["Drop all filters"]) == State(tab=tab)


@pytest.mark.parametrize(
    ("filters", "left"),
    [
        ({"modalities": ("vision",)}, ("delta", "gamma")),
        ({"modalities": ("vision",), "architectures": ("cnn",)}, ("gamma",)),
        ({"architectures": ("cnn", "decoder")}, ("epsilon", "gamma")),
        ({"search": "ELT"}, ("delta",)),
        ({"tiers": ("1",)}, tuple(sorted(MADE))),
        ({"tiers": ("2",)}, ()),
        ({"roles": ("attention_query",)}, tuple(sorted(MADE))),
        ({"roles": ("convolution",)}, ()),
    ],
)
def test_filters_leave_models_that_have_one_value_of_each(filters: Any, left: tuple[str, ...], board: Board) -> None:
    table = find_table("models", State(tab="models", **filters), board)
    assert table is not None and tuple(row["model"] for row in table.rows) == left


def test_a_role_filters_the_tensors_of_a_chosen_model(board: Board) -> None:
    table = find_table("tensors", State(models=("alpha",), roles=("ffn_in",)), board)
    assert table is not None and {row["role"] for row in table.rows} == {"ffn_in"}


def test_models_of_different_settings_in_one_view_are_flagged(board_of: MakeBoard) -> None:
    other = replace(made("beta", 1), settings={"preset": "thorough", "seed": 0})
    board = board_of(made("alpha", 0), other)
    flagged = text_of(drawn(State(), board))
    assert "mined with different settings" in flagged and "quick (1), thorough (1)" in flagged
    assert "different settings" not in text_of(drawn(State(models=("alpha",), tab="models"), board))


@pytest.mark.parametrize("name", sorted(TABLES))
def test_every_table_sorts_both_ways_and_leaves_unknowns_last(name: str, board: Board) -> None:
    state = State(models=("alpha", "beta"))
    table = find_table(name, state, board)
    assert table is not None
    for column in table.columns:
        up, down = (table.arranged(state.with_table("sorts", name, sign + column.name)) for sign in ("", "-"))
        known = [row[column.name] for row in up if row.get(column.name) is not None]
        assert known == sorted(known, key=lambda value: value.casefold() if isinstance(value, str) else value)
        assert [row[column.name] for row in down][: len(known)] == known[::-1] or len(set(known)) < len(known)
        assert len(up) == len(down) == len(table.rows)


ROWS = [{"name": f"row {number:03}", "value": float(number) if number else None} for number in range(60)]
COLUMNS = (Column(name="name", heading="Name", is_number=False), Column(name="value", heading="Value"))


def test_a_table_has_pages_and_its_headings_are_links_to_another_order() -> None:
    from explorer.dashboard.tables import draw_table

    table = Table(name="t", caption="T", columns=COLUMNS, rows=ROWS)
    second = draw_table(table, State(pages=(("t", "2"),)))
    assert f"row {PAGE_ROWS:03}" in text_of(second) and "row 000" not in text_of(second)
    links = links_of(second)
    assert State.from_hash(links["Value"]).sorts == (("t", "-value"),) and State.from_hash(links["Value"]).pages == ()
    assert State.from_hash(links["Next"]).pages == (("t", "3"),)
    assert "row 059" in text_of(draw_table(table, State(sorts=(("t", "-value"),), pages=(("t", "x"),))))


def test_a_table_is_filtered_by_its_texts() -> None:
    table = Table(name="t", caption="T", columns=COLUMNS, rows=ROWS)
    assert [row["name"] for row in table.arranged(State(finds=(("t", "ROW 05"),)))] == [
        f"row {n:03}" for n in range(50, 60)
    ]


def test_a_csv_has_what_is_in_view_with_all_digits_and_no_formula() -> None:
    rows = [{"name": "=1+1", "value": 1 / 3}, {"name": "a\nb", "value": None}, {"name": "hidden", "value": 1.0}]
    table = Table(name="t", caption="T", columns=COLUMNS, rows=rows)
    found = list(csv.reader(io.StringIO(as_csv(table, State(sorts=(("t", "value"),))))))
    assert found == [["name", "value"], ["'=1+1", repr(1 / 3)], ["hidden", "1.0"], ["a\\x0ab", ""]]


@pytest.mark.parametrize("tab", TABS)
def test_a_tab_offers_every_kind_of_its_subjects_and_shows_the_chosen_one(tab: Any, board: Board) -> None:
    assert {kind.name for each in TABS for kind in kinds_of(each)} == set(KINDS)
    for kind in kinds_of(tab):
        state = State(tab=tab, kind=kind.name, models=("alpha", "beta"))
        assert kind_of(state) == kind
        requests = requests_of(state, board)
        assert {request.kind for request in requests} == {kind.name}
        assert len(requests) == (2 if kind.subject in ("tensor", "model") else 1)


@pytest.mark.parametrize("key", ["a|b", "a%7Cb", "#", "ü \u202e", ""])
def test_a_request_is_found_again_by_its_name(key: str) -> None:
    request = Request(kind="singular-values", models=(key, "x"), tensor=key)
    assert Request.from_name(request.name) == request
    assert Request.from_name("nothing|x") is None and Request.from_name("") is None


def test_a_picture_that_cannot_be_drawn_says_why(board: Board) -> None:
    found = board.picture(Request(kind="singular-values", models=("alpha",), tensor="nothing"))
    assert isinstance(found, Failure) and found.message and found.hint
    gone = board.picture(Request(kind="singular-values", models=("nobody",), tensor="x"))
    assert isinstance(gone, Failure) and "nobody" in gone.message


def test_the_sidebar_shows_the_state_and_its_options(board: Board) -> None:
    values = control_values(State(tab="models", models=("beta",), modalities=("text", "gone")), board)
    assert values["models"][1] == ["beta"] and values["modalities"][1] == ["text"]
    assert [option["value"] for option in values["models"][0]] == ["alpha", "beta", "epsilon"]
    assert values["tensor"][0]


def test_the_header_links_to_every_tab_and_keeps_what_is_chosen() -> None:
    state = State(models=("a",), modalities=("text",), theme="dark")
    links = links_of(draw_header(state))
    assert [State.from_hash(links[tab.capitalize()]) for tab in TABS] == [state.but(tab=tab) for tab in TABS]


def test_a_new_pattern_is_seen_without_a_restart(own_board: Board) -> None:
    before = own_board.state()
    assert len(own_board.catalog().keys) == len(MADE)
    with database_of(own_board.source.home) as database:
        database.save_pattern(made("zeta", 9))
    own_board.forget_state()
    assert own_board.state().patterns != before.patterns and "zeta" in own_board.catalog().keys


def test_a_running_mine_is_shown_with_its_stage(own_board: Board) -> None:
    now = dt.datetime.now(dt.UTC)
    assert draw_progress(own_board, now) == []
    with database_of(own_board.source.home) as database:
        database.start_run("run-now", {"names": ["one"]})
        database.set_run_models("run-now", ["one", "two", "three"])
        database.record_stage("run-now", "two", StageRecord(stage="fetch", key="k", status="done", seconds=1.0))
        database.finish_model("run-now", RunModelRecord(key="one", status="failed", error="It broke.", hint="Mend it."))
    own_board.forget_state()
    said = text_of(draw_progress(own_board, now))
    assert (
        "1 of 3 models" in said and "1 failed" in said and "extract, stage 2 of 6" in said and "1 more to come" in said
    )


def test_numbers_are_written_with_dashes_for_what_is_unknown() -> None:
    assert (fixed(None), fixed(float("nan")), fixed(-0.5), fixed(1e-9)) == (MISSING, MISSING, "−0.500", "1.00e−09")
    assert (compact(22_700_000), compact(None), duration(75.0), duration(None)) == (
        "22.7 M",
        MISSING,
        "1 min 15 s",
        MISSING,
    )


def test_the_kinds_are_asked_with_what_they_are_about(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the table of kinds holds is drawn by its subject."""
    from tests.support import scene_figure

    scene_figure.install(monkeypatch)
    found = board.picture(Request(kind="a-scene", models=("alpha",)))
    assert isinstance(found, Picture) and found.view.subject == ("alpha",)
