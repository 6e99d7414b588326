"""Quantised weights, turned back into numbers by the definition of their scheme.

Names and shapes of codes, scales and zero points give the scheme away; `quantization_config` says what they leave open.
A library does the work where one exists that needs no GPU: bitsandbytes and compressed-tensors, the extra `quantised`.

All matrices come out as (out, in), as `Linear` has them.
"""

import re
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property, partial
from math import prod
from typing import Any

import numpy as np

from dna_zoo.errors import ExtractError
from pipeline.arrays import Array
from pipeline.weights.assembly import Recipe, Tensor, Tensors, assemble
from zoo.config import part_of, text_in

__all__ = ["dequantise"]

Config = Mapping[str, Any]
"""`quantization_config`, or nothing."""

AWQ_COLUMNS = [0, 2, 4, 6, 1, 3, 5, 7]
"""Which of eight columns each half byte of a word holds, from the lowest on."""
WORD_BITS = (2, 3, 4, 8)
"""Bits of a code in words of 32."""
FP4 = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.0, -0.5, -1, -1.5, -2, -3, -4, -6], dtype=np.float32)
"""E2M1 by code, and the bias of E8M0's exponents (Open Compute Project, Microscaling Formats 1.0)."""
MX_BIAS = 127
MX_BLOCK = 32
NV_BLOCK = 16
NVFP4 = (
    ("weight", "weight_scale", "weight_scale_2", "weight"),  # modelopt
    ("", "_weight_scale", "_weight_scale_2", ""),  # modelopt, experts in a stack
    ("weight_packed", "weight_scale", "weight_global_scale", "weight"),  # compressed-tensors
)
"""Ends of the names of codes, of the scales of their blocks, of the scale of all, and of what they stand for."""
USUAL_BLOCK = 128
"""Rows and columns to one scale of an fp8 weight where nothing is declared."""
NEEDS_OTHERS = re.compile(r"aqlm|bitnet|eetq|fp_quant|higgs|hqq|quark|quip|sinq|spqr|vptq")
"""Schemes that are known by name and not read."""
BITSANDBYTES = re.compile(r"\.quant_state\.bitsandbytes__(?:nf4|fp4)$")


def dequantise(tensors: Tensors, config: Mapping[str, Any]) -> Tensors:
    """The weights in place of their codes and scales, under the names they have in an unquantised model.

    Raises `ExtractError` for a declared scheme that cannot be turned back, and where a library is not installed.
    """
    declared = part_of(config, "quantization_config")
    method = text_in(declared, "quant_method").lower()
    if NEEDS_OTHERS.search(method):
        raise ExtractError(
            f"The weights are quantised by {method!r}, which dna-zoo cannot turn back into numbers.",
            hint="Mine the model before it was quantised, or save this one dequantised.",
        )

    by_name = _ByName(tensors)

    def find(name: str, known: Tensors) -> Recipe | None:
        found = (scheme(name, by_name, declared) for scheme in SCHEMES)
        return next((recipe for recipe in found if recipe is not None), None)

    return assemble(tensors, find)


class _ByName(dict[str, Tensor]):
    """All tensors, which know whose names begin alike: a model may have a hundred thousand."""

    def __init__(self, tensors: Tensors) -> None:
        super().__init__(tensors)

    @cached_property
    def _places(self) -> dict[str, int]:
        return {name: place for place, name in enumerate(self)}

    @cached_property
    def _sorted(self) -> list[str]:
        return sorted(self)

    def beginning(self, *starts: str) -> tuple[str, ...]:
        """The names that begin with one of `starts`, in the order of the files."""
        found: set[str] = set()
        for start in starts:
            place = bisect_left(self._sorted, start)
            while place < len(self._sorted) and self._sorted[place].startswith(start):
                found.add(self._sorted[place])
                place += 1
        return tuple(sorted(found, key=self._places.__getitem__))


