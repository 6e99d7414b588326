"""Quantised weights: every scheme from codes made here, against the numbers that the codes stand for."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.layouts.layout import Layout, Must
from benchmarks.layouts.models import CONFIG, HEADS, HIDDEN, WIDTH, Float32, llama, projections, save

__all__ = ["LAYOUTS"]

GROUP = 16
Packed = tuple[dict[str, Any], Any]
"""What is stored in place of a weight, by the end of its name, and the values that it stands for."""


def _write(folder: Path, pack: Callable[[Float32], Packed], declared: Mapping[str, Any], scheme: str) -> Must:
    """The model with every projection packed."""
    model = llama()
    stored: dict[str, Any] = dict(model)
    expected: dict[str, Any] = dict(model)
    for module in projections(model):
        codes, values = pack(stored.pop(f"{module}.weight"))
        stored |= {f"{module}.{end}": part for end, part in codes.items()}
        expected[f"{module}.weight"] = values
    save(folder, stored, {**CONFIG, "quantization_config": declared} if declared else CONFIG)
    return Must(model=expected, tolerance=1e-6, scheme=scheme)


def _words(codes: torch.Tensor, bits: int) -> torch.Tensor:
    """Codes (n, m) one after the other, without gaps, in words of 32 bits."""
    ones = (codes.numpy().astype(np.int64)[..., None] >> np.arange(bits)) & 1
    packed = np.packbits(ones.reshape(len(codes), -1).astype(np.uint8), axis=1, bitorder="little")
    return torch.from_numpy(packed.view(np.int32).copy())


def _rounded(weight: Float32, bits: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Codes (out, in), scales and zero points (out, groups), and what they stand for."""
    grouped = torch.from_numpy(weight).reshape(len(weight), -1, GROUP)
    low, high = grouped.amin(2), grouped.amax(2)
    scales = ((high - low) / (2**bits - 1)).half().float()
    zeros = torch.round(-low / scales).clamp(1, 2**bits - 1)
    codes = (torch.round(grouped / scales[..., None]) + zeros[..., None]).clamp(0, 2**bits - 1)
    values = (codes - zeros[..., None]) * scales[..., None]
    return codes.reshape(weight.shape), scales, zeros, values.reshape(weight.shape)


