"""Traced wirings as data: names found again in a checkpoint, what comes with the zoo, and agreement with names."""

import json
from dataclasses import replace

import pytest

from benchmarks.wiring import held_against_names
from tests.support.make_wirings import traced
from tests.support.tensor_headers import FOLDER, load_fixture
from zoo.config import HEADS, number_in
from zoo.roles import describe_tensors
from zoo.tensors import Axis, Role, TensorHeader, TensorKind
from zoo.tracing.agreement import disagreements
from zoo.tracing.build import build_tiny
from zoo.tracing.derive import derive
from zoo.tracing.shipped import architecture_of, find_shipped
from zoo.tracing.traced import TracedTensor, TracedWiring

KEYS = sorted(path.name.removesuffix(".json.gz") for path in FOLDER.glob("*.json.gz"))
IN = TracedTensor(role=Role.FFN_IN, ndim=2, row_axis=Axis.HIDDEN)
OUT = TracedTensor(role=Role.FFN_OUT, ndim=2, col_axis=Axis.HIDDEN)
QUERY = TracedTensor(role=Role.ATTENTION_QUERY, ndim=2, row_axis=Axis.ATTENTION)


def wiring(**tensors: TracedTensor) -> TracedWiring:
    """With `_` for the dots of names."""
    own = {name.replace("_", "."): tensor for name, tensor in tensors.items()}
    return TracedWiring(model="Model", lists=("m.x",), heads=None, tensors=own)


def headers(*names: str) -> list[TensorHeader]:
    return [TensorHeader(name=name, shape=(8, 6), dtype="F32") for name in names]


@pytest.mark.parametrize("key", KEYS)
def test_names_and_tracing_agree_on_the_zoo(key: str) -> None:
    fixture = load_fixture(key)
    shipped = find_shipped(fixture.config)
    assert shipped is not None
    specs, found = describe_tensors(fixture.file, fixture.config), shipped.find(fixture.file)
    unexplained = [str(each) for each in disagreements(specs, found) if not each.explanation]
    assert not unexplained
    heads = number_in(fixture.config, *HEADS)
    if "text_config" not in fixture.config:  # Two towers have their heads apart.
        assert shipped.heads == (None if heads is None else min(heads, 4))


@pytest.mark.parametrize("key", KEYS)
def test_nearly_all_of_the_zoo_is_found_in_the_tiny_model(key: str) -> None:
    fixture = load_fixture(key)
    shipped = find_shipped(fixture.config)
    assert shipped is not None
    found = shipped.find(fixture.file)
    specs = [spec for spec in describe_tensors(fixture.file, fixture.config) if spec.is_matrix]
    missing = {spec.tensor.split(".")[-2] for spec in specs if spec.tensor not in found}
    # Heads of a training that the class does not have, and a map between widths that are one in a tiny model.
    # XLM-RoBERTa's table is wider than any other, and wav2vec 2 stores the kernel of its positions by weight norm.
    known = {"dense", "classifier", *map(str, range(7)), "embeddings_project"}
    if key in ("hubert-base", "wav2vec2-base", "wav2vec2-base-960h"):
        known.add("conv")
    if key == "xlm-roberta-base":
        known.add("word_embeddings")
    assert missing <= known


def test_a_wrong_rule_would_be_a_disagreement() -> None:
    fixture = load_fixture("minilm-l6")
    shipped = find_shipped(fixture.config)
    assert shipped is not None
    swapped = {Role.ATTENTION_QUERY: Role.ATTENTION_VALUE}
    specs = [replace(s, role=swapped.get(s.role, s.role)) for s in describe_tensors(fixture.file, fixture.config)]
    (found,) = [each for each in disagreements(specs, shipped.find(fixture.file)) if not each.explanation]
    assert str(found) == (
        "encoder.layer.*.attention.self.query.weight: role attention_value by name, attention_query by tracing"
    )


