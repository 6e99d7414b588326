"""The benchmark of lineage: which pairs it takes, how it counts them, and a run from end to end."""

import json
from pathlib import Path

import pytest

from benchmarks import direction, lineage, lineage_calibration
from benchmarks.population.__main__ import make_all
from benchmarks.population.members import RELATIONS, Relation, plan
from benchmarks.relatedness.cost import measure
from benchmarks.relatedness.gallery import Member
from benchmarks.relatedness.lineage import every_pair, exact_interval, score_lineage
from pipeline.lineage import Lineage, Verdict

SPECIMENS = Path(__file__).parents[1] / "data" / "specimens"


def member(name: str, *roots: str, relation: Relation, architecture: str = "net", origin: str = "") -> Member:
    return Member(
        name=name,
        folder=Path(name),
        architecture=architecture,
        split="tuned",
        relation=relation,
        hardness=RELATIONS[relation],
        roots=frozenset(roots),
        origin=origin or roots[0],
    )


MEMBERS = (
    member("a", "a", relation="root"),
    member("a-pruned", "a", relation="pruned"),
    member("a-lora", "a", relation="lora"),
    member("a-shuffled", "a-shuffled", relation="shuffled", origin="a"),
    member("b", "b", relation="root"),
    member("ab", "a", "b", relation="merged-roots"),
    member("c", "c", relation="root", architecture="other"),
)
PAIRS = every_pair(MEMBERS, num_apart=3, seed=0)


def evidence(verdict: Verdict, z: float | None) -> Lineage:
    return Lineage(verdict=verdict, reason="", z=z, correlation=None if z is None else z / 100)


def knowing(a: Member, b: Member) -> Lineage:
    return evidence("same lineage", 50.0) if a.is_related(b) else evidence("no evidence", 1.0)


def test_all_pairs_of_one_architecture_are_taken_and_some_of_two() -> None:
    names = {frozenset((a.name, b.name)) for a, b in PAIRS}
    assert len(names) == len(PAIRS) == 15 + 3
    assert frozenset(("a-pruned", "a-lora")) in names and frozenset(("a", "a-shuffled")) in names
    assert PAIRS == every_pair(MEMBERS, num_apart=3, seed=0) != every_pair(MEMBERS, num_apart=3, seed=1)


def test_perfect_evidence_scores_one() -> None:
    found = score_lineage(PAIRS, [knowing(a, b) for a, b in PAIRS], in_detail=True)
    assert {(each.auc, each.tpr) for each in found.values() if each.related_pairs and each.unrelated_pairs} == {
        (1.0, 1.0)
    }
    everything = found["all"]
    assert (everything.related_pairs, everything.unrelated_pairs) == (7, 11)
    assert (everything.related_called, everything.unrelated_called) == (1.0, 0.0)


def test_a_relation_is_counted_with_its_root_and_with_all_related() -> None:
    found = score_lineage(PAIRS, [knowing(a, b) for a, b in PAIRS], in_detail=True)
    assert (found["lora"].related_pairs, found["lora, all related"].related_pairs) == (1, 3)
    assert (found["merged-roots"].related_pairs, found["merged-roots, all related"].related_pairs) == (2, 4)
    assert found["lora"].unrelated_pairs == 2  # The shuffled copy, and the other root.
    assert (found["easy"].related_pairs, found["easy"].unrelated_pairs) == (1, 2)


def test_kinds_of_unrelated_pairs_are_counted_apart() -> None:
    found = score_lineage(PAIRS, [knowing(a, b) for a, b in PAIRS], in_detail=True)
    kinds = ("another root", "shuffled and original", "another architecture")
    assert [found[kind].unrelated_pairs for kind in kinds] == [3, 1, 3]
    assert all(found[kind].related_pairs == 0 for kind in kinds)


def test_cannot_say_counts_as_the_farthest_and_as_unrelated() -> None:
    found = score_lineage(PAIRS, [evidence("cannot say", None) if a.is_related(b) else knowing(a, b) for a, b in PAIRS])
    assert (found["all"].auc, found["all"].tpr, found["all"].related_called) == (0.0, 0.0, 0.0)
    assert found["all"].verdicts_on_related == {"cannot say": 7}


def test_unrelated_pairs_that_are_called_related_are_counted() -> None:
    found = score_lineage(PAIRS, [evidence("same lineage", 9.0) for _ in PAIRS])["all"]
    assert found.unrelated_called == 1.0 and found.auc == 0.5
    assert found.highest_of_unrelated == (0.09, 9.0)


def test_the_interval_of_a_share_is_clopper_pearsons() -> None:
    low, high = exact_interval(0, 100)
    assert low == 0 and high == pytest.approx(1 - 0.025 ** (1 / 100))
    assert exact_interval(3, 50) == pytest.approx((0.01255, 0.16548), abs=1e-4)


@pytest.mark.slow
def test_cost_is_measured_in_a_process_of_its_own() -> None:
    found = measure(str(SPECIMENS / "bert-a"), str(SPECIMENS / "bert-a-permuted"))
    assert (found["verdict"], found["weights"]) == ("same lineage", 93_746)
    assert found["s"] >= found["opening s"] > 0 and found["peak MB"] > 1


@pytest.mark.slow
def test_the_benchmark_runs_and_keeps_what_was_measured_before(tmp_path: Path) -> None:
    members = [each for each in plan(("opt",), num_roots=2) if each.relation in ("root", "permuted", "shuffled")]
    make_all(members, tmp_path / "population", max_steps=2)
    (tmp_path / "lineage.json").write_text('{"noise": []}')
    lineage.main(f"--population {tmp_path / 'population'} --nulls 9 --out lineage --results {tmp_path}".split())
    found = json.loads((tmp_path / "lineage.json").read_text())
    assert found["noise"] == [] and found["population"]["permuted"]["related_called"] == 1.0
    assert found["population"]["all"]["unrelated_pairs"] == 13


@pytest.mark.slow
def test_the_direction_is_measured_on_known_descent(tmp_path: Path) -> None:
    kinds = ("root", "pruned", "quantised-4", "noised", "rescaled")
    for name in ("opt", "resnet"):
        members = [each for each in plan((name,), num_roots=1) if each.relation in kinds]
        make_all(members, tmp_path / "population", max_steps=2)
    direction.main(f"--population {tmp_path / 'population'} --out direction --results {tmp_path}".split())
    found = json.loads((tmp_path / "direction.json").read_text())
    right = {(row["half"], row["kind"]): row["right"] for row in found["answers"] if "kind" in row}
    assert all(right[half, kind] == 1 for half in ("tuned", "held-out") for kind in ("pruned", "quantised-4"))
    assert all(row["wrong"] == 0 for row in found["answers"]) and len(found["trends"]) == 8


@pytest.mark.slow
def test_p_is_measured_where_nothing_is_shared(tmp_path: Path) -> None:
    members = [each for each in plan(("opt",), num_roots=2) if each.relation in ("root", "permuted", "shuffled")]
    make_all(members, tmp_path / "population", max_steps=2)
    numbers = f"--repeats 3 --trainings 2 --nulls 19 --population {tmp_path / 'population'}"
    lineage_calibration.main(f"{numbers} --out p --results {tmp_path}".split())
    rows = json.loads((tmp_path / "p.json").read_text())["rows"]
    assert [row["tested"] for row in rows] == [3] * 10 + [2] * 3 and not any(row["called related"] for row in rows)
    assert [(row["test"], row["pairs"]) for row in rows[-2:]] == [
        ("by role", "trained, opt"),
        ("by name", "trained, opt"),
    ]
