"""What a tiny model's error says of its inputs, and the inputs mended by it."""

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from zoo.tracing.inputs import MAKERS, TEXT, Inputs, Needs, all_parts, make
from zoo.tracing.sizes import KEPT_TOKENS, WIDTH

__all__ = ["repaired"]

FEATURES = re.compile(r"features?[:\s]+(?:torch\.Size\(\[)?(\d+)|Got (\d+) feature")
"""How a model says for how many features it has found no place among the tokens."""
SIZES = (
    (re.compile(r"shapes cannot be multiplied \(\d+x(?P<has>\d+) and (?P<wants>\d+)x\d+\)"), -1),
    (re.compile(r"to have (?P<wants>\d+) channels, but got (?P<has>\d+) channels"), 1),
)
"""How a model says which size an axis has, and which it should have."""
MOST_NUMBERS = 4096
MOST_PLACES = 512
"""In a text, for features."""


def repaired(needed: str, inputs: Inputs, config: Any, model: nn.Module) -> Inputs | None:
    """The same inputs with what the model's error says is missing or of another size; None where it says nothing."""
    return (
        _with_places(needed, inputs, config) or _with_named(needed, inputs, config, model) or _resized(needed, inputs)
    )


def _with_named(needed: str, inputs: Inputs, config: Any, model: nn.Module) -> Inputs | None:
    """With the inputs of the model that its error names."""
    needs = Needs(model, config)
    named = [name for name in re.findall(r"\w+", needed) if name in needs.names and name not in inputs]
    if not any(name in MAKERS for name in named):
        return None
    return {**inputs, **{name: make(name, needs, inputs) for name in named if name in MAKERS}}


def _resized(needed: str, inputs: Inputs) -> Inputs | None:
    """With as many numbers at each place, or channels, as the model's first product has rows."""
    for pattern, axis in SIZES:
        if found := pattern.search(needed):
            has, wants = int(found["has"]), int(found["wants"])
            fits = [
                name
                for name, value in inputs.items()
                if isinstance(value, Tensor)
                and value.is_floating_point()
                and value.ndim > 2
                and value.shape[axis] == has != wants
            ]
            if fits and wants <= MOST_NUMBERS:
                return {**inputs, **{name: _of_size(inputs[name], axis, wants) for name in fits}}
    return None


def _of_size(tensor: Tensor, axis: int, size: int) -> Tensor:
    shape = list(tensor.shape)
    shape[axis] = size
    return torch.randn(shape, generator=torch.Generator().manual_seed(2), dtype=tensor.dtype)


def _with_places(needed: str, inputs: Inputs, config: Any) -> Inputs | None:
    """With places for as many features as the model's error names; None where it names none."""
    found = FEATURES.search(needed)
    kinds = sorted(PLACES, key=lambda kind: kind not in needed.lower())  # What it names, if it names one.
    token = next((value for name in kinds if (value := _place(config, name, inputs)) is not None), None)
    if "input_ids" not in inputs or found is None or token is None:
        return None
    rows = TEXT[0]
    wanted = int(found[1] or found[2])
    if int((inputs["input_ids"] == token).sum()) == wanted or wanted > MOST_PLACES * rows:
        # There are as many places as it says, or too many: it counts numbers, and each place holds some of them.
        wanted //= _text_width(config)
    count = -(-wanted // rows)
    ids = inputs["input_ids"][:, inputs["input_ids"][0] != token]
    if not 0 < count <= MOST_PLACES:
        return None
    new = {**inputs, "input_ids": torch.cat([torch.full((rows, count), token), ids], 1)}
    return _follow(new)


def _text_width(config: Any) -> int:
    text = config.get_text_config()
    found = getattr(text, "hidden_size", None) or getattr(text, "d_model", None)
    return found if isinstance(found, int) else WIDTH


PLACES: Mapping[str, str] = {
    "image": "pixel_values", "video": "pixel_values_videos", "audio": "input_features", "speech": "input_features",
}  # fmt: skip
"""Part of the name of a token -> the input that it keeps a place for."""


def _place(config: Any, kind: str, inputs: Inputs) -> int | None:
    if PLACES[kind] not in inputs and not (PLACES[kind] == "input_features" and "input_values" in inputs):
        return None
    for part in all_parts(config):
        for name in (f"{kind}_token_id", f"{kind}_token_index", f"{kind}_patch_id", f"{kind}_token"):
            if isinstance(getattr(part, name, None), int):
                return int(getattr(part, name))
    return None


def _follow(inputs: Inputs) -> Inputs:
    """Masks and kinds of tokens as long as the tokens."""
    ids = inputs["input_ids"]
    if "attention_mask" in inputs:
        inputs["attention_mask"] = torch.ones_like(ids)
    if "mm_token_type_ids" in inputs:
        inputs["mm_token_type_ids"] = (ids < KEPT_TOKENS).long()
    return inputs
