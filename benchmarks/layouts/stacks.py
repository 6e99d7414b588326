"""Several matrices in one tensor: experts, fused projections, and the towers of multimodal models."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.layouts.layout import Layout, Must
from benchmarks.layouts.models import CONFIG, HEADS, HIDDEN, WIDTH, Float32, llama, matrix, save

__all__ = ["LAYOUTS"]

BLOCK = "model.layers.0"
EXPERTS = f"{BLOCK}.mlp.experts"
PARTS = ("query", "key", "value")


def _dense() -> dict[str, Float32]:
    return {name: value for name, value in llama().items() if not name.startswith(f"{BLOCK}.mlp.")}


def _experts(count: int) -> dict[str, Float32]:
    """Gate, up and down of each expert, under the names of a file that has them apart."""
    generator = np.random.default_rng(12)
    shapes = {"gate_proj": (WIDTH, HIDDEN), "up_proj": (WIDTH, HIDDEN), "down_proj": (HIDDEN, WIDTH)}
    return {
        f"{EXPERTS}.{number}.{name}.weight": matrix(generator, *shape)
        for number in range(count)
        for name, shape in shapes.items()
    }


def _single(folder: Path) -> Must:
    router = {f"{BLOCK}.mlp.gate.weight": matrix(np.random.default_rng(3), 3, HIDDEN)}
    model = {**_dense(), **router, **_experts(3)}
    save(folder, model, {**CONFIG, "model_type": "qwen3_moe", "num_experts": 3})
    return Must(model=model, roles={f"{EXPERTS}.0.down_proj.weight": "ffn_out"})


def _linear(folder: Path) -> Must:
    """Granite's names of stacks."""
    single = _experts(3)
    gate, up, down = (
        np.stack([value for name, value in single.items() if f".{part}." in name])
        for part in ("gate_proj", "up_proj", "down_proj")
    )
    stacks = {
        f"{BLOCK}.mlp.input_linear.weight": np.concatenate([gate, up], 1),
        f"{BLOCK}.mlp.output_linear.weight": down,
    }
    save(folder, {**_dense(), **stacks}, {**CONFIG, "model_type": "granitemoe"})
    return Must(model={**_dense(), **single})


def _gguf(folder: Path) -> Must:
    import gguf

    single, names = _experts(3), {"gate_proj": "ffn_gate", "up_proj": "ffn_up", "down_proj": "ffn_down"}
    writer = gguf.GGUFWriter(folder / "model.gguf", "qwen3moe")
    model: dict[str, Any] = {}
    for part, name in names.items():
        values = [value for key, value in single.items() if f".{part}." in key]
        writer.add_tensor(f"blk.0.{name}_exps.weight", np.stack(values))
        model |= {f"blk.0.experts.{number}.{name}.weight": value for number, value in enumerate(values)}
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return Must(model=model, roles={"blk.0.experts.2.ffn_down.weight": "ffn_out"})


def _stacked(folder: Path, kind: str) -> Must:
    single = _experts(3)
    gate, up, down = (
        np.stack([value for name, value in single.items() if f".{part}." in name])
        for part in ("gate_proj", "up_proj", "down_proj")
    )
    fused = np.stack([gate, up], axis=2).reshape(3, -1, HIDDEN) if kind == "gpt_oss" else np.concatenate([gate, up], 1)
    stacks = {f"{EXPERTS}.gate_up_proj": fused, f"{EXPERTS}.down_proj": down}
    if kind in ("gpt_oss", "llama4_text"):
        stacks = {name: value.swapaxes(1, 2) for name, value in stacks.items()}
    save(folder, {**_dense(), **stacks}, {**CONFIG, "model_type": kind})
    return Must(model={**_dense(), **single})