def _words(name: str, tensors: _ByName, declared: Config) -> Recipe | None:
    """GPTQ (codes packed along the inputs) and AWQ (along the outputs): the shapes tell which."""
    stem = name.removesuffix("qweight")
    if not name.endswith(".qweight") or not {stem + "qzeros", stem + "scales"} <= tensors.keys():
        return None
    shapes = [tensors[each].header.shape for each in (name, stem + "scales", stem + "qzeros")]
    if any(len(shape) != 2 or 0 in shape for shape in shapes):
        raise _unknown_layout(name, tensors)
    (rows, cols), (groups, outputs), (_, words) = shapes
    bits = 32 * words // outputs
    if bits not in WORD_BITS:
        raise _unknown_layout(name, tensors)
    if cols == outputs:
        inputs = 32 * rows // bits
        order = (stem + "g_idx",) if stem + "g_idx" in tensors else ()
        offset = 0 if declared.get("checkpoint_format") == "gptq_v2" else 1
        make: Callable[..., Array] = partial(_from_gptq, bits=bits, offset=offset)
    else:
        inputs, order, make = rows, (), _from_awq
        if 8 * cols != outputs:
            raise _unknown_layout(name, tensors)
    if inputs % groups:
        raise _unknown_layout(name, tensors)
    scheme = f"{'gptq' if cols == outputs else 'awq'} {bits} bit"
    parts = (name, stem + "qzeros", stem + "scales", *order)
    return Recipe(target=stem + "weight", shape=(outputs, inputs), parts=parts, make=make, scheme=scheme)


def _from_gptq(
    codes: Array, zeros: Array, scales: Array, groups: Array | None = None, *, bits: int, offset: int
) -> Array:
    """scale (code - zero) of each input's group (Frantar et al. 2022; files of the first version store zero - 1)."""
    unpacked = _unpack(codes.T, bits)
    of_input = np.arange(unpacked.shape[1]) * len(scales) // unpacked.shape[1] if groups is None else groups
    centres = (_unpack(zeros, bits) + offset).T[:, of_input]
    return np.asarray(scales.T[:, of_input] * (unpacked - centres))


def _from_awq(codes: Array, zeros: Array, scales: Array) -> Array:
    """scale (code - zero) of each input's group (Lin et al. 2023)."""
    unpacked, centres = _half_bytes(codes), _half_bytes(zeros)
    of_input = np.arange(len(unpacked)) * len(scales) // len(unpacked)
    return np.asarray((scales[of_input] * (unpacked - centres[of_input])).T)


def _unpack(words: Array, bits: int) -> Array:
    """Codes of `bits` bits that follow each other without a gap in words of 32: (n, words) to (n, codes), int64."""
    flat = np.unpackbits(np.ascontiguousarray(words).view(np.uint8), axis=1, bitorder="little")
    return np.asarray(flat.reshape(len(words), -1, bits) @ (1 << np.arange(bits)))


def _half_bytes(words: Array) -> Array:
    """The eight codes of each word, in the order of the columns: (n, words) to (n, 8 words)."""
    unpacked = _unpack(words, 4).reshape(len(words), -1, 8)
    columns = np.empty_like(unpacked)
    columns[..., AWQ_COLUMNS] = unpacked
    return columns.reshape(len(words), -1)


def _bitsandbytes_4bit(name: str, tensors: _ByName, declared: Config) -> Recipe | None:
    if not BITSANDBYTES.search(name):
        return None
    weight = BITSANDBYTES.sub("", name)
    state = tensors.beginning(f"{weight}.")
    if weight not in tensors:
        raise _unknown_layout(name, tensors)
    shape = _shape_in_state(bytes(tensors[name].array().astype(np.uint8)))
    keys = [other.removeprefix(f"{weight}.") for other in state]
    scheme = f"bitsandbytes {name[-3:]} 4 bit"
    make = partial(_from_bitsandbytes, keys)
    return Recipe(target=weight, shape=shape, parts=(weight, *state), make=make, scheme=scheme)


def _shape_in_state(state: bytes) -> tuple[int, ...]:
    import json

    return tuple(int(length) for length in json.loads(state)["shape"])


def _from_bitsandbytes(keys: list[str], codes: Array, *state: Array) -> Array:
    import torch

    functional = _library("bitsandbytes.functional")
    parts = {key: _as_torch(each) for key, each in zip(keys, state, strict=True)}
    known = functional.QuantState.from_dict(parts, device=torch.device("cpu"))
    return np.asarray(functional.dequantize_4bit(torch.from_numpy(codes), known).float().numpy())


