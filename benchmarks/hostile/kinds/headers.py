"""Headers of safetensors: shapes, offsets, formats, sizes and names that are not as they must be."""

import json
from typing import Any

import numpy as np

from benchmarks.hostile.kinds.models import BASIC, entry, tensors, write, write_header
from benchmarks.hostile.place import Place, Trial
from benchmarks.hostile.product import met
from benchmarks.hostile.strange import changed, damaged, odd_text, pick
from benchmarks.hostile.truth import in_safetensors

__all__ = ["header_bytes", "header_values", "long_names", "many_tensors", "number_formats", "odd_shapes"]

LENGTHS = (0, 1, 2, 3, 8, 64, 128, 2**10, 2**20, 2**31, 2**32, 2**40, 2**59, 2**62, 2**63, 2**64, 10**30, -1, -8)
FORMATS = (
    "F64",
    "F32",
    "F16",
    "BF16",
    "F8_E4M3",
    "F8_E5M2",
    "F8_E8M0",
    "F8_E4M3FNUZ",
    "F4",
    "F6_E2M3",
    "F6_E3M2",
    "I64",
    "I32",
    "I16",
    "I8",
    "U64",
    "U32",
    "U16",
    "U8",
    "BOOL",
    "C64",
    "F3",
    "f32",
    "",
    "float32",
    5,
    None,
    [],
    {},
    True,
    "F32 ",
)
LARGEST_BODY = 1 << 16


def _trial(place: Place) -> Trial:
    return met(place, lambda: in_safetensors(place.model / "model.safetensors"))


def header_values(place: Place, rng: np.random.Generator) -> Trial:
    """A header that is JSON, with some of its values changed."""
    size = 256
    good: dict[str, Any] = {"a.weight": entry([8, 8], size), "b.weight": entry([8, 8], size, start=size)}
    swapped = {"a.weight": good["b.weight"], "b.weight": good["a.weight"]}
    double = {"a.weight": good["a.weight"], "b.weight": good["a.weight"]}
    noted: Any = {"__metadata__": pick(rng, ({"a": 1}, "x", {"format": "pt"}, {"a": odd_text(rng)}, [], None)), **good}
    found = pick(rng, (swapped, double, noted, [good], {}, *(changed(good, rng) for _ in range(16))))
    encoding = pick(rng, ("utf-8",) * 8 + ("utf-16", "utf-8-sig"))
    text = json.dumps(found).encode(encoding)
    text += b" " * int(pick(rng, (0, 0, 3, 1000)))
    write_header(place.model, text, rng.normal(size=128).astype(np.float32).tobytes())
    return _trial(place)


def header_bytes(place: Place, rng: np.random.Generator) -> Trial:
    """A sound file with bytes of its header, or of its length, changed."""
    write(place.model, tensors(rng))
    path = place.model / "model.safetensors"
    data = path.read_bytes()
    stop = 8 + int.from_bytes(data[:8], "little")
    start = 0 if rng.integers(4) == 0 else 8
    path.write_bytes(damaged(data, rng, start=start, stop=stop if start else 8))
    return _trial(place)


def odd_shapes(place: Place, rng: np.random.Generator) -> Trial:
    """Tensors of no, many, empty, huge or negative axes, with as many bytes as they say or others."""
    header: dict[str, Any] = {}
    start = 0
    for number in range(rng.integers(1, 4)):
        shape = [int(pick(rng, LENGTHS[:7])) for _ in range(rng.integers(0, 6))]
        if rng.integers(3) == 0:
            shape = [1] * int(rng.integers(0, 90)) + shape
        if rng.integers(3) == 0:
            shape.insert(int(rng.integers(len(shape) + 1)), pick(rng, LENGTHS))
        size = int(np.prod([float(each) for each in shape])) * 4 if len(shape) < 200 else 4
        size = size if 0 <= size < LARGEST_BODY and rng.integers(8) else int(rng.integers(0, 1024)) // 4 * 4
        header[f"layers.{number}.attention.query.weight"] = entry(shape, size, start=start)
        start += size
    write_header(place.model, json.dumps(header).encode(), rng.normal(size=start // 4).astype(np.float32).tobytes())
    (place.model / "config.json").write_text(json.dumps(BASIC))
    return _trial(place)


def number_formats(place: Place, rng: np.random.Generator) -> Trial:
    """Formats that are known, new, misspelt or none, with the right number of bytes or another one."""
    header, start = {}, 0
    for number, name in enumerate(("encoder.layer.0.output.dense.weight", "b.weight", "c.bias")[: rng.integers(1, 4)]):
        dtype = pick(rng, FORMATS)
        width = int(pick(rng, (1, 2, 4, 8))) if rng.integers(4) == 0 else _width(dtype)
        header[name] = entry([8, 8] if number < 2 else [64], 64 * width, dtype=dtype, start=start)
        start += 64 * width
    body = rng.normal(size=start // 4 + 1).astype(np.float32).tobytes()[:start]
    write_header(place.model, json.dumps(header).encode(), body)
    (place.model / "config.json").write_text(json.dumps(BASIC))
    return _trial(place)


def _width(dtype: Any) -> int:
    digits = "".join(each for each in str(dtype).split("_")[0] if each.isdigit())
    return max(int(digits or 8) // 8, 1) if str(dtype) != "C64" else 8


def many_tensors(place: Place, rng: np.random.Generator) -> Trial:
    """A header of very many tensors or blocks; one in forty of a hundred thousand."""
    count = int(pick(rng, (300, 1_000, 3_000))) if rng.integers(40) else 100_000
    pattern = pick(
        rng, ("layers.{}.w", "layers.{}.attention.query.weight", "a{}", "layers.0.experts.{}.w", "x.{}.{}.b")
    )
    names = [pattern.format(number, number) for number in range(count)]
    header = {name: entry([2, 2], 16, start=16 * place) for place, name in enumerate(names)}
    write_header(place.model, json.dumps(header).encode(), rng.normal(size=4 * count).astype(np.float32).tobytes())
    (place.model / "config.json").write_text(json.dumps(BASIC | {"num_hidden_layers": count}))
    return met(place)


def long_names(place: Place, rng: np.random.Generator) -> Trial:
    """Names as long as a disk, and repeated parts of names that cost a regular expression the square of them."""
    piece = pick(
        rng, ("a", ".", "0", "0.", "layers.", "layer.0.", "attention.", "weight", "_", "self.query.", "h.0.", "[", "é")
    )
    length = int(pick(rng, (100, 500, 999, 1_000, 1_001, 10_000, 600_000)))
    end = pick(rng, ("", "weight", ".weight", ".bias", "0.weight", "\n", "x" * 10))
    names = {(piece * length)[: length - len(end)] + end, pick(rng, ("b.weight", piece * 3, odd_text(rng)[:50]))}
    header = {name: entry([2, 2], 16, start=16 * place) for place, name in enumerate(sorted(names))}
    write_header(place.model, json.dumps(header).encode(), rng.normal(size=4 * len(names)).astype(np.float32).tobytes())
    (place.model / "config.json").write_text(json.dumps(BASIC))
    return _trial(place)
