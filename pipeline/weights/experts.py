"""Experts that are stored as one tensor, as one matrix each under the names of a file that has them apart: a model is
the same in both.

What a stack of three dimensions holds follows from its name and from the hidden size: transposed where inputs come
first (Llama 4), gate and up in one matrix one after the other, or row by row in turns (gpt-oss). GGUF has its own
names for stacks. MegaBlocks has the hidden units of all experts below each other in two dimensions (DBRX, MPT, Nomic):
the configuration says how many experts there are, and without that such a stack stays whole.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from pipeline.arrays import Array
from pipeline.weights.assembly import DerivedTensor, StoredTensor, Tensor, Tensors, entry
from zoo.config import number_in, part_of, text_in
from zoo.layout import Layout
from zoo.tensors import TensorHeader

__all__ = ["MOST_EXPERTS", "is_flat", "sample_experts", "unstack"]

STACKS = tuple(
    (re.compile(pattern), module)
    for pattern, module in (
        (
            r"^(?P<module>.*experts)\.(?P<name>gate_up_proj|gate_proj|up_proj|down_proj|w1|w2|w3|wi|wo)(?:\.weight|)$",
            "",
        ),
        # Granite's and JetMoE's, whose experts of attention have other parts.
        (r"^(?P<module>.*(?:moe|mlp))\.(?P<name>(?:in|out)put_linear)\.weight$", ".experts"),
        (r"^(?P<module>blk\.\d+)\.(?P<name>ffn_(?:gate_up|gate|up|down)_exps)\.weight$", ".experts"),  # GGUF's.
    )
)
"""Names of stacks, and what stands behind the module in the names of their experts."""
FLAT = re.compile(r"^(?P<module>.*experts\.mlp)\.(?P<name>w1|v1|w2)(?:\.weight|)$")
"""Names of stacks of two dimensions, (experts x hidden units, width of the stream) whatever the name: what leaves is
(in, out), as `DbrxExpertGLU` of transformers multiplies it."""
BIASES = ((re.compile(r"^(?P<module>.*experts)\.(?P<name>gate_up_proj|gate_proj|up_proj|down_proj)_bias$"), ""),)
"""Names of the biases of stacked experts, (experts, out)."""
EXPERT = re.compile(r"^(?P<module>.*experts(?:\.mlp)?)\.(?P<number>\d+)\.")
PARTS: Mapping[str, tuple[str, ...]] = {
    "gate_up_proj": ("gate_proj", "up_proj"),
    "input_linear": ("gate_proj", "up_proj"),
    "output_linear": ("down_proj",),
    "ffn_gate_up_exps": ("ffn_gate", "ffn_up"),
    "ffn_gate_exps": ("ffn_gate",),
    "ffn_up_exps": ("ffn_up",),
    "ffn_down_exps": ("ffn_down",),
}
"""Name of a stack -> what its parts are called; itself for the others."""
OUTPUTS_FIRST = frozenset(PARTS) - {"gate_up_proj"}
"""Stacks that are (out, in) in whatever model."""
LEAVING = ("down_proj", "w2", "wo")
IN_TURNS = frozenset({"gpt_oss"})
"""Model types that store gate and up in turns."""
INPUTS_FIRST = frozenset({"gpt_oss", "llama4", "llama4_text"})
"""Model types that store (in, out), for square matrices, which do not tell."""
MOST_EXPERTS = 16
"""Of one module; a sample stands for more."""


def unstack(tensors: Tensors, config: Mapping[str, Any]) -> Tensors:
    """The experts one by one in the place of their stacks, and so their biases; all else as it is."""
    found: Tensors = {}
    for name, tensor in tensors.items():
        rules = {2: BIASES, 3: STACKS}.get(len(tensor.header.shape), ())
        matches = ((pattern.match(name), end) for pattern, end in rules)
        stack = next(((match["module"] + end, match["name"]) for match, end in matches if match), None)
        experts = _experts(*stack, tensor, config) if stack else [(name, tensor)]
        if (flat := FLAT.match(name)) and (count := _declared_count(tensor.header, config)):
            experts = _experts(flat["module"], flat["name"], _in_three(tensor, count), config, tensor)
        found.update(experts)
    return found


def is_flat(name: str) -> bool:
    """Whether the name is that of a stack of two dimensions."""
    return FLAT.match(name) is not None


def _declared_count(header: TensorHeader, config: Mapping[str, Any]) -> int | None:
    """How many experts a stack of two dimensions has; None where that is not declared, or not as the stack is."""
    own = part_of(config, "ffn_config")
    count = number_in(own, "moe_num_experts") or number_in(config, "moe_num_experts", "num_experts")
    if len(header.shape) != 2 or not count or header.shape[0] % count:
        return None
    width = number_in(own, "ffn_hidden_size")
    return count if width in (None, header.shape[0] // count) else None


def _in_three(tensor: Tensor, count: int) -> Tensor:
    """A stack of two dimensions with an axis of its own for the experts."""
    rows, cols = tensor.header.shape
    header = replace(tensor.header, shape=(count, rows // count, cols))
    if isinstance(tensor, StoredTensor):
        return replace(tensor, header=header)
    return DerivedTensor(
        header=header, parts=(tensor,), make=partial(np.reshape, shape=header.shape), scheme=tensor.scheme
    )


def _rows_of(place: int, rows: int, count: int, kind: str) -> slice:
    """Which rows of one fused matrix are those of one of its `count` parts; all of a matrix of one part."""
    if count == 1:
        return slice(None)
    return slice(place, None, 2) if kind in IN_TURNS else slice(place * rows, (place + 1) * rows)


def _experts(
    module: str, stack: str, tensor: Tensor, config: Mapping[str, Any], flat: Tensor | None = None
) -> Iterator[tuple[str, Tensor]]:
    """Each part of each expert; the bias of gate and up lies as their rows do.

    - `flat`: the stack as the file has it, where that has two dimensions.
    """
    count, *shape = tensor.header.shape
    known = {**config, **part_of(config, "text_config")}
    is_bias = len(shape) == 1
    if flat:
        is_turned = stack in LEAVING
    else:
        is_turned = not is_bias and stack not in OUTPUTS_FIRST and _is_turned(stack, shape, known)
    outputs, *inputs = reversed(shape) if is_turned else shape
    kind = text_in(known, "model_type")
    parts = PARTS.get(stack, (stack,))
    parts = parts if outputs % len(parts) == 0 else (stack,)
    for number in range(count):
        own = entry(tensor, number)
        for place, part in enumerate(parts):
            rows = outputs // len(parts)
            pick = _rows_of(place, rows, len(parts), kind)
            name = f"{module}.{number}.{part}.{'bias' if is_bias else 'weight'}"
            header = TensorHeader(name=name, shape=(rows, *inputs), dtype="F32")
            make = partial(_chosen_rows, rows=pick, is_turned=is_turned)
            place_there = _layout(tensor.header, number, pick, is_turned=is_turned)
            if flat:
                place_there = replace(place_there, shape=flat.header.shape, entries=count)
            is_stored = isinstance(tensor, StoredTensor) and not is_bias
            yield (
                name,
                DerivedTensor(
                    header=header,
                    parts=(own,),
                    make=make,
                    scheme=tensor.scheme,
                    layout=place_there if is_stored else None,
                    cut=(flat or tensor, place_there),
                ),
            )


def _chosen_rows(stored: Array, *, rows: slice, is_turned: bool) -> Array:
    return np.asarray((stored.T if is_turned else stored)[rows])


def _layout(stack: TensorHeader, number: int, pick: slice, *, is_turned: bool) -> Layout:
    """Where the rows `pick` of an expert lie in the stack."""
    row_slice, period = None, None
    if pick != slice(None):
        row_slice = (pick.start, pick.start + 1) if pick.step else (pick.start, pick.stop)
        period = pick.step
    return Layout(
        tensor=stack.name,
        shape=stack.shape,
        dtype=stack.dtype,
        transposed=is_turned,
        row_slice=row_slice,
        row_period=period,
        entry=number,
    )


def _is_turned(name: str, shape: list[int], config: Mapping[str, Any]) -> bool:
    """Whether the stack holds (in, out): the hidden size is on the side of the inputs; of what leaves, the outputs."""
    hidden = number_in(config, "hidden_size")
    if shape[0] == shape[1] or hidden not in shape:
        return text_in(config, "model_type") in INPUTS_FIRST
    return shape.index(hidden) == (1 if name in LEAVING else 0)


def sample_experts(names: list[str]) -> dict[str, str]:
    """Tensors of experts that a sample leaves out -> the module they are of.

    Of a module with more than `MOST_EXPERTS` so many stay, chosen at random by their number alone: stacked and single
    files keep the same ones.
    """
    numbers: dict[str, set[int]] = {}
    found = [(name, match) for name in names if (match := EXPERT.match(name))]
    for _, match in found:
        numbers.setdefault(match["module"], set()).add(int(match["number"]))
    chosen = {module: _chosen(sorted(each)) for module, each in numbers.items()}
    return {name: match["module"] for name, match in found if int(match["number"]) not in chosen[match["module"]]}


def _chosen(numbers: list[int]) -> set[int]:
    if len(numbers) <= MOST_EXPERTS:
        return set(numbers)
    picked = np.random.default_rng(len(numbers)).choice(len(numbers), MOST_EXPERTS, replace=False)
    return {numbers[index] for index in picked}