def _gptq(weight: Float32, bits: int, is_turned: bool = False) -> Packed:
    codes, scales, zeros, values = _rounded(weight, bits)
    order = torch.arange(weight.shape[1]).flip(0) if is_turned else torch.arange(weight.shape[1])
    stored = {
        "qweight": _words(codes[:, order], bits).T,
        "qzeros": _words(zeros.T - 1, bits),
        "scales": scales.T.half(),
        "g_idx": (order // GROUP).int(),
    }
    return stored, values[:, order]


def _awq(weight: Float32) -> Packed:
    codes, scales, zeros, values = _rounded(weight, 4)
    order = torch.arange(len(weight)).reshape(-1, 8)[:, [0, 2, 4, 6, 1, 3, 5, 7]].flatten()
    stored = {
        "qweight": _words(codes.T[:, order], 4),
        "qzeros": _words(zeros.T[:, order], 4),
        "scales": scales.T.half(),
    }
    return stored, values


def _by_row(weight: Float32, ends: tuple[str, str], of_code: float) -> Packed:
    """int8 with one scale a row, stored as `of_code` times the scale of a code."""
    scales = np.abs(weight).max(1)
    codes = np.round(weight / scales[:, None] * 127).astype(np.int8)
    return {ends[0]: codes, ends[1]: scales / 127 * of_code}, codes * (scales / 127)[:, None]


def _fp8(weight: Float32) -> Packed:
    rows, cols = (-(-length // GROUP) for length in weight.shape)
    blocks = torch.linspace(0.5, 1.5, rows * cols).reshape(rows, cols)
    spread = blocks.repeat_interleave(GROUP, 0)[: len(weight)].repeat_interleave(GROUP, 1)
    codes = (torch.from_numpy(weight) / spread).to(torch.float8_e4m3fn)
    return {"weight": codes, "weight_scale_inv": blocks}, codes.float() * spread


def _bitsandbytes(weight: Float32, kind: str) -> Packed:
    from bitsandbytes import functional

    codes, state = functional.quantize_4bit(torch.from_numpy(weight), quant_type=kind)
    stored = {"weight": codes} | {f"weight.{key}": part for key, part in state.as_dict(packed=True).items()}
    return stored, functional.dequantize_4bit(codes, state).numpy()


def _compressed(folder: Path, kind: str, settings: Mapping[str, Any], scheme: str) -> Must:
    from compressed_tensors.compressors.base import BaseCompressor
    from compressed_tensors.quantization import QuantizationScheme

    group = {"targets": ["Linear"], "weights": settings}
    most = 448 if settings["type"] == "float" else 2 ** (settings["num_bits"] - 1) - 1
    compressor = BaseCompressor.get_value_from_registry(kind)

    def pack(weight: Float32) -> Packed:
        tensor = torch.from_numpy(weight)
        scales = tensor.reshape(len(tensor), -1, settings.get("group_size", tensor.shape[1])).abs().amax(2) / most
        spread = scales.repeat_interleave(tensor.shape[1] // scales.shape[1], 1)
        rounded = (tensor / spread).to(torch.float8_e4m3fn).float() if most == 448 else torch.round(tensor / spread)
        stored = compressor.compress({"weight": tensor, "weight_scale": scales}, QuantizationScheme(**group))
        return stored, rounded * spread

    declared = {"quant_method": "compressed-tensors", "format": kind, "config_groups": {"group_0": group}}
    return _write(folder, pack, declared, scheme)


def _mxfp4(folder: Path) -> Must:
    """Blocks of 32 values of 4 bits with one power of two each, by the table of the format."""
    generator = np.random.default_rng(1)
    model = {name: value for name, value in llama().items() if ".mlp." not in name}
    shape, module = (3, HIDDEN, 2), "model.layers.0.mlp.experts"
    blocks = generator.integers(0, 256, (*shape, 16), dtype=np.uint8)
    scales = generator.integers(118, 124, shape, dtype=np.uint8)
    stored = {**model, f"{module}.down_proj_blocks": blocks, f"{module}.down_proj_scales": scales}
    declared = {"quant_method": "mxfp4"}
    save(folder, stored, {**CONFIG, "model_type": "gpt_oss", "quantization_config": declared})
    half = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6])
    table = np.concatenate([half, -half])
    codes = np.stack([blocks & 15, blocks >> 4], axis=-1).reshape(*shape, 32)
    values = (table[codes] * 2.0 ** (scales.astype(float)[..., None] - 127)).reshape(3, HIDDEN, -1)
    experts = {f"{module}.{number}.down_proj.weight": values[number] for number in range(3)}
    return Must(model={**model, **experts}, scheme="mxfp4 4 bit")


def _unknown_scheme(folder: Path) -> Must:
    save(folder, llama(), {**CONFIG, "quantization_config": {"quant_method": "hqq"}})
    return Must(refused="quantised by 'hqq'")


def _nvfp4(weight: Float32, ends: tuple[str, str, str]) -> Packed:
    """Blocks of 16 values of 4 bits, a scale of 8 bits for each and one for all, by the definition of the format."""
    blocks, (codes, scales, of_all) = torch.from_numpy(weight).reshape(len(weight), -1, GROUP), ends
    whole = blocks.abs().max() / (448 * 6)
    steps = (blocks.abs().amax(2) / 6 / whole).to(torch.float8_e4m3fn)
    spread = steps.float()[..., None] * whole
    table = torch.tensor([0, 0.5, 1, 1.5, 2, 3, 4, 6])
    places = ((blocks / spread).abs()[..., None] - table).abs().argmin(-1)
    halves = (places + 8 * (blocks < 0)).to(torch.uint8).reshape(weight.shape)
    stored = {codes: halves[:, ::2] | halves[:, 1::2] << 4, scales: steps}
    stored[of_all] = 1 / whole[None] if of_all == "weight_global_scale" else whole
    return stored, (table[places] * blocks.sign() * spread).reshape(weight.shape)


def _named_scheme(folder: Path) -> Must:
    """Codes of four bits, two outputs a byte."""
    model: dict[str, Any] = dict(llama())
    for name in projections(llama()):
        weight = model.pop(f"{name}.weight")
        model[f"{name}.weight"] = np.zeros((len(weight) // 2, weight.shape[1]), np.uint8)
        model[f"{name}.weight_scale"] = np.ones((len(weight), weight.shape[1] // GROUP), np.float32)
    save(folder, model, {**CONFIG, "quantization_config": {"quant_method": "modelopt", "quant_algo": "W4A16_AWQ"}})
    return Must(refused=r"integers \(U8\) of no scheme that is known.*quantised by 'modelopt'")


def _codes_alone(folder: Path, is_allowed: bool) -> Must:
    model: dict[str, Any] = dict(llama())
    codes = tuple(f"{name}.weight" for name in projections(llama()))
    model |= {name: (model[name] * 500).astype(np.int8) for name in codes}
    save(folder, model)
    if is_allowed:
        return Must(model=llama(), left_out=codes, allow={"allow_partial": True}, said="cannot be read")
    return Must(refused=r"integers \(I8\) of no scheme that is known.*--allow-partial")


def _gguf(folder: Path, kind: str) -> Must:
    import gguf

    writer = gguf.GGUFWriter(folder / "model.gguf", "llama")
    writer.add_block_count(2)
    writer.add_head_count(4)
    plain = {f"blk.0.{name}.weight": value for name, value in zip(("attn_q", "ffn_up"), _two(), strict=True)}
    for name, value in plain.items():
        quantised = gguf.quants.quantize(value, gguf.GGMLQuantizationType[kind])
        writer.add_tensor(name, quantised, raw_dtype=gguf.GGMLQuantizationType[kind])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    is_plain = kind == "F16"
    return Must(model=plain, tolerance=2e-4 if is_plain else 2e-2, scheme=None if is_plain else f"gguf {kind.lower()}")


GGUF_NAMES = {
    "model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output", "model.layers": "blk",
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down", "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm",
}  # fmt: skip
"""Names of Llama's parts in `transformers`, and in GGUF."""


def _gguf_whole(folder: Path) -> Must:
    """As llama.cpp converts it: pairs of a rotation beside each other, where `transformers` has them half a head apart.

    Rows that are no whole number of blocks of 32 values, and vectors, are not quantised.
    """
    import gguf

    writer = gguf.GGUFWriter(folder / "model.gguf", "llama")
    writer.add_block_count(2)
    writer.add_embedding_length(HIDDEN)
    writer.add_feed_forward_length(WIDTH)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS // 2)
    model: dict[str, Any] = {}
    for name, value in llama().items():
        for ours, theirs in GGUF_NAMES.items():
            name = name.replace(ours, theirs)
        if heads := {"attn_q": HEADS, "attn_k": HEADS // 2}.get(name.split(".")[-2]):
            value = value.reshape(heads, 2, -1, HIDDEN).swapaxes(1, 2).reshape(value.shape)
        kind = gguf.GGMLQuantizationType["Q8_0" if value.ndim == 2 and value.shape[1] % 32 == 0 else "F32"]
        stored = gguf.quants.quantize(np.ascontiguousarray(value), kind)
        writer.add_tensor(name, stored, raw_dtype=kind)
        model[name] = gguf.quants.dequantize(stored, kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return Must(model=model, scheme="gguf q8_0", roles={"blk.1.attn_k.weight": "attention_key"})


def _two() -> tuple[Float32, Float32]:
    model = llama()
    return model["model.layers.0.self_attn.q_proj.weight"], model["model.layers.0.mlp.up_proj.weight"]


def _layout(name: str, pack: Callable[[Float32], Packed], declared: Mapping[str, Any], scheme: str) -> Layout:
    is_slow = scheme.startswith("bitsandbytes nf4")
    return Layout(
        group="quantised",
        name=name,
        write=partial(_write, pack=pack, declared=declared, scheme=scheme),
        is_slow=is_slow,
    )


_INT4 = {"num_bits": 4, "type": "int", "strategy": "group", "group_size": GROUP, "symmetric": True}
_INT8 = {"num_bits": 8, "type": "int", "strategy": "channel", "symmetric": True}
_FLOAT8 = {"num_bits": 8, "type": "float", "strategy": "channel", "symmetric": True}

LAYOUTS = (
    _layout("GPTQ, 4 bit", partial(_gptq, bits=4), {"quant_method": "gptq", "bits": 4}, "gptq 4 bit"),
    _layout(
        "GPTQ, 2 bit, inputs in another order",
        partial(_gptq, bits=2, is_turned=True),
        {"quant_method": "gptq", "bits": 2},
        "gptq 2 bit",
    ),
    _layout("AWQ", _awq, {"quant_method": "awq"}, "awq 4 bit"),
    _layout(
        "bitsandbytes, 4 bit", partial(_bitsandbytes, kind="nf4"), {"quant_method": "bitsandbytes"},
        "bitsandbytes nf4 4 bit",
    ),
    _layout(
        "bitsandbytes, 8 bit", partial(_by_row, ends=("weight", "SCB"), of_code=127),
        {"quant_method": "bitsandbytes"}, "bitsandbytes 8 bit",
    ),
    *(
        Layout(
            group="quantised",
            name=f"compressed-tensors, {kind}",
            write=partial(_compressed, kind=kind, settings=settings, scheme=f"compressed-tensors {scheme}"),
            is_slow=True,
        )
        for kind, settings, scheme in (
            ("pack-quantized", _INT4, "int4"),
            ("int-quantized", _INT8, "int8"),
            ("float-quantized", _FLOAT8, "float8"),
        )
    ),
    _layout("fp8 by block", _fp8, {"quant_method": "fp8", "weight_block_size": [GROUP, GROUP]}, "fp8 8 bit"),
    _layout("int8 by row", partial(_by_row, ends=("weight", "weight_scale"), of_code=1), {}, "int8 8 bit"),
    Layout(group="quantised", name="mxfp4", write=_mxfp4),
    _layout(
        "NVFP4, modelopt", partial(_nvfp4, ends=("weight", "weight_scale", "weight_scale_2")),
        {"quant_method": "modelopt", "quant_algo": "NVFP4"}, "nvfp4 4 bit",
    ),
    _layout(
        "NVFP4, compressed-tensors", partial(_nvfp4, ends=("weight_packed", "weight_scale", "weight_global_scale")),
        {"quant_method": "compressed-tensors", "format": "nvfp4-pack-quantized"}, "nvfp4 4 bit",
    ),
    Layout(group="quantised", name="a scheme that is not known (HQQ)", write=_unknown_scheme),
    Layout(group="quantised", name="a declared scheme whose codes are not known", write=_named_scheme),
    Layout(group="quantised", name="codes without scales", write=partial(_codes_alone, is_allowed=False)),
    Layout(group="quantised", name="... with --allow-partial", write=partial(_codes_alone, is_allowed=True)),
    Layout(group="quantised", name="GGUF, half precision", write=partial(_gguf, kind="F16")),
    Layout(group="quantised", name="GGUF, 8 bit", write=partial(_gguf, kind="Q8_0")),
    Layout(group="quantised", name="GGUF, 8 bit, a whole model", write=_gguf_whole),
)  # fmt: skip
