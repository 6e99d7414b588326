"""What a fit asks of its device, seen on a machine without one.

`HostReads` lists what would make the host wait. `meta` tensors hold no values at all: what runs on them asks for none.
`recorder` does again what it was given, operation by operation on the same tensors, as a CUDA graph does.
"""

import contextlib
import sys
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from benchmarks.parts.gpu.host_reads import READS, HostReads

__all__ = ["META", "HostReads", "allow_capturable", "capturing", "meta_device", "recorder"]

META = torch.device("meta")


class _Recording(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.tape: list[tuple[Any, Any, Any, list[Tensor]]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        assert func not in READS, f"{func} cannot be captured."
        out = func(*args, **(kwargs or {}))
        self.tape.append((func, args, kwargs or {}, [leaf for leaf in tree_leaves(out) if isinstance(leaf, Tensor)]))
        return out


def recorder(work: Callable[[], None]) -> Callable[[], None]:
    """What does the operations of `work` again, on the same memory. As with a CUDA graph no Python runs again, so a
    number of the host stays what it was when it was recorded. The recording itself leaves no trace on known tensors."""
    recording = _Recording()
    known = _Untouched()
    with capturing(), known, recording:
        work()
    known.put_back()

    @torch.no_grad()
    def replay() -> None:
        for func, args, kwargs, outputs in recording.tape:
            again = [leaf for leaf in tree_leaves(func(*args, **kwargs)) if isinstance(leaf, Tensor)]
            for old, new in zip(outputs, again, strict=True):
                if old.data_ptr() != new.data_ptr():
                    old.copy_(new)

    return replay


class _Untouched(TorchDispatchMode):
    """Keeps what was in memory before each operation wrote to it, so that a recording can be undone."""

    def __init__(self) -> None:
        super().__init__()
        self.before: dict[int, tuple[Tensor, Tensor]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        names = [
            argument for argument in func._schema.arguments if argument.alias_info and argument.alias_info.is_write
        ]
        given = dict(zip((argument.name for argument in func._schema.arguments), args, strict=False)) | (kwargs or {})
        for argument in names:
            for leaf in tree_leaves(given.get(argument.name)):
                if isinstance(leaf, Tensor) and id(leaf) not in self.before:
                    self.before[id(leaf)] = leaf, leaf.detach().clone()
        return func(*args, **(kwargs or {}))

    @torch.no_grad()
    def put_back(self) -> None:
        """In the other direction, so that the oldest value of a place is the last one."""
        for tensor, value in reversed(self.before.values()):
            tensor.detach().copy_(value)


@contextlib.contextmanager
def meta_device(monkeypatch: pytest.MonkeyPatch) -> Iterator[torch.device]:
    """`meta` as a device that can be trained on: PyTorch has no autocast and no fused kernels for it."""
    supported = ["meta", "cpu"]
    autocast = torch.autocast

    def cast(device: str, *given: Any, **options: Any) -> Any:
        return contextlib.nullcontext() if device == "meta" else autocast(device, *given, **options)

    with monkeypatch.context() as patch:
        patch.setattr(torch, "autocast", cast)
        patch.setattr(sys.modules["torch.optim.optimizer"], "_get_fused_kernels_supported_devices", lambda: supported)
        for kernel in ("_fused_adam_", "_fused_adamw_", "_fused_sgd_"):
            patch.setattr(torch, kernel, lambda *given, **options: None)
        yield META


@contextlib.contextmanager
def capturing() -> Iterator[None]:
    """As if CUDA were there and recorded a graph: PyTorch's optimisers then refuse a step that a graph cannot hold."""
    stream = SimpleNamespace(is_capturing=lambda: True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.accelerator, "current_accelerator", lambda check_available: torch.device("cuda"))
        patch.setattr(torch.accelerator, "current_stream", lambda: stream)
        yield


def allow_capturable(monkeypatch: pytest.MonkeyPatch) -> None:
    """PyTorch's RMSprop takes a rate on the device only where it knows of graphs."""
    monkeypatch.setattr(
        sys.modules["torch.optim.rmsprop"], "_get_capturable_supported_devices", lambda: ["cpu", "meta"]
    )
