import pytest

from tests.support.tensor_headers import load_fixture
from zoo.blocks import Place, place_tensors


def blocks_of(*names: str) -> list[int | None]:
    places = place_tensors(names, {})
    return [places[name].block for name in names]


def test_depth_is_the_middle_of_the_block() -> None:
    places = place_tensors([f"encoder.layer.{i}.output.dense.weight" for i in range(4)], {})
    assert [place.depth for place in places.values()] == [0.125, 0.375, 0.625, 0.875]


def test_blocks_are_ordered_by_number_not_by_text() -> None:
    names = [f"h.{i}.mlp.c_fc.weight" for i in (10, 9, 0, 1, 2, 3, 4, 5, 6, 7, 8)]
    assert blocks_of(*names) == [10, 9, 0, 1, 2, 3, 4, 5, 6, 7, 8]


def test_an_encoder_runs_before_its_decoder() -> None:
    names = (
        "model.decoder.layers.0.fc1.weight",
        "model.encoder.layers.0.fc1.weight",
        "model.encoder.layers.1.fc1.bias",
    )
    assert blocks_of(*names) == [2, 0, 1]


def test_the_norm_between_encoder_and_decoder_lies_between_them() -> None:
    names = (
        "model.encoder.layers.0.fc1.weight",
        "model.decoder.layers.0.fc1.weight",
        "model.encoder.layer_norm.weight",
    )
    assert place_tensors(names, {})["model.encoder.layer_norm.weight"] == Place(None, 0.5)


def test_sublayers_of_t5_belong_to_one_block() -> None:
    names = ("encoder.block.0.layer.0.SelfAttention.q.weight", "encoder.block.0.layer.1.DenseReluDense.wi.weight")
    assert blocks_of(*names, "encoder.block.1.layer.0.SelfAttention.q.weight") == [0, 0, 1]


@pytest.mark.parametrize(
    "names",
    [
        ("layer1.0.conv1.weight", "layer1.1.conv1.weight", "layer2.0.conv1.weight"),
        ("encoder.stages.0.layers.0.x", "encoder.stages.0.layers.1.x", "encoder.stages.1.layers.0.x"),
        ("encoder.layers.0.blocks.0.x", "encoder.layers.0.downsample.x", "encoder.layers.1.blocks.0.x"),
        ("encoder.stages.0.layers.0.x", "encoder.stages.1.downsampling_layer.0.x", "encoder.stages.1.layers.0.x"),
    ],
)
def test_stages_run_one_after_another(names: tuple[str, ...]) -> None:
    assert blocks_of(*names) == [0, 1, 2]


def test_a_mobilevit_stage_shrinks_then_attends_then_fuses() -> None:
    stage = "mobilevit.encoder.layer.2."
    names = [header.name for header in load_fixture("mobilevit-small").file if header.name.startswith(stage)]
    places = place_tensors([header.name for header in load_fixture("mobilevit-small").file], {})
    parts = (
        "downsampling_layer",
        "conv_kxk",
        "transformer.layer.0",
        "transformer.layer.1",
        "conv_projection",
        "fusion",
    )
    found = [{places[name].block for name in names if name.startswith(stage + part)} for part in parts]
    assert found == [{4}, {4}, {5}, {6}, {7}, {7}]


def test_layers_stored_once_have_no_depth() -> None:
    name = "albert.encoder.albert_layer_groups.0.albert_layers.0.ffn.weight"
    shared = {"num_hidden_groups": 1, "num_hidden_layers": 12}
    assert place_tensors([name], shared)[name] == place_tensors([name], {})[name] == Place(0, None)
    own = {"num_hidden_groups": 1, "num_hidden_layers": 1}
    assert place_tensors([name], own)[name] == Place(0, 0.5)


@pytest.mark.parametrize(
    ("name", "depth"),
    [
        ("transformer.wte.weight", 0.0),
        ("deberta.encoder.LayerNorm.weight", 0.0),
        ("mobilenet_v2.conv_stem.first_conv.convolution.weight", 0.0),
        ("embed_out.weight", 1.0),
        ("transformer.ln_f.weight", 1.0),
        ("lm_head.weight", 1.0),
    ],
)
def test_outside_the_blocks_is_before_or_behind_them(name: str, depth: float) -> None:
    assert place_tensors([name, "transformer.h.0.x", "deberta.encoder.layer.0.x"], {})[name] == Place(None, depth)


def test_each_tower_of_a_multimodal_model_has_a_depth_of_its_own() -> None:
    names = [f"visual.blocks.{i}.attn.proj.weight" for i in range(2)]
    names += [f"model.layers.{i}.mlp.up_proj.weight" for i in range(4)]
    places = place_tensors(names, {})
    assert [places[name].depth for name in names] == [0.25, 0.75, 0.125, 0.375, 0.625, 0.875]
    assert len({places[name].block for name in names}) == 6
