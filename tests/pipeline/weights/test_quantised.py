"""Quantised weights: what comes out is the float copy, to the scheme's own rounding or exactly."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from dna_zoo.errors import ExtractError, PartialModelError
from pipeline.weights.inventory import extract
from pipeline.weights.reader import WeightReader
from tests.support.weight_files import files_of

Tensors = Mapping[str, torch.Tensor]
OUTPUTS, INPUTS, GROUP = 64, 96, 16


def weight() -> torch.Tensor:
    return torch.randn(OUTPUTS, INPUTS, generator=torch.Generator().manual_seed(0))


def read(folder: Path, tensors: Tensors, config: Mapping[str, Any] | None = None) -> tuple[np.ndarray, str | None]:
    """The matrix that the tensors stand for, and its scheme."""
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, folder / "model.safetensors")
    files = files_of(folder / "model.safetensors", config={"quantization_config": dict(config or {})})
    with WeightReader(files) as reader:
        assert set(reader.tensors) == {"layer.weight"}
        return reader.tensor("layer.weight"), reader.tensors["layer.weight"].scheme


def pack(codes: torch.Tensor, bits: int) -> torch.Tensor:
    """Codes (n, m) one after the other in words of 32 bits, written out bit by bit: (n, m bits / 32) int32."""
    values = codes.numpy().astype(np.uint64)
    words = np.zeros((len(values), values.shape[1] * bits // 32), dtype=np.uint32)
    for place in range(values.shape[1] * bits):
        bit = (values[:, place // bits] >> np.uint64(place % bits)) & np.uint64(1)
        words[:, place // 32] |= (bit << np.uint64(place % 32)).astype(np.uint32)
    return torch.from_numpy(words.view(np.int32))


def codes_of(bits: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Codes (out, in), scales and zero points (out, groups) of asymmetric rounding, and what they stand for."""
    grouped = weight().reshape(OUTPUTS, -1, GROUP)
    low, high = grouped.amin(2), grouped.amax(2)
    scales = ((high - low) / (2**bits - 1)).half().float()
    zeros = torch.round(-low / scales).clamp(1, 2**bits - 1)
    codes = (torch.round(grouped / scales[..., None]) + zeros[..., None]).clamp(0, 2**bits - 1)
    values = (codes - zeros[..., None]) * scales[..., None]
    return codes.reshape(OUTPUTS, INPUTS), scales, zeros, values.reshape(OUTPUTS, INPUTS)


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
@pytest.mark.parametrize("version", ["gptq", "gptq_v2"])
def test_gptq(tmp_path: Path, bits: int, version: str) -> None:
    codes, scales, zeros, values = codes_of(bits)
    stored = {
        "layer.qweight": pack(codes, bits).T,
        "layer.qzeros": pack(zeros.T - int(version == "gptq"), bits),
        "layer.scales": scales.T.half(),
        "layer.g_idx": torch.arange(INPUTS, dtype=torch.int32) // GROUP,
    }
    found, scheme = read(tmp_path, stored, {"quant_method": "gptq", "bits": bits, "checkpoint_format": version})
    np.testing.assert_allclose(found, values, atol=1e-6)
    assert scheme == f"gptq {bits} bit"


def test_gptq_with_inputs_in_another_order(tmp_path: Path) -> None:
    codes, scales, zeros, values = codes_of(4)
    order = torch.randperm(INPUTS, generator=torch.Generator().manual_seed(1))
    stored = {
        "layer.qweight": pack(codes[:, order], 4).T,
        "layer.qzeros": pack(zeros.T - 1, 4),
        "layer.scales": scales.T.half(),
        "layer.g_idx": (order // GROUP).int(),
    }
    found, _ = read(tmp_path, stored, {"quant_method": "gptq"})
    np.testing.assert_allclose(found, values[:, order], atol=1e-6)


def test_awq(tmp_path: Path) -> None:
    codes, scales, zeros, values = codes_of(4)
    places = torch.arange(OUTPUTS).reshape(-1, 8)[:, [0, 2, 4, 6, 1, 3, 5, 7]].flatten()
    stored = {
        "layer.qweight": pack(codes.T[:, places], 4),
        "layer.qzeros": pack(zeros.T[:, places], 4),
        "layer.scales": scales.T.half(),
    }
    found, scheme = read(tmp_path, stored, {"quant_method": "awq"})
    np.testing.assert_allclose(found, values, atol=1e-6)
    assert scheme == "awq 4 bit"


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["nf4", "fp4"])
@pytest.mark.parametrize("nested", [False, True])
def test_bitsandbytes_4_bit(tmp_path: Path, kind: str, nested: bool) -> None:
    from bitsandbytes import functional

    codes, state = functional.quantize_4bit(weight(), quant_type=kind, compress_statistics=nested)
    stored = {"layer.weight": codes} | {f"layer.weight.{key}": part for key, part in state.as_dict(packed=True).items()}
    found, scheme = read(tmp_path, stored, {"quant_method": "bitsandbytes"})
    np.testing.assert_allclose(found, functional.dequantize_4bit(codes, state), atol=1e-6)
    assert np.corrcoef(found.ravel(), weight().ravel())[0, 1] > 0.95
    assert scheme == f"bitsandbytes {kind} 4 bit"


