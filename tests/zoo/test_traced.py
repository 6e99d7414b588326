"""Traced wirings as data: names found again in a checkpoint, what comes with the zoo, and agreement with names."""

import json
import random
from dataclasses import replace
from typing import Any

import pytest

from benchmarks.parts.scaffold import read_results
from benchmarks.wiring import held_against_names
from tests.support.make_held import PAGE, held
from tests.support.make_wirings import traced
from tests.support.tensor_headers import FOLDER, load_fixture
from zoo.config import HEADS, number_in
from zoo.roles import describe_tensors
from zoo.tensors import Axis, Role, TensorHeader, TensorKind, TensorSpec
from zoo.tracing.agreement import disagreements, resolved
from zoo.tracing.build import build_tiny
from zoo.tracing.derive import derive
from zoo.tracing.held import may_differ
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
def test_the_tracing_changes_nothing_of_the_zoo(key: str) -> None:
    fixture = load_fixture(key)
    by_names = describe_tensors(fixture.file, fixture.config)
    assert describe_tensors(fixture.file, fixture.config, wiring=find_shipped(fixture.config)) == by_names


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


def held_of(model_type: str) -> dict[str, Any]:
    tiny = build_tiny(model_type)
    return held_against_names(tiny, derive(tiny.model, tiny.run, tiny.tokens, tiny.vocabulary))


@pytest.mark.slow
@pytest.mark.parametrize("model_type", ["beit", "dinov2", "llama", "lxmert", "mamba", "mixtral", "pixtral", "t5"])
def test_names_and_tracing_agree_on_other_types(model_type: str) -> None:
    held = held_of(model_type)
    assert held["disagreements"] == [] and held["without_role"][1] <= held["without_role"][0]


@pytest.mark.slow
@pytest.mark.parametrize("model_type", ["cohere", "glm_moe_dsa", "nanochat", "phi3", "rwkv", "segformer", "yoso"])
def test_no_disagreement_stays_open(model_type: str) -> None:
    held = held_of(model_type)
    assert held["open"] == [] and (held["disagreements"] or not may_differ({"model_type": model_type}))


@pytest.mark.slow
def test_whatever_the_two_say_nothing_stays_open_once_the_tracing_has_decided() -> None:
    rng = random.Random(0)
    names = ("m.x.0.pooler.dense.weight", "m.x.0.conv.weight", "m.x.0.classifier.weight", "m.x.0.up.weight")
    differing = 0
    for _ in range(20_000):
        roles = rng.sample([*Role], 1) * 2 if rng.random() < 0.5 else rng.choices([*Role], k=2)
        flags = [rng.random() < 0.5 for _ in range(6)]
        rows, cols = rng.choices([*Axis], k=2), rng.choices([*Axis], k=2)
        spec = TensorSpec(name=rng.choice(names), tensor="t", dtype="F32", rows=8, cols=6, role=roles[0],
                          row_axis=rows[0], col_axis=cols[0], transposed=flags[0],
                          free_row_signs=flags[1], free_col_signs=flags[2])  # fmt: skip
        other = TracedTensor(role=roles[1], ndim=2, row_axis=rows[1], col_axis=cols[1], transposed=flags[3],
                             free_row_signs=flags[4], free_col_signs=flags[5])  # fmt: skip
        before, after = ([each for each in disagreements([one], {"t": other}) if not each.explanation]
                         for one in (spec, resolved(spec, other)))  # fmt: skip
        differing += bool(before)
        assert after == [], (spec, other)
    assert differing > 5_000


def test_the_kept_result_has_no_open_disagreement() -> None:
    kept = read_results("wiring")
    assert kept["disagreements"]["open"] == 0 == sum(len(row.get("open", ())) for row in kept["types"])
    assert kept["counts"]["proven"] >= 0.8 * sum(n for status, n in kept["counts"].items() if status != "not built")


def test_the_types_that_agree_are_those_of_the_kept_result() -> None:
    page = json.loads(PAGE.read_text())
    assert held(read_results("wiring"), page) == page


def test_types_of_the_zoo_need_no_asking() -> None:
    asked = {load_fixture(key).config["model_type"] for key in KEYS if may_differ(load_fixture(key).config)}
    assert not asked


def test_a_word_for_a_vector_is_that_of_its_name() -> None:
    made = replace(wiring(), tensors={"m.x.0.mixer.dt_bias": TracedTensor(role=Role.NORM, ndim=1)})
    (spec,) = describe_tensors([TensorHeader(name="m.x.3.mixer.dt_bias", shape=(8,), dtype="F32")], wiring=made)
    assert spec.role is Role.BIAS


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


def test_tracing_fills_in_and_decides_where_names_say_otherwise() -> None:
    made = wiring(m_x_0_up_proj_weight=OUT, m_x_0_zap_weight=replace(OUT, transposed=True))
    made = replace(made, tensors={"m.x.0.up_proj.weight": OUT, "m.x.0.zap.weight": replace(OUT, transposed=True)})
    known, traced_one = describe_tensors(headers("m.x.2.up_proj.weight", "m.x.2.zap.weight"), wiring=made)
    assert (known.role, known.row_axis, known.col_axis) == (Role.FFN_OUT, Axis.RESIDUAL, Axis.HIDDEN)
    assert (traced_one.role, traced_one.transposed, traced_one.rows, traced_one.cols) == (Role.FFN_OUT, True, 6, 8)
    assert known.kind is traced_one.kind is TensorKind.WEIGHT and known.block == traced_one.block == 0


def test_parts_along_the_same_units_are_a_spec_each() -> None:
    specs = describe_tensors(headers("m.x.0.zap.weight"), wiring=wiring(m_x_0_zap_weight=replace(IN, parts=2)))
    assert [(spec.name, spec.rows, spec.row_slice) for spec in specs] == [
        ("m.x.0.zap.weight[0]", 4, (0, 4)),
        ("m.x.0.zap.weight[1]", 4, (4, 8)),
    ]


def test_signs_of_what_is_gated_are_free_and_those_of_its_gate_are_not() -> None:
    parts = replace(IN, parts=2, free_row_signs=True, free_parts=(False, True))
    made = replace(wiring(), tensors={"m.x.0.mlp.gate_up_proj.weight": parts, "m.x.0.zap.weight": parts})
    for name in ("m.x.1.mlp.gate_up_proj.weight", "m.x.1.zap.weight"):
        gate, up = describe_tensors(headers(name), wiring=made)
        assert not gate.free_row_signs and up.free_row_signs
