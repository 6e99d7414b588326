"""Arbitrary signs: axes along which flipping signs leaves the function of a network, beyond those of every network.

Inner axes of attention have arbitrary signs in every network (`Axis.is_sign_free`). Other axes depend on what stands
between two matrices. The sign of a unit may be flipped

- under a batch norm, with the norm's running mean and gain, since it divides by a deviation, which has no sign;
- along the whole residual stream where norms subtract no mean (RMS norm), and gains stay as they are;
- along the residual streams of MobileBERT, whose norms only scale and shift, with the shifts;
- in a pooler with tanh, which is odd, with the columns of the head that reads it;
- in the channels between blocks of MobileNetV2, which pass no activation, with the columns of the kernels behind.

An axis wrongly taken as free costs the signature its odd moments there; one missed breaks its invariance. So whatever
names and shapes do not decide is taken as free.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from zoo.tensors import CONVOLUTIONS, Axis, Role, TensorHeader, TensorSpec

__all__ = ["FreeSigns", "find_free_signs", "with_free_signs"]

_TANH_UNITS = re.compile(r"(?:^|\.)(?:pooler(?:\.dense)?|classifier\.dense)\.(?:weight|bias)$")


@dataclass(frozen=True, slots=True, kw_only=True)
class FreeSigns:
    """Which signs are arbitrary in one checkpoint."""

    batch_norms: frozenset[str]
    """Modules that keep a running mean."""
    residual: bool
    """Along the residual stream: no norm subtracts a mean, since all are linear or none has a shift (RMS norm)."""
    linear_norms: bool
    """Norms only scale and shift."""
    narrow: bool
    """Channels between blocks may pass no activation: there are depthwise kernels and batch norms."""


def find_free_signs(headers: Sequence[TensorHeader], config: Mapping[str, Any], norms: frozenset[str]) -> FreeSigns:
    """From the names and shapes of all tensors of a checkpoint, and its `config.json`.

    - `norms`: modules whose `weight` is a vector.
    """
    shifted = {_module(header.name) for header in headers if header.name.endswith((".bias", ".beta"))}
    batch_norms = frozenset(_module(h.name) for h in headers if h.name.endswith(".running_mean"))
    is_linear = config.get("model_type") == "mobilebert" and config.get("normalization_type", "no_norm") == "no_norm"
    has_depthwise = any(len(h.shape) == 4 and h.shape[1] == 1 < h.shape[0] for h in headers)
    return FreeSigns(
        batch_norms=batch_norms,
        residual=is_linear or (bool(norms) and norms.isdisjoint(shifted)),
        linear_norms=is_linear,
        narrow=bool(batch_norms) and has_depthwise,
    )


def with_free_signs(spec: TensorSpec, found: FreeSigns) -> TensorSpec:
    """`spec` with `free_row_signs` and `free_col_signs`."""
    return replace(spec, free_row_signs=_rows_are_free(spec, found), free_col_signs=_cols_are_free(spec, found))


def _rows_are_free(spec: TensorSpec, found: FreeSigns) -> bool:
    if spec.role in CONVOLUTIONS:
        return bool(found.batch_norms)
    return _is_free_residual(spec, spec.row_axis, found) or _TANH_UNITS.search(spec.name) is not None


def _cols_are_free(spec: TensorSpec, found: FreeSigns) -> bool:
    if spec.role is Role.NORM:
        return found.linear_norms or _module(spec.name) in found.batch_norms
    if spec.role in CONVOLUTIONS:
        return found.narrow and spec.col_axis is Axis.CHANNEL
    is_label_head = spec.role is Role.HEAD and spec.row_axis is Axis.LABEL
    return _is_free_residual(spec, spec.col_axis, found) or is_label_head


def _is_free_residual(spec: TensorSpec, axis: Axis, found: FreeSigns) -> bool:
    # The narrow side of a bottleneck is a residual stream too.
    is_residual = axis is Axis.RESIDUAL or (axis is Axis.HIDDEN and spec.role is Role.BOTTLENECK)
    return found.residual and spec.is_matrix and is_residual


def _module(name: str) -> str:
    return name.rpartition(".")[0]
