"""The orthonormal cosine transform DCT-II of a stack of matrices, as scipy's `dctn(..., norm="ortho")`, in float32."""

import math

import torch
from torch import Tensor

__all__ = ["dct", "dct_of_matrices"]


def dct_of_matrices(stack: Tensor) -> Tensor:
    """The two-dimensional transform of each matrix (B, R, C), float32."""
    return dct(dct(stack).mT).mT


def dct(values: Tensor) -> Tensor:
    """Along the last axis (..., N), by one Fourier transform of the even places and then the odd ones backwards
    (Makhoul 1980)."""
    size = values.shape[-1]
    folded = torch.cat([values[..., ::2], values[..., 1::2].flip(-1)], dim=-1)
    angles = torch.arange(size // 2 + 1, dtype=torch.float64, device=values.device) * (-math.pi / (2 * size))
    scale = torch.full_like(angles, math.sqrt(2 / size))
    scale[0] = math.sqrt(1 / size)
    # Turned in double and rounded once; a transform of float32 values is as exact in float32 as they are.
    turned = torch.fft.rfft(folded) * torch.polar(scale, angles).to(torch.complex64)
    return torch.cat([turned.real, -turned.imag[..., 1 : (size + 1) // 2].flip(-1)], dim=-1)