@pytest.mark.parametrize("model_type", ["beit", "data2vec-vision", "dinov2", "llama", "mamba", "mixtral", "t5"])
def test_names_and_tracing_agree_on_other_types(model_type: str) -> None:
    tiny = build_tiny(model_type)
    found = derive(tiny.model, tiny.run, tiny.tokens, tiny.vocabulary)
    held = held_against_names(tiny, found)
    assert held["disagreements"] == [] and held["without_role"][1] <= held["without_role"][0]


def test_a_shipped_wiring_is_what_tracing_gives_today() -> None:
    assert find_shipped(load_fixture("distilgpt2").config) == traced("distilgpt2")


def test_models_that_differ_in_sizes_alone_share_an_architecture() -> None:
    config = load_fixture("minilm-l6").config
    assert architecture_of({**config, "hidden_size": 1024, "num_hidden_layers": 24}) == architecture_of(config)
    assert architecture_of({**config, "hidden_act": "relu"}) != architecture_of(config)


def test_a_wiring_goes_through_json() -> None:
    made = wiring(m_x_0_up=replace(IN, free_col_signs=True, parts=2), m_x_0_down=replace(OUT, transposed=True))
    assert TracedWiring.of_json(json.loads(json.dumps(made.as_json()))) == made


def test_layers_that_the_tiny_model_does_not_have_are_found_by_their_form() -> None:
    found = wiring(m_x_0_up_weight=IN, m_x_0_f_2_weight=OUT).find(headers("m.x.31.up.weight", "m.x.31.f.2.weight"))
    assert {name: tensor.role for name, tensor in found.items()} == {
        "m.x.31.up.weight": Role.FFN_IN,
        "m.x.31.f.2.weight": Role.FFN_OUT,
    }


def test_numbers_that_count_no_layers_must_be_equal() -> None:
    assert wiring(m_x_0_f_0_weight=IN, m_x_0_f_2_weight=OUT).find(headers("m.x.5.f.1.weight")) == {}


def test_a_layer_of_the_same_tensors_stands_for_one_of_several_kinds() -> None:
    made = wiring(m_x_0_in_w=QUERY, m_x_0_key_w=QUERY, m_x_1_in_w=IN, m_x_1_out_w=OUT)
    found = made.find(headers("m.x.4.in.w", "m.x.4.out.w", "m.x.7.in.w", "m.x.7.key.w"))
    assert found["m.x.4.in.w"].role is Role.FFN_IN and found["m.x.7.in.w"].role is Role.ATTENTION_QUERY
    assert "m.x.9.in.w" not in made.find(headers("m.x.9.in.w", "m.x.9.gate.w"))


def test_a_checkpoint_of_the_base_alone_is_found() -> None:
    made = wiring(m_x_0_up_w=IN, m_x_0_down_w=OUT)
    assert len(made.find(headers("x.3.up.w", "x.3.down.w"))) == 2
    assert len(made.find(headers("module.m.x.3.up.w", "module.m.x.3.down.w"))) == 2


def test_names_win_and_tracing_fills_in() -> None:
    made = wiring(m_x_0_up_proj_weight=OUT, m_x_0_zap_weight=replace(OUT, transposed=True))
    made = replace(made, tensors={"m.x.0.up_proj.weight": OUT, "m.x.0.zap.weight": replace(OUT, transposed=True)})
    known, traced_one = describe_tensors(headers("m.x.2.up_proj.weight", "m.x.2.zap.weight"), wiring=made)
    assert known.role is Role.FFN_IN
    assert (traced_one.role, traced_one.transposed, traced_one.rows, traced_one.cols) == (Role.FFN_OUT, True, 6, 8)
    assert known.kind is traced_one.kind is TensorKind.WEIGHT and known.block == traced_one.block == 0


def test_parts_along_the_same_units_are_a_spec_each() -> None:
    specs = describe_tensors(headers("m.x.0.zap.weight"), wiring=wiring(m_x_0_zap_weight=replace(IN, parts=2)))
    assert [(spec.name, spec.rows, spec.row_slice) for spec in specs] == [
        ("m.x.0.zap.weight[0]", 4, (0, 4)),
        ("m.x.0.zap.weight[1]", 4, (4, 8)),
    ]
