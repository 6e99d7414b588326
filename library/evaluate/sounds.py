"""Sounds to run speech models on: synthetic ones, or a folder of `.wav` files.

The synthetic sounds are voiced and unvoiced stretches after each other: a buzz whose pitch moves, through three
resonances as a vocal tract has, and noise between. They are no speech: what models make of them says how near two
models are, not how well either understands.
"""

from collections.abc import Sequence
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy.io import wavfile
from scipy.signal import lfilter, resample_poly
from torch import Tensor

from dna_zoo.errors import SettingsError
from library.evaluate.inputs import Batch, Inputs
from library.models import kind_of

__all__ = ["RATE", "read_sounds", "sound_inputs", "synthetic_sounds"]

RATE = 16_000
"""Samples a second."""
NUM_SOUNDS = 8
SECONDS = 2.0
NUM_TOKENS = 16
"""That the decoder of a speech model is given."""

Float32 = npt.NDArray[np.float32]


def synthetic_sounds(count: int = NUM_SOUNDS) -> list[Float32]:
    """Sounds of 2 seconds at `RATE`, the same every time; float32 in [-1, 1]."""
    return [_sound(np.random.default_rng(number)) for number in range(count)]


def _sound(rng: np.random.Generator) -> Float32:
    parts, length = [], 0
    while length < SECONDS * RATE:
        size = int(rng.uniform(0.08, 0.25) * RATE)
        time = np.arange(size) / RATE
        pitch = rng.uniform(90, 240) * np.exp(rng.normal(0, 0.3) * time)
        phase = np.cumsum(pitch) / RATE
        buzz = 2 * (phase % 1) - 1 if rng.random() < 0.75 else rng.normal(0, 0.3, size)
        for centre in (rng.uniform(250, 900), rng.uniform(900, 2400), rng.uniform(2400, 3600)):
            radius, angle = np.exp(-np.pi * 100 / RATE), 2 * np.pi * centre / RATE
            buzz = lfilter([1 - radius], [1, -2 * radius * np.cos(angle), radius**2], buzz)
        parts.append(buzz / (np.abs(buzz).max() + 1e-9) * np.hanning(size))
        length += size
    return np.concatenate(parts)[: int(SECONDS * RATE)].astype(np.float32)


def read_sounds(folder: Path) -> list[Float32]:
    """The `.wav` files of a folder by name, one channel, at `RATE`. Raises `SettingsError` if there is none."""
    paths = sorted(path for path in folder.glob("*") if path.suffix.lower() == ".wav")
    if not paths:
        raise SettingsError(f"{str(folder)!r} holds no .wav files.", hint="Convert the sounds to WAV.")
    found = []
    for path in paths:
        try:
            rate, samples = wavfile.read(path)
        except (ValueError, OSError) as error:
            raise SettingsError(
                f"{str(path)!r} cannot be read as WAV.", hint="Convert it to WAV, or take it away."
            ) from error
        values = samples.astype(np.float64)
        if np.issubdtype(samples.dtype, np.integer):
            values /= np.iinfo(samples.dtype).max
        mono = values.mean(axis=1) if values.ndim == 2 else values
        common = np.gcd(rate, RATE)
        found.append(resample_poly(mono, RATE // common, rate // common).astype(np.float32))
    return found


def sound_inputs(sounds: Sequence[Float32], model: Any, processor: Any | None, *, source: str) -> Inputs:
    """Sounds as the model takes them: log-mel features of a speech-to-text model, or samples; one sound a batch.

    The decoder of a speech-to-text model is given what the model itself says first (greedy), so that models are
    compared on what follows the same beginning; one without a head, which says nothing, its start alone.
    """
    name = model.main_input_name
    extract = processor or _feature_extractor(model)
    has_decoder = "decoder_input_ids" in signature(model.forward).parameters
    batches = []
    for sound in sounds:
        values = torch.as_tensor(np.asarray(extract(sound, sampling_rate=RATE, return_tensors="pt")[name]))
        arguments = {name: _fitted(values, model)}
        if has_decoder:
            arguments["decoder_input_ids"] = _said(model, arguments)
        batches.append(Batch(arguments=arguments))
    return Inputs(batches=tuple(batches), source=source)


def _feature_extractor(model: Any) -> Any:
    """What the model's type uses, with the settings of its configuration."""
    import transformers as untyped

    transformers: Any = untyped
    if model.main_input_name == "input_values":
        return transformers.Wav2Vec2FeatureExtractor(sampling_rate=RATE)
    bins, positions = getattr(model.config, "num_mel_bins", 80), getattr(model.config, "max_source_positions", 1500)
    return transformers.WhisperFeatureExtractor(feature_size=bins, chunk_length=max(positions // 50, 1))


def _fitted(values: Tensor, model: Any) -> Tensor:
    """Features (1, bins, frames) of the one length that a model with positions for it takes: two frames a position."""
    positions = getattr(model.config, "max_source_positions", None)
    if values.ndim != 3 or positions is None:
        return values
    length = 2 * positions
    return torch.nn.functional.pad(values[..., :length], (0, max(length - values.shape[-1], 0)))


@torch.no_grad()
def _said(model: Any, arguments: dict[str, Tensor]) -> Tensor:
    """The first tokens that the decoder chooses, its start among them, (1, T)."""
    start = getattr(model.config, "decoder_start_token_id", None) or 0
    most = getattr(model.config, "max_target_positions", NUM_TOKENS)
    tokens = torch.tensor([[start]])
    most = min(NUM_TOKENS, most) if kind_of(model) == "seq2seq" else 1
    while tokens.shape[1] < most:
        try:
            logits = model(**arguments, decoder_input_ids=tokens, return_dict=True).logits
        except Exception:  # Why it does not run on sounds is told when it is run.
            break
        tokens = torch.cat([tokens, logits[:, -1:].argmax(dim=-1)], dim=1)
    return tokens
