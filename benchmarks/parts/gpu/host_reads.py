"""What a step asks of its device, seen on any machine: operations after which the host knows a value, and copies."""

from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

__all__ = ["READS", "HostReads"]

READS = {
    torch.ops.aten._local_scalar_dense.default: "a value is read",
    torch.ops.aten.equal.default: "tensors are compared",
    torch.ops.aten.nonzero.default: "a size depends on values",
    torch.ops.aten.masked_select.default: "a size depends on values",
}


class HostReads(TorchDispatchMode):
    """Lists operations after which the host knows a value of the device, and copies from one device to another."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if func in READS:
            self.found.append(f"{func}: {READS[func]}")
        if func is torch.ops.aten.index.Tensor and any(
            each is not None and each.dtype == torch.bool for each in args[1]
        ):
            self.found.append(f"{func}: a size depends on values")
        devices = {leaf.device for leaf in tree_leaves((args, kwargs, out)) if isinstance(leaf, Tensor)}
        if len(devices) > 1:  # Be it inside an operation: `where` copies a number of the host before it selects.
            self.found.append(f"{func}: from one device to another")
        return out