def _bitsandbytes_8bit(name: str, tensors: _ByName, declared: Config) -> Recipe | None:
    """code scale / 127 of each row (Dettmers et al. 2022, LLM.int8)."""
    stem = name.removesuffix("SCB")
    if not name.endswith(".SCB") or not _is_stored(stem + "weight", tensors, "I8"):
        return None
    drops = tuple(other for other in (stem + "weight_format",) if other in tensors)
    return Recipe(
        target=stem + "weight",
        shape=tensors[stem + "weight"].header.shape,
        parts=(stem + "weight", name),
        make=lambda codes, scales: codes * (scales / 127)[:, None],
        drops=drops,
        scheme="bitsandbytes 8 bit",
    )


def _compressed_tensors(name: str, tensors: _ByName, declared: Config) -> Recipe | None:
    """Codes packed into words of any width, int8 and fp8 with whatever scales: the library's own formats."""
    stem = next((name.removesuffix(end) for end in ("weight_packed", "weight") if name.endswith(f".{end}")), None)
    if stem is None or declared.get("quant_method") != "compressed-tensors" or stem + "weight_scale" not in tensors:
        return None
    ends = ("weight_scale", "weight_zero_point", "weight_shape", "weight_g_idx", "weight_global_scale")
    parts = (name, *(stem + end for end in ends if stem + end in tensors))
    drops = tensors.beginning(f"{stem}input_", f"{stem}output_")
    group = _group_of(stem.removesuffix("."), declared)
    weights = part_of(group, "weights")
    shape = tensors[name].header.shape
    if stem + "weight_shape" in tensors:
        shape = tuple(int(length) for length in tensors[stem + "weight_shape"].array())
    elif name.endswith("packed"):
        shape = (*shape[:-1], shape[-1] * 2)  # Four bits, two codes a byte.
    kind = group.get("format") or declared.get("format")
    make = partial(_from_compressed_tensors, [part.removeprefix(stem) for part in parts], group, kind)
    scheme = f"compressed-tensors {weights.get('type', 'int')}{weights.get('num_bits', '')}"
    return Recipe(target=stem + "weight", shape=shape, parts=parts, make=make, drops=drops, scheme=scheme)


def _group_of(module: str, declared: Config) -> dict[str, Any]:
    """The settings of the group that names this module; of the only one, or the first that names a class of modules."""
    found = [group for group in part_of(declared, "config_groups").values() if isinstance(group, dict)]
    for group in found:
        if any(target == module or _is_pattern_of(target, module) for target in _targets(group)):
            return group
    return next((group for group in found if not all(":" in target for target in _targets(group))), {})


def _targets(group: Config) -> list[str]:
    named = group.get("targets")
    return [target for target in named if isinstance(target, str)] if isinstance(named, list) else []


def _is_pattern_of(target: str, module: str) -> bool:
    try:
        return target.startswith("re:") and re.match(target[3:], module) is not None
    except re.error:
        return False


def _from_compressed_tensors(keys: list[str], group: dict[str, Any], kind: str | None, *arrays: Array) -> Array:
    import torch

    compressors = _library("compressed_tensors.compressors.base")
    quantization = _library("compressed_tensors.quantization")
    state = {key: _as_torch(each) for key, each in zip(keys, arrays, strict=True)}
    try:
        scheme = quantization.QuantizationScheme(**{"targets": [], **group})
        decompress = compressors.BaseCompressor.get_value_from_registry(kind).decompress
        with torch.no_grad():
            return np.asarray(decompress(state, scheme)["weight"].float().numpy())
    except Exception as error:  # Whatever the library makes of settings that it does not know.
        raise ExtractError(
            f"compressed-tensors cannot turn back weights of the format {kind!r} ({type(error).__name__}).",
            hint="Mine the model before it was quantised, or save this one dequantised.",
        ) from error


def _as_torch(array: Array) -> Any:
    import torch

    return torch.from_numpy(np.ascontiguousarray(array))


