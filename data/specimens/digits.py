"""scikit-learn's 1,797 handwritten digits of 8 x 8 pixels, as images and labels for three tasks."""

from dataclasses import dataclass

import torch
from torch.nn import functional as F

__all__ = ["NUM_HELD_OUT", "Images", "digits", "shifted"]

NUM_HELD_OUT = 400
_MEAN, _STD = 0.3, 0.38
"""Of the pixels, scaled to [0, 1]."""
_MAX_SHIFT = 8
"""A picture moves by at most its side divided by this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Images:
    """Pictures (n, 1, side, side), float32, standardised, and labels (n,), int64; to learn from and to be judged by."""

    train: torch.Tensor
    train_labels: torch.Tensor
    held_out: torch.Tensor
    held_out_labels: torch.Tensor


def digits(task: str, side: int) -> Images:
    """The digits at `side` x `side` pixels (bilinear), the same 400 always held out.

    - `task`: `digits` (ten labels), `digits-parity` (even or odd) or `digits-rotated` (a quarter turn, ten labels).
    """
    # Here, since importing scikit-learn takes seconds that the text specimens need not wait for.
    from sklearn.datasets import load_digits

    loaded = load_digits()
    pixels = torch.tensor(loaded.images, dtype=torch.float32)[:, None] / 16
    images = (F.interpolate(pixels, size=(side, side), mode="bilinear") - _MEAN) / _STD
    labels = torch.tensor(loaded.target, dtype=torch.int64)
    if task == "digits-parity":
        labels = labels % 2
    elif task == "digits-rotated":
        images = torch.rot90(images, dims=(2, 3)).contiguous()
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
    held_out, train = order[:NUM_HELD_OUT], order[NUM_HELD_OUT:]
    return Images(
        train=images[train],
        train_labels=labels[train],
        held_out=images[held_out],
        held_out_labels=labels[held_out],
    )


def shifted(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """`images` moved together by the same few pixels; what leaves on one side enters on the other (the border)."""
    most = images.shape[-1] // _MAX_SHIFT
    down, right = torch.randint(-most, most + 1, (2,), generator=generator).tolist()
    return torch.roll(images, (down, right), dims=(2, 3))
