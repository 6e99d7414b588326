"""A tiny checkpoint of each architecture with a card: true tensor names, the true file format, and the traps."""

from pathlib import Path
from typing import Any

from tests.support.architectures import ARCHITECTURES, Architecture, Extra
from tests.support.build import build_model, make_config, state_as_published
from tests.support.wider_architectures import WIDER_ARCHITECTURES
from zoo.registry import ALL_CARDS

__all__ = ["make_tiny_checkpoint"]


def make_tiny_checkpoint(key: str, directory: Path, seed: int) -> Path:
    """Write `config.json` and the weights of a tiny model of the make `key` into `directory`; return the weight file.

    The file is the one that the card names (`model.safetensors` where it names none). Both formats hold tied weights
    twice: as copies in safetensors, in one storage in a `.bin`. The weights are random and depend on `seed` alone.
    """
    import torch

    architecture = {**ARCHITECTURES, **WIDER_ARCHITECTURES}[key]
    config = make_config(architecture, architecture.saved, {**architecture.full, **architecture.tiny})
    directory.mkdir(parents=True, exist_ok=True)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        state = _state(architecture, config)
    config.save_pretrained(directory)
    path = directory / (ALL_CARDS[key].weight_file or "model.safetensors")
    _write_weights(state, path)
    return path


def _state(architecture: Architecture, config: Any) -> dict[str, Any]:
    import torch

    model = build_model(architecture.saved, config, "cpu")
    with torch.no_grad():
        for parameter in model.parameters():
            # Fresh biases are all zero and fresh norms all one; trained ones are neither.
            parameter.add_(torch.randn_like(parameter), alpha=0.02)
    if architecture.dtype == "F16":
        model = model.half()
    return state_as_published(model, architecture) | {
        extra[0]: _extra_tensor(extra) for extra in architecture.extras(config)
    }


def _extra_tensor(extra: Extra) -> Any:
    """Positions count up, four dimensions are a causal mask, none is the value it fills in, the rest is random."""
    import torch

    dtypes = {"F16": torch.float16, "F32": torch.float32, "U8": torch.uint8, "BOOL": torch.bool}
    _, shape, dtype = extra
    if dtype == "I64":
        return torch.arange(shape[-1]).expand(shape).contiguous()
    if len(shape) == 4:
        return torch.ones(shape).tril().to(dtypes[dtype])
    if shape == ():
        return torch.tensor(-10000.0, dtype=dtypes[dtype])
    return (0.02 * torch.randn(shape)).to(dtypes[dtype])


def _write_weights(state: dict[str, Any], path: Path) -> None:
    import torch
    from safetensors.torch import save_file

    if path.suffix == ".bin":
        torch.save(state, path)
    else:
        # safetensors has no notion of shared storage: a second name needs a copy of its own.
        copies = {name: tensor.clone().contiguous() for name, tensor in state.items()}
        save_file(copies, path, metadata={"format": "pt"})