def _mxfp4(name: str, tensors: _ByName, declared: Config) -> Recipe | None:
    """Blocks of 32 values of 4 bits with one power of two each, as gpt-oss stores its experts."""
    stem = name.removesuffix("_blocks")
    scales = f"{stem}_scales"
    if not name.endswith("_blocks") or not (_is_stored(name, tensors, "U8") and _is_stored(scales, tensors, "U8")):
        return None
    *experts, rows, blocks = tensors[scales].header.shape
    # Experts are multiplied from the right: (experts, in, out), as an unquantised copy has them.
    shape = (*experts, MX_BLOCK * blocks, rows)
    return Recipe(
        target=stem,
        shape=shape,
        parts=(name, scales),
        make=_from_mxfp4,
        scheme="mxfp4 4 bit",
        is_by_entry=bool(experts),
    )


def _from_mxfp4(blocks: Array, scales: Array) -> Array:
    codes = np.stack([blocks & 15, blocks >> 4], axis=-1).reshape(*scales.shape, MX_BLOCK)
    values = np.ldexp(FP4[codes], scales[..., None].astype(np.int32) - MX_BIAS)
    return np.asarray(values.reshape(*scales.shape[:-1], -1).swapaxes(-1, -2))


def _nvfp4(name: str, tensors: _ByName, declared: Config) -> Recipe | None:
    """Blocks of 16 values of 4 bits with a scale of 8 bits each, and a scale for all of them.

    Shapes tell along which axis the inputs lie: stacks of experts have them last or last but one. The library
    compressed-tensors rounds such weights to bfloat16, so they are made here.
    """
    for codes, scales, whole, target in NVFP4:
        stem = name.removesuffix(codes)
        parts = (name, stem + scales, stem + whole)
        if not (stem + codes == name and {*parts} <= tensors.keys()):
            continue
        shape, few, one = (tensors[part].header.shape for part in parts)
        axis = _packed_axis(shape, few)
        is_typed = _is_stored(name, tensors, "U8") and _is_stored(parts[1], tensors, "F8_E4M3")
        is_more = {stem + "weight_zero_point", stem + "weight_g_idx"} & tensors.keys()
        if not is_typed or axis is None or is_more or not (prod(one) == 1 or one == shape[:-2]):
            continue  # Codes of another scheme, or scales in the order of a kernel.
        # What modelopt multiplies inputs by, so that the weights of large ones are rounded less (AWQ).
        gains = tuple(each for each in (stem + "pre_quant_scale",) if each in tensors)
        if gains and tensors[gains[0]].header.shape != (2 * shape[axis],):
            continue
        return Recipe(
            target=stem + target,
            shape=tuple(length * (1 + (place == len(shape) + axis)) for place, length in enumerate(shape)),
            parts=(*parts, *gains),
            make=partial(_from_nvfp4, axis=axis, divides=whole == "weight_global_scale"),
            drops=tensors.beginning(f"{stem}input_", f"{stem}_input_", f"{stem}output_"),
            scheme="nvfp4 4 bit",
            is_by_entry=len(shape) > 2,
        )
    return None


