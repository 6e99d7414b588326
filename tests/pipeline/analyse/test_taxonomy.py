"""The declared tree, the found tree, and their agreement."""

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from pipeline.analyse.taxonomy import NOT_ENOUGH, DeclaredModel, Taxonomy, taxonomy


def model(
    key: str, modality: str | None = "text", architecture: str = "encoder", profile: str = "smooth"
) -> DeclaredModel:
    return DeclaredModel(key=key, modality=modality, architecture=architecture, profile=profile)


def on_a_line(*positions: float) -> npt.NDArray[np.float64]:
    points = np.array(positions, dtype=np.float64)
    return np.abs(points[:, None] - points[None, :])


def two_groups() -> Taxonomy:
    models = [model(f"text-{i}") for i in range(4)] + [model(f"image-{i}", "vision", "cnn") for i in range(4)]
    return taxonomy(models, on_a_line(0, 1, 2, 3.5, 20, 21, 22.5, 24), seed=1)


def test_the_declared_tree_lists_every_model_once() -> None:
    tree = taxonomy([model("b"), model("a"), model("c", "vision", "cnn", "noisy")], on_a_line(0, 1, 5)).declared
    assert tree == {"text": {"encoder": {"smooth": ("a", "b")}}, "vision": {"cnn": {"noisy": ("c",)}}}


def test_the_found_tree_joins_the_nearest_first() -> None:
    merges = two_groups().merges
    assert set(merges[0].left + merges[0].right) == {"text-0", "text-1"}
    assert len(merges) == 7
    assert set(merges[-1].left) | set(merges[-1].right) == {
        f"{kind}-{i}" for kind in ("text", "image") for i in range(4)
    }


def test_a_tree_that_shows_the_labels_agrees_with_them() -> None:
    found = {level.level: level for level in two_groups().agreement}
    assert found["modality"].adjusted_rand == 1.0
    assert found["modality"].p == pytest.approx(2 / 70)
    assert found["architecture"].num_labels == 2


def test_labels_that_have_nothing_to_do_with_the_tree_do_not_agree() -> None:
    models = [model(f"m{i}", "text" if i % 2 else "vision") for i in range(10)]
    level = taxonomy(models, on_a_line(*range(5), *range(20, 25))).agreement[0]
    assert level.adjusted_rand is not None and level.adjusted_rand < 0.1
    assert level.p is not None and level.p > 0.1


def test_distances_of_a_tree_are_a_tree() -> None:
    tree = np.array([[0, 1, 4, 4], [1, 0, 4, 4], [4, 4, 0, 2], [4, 4, 2, 0]], dtype=float)
    assert taxonomy([model(str(i)) for i in range(4)], tree).cophenetic == pytest.approx(1.0)


def test_equal_distances_have_no_cophenetic_correlation() -> None:
    assert taxonomy([model(str(i)) for i in range(4)], 1 - np.eye(4)).cophenetic is None


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_few_models_are_said_to_be_few(count: int) -> None:
    found = taxonomy([model(str(i), "text" if i else "vision") for i in range(count)], on_a_line(*range(count)))
    assert found.note == NOT_ENOUGH and found.cophenetic is None
    assert all(level.adjusted_rand is None and level.note for level in found.agreement)


def test_a_level_without_contrast_says_so() -> None:
    found = taxonomy([model(str(i)) for i in range(5)], on_a_line(*range(5)))
    notes = {level.level: level.note for level in found.agreement}
    assert notes["modality"] == notes["architecture"] == notes["profile"] == "one label for all"
    assert notes["lineage"] == "every model has a label of its own"


def test_copies_are_no_evidence() -> None:
    """Six copies of two models fill two groups, which single models would make significant."""
    kinds, positions = ["text", "vision"] * 6, [0.0, 20.0] * 6
    models = [model(f"m{i}", kind) for i, kind in enumerate(kinds)]
    unrelated = taxonomy(models, on_a_line(*positions)).agreement[0]
    related = [replace(each, lineage_group=each.modality) for each in models]
    copies = taxonomy(related, on_a_line(*positions)).agreement[0]
    assert unrelated.adjusted_rand == copies.adjusted_rand == 1.0
    assert unrelated.p is not None and unrelated.p < 0.01 and unrelated.num_lineages == 12
    assert (copies.p, copies.q, copies.num_lineages, copies.note) == (1.0, None, 2, NOT_ENOUGH)


def test_lineages_are_tested_by_permuting_models() -> None:
    lineages = ["a", "a", "a", "b", "b", "b", "c", "c"]
    models = [replace(model(f"m{i}"), lineage=lineage) for i, lineage in enumerate(lineages)]
    found = {level.level: level for level in taxonomy(models, on_a_line(0, 1, 2, 10, 11, 12, 30, 31)).agreement}
    assert found["lineage"].adjusted_rand == 1.0
    assert found["lineage"].p == found["lineage"].least_p == pytest.approx(2 / 560)


def test_q_is_over_the_levels_that_could_be_evidence() -> None:
    levels = two_groups().agreement
    counted = [level for level in levels if level.least_p is not None and level.least_p <= 0.05]
    assert [level.level for level in counted] == ["modality", "architecture"]
    assert [level.q for level in counted] == pytest.approx([2 / 70] * 2)


def test_models_without_a_label_are_left_out_of_its_level() -> None:
    models = [model(str(i), None if i == 4 else "text" if i < 2 else "vision") for i in range(5)]
    level = taxonomy(models, on_a_line(0, 1, 10, 11, 5)).agreement[0]
    assert (level.num_models, level.num_labels, level.adjusted_rand) == (4, 2, 1.0)


def test_models_that_share_no_dimension_are_far_apart() -> None:
    distances = on_a_line(0, 1, 10, 11)
    distances[0, 3] = distances[3, 0] = np.nan
    assert taxonomy([model(str(i)) for i in range(4)], distances).cophenetic is not None


def test_the_same_seed_gives_the_same_p() -> None:
    assert two_groups() == two_groups()


def test_distances_of_another_size_are_refused() -> None:
    with pytest.raises(ValueError, match=r"must have shape \(2, 2\)"):
        taxonomy([model("a"), model("b")], on_a_line(0, 1, 2))
