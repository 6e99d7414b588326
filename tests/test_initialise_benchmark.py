"""What the benchmark of starts says of curves whose differences are known, and what its confirmation changes."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from benchmarks.initialise.problems import CONFIRMATION, FOUND, PROBLEMS, new_source, new_target
from benchmarks.initialise.report import compare, page_lines, page_table
from benchmarks.initialise.starts import trained_sources
from benchmarks.parts.scaffold import read_results
from benchmarks.population.__main__ import make_all
from benchmarks.population.architectures import ARCHITECTURES
from benchmarks.population.lessons import text_called
from benchmarks.population.members import plan
from benchmarks.population.storage import load
from data.specimens.corpora import python_source


def curves(*last: float) -> dict[str, object]:
    """One training a number: the test loss at its end."""
    return {"steps": [0, 10], "loss": [[2.0, each] for each in last], "accuracy": [[0.1, 0.5] for _ in last]}


SEEN = {
    "convnext": {
        "100": {
            "default": curves(1.0, 1.2, 1.1),
            "pattern": curves(0.7, 0.91, 0.8),
            "shuffled pattern": curves(0.9, 0.8, 1.3),
        }
    },
    "gpt2": {"300": {"default": curves(1.0, 1.1), "unit scale": curves(1.3, 1.41)}},
}


def test_gains_are_paired_by_seed_and_held_against_the_shuffled_pattern() -> None:
    rows = {(row.problem, row.start): row for row in compare(SEEN)}
    pattern = rows["convnext", "pattern"]
    assert abs(pattern.gain - 0.89 / 3) < 1e-12 and pattern.interval < 0.03 and pattern.verdict == "better"
    assert pattern.steps == 10 and pattern.seeds == 3
    assert pattern.beyond is not None and abs(pattern.beyond - (0.2 - 0.11 + 0.5) / 3) < 1e-12
    assert rows["convnext", "shuffled pattern"].verdict == "no difference seen"
    assert rows["gpt2", "unit scale"].verdict == "worse"


def test_the_page_has_one_row_for_a_training_set_and_marks_what_the_interval_leaves_no_doubt_of() -> None:
    heading, _, first, second = page_table(compare(SEEN))
    names = [cell.strip() for cell in heading.strip("| ").split("|")]
    cells = [dict(zip(names, (c.strip() for c in row.strip("| ").split("|")), strict=True)) for row in (first, second)]
    assert cells[0]["pattern"].startswith("**+0.297") and "**" not in cells[0]["pattern beyond shuffled"]
    assert cells[1]["pattern"] == "–" and cells[1]["unit scale"].startswith("**-0.305")


def test_a_pattern_is_held_against_the_best_scale_that_was_run() -> None:
    starts = {
        "default": curves(1.0, 1.2, 1.1),
        "unit scale": curves(0.8, 1.0, 0.9),
        "transformers": curves(2.0, 2.2, 2.1),
        "pattern": curves(0.7, 0.91, 0.8),
    }
    rows = compare({"bert": {"300": starts}, "convnext": SEEN["convnext"]})
    found = next(row for row in rows if (row.problem, row.start) == ("bert", "pattern"))
    assert found.scale == "unit scale" and found.beyond_scale is not None and found.beyond is None
    assert abs(found.beyond_scale - 0.29 / 3) < 1e-12
    alone = next(row for row in rows if (row.problem, row.start) == ("convnext", "pattern"))
    assert alone.scale is None and alone.beyond_scale is None
    *_, first, second = page_table(rows)
    assert first.endswith(" (unit scale) |") and second.endswith("| – |")


def test_bold_is_what_stands_among_all_tests_of_the_table() -> None:
    """A gain whose interval leaves out 0 is one of many; the same trainings in two rows are one test."""
    alone = {"default": curves(1.0, 1.2, 1.1), "pattern": curves(0.8, 1.1, 0.98)}
    others = {f"start {i}": curves(1.0 + i / 9, 1.2 - i / 7, 1.1) for i in range(1, 30)}
    (row,) = [row for row in compare({"bert": {"300": alone}}) if row.start == "pattern"]
    assert row.p is not None and 0.04 < row.p < 0.05 and row.gain > row.interval
    (*_, line) = page_table(compare({"bert": {"300": alone}}))
    assert "**" in line
    many = compare({"bert": {"300": {**alone, **others}}, "other": {"300": alone}})
    assert not any("**" in each for each in page_table(many))
    said = " ".join(page_lines(many, {}))
    assert "Of 30 gains" in said and "1 have an interval that leaves out 0" in said and "0 have q" in said


def test_targets_are_narrower_and_shallower_than_their_sources() -> None:
    for problem in PROBLEMS.values():
        source, target = new_source(problem, seed=0), new_target(problem, seed=0)
        assert sum(p.numel() for p in target.parameters()) < 0.6 * sum(p.numel() for p in source.parameters())


@pytest.mark.parametrize(
    ("pattern", "shuffled", "says"),
    [
        (curves(0.7, 0.91, 0.8), curves(1.0, 1.2, 1.1), ("confirms the finding", "structure is seen to help")),
        (curves(0.7, 0.91, 0.8), curves(0.71, 0.9, 0.8), ("confirms the finding", "structure is not seen to help")),
        (curves(1.0, 1.1, 1.2), curves(1.0, 1.2, 1.1), ("does not confirm the finding", "not seen to help")),
    ],
)
def test_the_page_says_how_the_confirmation_ended(
    pattern: dict[str, object], shuffled: dict[str, object], says: tuple[str, str]
) -> None:
    starts = {"default": curves(1.0, 1.2, 1.1), "pattern": pattern, "shuffled pattern": shuffled}
    said = " ".join(page_lines(compare({**SEEN, CONFIRMATION: {"500000": starts}}), {}))
    assert all(words in said for words in says)


def test_without_the_confirmation_the_page_says_that_it_was_not_run() -> None:
    assert "was not run yet" in list(page_lines(compare(SEEN), {}))[-1]


def test_the_page_has_the_kept_results() -> None:
    found = read_results("initialise")
    lines = "\n".join(page_lines(compare(found["curves"]), found.get("texts", {})))
    assert lines in (Path(__file__).parents[1] / "docs" / "using.md").read_text()


def test_the_confirmation_has_the_small_model_and_the_budgets_of_the_finding() -> None:
    found, confirmation = PROBLEMS[FOUND], PROBLEMS[CONFIRMATION]
    assert confirmation == replace(
        found,
        name=CONFIRMATION,
        sizes=(500_000,),
        num_sources=4,
        first_seed=200,
        text="scipy-docstrings",
        source_text="scipy-docstrings",
        has_population_sources=True,
    )
    assert confirmation.source_steps == ARCHITECTURES["bert"].steps and 500_000 in found.sizes


@pytest.mark.slow
def test_the_sources_of_the_confirmation_are_trained_as_the_roots_of_the_population(tmp_path: Path) -> None:
    (member,) = (member for member in plan(("bert",), num_roots=1) if member.relation == "root")
    make_all([member], tmp_path, max_steps=2)
    root = load(tmp_path / member.name, ARCHITECTURES["bert"]).state_dict()
    problem = replace(PROBLEMS[CONFIRMATION], source_text="python-source", source_steps=2)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    (source,) = trained_sources(problem, count=1, seed=member.seed)
    torch.set_num_threads(threads)
    assert all(torch.equal(tensor, source.state_dict()[name]) for name, tensor in root.items())


@pytest.mark.slow
def test_the_text_of_the_confirmation_is_long_enough_and_another() -> None:
    text = text_called("scipy-docstrings")
    assert len(text.train) > 2 * 500_000 and len(text.held_out) > 50_000
    other = python_source()
    assert not torch.equal(text.train[:1000], other.train[:1000])


@pytest.mark.slow
def test_no_docstring_that_is_held_out_is_learnt() -> None:
    text = text_called("scipy-docstrings")
    learnt = text.train.numpy().astype("uint8").tobytes()
    held_out = text.held_out.numpy().astype("uint8").tobytes()
    stretches = [held_out[start : start + 400] for start in range(0, len(held_out) - 400, 400)]
    repeated = sum(stretch in learnt for stretch in stretches)
    assert repeated < 0.02 * len(stretches)