def _packed_axis(codes: tuple[int, ...], scales: tuple[int, ...]) -> int | None:
    """The axis, counted from the last, along which each scale has a block of codes, two a byte; None where none has."""
    for axis in (-1, -2):
        spread = [length * (NV_BLOCK // 2 if place == len(scales) + axis else 1) for place, length in enumerate(scales)]
        if len(codes) in (2, 3) and tuple(spread) == codes:
            return axis
    return None


def _from_nvfp4(
    codes: Array, scales: Array, whole: Array, gains: Array | None = None, *, axis: int, divides: bool
) -> Array:
    """code (block's scale) (scale of all); compressed-tensors stores one over the latter, and divides by it."""
    packed, blocks = np.moveaxis(codes, axis, -1), np.moveaxis(scales, axis, -1)
    values: Array = FP4[np.stack([packed & 15, packed >> 4], axis=-1)].reshape(*blocks.shape, NV_BLOCK)
    of_all = whole.reshape(() if whole.size == 1 else (-1, 1, 1)).astype(np.float32)
    values = values * (blocks / of_all if divides else blocks * of_all)[..., None]
    values = values.reshape(*packed.shape[:-1], -1) * (1 if gains is None else gains)
    return np.asarray(np.moveaxis(values, -1, axis))


def _scaled(name: str, tensors: _ByName, declared: Config) -> Recipe | None:
    """int8 and fp8 with one scale for all, for each row, or for each block of rows and columns."""
    if not name.endswith(SCALED) or declared.get("quant_method") == "compressed-tensors":
        return None
    for end in SCALED:
        weight = name.removesuffix(end)
        weight = weight + "._data" if end == "._scale" else weight
        if name.endswith(end) and any(_is_stored(weight, tensors, dtype) for dtype in ("I8", "F8_E4M3", "F8_E5M2")):
            header = tensors[weight].header
            zero = tuple(z for z in (f"{weight}_zero_point", f"{weight}.zero_point") if z in tensors)
            if not _fits(tensors[name].header.shape, header.shape):
                raise _unknown_layout(name, tensors)
            drops = tuple(
                x for x in (name.replace("weight_scale", "input_scale"), f"{weight}.activation_scale") if x in tensors
            )
            return Recipe(
                target=weight.removesuffix("._data"),
                shape=header.shape,
                parts=(weight, name, *zero),
                make=partial(_times_scales, blocks=_blocks(declared)),
                drops=tuple(each for each in drops if each != name),
                scheme="int8 8 bit" if header.dtype == "I8" else "fp8 8 bit",
            )
    return None


SCALED = ("_scale_inv", "_scale", "_scales", ".scale", ".scales", "._scale")
"""Ends of the names of scales, after the name of the weight."""


def _fits(scales: tuple[int, ...], codes: tuple[int, ...]) -> bool:
    """Whether scales of this shape cover the codes: a scalar, one a row, or one a block along each axis."""
    covers = len(scales) == len(codes) and all(0 < few <= many for few, many in zip(scales, codes, strict=True))
    return prod(scales) == 1 or scales == codes[:1] or covers


def _blocks(declared: Config) -> tuple[int, ...]:
    """Rows and columns that have one scale together, as they are declared."""
    found = declared.get("weight_block_size")
    return tuple(size for size in found if isinstance(size, int)) if isinstance(found, list) else ()


def _times_scales(codes: Array, scales: Array, zeros: Array | None = None, *, blocks: tuple[int, ...] = ()) -> Array:
    values = codes.astype(np.float32)
    if zeros is not None:
        values = values - _spread(zeros.astype(np.float32), values.shape, blocks)
    return np.asarray(values * _spread(scales, values.shape, blocks))


def _spread(scales: Array, shape: tuple[int, ...], blocks: tuple[int, ...]) -> Array:
    """Scales for each value: one for all, one a row, or one for each block, the last of which may be cut off."""
    if scales.size == 1:
        return scales.reshape(())
    if scales.ndim == 1:
        return scales.reshape(-1, *(1 for _ in shape[1:]))
    for axis, length in enumerate(shape):
        size = _block_length(length, scales.shape[axis], blocks[axis] if axis < len(blocks) else 0)
        scales = np.repeat(scales, size, axis=axis).take(range(length), axis=axis)
    return scales


def _block_length(length: int, count: int, declared: int) -> int:
    """As declared where that gives so many blocks, then as usual, else equal parts."""
    usual = next((size for size in (declared, USUAL_BLOCK) if size and -(-length // size) == count), 0)
    return usual if usual and count > 1 else -(-length // count)


def _is_stored(name: str, tensors: Tensors, dtype: str) -> bool:
    return name in tensors and tensors[name].header.dtype == dtype


def _unknown_layout(name: str, tensors: Tensors) -> ExtractError:
    shape = list(tensors[name].header.shape)
    return ExtractError(
        f"{name!r} of shape {shape} belongs to quantised weights whose layout is not known.",
        hint="Mine the model before it was quantised, or save this one dequantised.",
    )


def _library(module: str) -> Any:
    import importlib

    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.partition(".")[0].replace("_", "-")
        raise ExtractError(
            f"These weights are quantised by {package}, and it is not installed ({error}).",
            hint="Install it with `pip install 'dna-zoo[quantised]'`.",
        ) from error


Scheme = Callable[[str, _ByName, Config], Recipe | None]
SCHEMES: Iterable[Scheme] = (
    _words, _bitsandbytes_4bit, _bitsandbytes_8bit, _nvfp4, _compressed_tensors, _mxfp4, _scaled,
)  # fmt: skip
"""The first that knows a name takes it."""
