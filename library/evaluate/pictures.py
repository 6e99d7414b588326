"""Pictures to run vision models on: scikit-learn's handwritten digits, or a folder of picture files."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dna_zoo.errors import SettingsError
from library.evaluate.inputs import BATCH, Batch, Inputs

__all__ = ["PICTURE_SUFFIXES", "digit_pictures", "picture_inputs", "pixel_inputs", "read_pictures"]

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff")
NUM_DIGITS = 200
SIDE = 224
"""Of a model that does not say how large its pictures are."""
MEAN, STD = 0.3, 0.38
"""Of pictures of one channel, as the specimens standardise them; a model with more channels has 0.5 and 0.5."""

Bytes = npt.NDArray[np.uint8]


def digit_pictures() -> list[Bytes]:
    """Some of scikit-learn's digits, (8, 8) bytes. Raises `SettingsError` where scikit-learn is not installed."""
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise SettingsError(
            "The digits that vision models are run on come with scikit-learn, which is not installed.",
            hint="Install it with `pip install 'dna-zoo[evaluate]'`, or give `--images DIR`.",
        ) from error
    images = load_digits().images
    chosen = np.random.default_rng(0).permutation(len(images))[:NUM_DIGITS]
    return [np.asarray(np.round(image * (255 / 16)), dtype=np.uint8) for image in images[chosen]]


def read_pictures(folder: Path) -> list[Bytes]:
    """The pictures of a folder by name, (H, W, 3) bytes. Raises `SettingsError` if there is none, or one is damaged."""
    paths = sorted(path for path in folder.glob("*") if path.suffix.lower() in PICTURE_SUFFIXES)
    if not paths:
        raise SettingsError(
            f"{str(folder)!r} holds no pictures.", hint=f"Give a folder with files such as {PICTURE_SUFFIXES[0]}."
        )
    try:
        from PIL import Image
    except ImportError as error:
        raise SettingsError(
            "Picture files are read through Pillow, which is not installed.",
            hint="Install it with `pip install pillow`.",
        ) from error
    found = []
    for path in paths:
        try:
            with Image.open(path) as image:
                found.append(np.asarray(image.convert("RGB")))
        except OSError as error:
            raise SettingsError(f"{str(path)!r} cannot be read as a picture.", hint="Take it away.") from error
    return found


def picture_inputs(
    pictures: Sequence[Bytes], config: Any, processor: Any | None, *, source: str, labels: Tensor | None = None
) -> Inputs:
    """Pictures as pixel values, by the model's own processor where it has one.

    Without one they are scaled (bilinear) to the size and the channels of the configuration, and standardised.
    """
    if processor is not None:
        parts = [processor(_colour(picture), return_tensors="pt")["pixel_values"] for picture in pictures]
        pixels = torch.cat(parts)
    else:
        pixels = torch.cat([_pixels(picture, config) for picture in pictures])
    return pixel_inputs(pixels, source=source, labels=labels)


def pixel_inputs(pixels: Tensor, *, source: str, labels: Tensor | None = None) -> Inputs:
    """Pixel values (N, C, H, W) as they are."""
    batches = tuple(Batch(arguments={"pixel_values": part}) for part in torch.split(pixels, BATCH))
    return Inputs(batches=batches, source=source, labels=labels)


def _colour(picture: Bytes) -> Bytes:
    return picture if picture.ndim == 3 else np.repeat(picture[:, :, None], 3, axis=2)


def _pixels(picture: Bytes, config: Any) -> Tensor:
    """(1, C, H, W) float32."""
    channels = getattr(config, "num_channels", None) or 3
    size = getattr(config, "image_size", None) or (32 if channels == 1 else SIDE)
    height, width = (size, size) if isinstance(size, int) else (size[0], size[-1])
    values = torch.from_numpy(np.array(picture, dtype=np.float32)) / 255
    values = values.mean(dim=-1)[None] if values.ndim == 3 and channels == 1 else values
    values = values.expand(channels, -1, -1) if values.ndim == 2 else values
    values = values.movedim(-1, 0) if values.shape[-1] == 3 and values.shape[0] not in (1, 3) else values
    scaled = torch.nn.functional.interpolate(values[None], size=(height, width), mode="bilinear")
    return (scaled - MEAN) / STD if channels == 1 else (scaled - 0.5) / 0.5