def rounded_rows() -> tuple[torch.Tensor, torch.Tensor]:
    scales = weight().abs().amax(1)
    return torch.round(weight() / scales[:, None] * 127).to(torch.int8), scales


def test_bitsandbytes_8_bit(tmp_path: Path) -> None:
    codes, scales = rounded_rows()
    stored = {"layer.weight": codes, "layer.SCB": scales, "layer.weight_format": torch.tensor(0, dtype=torch.uint8)}
    found, scheme = read(tmp_path, stored)
    np.testing.assert_allclose(found, weight(), atol=float(scales.max()) / 127 / 2 + 1e-6)
    assert scheme == "bitsandbytes 8 bit"


@pytest.mark.parametrize(
    "names", [("weight", "weight_scale"), ("weight", "weight.scale"), ("weight._data", "weight._scale")]
)
@pytest.mark.parametrize("shape", [(-1,), (-1, 1)])
def test_plain_int8_by_row(tmp_path: Path, names: tuple[str, str], shape: tuple[int, ...]) -> None:
    codes, scales = rounded_rows()
    stored = {f"layer.{names[0]}": codes, f"layer.{names[1]}": (scales / 127).reshape(shape)}
    found, scheme = read(tmp_path, stored)
    np.testing.assert_allclose(found, weight(), atol=float(scales.max()) / 127 / 2 + 1e-6)
    assert scheme == "int8 8 bit"


@pytest.mark.parametrize("kind", [torch.float8_e4m3fn, torch.float8_e5m2], ids=str)
def test_fp8_with_a_scale_for_each_block(tmp_path: Path, kind: torch.dtype) -> None:
    blocks = torch.rand(2, 3, generator=torch.Generator().manual_seed(2)) + 0.5
    spread = blocks.repeat_interleave(32, 0)[:OUTPUTS].repeat_interleave(32, 1)
    codes = (weight() / spread).to(kind)
    declared = {"quant_method": "fp8", "weight_block_size": [32, 32]}
    found, scheme = read(tmp_path, {"layer.weight": codes, "layer.weight_scale_inv": blocks}, declared)
    np.testing.assert_allclose(found, codes.float() * spread, atol=1e-6)
    assert scheme == "fp8 8 bit"


@pytest.mark.slow
def test_mxfp4_is_what_transformers_reads(tmp_path: Path) -> None:
    from transformers.integrations.mxfp4 import convert_moe_packed_tensors

    generator = torch.Generator().manual_seed(3)
    blocks = torch.randint(0, 256, (3, 8, 2, 16), dtype=torch.uint8, generator=generator)
    scales = torch.randint(110, 135, (3, 8, 2), dtype=torch.uint8, generator=generator)
    found, scheme = read(tmp_path, {"layer.weight_blocks": blocks, "layer.weight_scales": scales})
    np.testing.assert_array_equal(found, convert_moe_packed_tensors(blocks, scales, dtype=torch.float32))
    assert scheme == "mxfp4 4 bit"


E2M1 = torch.tensor([0, 0.5, 1, 1.5, 2, 3, 4, 6])
NV_FLOAT = {"num_bits": 4, "type": "float", "strategy": "tensor_group", "group_size": 16, "symmetric": True}


