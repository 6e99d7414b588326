"""What differs between two runs: named, by kind, and nothing where nothing does."""

import datetime as dt
import math
from dataclasses import replace
from typing import Any

import pytest

from patterndb.records import PatternRecord, RunModelRecord, RunRecord, Statistic
from patterndb.runs.differences import Difference, Differences, compare_runs
from tests.support.patterns import make_pattern

NOW = dt.datetime(2026, 11, 28, tzinfo=dt.UTC)


def run(name: str, **models: str) -> RunRecord:
    return RunRecord(
        run=name,
        status="done",
        request={},
        started=NOW,
        finished=NOW,
        exit_code=0,
        models=tuple(RunModelRecord(key=key, status=status) for key, status in models.items()),
    )


def compare(a: PatternRecord, b: PatternRecord, **how: Any) -> Differences:
    keys = [run(name, **{pattern.model.key: "done"}) for name, pattern in (("a", a), ("b", b))]
    return compare_runs(*keys, lambda key: a, lambda key: b, **how)


def only(found: Differences) -> Difference:
    (each,) = found.found
    return each


def test_the_same_patterns_do_not_differ() -> None:
    found = compare(make_pattern(), make_pattern())
    assert found.are_equal and found.compared == (("alpha", "alpha"),)


def test_how_long_a_fit_took_and_who_found_it_do_not_count() -> None:
    pattern = make_pattern()
    slow = replace(pattern, run="other", fit=replace(pattern.fit, seconds=99.0))  # type: ignore[arg-type]
    assert compare(pattern, slow).are_equal


def test_classes_of_model_and_roles_are_compared() -> None:
    pattern = make_pattern(pattern_class="dense")
    role = replace(pattern.roles[0], pattern_class="sparse")
    other = replace(pattern, pattern_class="noisy", roles=(role, *pattern.roles[1:]))
    kinds = [(each.kind, each.where, each.a, each.b) for each in compare(pattern, other).found]
    was = pattern.roles[0].pattern_class
    assert kinds == [("class", "", "dense", "noisy"), ("class", role.role, was, "sparse")]


@pytest.mark.parametrize(("factor", "differs"), [(1 + 1e-8, False), (1 + 1e-4, True)])
def test_figures_of_a_fit_differ_beyond_the_tolerance(factor: float, differs: bool) -> None:
    pattern = make_pattern()
    assert pattern.fit
    other = replace(pattern, fit=replace(pattern.fit, r2=pattern.fit.r2 * factor))
    assert compare(pattern, other).are_equal is not differs
    assert compare(pattern, other, tolerance=1e-3).are_equal
    if differs:
        assert (only(compare(pattern, other)).kind, only(compare(pattern, other)).name) == ("fit", "r2")


def test_a_statistic_is_named_with_the_number_that_differs() -> None:
    a, b = Statistic(name="x", value=1.0, null_mean=0.5), Statistic(name="x", value=1.0, null_mean=0.75)
    found = only(compare(make_pattern(statistics=(a,)), make_pattern(statistics=(b,))))
    assert (found.kind, found.name, found.a, found.b) == ("statistic", "x.null_mean", 0.5, 0.75)


def test_nan_and_infinity_are_the_same_as_themselves() -> None:
    statistics = (Statistic(name="x", value=math.nan, z=math.inf),)
    assert compare(make_pattern(statistics=statistics), make_pattern(statistics=statistics)).are_equal
    finite = (Statistic(name="x", value=1.0, z=math.inf),)
    assert not compare(make_pattern(statistics=statistics), make_pattern(statistics=finite)).are_equal


def test_a_verdict_is_told_where_it_turns() -> None:
    a, b = (Statistic(name="x", value=1.0, num_nulls=99, null_mean=0.0, p=p) for p in (0.01, 0.5))
    found = compare(make_pattern(statistics=(a,)), make_pattern(statistics=(b,)))
    (verdict,) = found.of("verdict")
    assert (verdict.where, verdict.name, verdict.a, verdict.b) == ("", "x", "beyond chance", "no evidence")


def test_settings_versions_and_weights_are_named() -> None:
    pattern = make_pattern()
    other = replace(
        pattern,
        model=replace(pattern.model, sha256="0" * 64),
        settings={**pattern.settings, "fit": {"dna_type": "separable", "budget": 0.02}},
        provenance={**pattern.provenance, "dna_zoo": "0.2.0", "notes": ["read"]},
    )
    found = compare(pattern, other).found
    assert [(each.kind, each.name) for each in found] == [
        ("weights", "sha256"),
        ("setting", "fit.budget"),
        ("version", "dna_zoo"),
    ]
    assert (found[1].a, found[1].b) == (0.01, 0.02)


def test_a_signature_is_compared_by_dimension() -> None:
    pattern = make_pattern()
    values = (99.0, *pattern.signature.values[1:])
    found = only(compare(pattern, replace(pattern, signature=replace(pattern.signature, values=values))))
    assert (found.kind, found.name, found.b) == ("signature", pattern.signature.names[0], 99.0)


def test_models_of_one_run_alone_and_other_endings_count() -> None:
    a, b = run("a", x="done", y="done", z="failed"), run("b", z="failed", y="failed", w="done")
    found = compare_runs(a, b, make_pattern, make_pattern)
    assert (found.only_a, found.only_b, found.compared) == (("x",), ("w",), (("y", "y"), ("z", "z")))
    assert (only(found).model, only(found).kind, only(found).a, only(found).b) == ("y", "status", "done", "failed")


def test_runs_of_one_model_each_are_compared_whatever_it_is_called() -> None:
    found = compare_runs(
        run("a", old="done"), run("b", new="done"), lambda key: make_pattern(), lambda key: make_pattern()
    )
    assert found.compared == (("old", "new"),) and found.are_equal
