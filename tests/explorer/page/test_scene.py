"""What the explorer shows is what the files and the DNA hold, fairly sampled."""

import numpy as np
import pytest

from dna_zoo.errors import NotMinedError, SettingsError
from explorer.page.encode import scene_document
from explorer.page.scene import scene_view
from explorer.page.write import explorer_html
from explorer.points import interleave, sample_places
from explorer.source import Source
from tests.explorer.page.scenes import made_scene

MODEL = "gpt2-a"


def test_points_are_the_files_weights_and_what_the_dna_says(source: Source) -> None:
    (model,) = scene_view(source, [MODEL], num_points=500).models
    dna = source.dna(MODEL)
    with source.matrices(MODEL) as matrices:
        stored = {each.name: (each.in_file_order, each.canonical) for each in matrices}
    for at in range(0, len(model.values), 7):
        name = model.tensors[model.tensor[at]].name
        place, canonical = (model.file_rows[at], model.file_cols[at]), (model.rows[at], model.cols[at])
        assert abs(model.values[at]) == abs(stored[name][0][place])
        assert model.values[at] == stored[name][1][canonical]
        assert model.rebuilt[at] == dna[name].canonical().numpy()[canonical]


def test_the_table_has_rows_columns_and_signs_of_the_files(source: Source) -> None:
    table = scene_view(source, [MODEL], num_points=500).table()
    with source.matrices(MODEL) as matrices:
        stored = {each.name: each.in_file_order for each in matrices}
    assert all(value == stored[name][row, col] for name, row, col, value in table.iloc[:, 1:5].itertuples(index=False))


def test_nothing_measured_of_the_first_is_said_of_the_difference(source: Source) -> None:
    view = scene_view(source, [MODEL, MODEL], num_points=300, difference=True)
    assert all(each.r2 is None and not each.bands and not each.picture.any() for each in view.models[2].tensors)
    assert "the first model less the second" in view.caption


def test_every_beginning_has_a_share_of_every_matrix(source: Source) -> None:
    (model,) = scene_view(source, [MODEL], num_points=2_000).models
    whole = np.bincount(model.tensor)
    for length in (200, 600, 1_200):
        assert np.abs(np.bincount(model.tensor[:length], minlength=len(whole)) - whole * length / 2_000).max() <= 2


def test_a_table_does_not_drown_the_rest(source: Source) -> None:
    (model,) = scene_view(source, [MODEL], num_points=500).models
    shown = np.bincount(model.tensor, minlength=len(model.tensors))
    sizes = np.array([tensor.shape[0] * tensor.shape[1] for tensor in model.tensors])
    assert sizes.max() > 3 * sizes.min() and shown.max() - shown.min() <= 1


def test_places_are_all_different_and_the_seed_decides() -> None:
    rows, cols = sample_places((30, 40), 1_200, np.random.default_rng(0))
    assert len({*zip(rows.tolist(), cols.tolist(), strict=True)}) == 1_200
    again = [interleave([5, 50], np.random.default_rng(seed)) for seed in (1, 1, 2)]
    assert np.array_equal(again[0], again[1]) and not np.array_equal(again[0], again[2])


def test_a_model_differs_from_itself_by_nothing_and_from_another_where_they_can_be_compared(source: Source) -> None:
    same = scene_view(source, [MODEL, MODEL], num_points=300, difference=True).models[2]
    assert same.key == f"{MODEL} less {MODEL}" and not same.values.any() and not same.rebuilt.any()
    with pytest.raises(SettingsError, match="No matrix"):
        scene_view(source, [MODEL, "cnn-a"], num_points=300, difference=True)


def test_layers_and_heights_rise_with_the_blocks(source: Source) -> None:
    (model,) = scene_view(source, [MODEL], num_points=300).models
    blocks = [(tensor.layer, tensor.height) for tensor in model.tensors]
    assert len({height for _, height in blocks}) == len(blocks) and sorted(blocks) == sorted(blocks, key=lambda x: x[1])
    assert {tensor.layer for tensor in model.tensors if "embedding" in tensor.role} == {0}
    assert all(len(tensor.bands) == 8 for tensor in model.tensors if "h.0" in tensor.name)


def test_mistakes_are_named(source: Source) -> None:
    with pytest.raises(NotMinedError):
        scene_view(source, ["gpt2-b"])
    for models, more in (([], {}), ([MODEL] * 5, {}), ([MODEL], {"difference": True}), ([MODEL], {"num_points": 0})):
        with pytest.raises(SettingsError):
            scene_view(source, models, **more)  # type: ignore[arg-type]


def test_a_page_has_the_same_bytes_again_and_is_small(source: Source) -> None:
    first, again = (explorer_html(scene_view(source, [MODEL, "vit-a"])) for _ in range(2))
    assert first == again and len(first.encode()) < 8_000_000
    document = scene_document(scene_view(source, [MODEL], num_points=100))
    assert document["settings"] == {"num_points": 100, "seed": 0, "difference": False}


def test_a_name_that_looks_like_a_part_of_the_page_stays_a_name() -> None:
    name = "{{script}} {{scene}} {{style}} {{title}}"
    usual, page = (explorer_html(made_scene(key)) for key in ("a", name))
    assert f"<title>The weights of {name}</title>" in page
    assert len(page) - len(usual) < 20 * len(name)
