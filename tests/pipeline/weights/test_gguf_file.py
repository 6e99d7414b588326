"""GGUF files: written by the package of the format, read to what it was given."""

from pathlib import Path

import numpy as np
import pytest
from gguf import GGMLQuantizationType, GGUFWriter, quants

from dna_zoo.errors import DamagedFileError
from pipeline.fetch.request import ModelRequest
from pipeline.fetch.stage import fetch
from pipeline.weights.inventory import extract
from pipeline.weights.reader import WeightReader
from zoo.tensors import Role

HIDDEN, HEADS, KEY_HEADS = 256, 8, 2
NAMES = {
    "token_embd.weight": (40, HIDDEN),
    "blk.0.attn_norm.weight": (HIDDEN,),
    "blk.0.attn_q.weight": (HIDDEN, HIDDEN),
    "blk.0.attn_k.weight": (HIDDEN // 4, HIDDEN),
    "blk.0.attn_v.weight": (HIDDEN // 4, HIDDEN),
    "blk.0.attn_output.weight": (HIDDEN, HIDDEN),
    "blk.0.ffn_gate.weight": (512, HIDDEN),
    "blk.0.ffn_up.weight": (512, HIDDEN),
    "blk.0.ffn_down.weight": (HIDDEN, 512),
    "output_norm.weight": (HIDDEN,),
    "output.weight": (40, HIDDEN),
}
ROLES = {
    "token_embd": Role.TOKEN_EMBEDDING,
    "attn_norm": Role.NORM,
    "attn_q": Role.ATTENTION_QUERY,
    "attn_k": Role.ATTENTION_KEY,
    "attn_v": Role.ATTENTION_VALUE,
    "attn_output": Role.ATTENTION_OUTPUT,
    "ffn_gate": Role.FFN_IN,
    "ffn_up": Role.FFN_IN,
    "ffn_down": Role.FFN_OUT,
    "output_norm": Role.NORM,
    "output": Role.HEAD,
}


def write(path: Path, kind: GGMLQuantizationType) -> dict[str, np.ndarray]:
    """A model of the Llama family with matrices of this kind; its values before they were quantised."""
    writer, rng, values = GGUFWriter(path, "llama"), np.random.default_rng(0), {}
    writer.add_block_count(1)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KEY_HEADS)
    for name, shape in NAMES.items():
        values[name] = rng.standard_normal(shape).astype(np.float32)
        is_matrix = len(shape) > 1
        data = quants.quantize(values[name], kind) if is_matrix else values[name]
        writer.add_tensor(name, data, raw_dtype=kind if is_matrix else None)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return values


@pytest.mark.parametrize("kind", ["F32", "F16", "BF16", "Q8_0", "Q4_0"])
def test_a_model_is_read_with_its_roles(tmp_path: Path, kind: str) -> None:
    values = write(tmp_path / "model.gguf", GGMLQuantizationType[kind])
    files = fetch(ModelRequest(name=str(tmp_path)), home=tmp_path / "home")
    inventory = extract(files)
    assert {spec.name: spec.role for spec in inventory.specs} == {
        name: ROLES[name.removesuffix(".weight").rpartition(".")[2]] for name in NAMES
    }
    assert {spec.block for spec in inventory.specs if spec.name.startswith("blk")} == {0}
    assert files.config["num_key_value_heads"] == KEY_HEADS and files.config["model_type"] == "llama"
    if kind == "Q8_0":
        assert inventory.account.bits_per_weight == pytest.approx(8.5)
    assert set(inventory.account.schemes) == ({f"gguf {kind.lower()}"} if kind.startswith("Q") else set())
    with WeightReader(files) as reader:
        for name, expected in values.items():
            assert np.corrcoef(reader.tensor(name).ravel(), expected.ravel())[0, 1] > 0.99


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "model.gguf", GGMLQuantizationType.F16)
    content = (tmp_path / "model.gguf").read_bytes()
    for damaged in (content[:200], b"GGUF" + bytes(64), b"GGUF\x03\x00\x00\x00" + b"\xff" * 64):
        (tmp_path / "model.gguf").write_bytes(damaged)
        with pytest.raises(DamagedFileError, match="cannot be read as a GGUF file"):
            extract(fetch(ModelRequest(name=str(tmp_path)), home=tmp_path / "home"))


@pytest.mark.parametrize("kind", [GGMLQuantizationType.F16, GGMLQuantizationType.Q4_0])
@pytest.mark.parametrize("is_fused", [False, True])
def test_experts_are_a_matrix_each(tmp_path: Path, kind: GGMLQuantizationType, is_fused: bool) -> None:
    rng, writer = np.random.default_rng(0), GGUFWriter(tmp_path / "model.gguf", "qwen3moe")
    shapes = {"ffn_gate": (3, 64, 32), "ffn_up": (3, 64, 32), "ffn_down": (3, 32, 64)}
    plain = {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
    stacks = {f"blk.0.{name}_exps.weight": value for name, value in plain.items()}
    if is_fused:
        gate, up = (stacks.pop(f"blk.0.{name}_exps.weight") for name in ("ffn_gate", "ffn_up"))
        stacks["blk.0.ffn_gate_up_exps.weight"] = np.concatenate([gate, up], axis=1)
    stacks["blk.0.ffn_gate_inp.weight"] = rng.standard_normal((3, 32)).astype(np.float32)
    stacks["blk.0.ffn_up_shexp.weight"] = rng.standard_normal((64, 32)).astype(np.float32)
    for name, value in stacks.items():
        writer.add_tensor(name, quants.quantize(value, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    files = fetch(ModelRequest(name=str(tmp_path / "model.gguf")), home=tmp_path / "home")
    roles = {spec.name: spec.role for spec in extract(files).specs}
    assert (roles["blk.0.ffn_gate_inp.weight"], roles["blk.0.ffn_up_shexp.weight"]) == (Role.ROUTER, Role.FFN_IN)
    with WeightReader(files) as reader:
        for name, values in plain.items():
            for number, value in enumerate(values):
                expert = f"blk.0.experts.{number}.{name}.weight"
                assert roles[expert] is (Role.FFN_OUT if name == "ffn_down" else Role.FFN_IN)
                rounded = quants.dequantize(quants.quantize(value, kind), kind)
                np.testing.assert_array_equal(reader.tensor(expert), rounded)
