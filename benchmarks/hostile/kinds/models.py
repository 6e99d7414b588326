"""Models of strangers with one thing odd: each maker writes a folder and gives the trial of it."""

import json
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors.numpy import save

from benchmarks.hostile.place import Place, Trial
from benchmarks.hostile.product import met
from benchmarks.hostile.strange import changed, damaged, odd_text, odd_value, pick
from benchmarks.hostile.truth import in_archive, in_safetensors

__all__ = [
    "BASIC",
    "adapters",
    "config_bytes",
    "config_values",
    "damaged_values",
    "entry",
    "expanded_tensors",
    "extreme_values",
    "front_matter",
    "odd_index",
    "odd_names",
    "part_names",
    "save_torch",
    "sparse_file",
    "special_file",
    "tensors",
    "write",
    "write_header",
]

BASIC = {"model_type": "bert", "num_hidden_layers": 1, "num_attention_heads": 2, "hidden_size": 8}
NAMES = (
    "encoder.layer.0.attention.self.query.weight",
    "encoder.layer.0.attention.self.key.weight",
    "encoder.layer.0.output.dense.weight",
    "h.0.attn.c_attn.weight",
    "transformer.h.0.attn.c_attn.weight[query]",
    "conv1.weight",
    "lm_head.weight",
    "x",
)


def tensors(rng: np.random.Generator, count: int = 3) -> dict[str, npt.NDArray[np.float32]]:
    """Some matrices under usual names."""
    names = rng.choice(NAMES, size=count, replace=False)
    return {str(name): rng.normal(size=(8, 8)).astype(np.float32) for name in names}


def write(folder: Path, values: Mapping[str, Any], config: Any = BASIC) -> None:
    """A sound safetensors file, and a `config.json` of anything."""
    (folder / "model.safetensors").write_bytes(save(dict(values)))
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")


def write_header(folder: Path, header: bytes, body: bytes = b"") -> None:
    """A safetensors file with any bytes for a header."""
    (folder / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + body)


def entry(shape: Any, size: int, dtype: Any = "F32", start: int = 0) -> dict[str, Any]:
    """An entry of a header."""
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, start + size]}


def save_torch(path: Path, values: Mapping[str, Any]) -> None:
    """A `.bin` as PyTorch writes it."""
    torch.save({name: torch.from_numpy(np.ascontiguousarray(each)) for name, each in values.items()}, path)


def odd_names(place: Place, rng: np.random.Generator) -> Trial:
    """Tensors with anything in their names, or before or behind a usual one."""
    values = list(tensors(rng).values())
    usual, odd = str(pick(rng, NAMES)), odd_text(rng)
    name = pick(rng, (usual + odd, odd + usual, odd, usual.replace(".", odd or "."), f"{usual}.{odd}"))
    names = [name, "encoder.layer.0.output.dense.weight", "b"]
    header = {each: entry([8, 8], 256, start=256 * place) for place, each in enumerate(names)}
    write_header(place.model, json.dumps(header).encode(), np.concatenate(values).tobytes())
    (place.model / "config.json").write_text(json.dumps(BASIC))
    return met(place, lambda: in_safetensors(place.model / "model.safetensors"))


def part_names(place: Place, rng: np.random.Generator) -> Trial:
    """A fused projection beside tensors that are named like its parts."""
    fused = str(pick(rng, ("h.0.attn.c_attn.weight", "transformer.h.0.attn.c_attn.weight", "blocks.0.attn.qkv.weight")))
    shape = (8, 24) if "c_attn" in fused else (24, 8)
    part = pick(rng, ("query", "key", "value", "0", "", "query]", "[query"))
    other = pick(rng, (f"{fused}[{part}]", f"{fused}.{part}", f"{fused}{part}", fused.upper()))
    found = {fused: rng.normal(size=shape), other: rng.normal(size=(8, 8))}
    config = {"model_type": "gpt2", "n_head": int(rng.integers(0, 4)), "n_layer": 1, "n_embd": 8}
    write(place.model, {name: each.astype(np.float32) for name, each in found.items()}, config)
    return met(place, lambda: in_safetensors(place.model / "model.safetensors"))