def _flat(folder: Path, config: Mapping[str, Any]) -> Must:
    """DBRX's: the hidden units of all experts below each other; what leaves is (in, out)."""
    module, count = "transformer.blocks.0.ffn.experts.mlp", 3
    stacks = dict(zip(("w1", "v1", "w2"), _parts(*3 * [count * WIDTH]), strict=True))
    rest = {"transformer.wte.weight": matrix(np.random.default_rng(9), 64, HIDDEN)}
    whole = {f"{module}.{part}": stack for part, stack in stacks.items()}
    save(folder, whole | rest, {"model_type": "dbrx", **config})
    if not config:
        return Must(model=whole | rest, roles=dict.fromkeys(whole, "other"), said="3 stacks have all experts")
    single = {
        f"{module}.{number}.{part}.weight": expert.T if part == "w2" else expert
        for part, stack in stacks.items()
        for number, expert in enumerate(np.split(stack, count))
    }
    return Must(model=single | rest, roles={f"{module}.0.w2.weight": "ffn_out", f"{module}.2.v1.weight": "ffn_in"})


def _many(folder: Path) -> Must:
    from pipeline.weights.experts import MOST_EXPERTS, sample_experts

    model = {**_dense(), **_experts(MOST_EXPERTS + 4)}
    save(folder, model, {**CONFIG, "model_type": "qwen3_moe"})
    left_out = tuple(sample_experts([*model]))
    return Must(model=model, left_out=left_out, said=f"{MOST_EXPERTS} experts at random")


def _parts(*rows: int) -> list[Float32]:
    generator = np.random.default_rng(8)
    return [matrix(generator, count, HIDDEN) for count in rows]


def _fused(folder: Path, name: str, fused: Float32, parts: Mapping[str, Float32], config: Mapping[str, Any]) -> Must:
    """A model that holds one fused matrix, or a whole one where `parts` is empty."""
    norm = {f"{name.rpartition('.')[0]}.norm.weight": np.ones(HIDDEN, np.float32)}
    save(folder, {f"{name}.weight": fused, **norm}, config)
    named = {f"{name}.weight[{part}]": value for part, value in parts.items()} or {f"{name}.weight": fused}
    roles = {each: f"attention_{part}" for part, each in zip(parts, named, strict=False) if part in PARTS}
    return Must(model={**norm, **named}, roles=roles or {f"{name}.weight": "other"})


def _by_run(parts: list[Float32], runs: int) -> Float32:
    """The rows of the parts in turns: of each part so many in each run."""
    cut = [part.reshape(runs, -1, HIDDEN) for part in parts]
    return np.concatenate(cut, axis=1).reshape(-1, HIDDEN)


