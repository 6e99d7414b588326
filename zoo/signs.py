"""Where a network does not tell w from -w: signs along an axis that its kind alone does not show to be free.

Attention's inner axes are free in every network (`Axis.is_sign_free`). What else is depends on what stands between two
matrices:

- a batch norm divides by a deviation, which has no sign: a kernel may turn with the norm's running mean and gain;
- a norm by the root mean square subtracts no mean: the whole stream may turn, the norm's gains staying as they are;
- MobileBERT's norms only scale and shift: its streams may turn, and the shifts with them;
- tanh is odd: units of a pooler may turn with the columns of the head that reads them;
- the channels between the blocks of MobileNetV2 and its like pass no activation: they may turn with what reads them.

An axis called free that is not costs the signature its odd moments there; one missed breaks its invariance. So what
names and shapes do not settle counts as free.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from zoo.tensors import Axis, Role, TensorHeader, TensorSpec

__all__ = ["FreeSigns", "find_free_signs", "with_free_signs"]

_TANH_UNITS = re.compile(r"(?:^|\.)(?:pooler(?:\.dense)?|classifier\.dense)\.(?:weight|bias)$")
_KERNELS = frozenset({Role.CONVOLUTION, Role.DEPTHWISE_CONVOLUTION, Role.POINTWISE_CONVOLUTION})
_BUFFERS_OF_BATCH_NORM = "running_mean"


@dataclass(frozen=True, slots=True, kw_only=True)
class FreeSigns:
    """What is free in one checkpoint."""

    batch_norms: frozenset[str]
    """Modules that keep a running mean."""
    stream: bool
    """No norm subtracts a mean: all are linear, or none has a shift, as where they divide by the root mean square."""
    linear_norms: bool
    """Norms scale and shift, no more."""
    narrow: bool
    """Depthwise kernels and batch norms: channels between blocks may pass no activation."""


def find_free_signs(headers: Sequence[TensorHeader], config: Mapping[str, Any], norms: frozenset[str]) -> FreeSigns:
    """What the names and shapes of all tensors of a checkpoint show, and its `config.json`.

    - `norms`: modules whose `weight` is a vector.
    """
    shifted = {_module(header.name) for header in headers if header.name.endswith((".bias", ".beta"))}
    batch_norms = frozenset(_module(h.name) for h in headers if h.name.endswith(f".{_BUFFERS_OF_BATCH_NORM}"))
    is_linear = config.get("model_type") == "mobilebert" and config.get("normalization_type", "no_norm") == "no_norm"
    has_depthwise = any(len(h.shape) == 4 and h.shape[1] == 1 < h.shape[0] for h in headers)
    return FreeSigns(
        batch_norms=batch_norms,
        stream=is_linear or (bool(norms) and norms.isdisjoint(shifted)),
        linear_norms=is_linear,
        narrow=bool(batch_norms) and has_depthwise,
    )


def with_free_signs(spec: TensorSpec, found: FreeSigns) -> TensorSpec:
    """`spec`, saying which of its axes are free in sign beyond what their kinds say."""
    return replace(spec, free_row_signs=_rows_are_free(spec, found), free_col_signs=_cols_are_free(spec, found))


def _rows_are_free(spec: TensorSpec, found: FreeSigns) -> bool:
    if spec.role in _KERNELS:
        return bool(found.batch_norms)
    return _is_free_stream(spec, spec.row_axis, found) or _TANH_UNITS.search(spec.name) is not None


def _cols_are_free(spec: TensorSpec, found: FreeSigns) -> bool:
    if spec.role is Role.NORM:
        return found.linear_norms or _module(spec.name) in found.batch_norms
    if spec.role in _KERNELS:
        return found.narrow and spec.col_axis is Axis.CHANNEL
    is_label_head = spec.role is Role.HEAD and spec.row_axis is Axis.LABEL
    return _is_free_stream(spec, spec.col_axis, found) or is_label_head


def _is_free_stream(spec: TensorSpec, axis: Axis, found: FreeSigns) -> bool:
    # What is narrowed is a stream of its own.
    is_stream = axis is Axis.RESIDUAL or (axis is Axis.HIDDEN and spec.role is Role.BOTTLENECK)
    return found.stream and spec.is_matrix and is_stream


def _module(name: str) -> str:
    return name.rpartition(".")[0]
