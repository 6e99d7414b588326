"""Which models are independent, by what they declare."""

from typing import Any

import numpy as np

from patterndb.records import ModelRecord
from pipeline.analyse.lineage_groups import LineageGroups, group_lineages


def model(key: str, *parents: str, **facts: Any) -> ModelRecord:
    return ModelRecord(key=key, **{"sha256": f"sha256 of {key}", "parents": parents, **facts})


def groups(*models: ModelRecord, related: Any = None) -> list[set[str]]:
    return named(group_lineages(models, related), models)


def named(found: LineageGroups, models: tuple[ModelRecord, ...]) -> list[set[str]]:
    return [
        {model.key for model, own in zip(models, found.lineages, strict=True) if own == lineage}
        for lineage in range(len(found.names))
    ]


def test_unrelated_models_are_lineages_of_their_own() -> None:
    assert groups(model("a"), model("b")) == [{"a"}, {"b"}]
    assert groups() == []


def test_a_grandchild_belongs_to_its_grandparent() -> None:
    assert groups(model("c", "b"), model("a"), model("b", "a"), model("x")) == [{"a", "b", "c"}, {"x"}]


def test_children_of_a_parent_that_was_not_mined_are_siblings() -> None:
    found = group_lineages([model("tinybert", "google-bert/BERT"), model("distilbert", "google-bert/BERT")])
    assert (found.names, found.founders) == (("google-bert/BERT",), (1,))


def test_a_merge_joins_two_lineages() -> None:
    assert groups(model("a"), model("b"), model("both", "a", "b")) == [{"a", "b", "both"}]


def test_parents_are_known_by_key_by_repository_and_by_its_last_part() -> None:
    parent = model("base", repo="someone/Big-Base")
    for name in ("base", "someone/big-base", "Big-Base"):
        assert groups(parent, model("child", name)) == [{"base", "child"}]
    assert groups(parent, model("child", "other/Big-Base")) == [{"base"}, {"child"}]


def test_equal_files_are_one_model_under_two_names() -> None:
    assert groups(model("a"), model("b", sha256="sha256 of a"), model("c")) == [{"a", "b"}, {"c"}]


def test_related_weights_join_lineages() -> None:
    related = np.eye(3, dtype=bool)
    related[0, 2] = related[2, 0] = True
    assert groups(model("a"), model("b"), model("c"), related=related) == [{"a", "c"}, {"b"}]


def test_the_founder_is_the_ancestor_of_the_others() -> None:
    models = (model("a", "z"), model("z"), model("b", "a"))
    found = group_lineages(models)
    assert (found.founders, found.names) == ((1,), ("z",))


def test_a_cycle_of_parents_is_one_lineage() -> None:
    assert groups(model("a", "b"), model("b", "a")) == [{"a", "b"}]