def _grouped(folder: Path) -> Must:
    parts = _parts(HIDDEN, HIDDEN // 2, HIDDEN // 2)
    name = f"{BLOCK}.self_attn.qkv_proj"
    config = {**CONFIG, "model_type": "phi3"}
    return _fused(folder, name, np.concatenate(parts), dict(zip(PARTS, parts, strict=True)), config)


def _by_head(folder: Path) -> Must:
    parts = _parts(HIDDEN, HIDDEN, HIDDEN)
    config = {"model_type": "gpt_neox", "num_attention_heads": HEADS, "hidden_size": HIDDEN}
    name = "gpt_neox.layers.0.attention.query_key_value"
    return _fused(folder, name, _by_run(parts, HEADS), dict(zip(PARTS, parts, strict=True)), config)


def _by_group(folder: Path) -> Must:
    parts = _parts(HIDDEN, HIDDEN // 2, HIDDEN // 2)
    config = {
        "model_type": "falcon",
        "new_decoder_architecture": True,
        "num_attention_heads": HEADS,
        "num_kv_heads": 2,
        "hidden_size": HIDDEN,
    }
    name = "transformer.h.0.self_attention.query_key_value"
    return _fused(folder, name, _by_run(parts, 2), dict(zip(PARTS, parts, strict=True)), config)


def _by_group_internlm(folder: Path) -> Must:
    parts = _parts(HIDDEN, HIDDEN // 2, HIDDEN // 2)
    config = {**CONFIG, "model_type": "internlm2"}
    fused = _by_run(parts, 2)
    return _fused(folder, "model.layers.0.attention.wqkv", fused, dict(zip(PARTS, parts, strict=True)), config)


def _by_head_unless_shared(folder: Path) -> Must:
    """The layout depends on a setting."""
    parts = _parts(HIDDEN, HIDDEN, HIDDEN)
    config = {"model_type": "gpt_bigcode", "n_head": HEADS, "n_embd": HIDDEN, "multi_query": False}
    return _fused(folder, "h.0.attn.c_attn", _by_run(parts, HEADS), dict(zip(PARTS, parts, strict=True)), config)


def _in_blocks(folder: Path) -> Must:
    parts = _parts(HIDDEN, HIDDEN, HIDDEN)
    query, key, value = parts
    config = {"model_type": "codegen", "n_head": HEADS, "n_embd": HIDDEN}
    name = "transformer.h.0.attn.qkv_proj"
    return _fused(folder, name, _by_run([query, value, key], 4), dict(zip(PARTS, parts, strict=True)), config)


def _conv1d(folder: Path) -> Must:
    parts = _parts(HIDDEN, HIDDEN, HIDDEN)
    config = {"model_type": "gpt2", "n_head": HEADS, "n_embd": HIDDEN}
    fused = np.concatenate(parts).T
    return _fused(folder, "h.0.attn.c_attn", fused, dict(zip(PARTS, parts, strict=True)), config)


def _gate_and_up(folder: Path) -> Must:
    gate, up = _parts(WIDTH, WIDTH)
    name, config = f"{BLOCK}.mlp.gate_up_proj", {**CONFIG, "model_type": "phi3"}
    return _fused(folder, name, np.concatenate([gate, up]), {"gate": gate, "up": up}, config)


def _not_known(folder: Path, config: Mapping[str, Any]) -> Must:
    (fused,) = _parts(3 * HIDDEN)
    must = _fused(folder, "layers.0.attention.query_key_value", fused, {}, config)
    return replace(must, said="1 fused projection is of no layout that is known")


def _towers(folder: Path) -> Must:
    """The vision tower has heads and a depth of its own."""
    generator, name = np.random.default_rng(8), "visual.blocks.{}.attn.qkv.weight"
    parts = [[matrix(generator, HIDDEN, HIDDEN) for _ in PARTS] for _ in range(4)]
    text = llama()
    stored = {name.format(number): np.concatenate(each) for number, each in enumerate(parts)}
    config = {**CONFIG, "model_type": "qwen2_vl", "vision_config": {"num_heads": 2, "depth": 4}}
    save(folder, {**text, **stored}, config)
    split = {
        f"{name.format(number)}[{part}]": value
        for number, each in enumerate(parts)
        for part, value in zip(PARTS, each, strict=True)
    }
    depths = {f"{name.format(0)}[query]": 0.125, f"{BLOCK}.self_attn.q_proj.weight": 0.25}
    return Must(model={**text, **split}, depths=depths)


def _layout(name: str, write: Callable[[Path], Must]) -> Layout:
    return Layout(group="stacks", name=name, write=write)


LAYOUTS = (
    _layout("experts one by one", _single),
    _layout("experts in a stack (out, in)", partial(_stacked, kind="qwen3_moe")),
    _layout("experts in a stack (in, out)", partial(_stacked, kind="llama4_text")),
    _layout("experts in a stack, gate and up in turns", partial(_stacked, kind="gpt_oss")),
    _layout("experts in a stack, Granite's names", _linear),
    _layout("experts in a stack, GGUF", _gguf),
    _layout("experts in two dimensions (DBRX)", partial(_flat, config={"ffn_config": {"moe_num_experts": 3}})),
    _layout("experts in two dimensions, number not declared", partial(_flat, config={})),
    _layout("more experts than are looked at", _many),
    _layout("fused: contiguous, grouped heads", _grouped),
    _layout("fused: by head", _by_head),
    _layout("fused: by group", _by_group),
    _layout("fused: by group, InternLM2", _by_group_internlm),
    _layout("fused: by head unless keys are shared", _by_head_unless_shared),
    _layout("fused: in blocks", _in_blocks),
    _layout("fused: (in, out)", _conv1d),
    _layout("fused: gate and up", _gate_and_up),
    _layout("fused: a layout that is not known", partial(_not_known, config={})),
    _layout("fused: of a type that is not known", partial(_not_known, config={**CONFIG, "model_type": "new"})),
    _layout("towers with counts of their own", _towers),
)