SETTINGS = (
    *BASIC, "architectures", "quantization_config", "text_config", "vision_config", "n_head", "n_layer", "n_embd",
    "is_encoder_decoder", "torch_dtype", "dtype", "num_key_value_heads", "head_dim", "intermediate_size", "vocab_size",
    "tie_word_embeddings", "num_local_experts", "num_experts", "layer_types", "id2label", "auto_map", "rope_scaling",
    "max_position_embeddings", "pad_token_id", "transformers_version", "_name_or_path", "encoder", "decoder",
)  # fmt: skip
QUANTISED: tuple[Any, ...] = (
    {"quant_method": "gptq", "bits": 4, "group_size": 128}, {"quant_method": "awq", "bits": 4},
    {"quant_method": "bitsandbytes", "load_in_4bit": True}, {"quant_method": "fp8", "weight_block_size": [128, 128]},
    {"quant_method": "compressed-tensors", "config_groups": {}}, {"quant_method": "mxfp4"}, {"bits": -1}, {},
)  # fmt: skip


def config_values(place: Place, rng: np.random.Generator) -> Trial:
    """Settings of any kind in a config that is JSON."""
    found = tensors(rng)
    config: dict[str, Any] = dict(BASIC)
    if rng.integers(5) == 0:
        config["quantization_config"] = pick(rng, QUANTISED)
    for name in rng.choice(SETTINGS, size=rng.integers(1, 5), replace=False):
        config[str(name)] = odd_value(rng)
    if rng.integers(3) == 0:
        config = changed(config, rng)
    write(place.model, found, config)
    return met(place, found)


def config_bytes(place: Place, rng: np.random.Generator) -> Trial:
    """A config that is no JSON, too deep, of another encoding, very long, or sound but for some bytes."""
    found = tensors(rng)
    write(place.model, found)
    number, sound = int(rng.integers(1, 6)), json.dumps(BASIC).encode()
    texts = (
        b"[" * 10**number,
        b'{"a":' * 10**number,
        b'{"a":' + b"[" * 10**number + b"]" * 10**number + b"}",
        sound.decode().encode(pick(rng, ("utf-16", "utf-32", "utf-8-sig", "utf-16-le"))),
        b"\xff\xfe\xfd",
        b"{" + b'"a":1,' * 1000,
        b'{"model_type": "\\ud800"}',
        b'{"num_hidden_layers": ' + b"9" * 10**number + b"}",
        b'{"num_hidden_layers": 1e' + b"9" * number + b"}",
        b'{"a": [' + b"[]," * 10**number + b"1]}",
        b'{"a": 1, "a": 2, "model_type": "bert", "model_type": []}',
        b'{"a": NaN, "b": Infinity, "num_attention_heads": -Infinity}',
        b"",
        b"\x00" * 10**number,
        b" " * 10**number + sound,
        sound + b"\x00",
        *(damaged(sound, rng) for _ in range(16)),
    )
    text = pick(rng, texts) if rng.integers(40) else b'{"a": [' + b"[]," * 30_000_000 + b"1]}"
    (place.model / "config.json").write_bytes(text)
    return met(place, found)


def special_file(place: Place, rng: np.random.Generator) -> Trial:
    """A FIFO, a device, a folder or a loop of links where a file is expected."""
    write(place.model, tensors(rng))
    names = (
        "README.md", "config.json", "model.safetensors", "model.safetensors.index.json", "adapter_config.json",
        "generation_config.json", "tokenizer.json", "pytorch_model.bin", "model_index.json", "modules.json",
    )  # fmt: skip
    path = place.model / pick(rng, names)
    path.unlink(missing_ok=True)
    ways = (
        lambda: os.mkfifo(path),
        lambda: path.symlink_to("/dev/zero"),
        lambda: path.symlink_to("/dev/stdin"),
        lambda: path.symlink_to("/dev/tty"),
        lambda: path.symlink_to("/proc/self/mem"),
        path.mkdir,
        lambda: path.symlink_to(path),
        lambda: path.symlink_to("nowhere"),
        lambda: path.symlink_to(".."),
        lambda: path.symlink_to("/etc/passwd"),
        lambda: path.write_bytes(b""),
        lambda: (path.write_bytes(b"x"), path.chmod(0)),
    )
    pick(rng, ways)()
    return met(place)


