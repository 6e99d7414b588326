"""Every layout of `benchmarks.layouts` is read as it must be."""

from pathlib import Path

import pytest

from benchmarks.layouts import LAYOUTS
from benchmarks.layouts.__main__ import COMMAND, PAGE, row_of
from benchmarks.layouts.layout import Layout, Must, try_layout
from benchmarks.layouts.models import llama, save
from benchmarks.parts.scaffold import read_figures

ROWS = read_figures(PAGE, COMMAND).splitlines()
"""Of docs/checkpoints.md."""


@pytest.mark.parametrize(
    "layout",
    [
        pytest.param(layout, id=f"{layout.group}: {layout.name}", marks=[pytest.mark.slow] * layout.is_slow)
        for layout in LAYOUTS
    ],
)
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning", "ignore::FutureWarning")
def test_it_is_read_as_it_must_be(layout: Layout, tmp_path: Path) -> None:
    outcome = try_layout(layout, tmp_path)
    assert not outcome.wrong, outcome.read
    assert row_of(outcome) in ROWS


def test_their_names_are_their_own_and_the_page_has_all_of_them() -> None:
    names = [(layout.group, layout.name) for layout in LAYOUTS]
    assert len({*names}) == len(names)
    assert [tuple(row.strip("| ").split(" | ")[:2]) for row in ROWS[2:]] == names


MISTAKES = {
    "a value": Must(model=llama() | {"lm_head.weight": llama()["lm_head.weight"] + 1e-3}),
    "a tensor too many": Must(model={name: value for name, value in llama().items() if name != "lm_head.weight"}),
    "a tensor too few": Must(model=llama() | {"model.layers.9.mlp.up_proj.weight": llama()["lm_head.weight"]}),
    "a refusal": Must(refused="anything"),
    "a role": Must(model=llama(), roles={"lm_head.weight": "norm"}),
    "a depth": Must(model=llama(), depths={"lm_head.weight": 0.5}),
    "a copy": Must(model=llama(), ties=["lm_head.weight"]),
    "a scheme": Must(model=llama(), scheme="awq 4 bit"),
    "a note": Must(model=llama(), said="anything"),
    "a name": Must(model=llama(), key="another"),
    "components": Must(components={"unet": llama()}),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_seen(mistake: str, tmp_path: Path) -> None:
    def write(folder: Path) -> Must:
        save(folder, llama())
        return MISTAKES[mistake]

    assert try_layout(Layout(group="any", name=mistake, write=write), tmp_path).wrong
