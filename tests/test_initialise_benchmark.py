"""What the benchmark of starts says of curves whose differences are known."""

from benchmarks.initialise.problems import PROBLEMS, new_source, new_target
from benchmarks.initialise.report import compare, page_table


def curves(*last: float) -> dict[str, object]:
    """One training a number: the test loss at its end."""
    return {"steps": [0, 10], "loss": [[2.0, each] for each in last], "accuracy": [[0.1, 0.5] for _ in last]}


FOUND = {
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
    rows = {(row.problem, row.start): row for row in compare(FOUND)}
    pattern = rows["convnext", "pattern"]
    assert abs(pattern.gain - 0.89 / 3) < 1e-12 and pattern.interval < 0.03 and pattern.verdict == "better"
    assert pattern.steps == 10 and pattern.seeds == 3
    assert pattern.beyond is not None and abs(pattern.beyond - (0.2 - 0.11 + 0.5) / 3) < 1e-12
    assert rows["convnext", "shuffled pattern"].verdict == "no difference seen"
    assert rows["gpt2", "unit scale"].verdict == "worse"


def test_the_page_has_one_row_for_a_training_set_and_marks_what_the_interval_leaves_no_doubt_of() -> None:
    heading, _, first, second = page_table(compare(FOUND))
    names = [cell.strip() for cell in heading.strip("| ").split("|")]
    cells = [dict(zip(names, (c.strip() for c in row.strip("| ").split("|")), strict=True)) for row in (first, second)]
    assert cells[0]["pattern"].startswith("**+0.297") and "**" not in cells[0]["pattern beyond shuffled"]
    assert cells[1]["pattern"] == "–" and cells[1]["unit scale"].startswith("**-0.305")


def test_targets_are_narrower_and_shallower_than_their_sources() -> None:
    for problem in PROBLEMS.values():
        source, target = new_source(problem, seed=0), new_target(problem, seed=0)
        assert sum(p.numel() for p in target.parameters()) < 0.6 * sum(p.numel() for p in source.parameters())
