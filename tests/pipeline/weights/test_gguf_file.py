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