def front_matter(place: Place, rng: np.random.Generator) -> Trial:
    """A model card whose head is long, odd, or costs time."""
    found = tensors(rng)
    write(place.model, found)
    text, number = odd_text(rng), 10 ** int(rng.integers(1, 6))
    field = pick(rng, ("license", "base_model", "tags", "language", "datasets", "model-index", "library_name"))
    inside = (
        "\n" * number,
        "- " * min(number, 5_000),
        "a: &a [1,1]\n" + "".join(f"b{i}: &b{i} [*a,*a]\n" for i in range(50)),
        "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(f"{chr(98 + i)}: &{chr(98 + i)} [{','.join([f'*{chr(97 + i)}'] * 9)}]\n"
                                               for i in range(9)),
        f"license: {json.dumps(text)}\nbase_model: {json.dumps([text])}\n",
        f"{field}: {json.dumps(odd_value(rng), default=str)}\n",
        f"{field}: {json.dumps([odd_value(rng)] * 3, default=str)}\n",
        "license: !!python/object/apply:os.system ['touch escaped']\n",
        "license: !!python/name:os.system\n",
        f"license: &a [*a]\n{field}: *a\n",
        f"{'[' * min(number, 20_000)}\n",
        f"{'{a: ' * min(number, 20_000)}\n",
        f"{field}: {'x' * number}\n",
        f"{field}: 2026-13-45\n? {{a: b}}\n: c\n",
        f"{field}: 0x{'f' * number}\n",
        f"{field}: 1:{'59:' * min(number, 1_000)}59\n",
        f"{field}: {'a ' * number}:\n",
        text,
    )  # fmt: skip
    head = f"---\n{pick(rng, inside)}\n---\n" if rng.integers(6) else pick(
        rng, ("-" * number, f"---\n{pick(rng, inside)}", "\ufeff---\r\nlicense: mit\r\n---\r\n", "---\n---\n", "")
    )  # fmt: skip
    data = head.encode("utf-8", errors="surrogatepass")
    (place.model / "README.md").write_bytes(damaged(data, rng) if rng.integers(4) == 0 and data else data)
    return met(place, found)


def damaged_values(place: Place, rng: np.random.Generator) -> Trial:
    """A sound file with some bytes changed or parts cut, in either format."""
    found = tensors(rng)
    write(place.model, found)
    path = place.model / "model.safetensors"
    if rng.integers(2):
        path.write_bytes(damaged(path.read_bytes(), rng))
        return met(place, lambda: in_safetensors(path))
    path.unlink()
    path = place.model / "pytorch_model.bin"
    save_torch(path, found)
    path.write_bytes(damaged(path.read_bytes(), rng))
    return met(place, lambda: in_archive(path))


def expanded_tensors(place: Place, rng: np.random.Generator) -> Trial:
    """Tensors that are expanded, on no device, complex, sparse, conjugated, negated, quantised or nested."""
    warnings.simplefilter("ignore", UserWarning)  # Of torch, about kinds of tensors that it means to drop.
    rows, cols = (int(each) for each in rng.integers(1, 12, size=2))
    dense = torch.from_numpy(rng.normal(size=(rows, cols)).astype(np.float32))
    complex_, many = torch.complex(dense, dense), 10 ** int(rng.integers(1, 10))
    kinds: list[Any] = [
        torch.zeros(1).expand(many),
        torch.zeros(1, 1).expand(many, many),
        torch.zeros(1, 1, 1).expand(many, 1, many),
        dense[:1].expand(many, cols),
        dense[:, :1].expand(rows, many),
        torch.empty(rows, cols, device="meta"),
        torch.empty(many, many, device="meta"),
        complex_,
        complex_.conj(),
        complex_.conj().imag,
        torch._neg_view(dense),
        dense.to_sparse(),
        torch.sparse_coo_tensor(torch.tensor([[0], [0]]), torch.ones(1), (many, 10)),
        dense.to_sparse_csr(),
        torch.quantize_per_tensor(dense, 0.1, 0, torch.qint8),
        torch.quantize_per_channel(dense, torch.ones(rows), torch.zeros(rows), 0, torch.quint8),
        torch.nested.nested_tensor([dense, dense[:1]]),
        dense.to(torch.float8_e4m3fn),
        dense.to(torch.float8_e5m2),
        dense.to(torch.float8_e4m3fnuz),
        dense.to(torch.float16),
        dense.to(torch.bfloat16),
        dense.to(torch.int8),
        dense > 0,
        dense.T,
        dense[::2],
        dense.flip(0),
        dense.as_strided((min(3, rows * cols), min(3, rows * cols)), (0, 1)),
        torch.empty(0, 8),
        torch.empty(8, 0),
        torch.tensor(1.0),
        dense.reshape([1] * int(rng.integers(1, 62)) + [rows, cols]),
        torch.full((8, 8), 1e30),
        torch.full((8, 8), float("nan")),
        dense.to(torch.float64) * 1e300,
        torch.nn.Parameter(dense),
    ]
    other = torch.from_numpy(rng.normal(size=(8, 8)).astype(np.float32))
    torch.save({"a.weight": pick(rng, kinds), "b.weight": other}, place.model / "pytorch_model.bin")
    return met(place, lambda: in_archive(place.model / "pytorch_model.bin"))


