"""Where a model is computed: names of devices, what is there, what they have free, and how exactly they multiply."""

import contextlib
from collections.abc import Iterator

import torch

from dna_zoo.errors import SettingsError

__all__ = [
    "SHARE_OF_FREE",
    "device_key",
    "exact_products",
    "free_bytes",
    "give_back_cached",
    "has_bf16",
    "resolve_device",
]

DEVICE_VERSION = "2"
"""Of fits and analyses on a device other than the CPU; raised where they change and the CPU's do not."""
FIRST_WITH_BF16 = (8, 0)
"""Compute capability of the first CUDA devices that multiply bfloat16; older ones only imitate it."""
SHARE_OF_FREE = 0.8
"""Of what a device has free, the part that is asked for: what is kept for later and the device's own come on top."""


def resolve_device(name: str) -> str:
    """`auto` is CUDA where there is one, else the CPU; a device that is not there is a `SettingsError`."""
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if not name.startswith("cuda"):
        return name
    if not torch.cuda.is_available():
        raise SettingsError(
            f"`--device {name}` was asked for, and there is no CUDA device.", hint="Use `--device cpu`."
        )
    number, count = torch.device(name).index or 0, torch.cuda.device_count()
    if number >= count:
        known = ", ".join(f"cuda:{each}" for each in range(count))
        raise SettingsError(f"`--device {name}` was asked for, and there are {count}.", hint=f"Use one of: {known}.")
    return name


def device_key(name: str) -> str:
    """What a result depends on of the device that made it: its kind, and the version of what that kind computes."""
    kind = torch.device(name).type
    return kind if kind == "cpu" else f"{kind}/{DEVICE_VERSION}"


def has_bf16(name: str) -> bool:
    """Whether the device multiplies bfloat16 by itself: a CPU with instructions for it, CUDA from compute capability
    8.0 on. CUDA that this machine lacks, as it may when a cluster mines, is taken to be of that kind."""
    device = torch.device(name)
    if device.type == "cpu":
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return not torch.cuda.is_available() or torch.cuda.get_device_capability(device) >= FIRST_WITH_BF16


def free_bytes(device: torch.device) -> int | None:
    """What the device has free; None for a CPU, whose system swaps in place of failing."""
    if device.type != "cuda":
        return None
    free, _ = torch.cuda.mem_get_info(device)
    return free


def give_back_cached(device: torch.device) -> None:
    """Return what PyTorch keeps of the device's memory for later; a CPU keeps none."""
    if device.type == "cuda":
        torch.cuda.empty_cache()


@contextlib.contextmanager
def exact_products() -> Iterator[None]:
    """CUDA's products of float32 in float32 and not in TF32, and sums of half precision products in float32."""
    matmul = torch.backends.cuda.matmul
    exact = {
        "allow_tf32": False,
        "allow_bf16_reduced_precision_reduction": False,
        "allow_fp16_reduced_precision_reduction": False,
    }
    before = {name: getattr(matmul, name) for name in exact}
    for name, value in exact.items():
        setattr(matmul, name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(matmul, name, value)