def nvfp4_of(values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Packed codes, scales of blocks, the scale of all (out of 16 inputs one block, low half byte first), their values.

    By the definition: the largest value of a block has code 6, the largest scale 448.
    """
    blocks = values.reshape(*values.shape[:-1], -1, 16)
    whole = values.abs().max() / (6 * 448)
    scales = (blocks.abs().amax(-1) / 6 / whole).to(torch.float8_e4m3fn)
    steps = scales.float()[..., None] * whole
    codes = ((blocks / steps).abs()[..., None] - E2M1).abs().argmin(-1)
    rounded = E2M1[codes] * blocks.sign() * steps
    codes = (codes + 8 * (blocks < 0)).to(torch.uint8).reshape(values.shape)
    return codes[..., ::2] | codes[..., 1::2] << 4, scales, whole, rounded.reshape(values.shape)


def test_nvfp4_of_modelopt(tmp_path: Path) -> None:
    codes, scales, whole, values = nvfp4_of(weight())
    stored = {"weight": codes, "weight_scale": scales, "weight_scale_2": whole, "input_scale": torch.ones(())}
    declared = {"quant_method": "modelopt", "quant_algo": "NVFP4"}
    found, scheme = read(tmp_path, {f"layer.{name}": part for name, part in stored.items()}, declared)
    np.testing.assert_allclose(found, values, rtol=1e-6)
    assert np.corrcoef(found.ravel(), weight().ravel())[0, 1] > 0.99
    assert scheme == "nvfp4 4 bit"


def test_nvfp4_of_weights_whose_inputs_are_multiplied(tmp_path: Path) -> None:
    gains = torch.rand(INPUTS, generator=torch.Generator().manual_seed(4)) + 0.5
    codes, scales, whole, values = nvfp4_of(weight() / gains)
    stored = {"weight": codes, "weight_scale": scales, "weight_scale_2": whole, "pre_quant_scale": gains}
    found, _ = read(tmp_path, {f"layer.{name}": part for name, part in stored.items()})
    np.testing.assert_allclose(found, values * gains, rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("is_declared", [True, False])
def test_nvfp4_of_compressed_tensors(tmp_path: Path, is_declared: bool) -> None:
    """Packed by the library; its own way back rounds to bfloat16. Names and formats tell it without a configuration."""
    from compressed_tensors.compressors.base import BaseCompressor
    from compressed_tensors.quantization import QuantizationScheme

    kind, group = "nvfp4-pack-quantized", {"targets": ["Linear"], "weights": NV_FLOAT}
    compressor, scheme = BaseCompressor.get_value_from_registry(kind), QuantizationScheme(**group)
    _, scales, whole, values = nvfp4_of(weight())
    parts = {"weight": weight(), "weight_scale": scales.float(), "weight_global_scale": 1 / whole[None]}
    stored = compressor.compress(parts, scheme)
    declared = {"quant_method": "compressed-tensors", "format": kind, "config_groups": {"group_0": group}}
    found, name = read(
        tmp_path, {f"layer.{name}": part for name, part in stored.items()}, declared if is_declared else {}
    )
    np.testing.assert_allclose(found, compressor.decompress(stored, scheme)["weight"].float(), rtol=2**-7)
    # A value in the middle of two codes may be rounded either way.
    assert np.isclose(found, values, rtol=1e-6).mean() > 0.99
    assert name == "nvfp4 4 bit"


@pytest.mark.parametrize("change", ["scales of another format", "scales in the order of a kernel"])
def test_nvfp4_that_is_not_recognised_without_doubt_is_no_weight(tmp_path: Path, change: str) -> None:
    codes, scales, whole, _ = nvfp4_of(weight())
    scales = scales.float() if change.endswith("format") else scales.flatten().view(torch.uint8)
    stored = {"layer.weight": codes, "layer.weight_scale": scales, "layer.weight_scale_2": whole}
    save_file(stored, tmp_path / "model.safetensors")
    declared = {"quantization_config": {"quant_method": "modelopt"}}
    with pytest.raises(PartialModelError, match=r"integers \(U8\) of no scheme that is known.*by 'modelopt'"):
        extract(files_of(tmp_path / "model.safetensors", config=declared))


COMPRESSED: dict[str, dict[str, Any]] = {
    "pack-quantized": {"num_bits": 4, "type": "int", "strategy": "group", "group_size": GROUP, "symmetric": True},
    "int-quantized": {"num_bits": 8, "type": "int", "strategy": "channel", "symmetric": True},
    "float-quantized": {"num_bits": 8, "type": "float", "strategy": "channel", "symmetric": True},
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", COMPRESSED)
def test_compressed_tensors(tmp_path: Path, kind: str) -> None:
    from compressed_tensors.compressors.base import BaseCompressor
    from compressed_tensors.quantization import QuantizationScheme

    settings = COMPRESSED[kind]
    group = {"targets": ["Linear"], "weights": settings}
    most = 448 if settings["type"] == "float" else 2 ** (settings["num_bits"] - 1) - 1
    grouped = weight().reshape(OUTPUTS, -1, settings.get("group_size", INPUTS))
    compressor = BaseCompressor.get_value_from_registry(kind)
    parts = {"weight": weight(), "weight_scale": grouped.abs().amax(2) / most}
    stored = compressor.compress(parts, QuantizationScheme(**group))
    declared = {"quant_method": "compressed-tensors", "format": kind, "config_groups": {"group_0": group}}
    found, scheme = read(tmp_path, {f"layer.{name}": part for name, part in stored.items()}, declared)
    assert np.corrcoef(found.ravel(), weight().ravel())[0, 1] > 0.98
    assert scheme == f"compressed-tensors {settings['type']}{settings['num_bits']}"


def test_a_scheme_that_is_only_known_by_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ExtractError, match="'hqq'"):
        read(tmp_path, {"layer.W_q": torch.zeros(4, 4, dtype=torch.uint8)}, {"quant_method": "hqq"})


LAYOUTS: dict[str, dict[str, torch.Tensor]] = {
    "a stack": {
        "layer.qweight": torch.zeros(3, 12, 64, dtype=torch.int32),
        "layer.qzeros": torch.zeros(3, 6, 8, dtype=torch.int32),
        "layer.scales": torch.ones(3, 6, 64),
    },
    "codes of five bits": {
        "layer.qweight": torch.zeros(15, 64, dtype=torch.int32),
        "layer.qzeros": torch.zeros(6, 10, dtype=torch.int32),
        "layer.scales": torch.ones(6, 64),
    },
    "more scales than codes": {
        "layer.weight": torch.ones(OUTPUTS, INPUTS, dtype=torch.int8),
        "layer.weight_scale": torch.ones(INPUTS, OUTPUTS),
    },
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_layout_of_codes_that_is_not_known_is_refused(tmp_path: Path, layout: str) -> None:
    with pytest.raises(ExtractError, match="quantised weights whose layout is not known"):
        read(tmp_path, LAYOUTS[layout], {"quant_method": "gptq"})


def test_codes_of_no_known_scheme_do_not_disappear(tmp_path: Path) -> None:
    stored = {
        "a.weight": torch.zeros(64, 64, dtype=torch.int8),
        "b.weight": weight(),
        "position_ids": torch.arange(9)[None],
    }
    save_file(stored, tmp_path / "model.safetensors")
    files = files_of(tmp_path / "model.safetensors")
    with pytest.raises(PartialModelError, match=r"14% of .*'a.weight' \(integers \(I8\) of no scheme that is known\)"):
        extract(files)
    inventory = extract(files, allow_partial=True)
    assert inventory.is_partial
    assert (inventory.account.read, inventory.account.unreadable) == (4 * OUTPUTS * INPUTS, 64 * 64)
    assert inventory.account.buffer == 9 * 8


def test_the_account_adds_up_to_the_file(tmp_path: Path) -> None:
    codes, scales = rounded_rows()
    stored = {
        "layer.weight": codes,
        "layer.SCB": scales,
        "norm.weight": torch.ones(INPUTS),
        "mask": torch.ones(3, 3, dtype=torch.bool),
    }
    save_file(stored, tmp_path / "model.safetensors")
    account = extract(files_of(tmp_path / "model.safetensors")).account
    assert account.read + account.buffer == sum(tensor.nbytes for tensor in stored.values())
    assert account.schemes == {"bitsandbytes 8 bit": codes.nbytes + scales.nbytes}
    assert account.bits_per_weight == pytest.approx(8 + 32 / INPUTS)
