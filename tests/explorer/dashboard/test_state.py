"""The address of the page is the state, all of it; a broken address is a state as well."""

import string
from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from explorer.dashboard.state import TABS, THEME_CHOICES, State

names = st.text(min_size=1, max_size=12).filter(lambda text: text.encode("utf-8", "ignore").decode() == text)
lists = st.lists(names, max_size=3, unique=True).map(tuple)
tables = st.dictionaries(st.text(string.ascii_lowercase, min_size=1, max_size=8), names, max_size=2)
pairs = tables.map(lambda found: tuple(sorted(found.items())))
number = st.floats(-10, 10, allow_nan=False).map(lambda value: value + 0.0)
cameras = st.dictionaries(names, st.tuples(*[number] * 9), max_size=2).map(lambda found: tuple(sorted(found.items())))
states = st.builds(
    State,
    tab=st.sampled_from(TABS),
    theme=st.sampled_from(THEME_CHOICES),
    search=st.just("") | names,
    kind=st.just("") | names,
    tensor=st.just("") | names,
    sorts=pairs,
    finds=pairs,
    pages=pairs,
    cameras=cameras,
    **{name: lists for name in ("models", "tiers", "modalities", "architectures", "roles", "classes")},
)


@given(states)
def test_a_state_is_found_again_by_its_address(state: State) -> None:
    assert State.from_hash(f"#{state.to_hash()}") == state


@given(st.text(max_size=200))
def test_any_address_is_a_state(text: str) -> None:
    state = State.from_hash(text)
    assert State.from_hash(state.to_hash()) == state


def test_the_usual_state_has_no_address() -> None:
    assert State().to_hash() == "" and State.from_hash("") == State()


@pytest.mark.parametrize(
    "text", ["tab=nowhere", "camera=a:1:2", "camera=a" + ":nan" * 9, "sort=models", "theme=red", "%%%"]
)
def test_what_an_address_says_wrongly_is_as_if_it_were_not_there(text: str) -> None:
    assert State.from_hash(text) == State()


def test_every_field_of_the_state_is_in_the_address() -> None:
    full = State(
        tab="models", models=("a",), search="b", kind="c", tensor="d", tiers=("1",), modalities=("e",),
        architectures=("f",), roles=("g",), classes=("h",), sorts=(("t", "-x"),), finds=(("t", "y"),),
        pages=(("t", "2"),), theme="dark", cameras=(("s", (1.0,) * 9),),
    )  # fmt: skip
    usual = State()
    assert all(getattr(full, field.name) != getattr(usual, field.name) for field in fields(State))
    assert State.from_hash(full.to_hash()) == full


def test_choosing_a_model_twice_is_choosing_none() -> None:
    assert State().toggled("a").toggled("b").models == ("a", "b")
    assert State().toggled("a").toggled("a") == State()
