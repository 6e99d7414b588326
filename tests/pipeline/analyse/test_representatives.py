"""Which models stand for a catalog that is too large to be asked as a whole."""

from dataclasses import replace
from pathlib import Path

import pytest

from patterndb.store import PatternDatabase
from pipeline.analyse import representatives
from pipeline.analyse.questions import ask
from pipeline.analyse.representatives import ask_all, choose, classify_all
from pipeline.analyse.taxonomy import classify
from tests.support.patterns import make_pattern, save_patterns

FAMILIES = {"a": 3, "b": 2, "c": 1, "d": 2}


@pytest.fixture
def database(tmp_path: Path) -> PatternDatabase:
    """Eight models, four lineages by their cards."""
    database = PatternDatabase.open(f"sqlite:///{tmp_path / 'zoo.db'}")
    for family, count in FAMILIES.items():
        for number in range(count):
            pattern = make_pattern(f"{family}{number}", num_blocks=1)
            parents = (f"someone/{family}0",) if number else ()
            save_patterns(database, replace(pattern, model=replace(pattern.model, parents=parents)))
    return database


@pytest.mark.slow
def test_of_a_small_catalog_every_model_takes_part(database: PatternDatabase) -> None:
    entries = database.signatures(with_nulls=False)
    assert classify_all(database) == classify(entries)
    assert ask_all(database) == ask(entries, database.model_statistics())
    assert len(choose(database, without={"a1"}).entries) == 7


@pytest.mark.slow
def test_of_a_large_one_the_founder_of_each_lineage(database: PatternDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(representatives, "MOST_MODELS", 7)
    found = classify_all(database)
    assert found.models == ("a0", "b0", "c0", "d0")
    assert found.sample == "8 models are in 4 lineages by their cards and files: one model of each."
    answered = ask_all(database)
    assert (answered.models, answered.sample) == (4, found.sample)


@pytest.mark.slow
def test_of_many_lineages_some_are_drawn_always_the_same(
    database: PatternDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(representatives, "MOST_MODELS", 7)
    monkeypatch.setattr(representatives, "MOST_LINEAGES", 2)
    first, again, other = (choose(database, seed=seed) for seed in (0, 0, 3))
    assert first == again and len(first.entries) == 2 and "of which 2 were drawn (seed 0)" in first.sample
    assert {entry.model.key for entry in other.entries} != {entry.model.key for entry in first.entries}