def odd_index(place: Place, rng: np.random.Generator) -> Trial:
    """An index of shards that names what is outside, missing, or nothing sensible."""
    found, shard = tensors(rng), "model-00001-of-00001.safetensors"
    (place.model / shard).write_bytes(save(found))
    (place.root / "outside.safetensors").write_bytes(save(found))
    odd = odd_text(rng)
    names = (
        "../outside.safetensors", "/etc/passwd", "model-00002-of-00002.safetensors", odd, f"{odd}.safetensors",
        f"./{shard}", f"x/../{shard}", "config.json", "", ".", "..", "a" * 5_000, f"{shard}/x", "\\..\\outside",
    )  # fmt: skip
    maps: list[Any] = [
        dict.fromkeys(found, pick(rng, names)),
        dict.fromkeys(found, shard) | {next(iter(found)): pick(rng, names)},
        {name: odd_value(rng) for name in found},
        odd_value(rng),
        {},
        {**dict.fromkeys(found, shard), odd_text(rng): shard},
        changed(dict.fromkeys(found, shard), rng),
    ]
    index: Any = {"weight_map": pick(rng, maps), "metadata": odd_value(rng)}
    text = json.dumps(changed(index, rng) if rng.integers(3) == 0 else index).encode()
    (place.model / "model.safetensors.index.json").write_bytes(damaged(text, rng) if rng.integers(4) == 0 else text)
    return met(place)


def sparse_file(place: Place, rng: np.random.Generator) -> Trial:
    """A file of gigabytes or terabytes that takes no space."""
    cols = 2 ** int(rng.integers(1, 14))
    size = 2 ** int(rng.integers(30, 44))
    header = json.dumps({str(pick(rng, NAMES)): entry([size // (4 * cols), cols], size)}).encode()
    write_header(place.model, header, bytes(int(rng.integers(0, 4096))))
    os.truncate(place.model / "model.safetensors", 8 + len(header) + size)
    if rng.integers(3) == 0:
        (place.model / "model.safetensors").rename(place.model / "pytorch_model.bin")
    return met(place)


def extreme_values(place: Place, rng: np.random.Generator) -> Trial:
    """Values at the ends of what a number can be."""
    found = tensors(rng)
    extremes = (1e30, 1e-45, -3e38, 3.4028235e38, 0.0, -0.0, float("inf"), float("nan"), 1e-38, 1.0)
    for value in found.values():
        for _ in range(rng.integers(0, 4)):
            value.flat[rng.integers(value.size)] = pick(rng, extremes)
        if rng.integers(4) == 0:
            value[:] = pick(rng, extremes)
        if rng.integers(4) == 0:
            value *= np.float32(pick(rng, (1e-30, 1e30, 1e-38, 0.0)))
    write(place.model, found)
    return met(place, found)


def adapters(place: Place, rng: np.random.Generator) -> Trial:
    """An adapter whose configuration or matrices are not as they should be."""
    name = "base_model.model.encoder.layer.0.attention.self.query"
    rank, cols = (int(each) for each in rng.integers(0, 9, size=2))
    found = {
        f"{name}.lora_A.weight": rng.normal(size=(rank, cols)).astype(np.float32),
        f"{name}.lora_B.weight": rng.normal(size=(8, int(pick(rng, (rank, rank + 1))))).astype(np.float32),
    }
    if rng.integers(3) == 0:
        found[str(pick(rng, NAMES)) + odd_text(rng)[:100]] = rng.normal(size=(8, 8)).astype(np.float32)
    config: Any = {"peft_type": "LORA", "r": rank, "lora_alpha": 16, "target_modules": ["query"], "bias": "none"}
    config |= {
        "base_model_name_or_path": pick(rng, ("../../up", "/etc", "", odd_text(rng), "org/none", str(place.model)))
    }
    kept = {each: value for each, value in found.items() if is_text(each)}
    (place.model / "adapter_model.safetensors").write_bytes(save(kept))
    text = json.dumps(changed(config, rng)).encode()
    (place.model / "adapter_config.json").write_bytes(damaged(text, rng) if rng.integers(4) == 0 else text)
    return met(place)


def is_text(name: str) -> bool:
    """Whether the library that writes safetensors can write the name."""
    try:
        return bool(name.encode())
    except UnicodeEncodeError:
        return False
