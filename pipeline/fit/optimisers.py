"""Optimisers for stacks of networks: PyTorch's own, and Muon for matrices that come in stacks.

All work slot by slot, so that a network's neighbours in its stack do not influence it. Given a rate on a device, they
take the forms that read it there and ask the host for nothing, so that a step can be captured as a graph.

S = stack, M, N = rows and columns of one matrix.
"""

from collections.abc import Callable
from typing import Any, overload

import torch
from torch import Tensor, nn

from pipeline.fit.networks import Siren
from pipeline.settings import FitSettings

__all__ = ["SkippingRMSprop", "StackedMuon", "hidden_matrices", "make_optimisers", "orthogonalise"]

MOMENTUM = {"sgd": 0.9, "rmsprop": 0.0, "muon": 0.95}
"""Where the settings do not say; PyTorch's defaults but for `sgd`, whose default is none."""
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
NEWTON_SCHULZ_STEPS = 5


def make_optimisers(
    net: nn.Module, settings: FitSettings, rate: Tensor | None = None
) -> tuple[torch.optim.Optimizer, ...]:
    """What `settings.optimizer` asks for; each parameter of `net` belongs to one of them.

    `muon` is Muon for `hidden_matrices` and AdamW for all else, at the same rate. With a `rate` () float32 on the
    device of `net`, that is the learning rate of all of them, whatever value it has at a step.
    """
    optimizers = _made(net, settings, on_device=rate is not None)
    for group in (group for optimizer in optimizers for group in optimizer.param_groups):
        if rate is not None:  # Only now: PyTorch's constructors read it.
            group["lr"] = rate
    return optimizers


def _made(net: nn.Module, settings: FitSettings, *, on_device: bool) -> tuple[torch.optim.Optimizer, ...]:
    rate, decay, parameters = settings.learning_rate, settings.weight_decay, list(net.parameters())
    momentum = MOMENTUM.get(settings.optimizer, 0.0) if settings.momentum is None else settings.momentum
    match settings.optimizer:
        case "sgd":
            fused = on_device or None
            return (torch.optim.SGD(parameters, lr=rate, momentum=momentum, weight_decay=decay, fused=fused),)
        case "rmsprop":
            forms = {"foreach": True, "capturable": True} if on_device else {}
            return (SkippingRMSprop(parameters, lr=rate, momentum=momentum, weight_decay=decay, **forms),)
        case "adam":
            return (torch.optim.Adam(parameters, lr=rate, weight_decay=decay, fused=True, capturable=on_device),)
        case "adamw":
            return (torch.optim.AdamW(parameters, lr=rate, weight_decay=decay, fused=True, capturable=on_device),)
        case "muon":
            matrices = hidden_matrices(net)
            taken = {id(parameter) for parameter in matrices}
            others = [parameter for parameter in parameters if id(parameter) not in taken]
            adam = torch.optim.AdamW(others, lr=rate, weight_decay=decay, fused=True, capturable=on_device)
            return (
                (StackedMuon(matrices, lr=rate, weight_decay=decay, momentum=momentum), adam) if matrices else (adam,)
            )


def hidden_matrices(net: nn.Module) -> list[Tensor]:
    """The weights (S, M, N) between two layers of units.

    Not the layer that reads coordinates and not one that gives a single value, neither of which has a spectrum; but the
    last layer of a separable DNA's side, which gives a row of its factor, and is inside f(x, y) = sum_k a_k(x) b_k(y).
    """
    sirens = [module for module in net.modules() if isinstance(module, Siren)]
    found: list[Tensor] = []
    for siren in sirens:
        found += list(siren.weights)[1:]
        found += [siren.out_weight] if siren.out_weight.shape[-1] > 1 else []
    return found


class _Skipping(torch.optim.Optimizer):
    """Takes no step where the gradient scaler has found an overflow, as PyTorch's fused optimisers do: the scaler hands
    over `found_inf` () on the device, in place of reading it."""

    _step_supports_amp_scaling = True

    def _unless_overflow(self, step: Callable[[], None]) -> None:
        found = getattr(self, "found_inf", None)
        if found is None:
            step()
            return
        before = [(tensor, tensor.clone()) for tensor in self._tensors()]
        step()
        known = {id(tensor) for tensor, _ in before}
        before += [(tensor, torch.zeros_like(tensor)) for tensor in self._tensors() if id(tensor) not in known]
        for tensor, old in before:
            tensor.copy_(torch.where(found.to(tensor.device) == 0, tensor, old))

    def _tensors(self) -> list[Tensor]:
        """Parameters, and what is known of them; that starts at 0."""
        parameters = [parameter for group in self.param_groups for parameter in group["params"]]
        known = [value for state in self.state.values() for value in state.values() if isinstance(value, Tensor)]
        return parameters + known


class SkippingRMSprop(_Skipping, torch.optim.RMSprop):
    """PyTorch's, without a word to the host under a gradient scaler."""

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """One update of every parameter that has a gradient."""
        self._unless_overflow(super().step)


class StackedMuon(_Skipping):
    """Muon (Jordan et al. 2024) for parameters (..., M, N): each matrix gets an update of singular values near 1.

    `torch.optim.Muon` with `adjust_lr_fn="match_rms_adamw"`, which takes one matrix a parameter: the rate is scaled by
    0.2 sqrt(max(M, N)), so that an update is as large as one of AdamW (Liu et al. 2025, section 2.2).
    """

    def __init__(self, parameters: list[Tensor], *, lr: float, weight_decay: float, momentum: float) -> None:
        super().__init__(parameters, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})

    @overload
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """One update of every parameter that has a gradient; a closure is refused."""
        if closure is not None:
            raise ValueError("`closure` must be None. Got a function.")
        self._unless_overflow(self._step)
        return None

    def _step(self) -> None:
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, parameter.grad, group)

    def _update(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        state = self.state[parameter]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(parameter)
        buffer = state["momentum_buffer"].lerp_(gradient, 1 - group["momentum"])
        update = orthogonalise(gradient.lerp(buffer, group["momentum"]))  # Nesterov's look ahead.
        scale = 0.2 * max(parameter.shape[-2:]) ** 0.5
        rate = group["lr"]
        parameter.mul_(1 - rate * group["weight_decay"])
        if isinstance(rate, Tensor):
            parameter.sub_(update * (rate * scale))
        else:
            parameter.sub_(update, alpha=rate * scale)


def orthogonalise(matrices: Tensor) -> Tensor:
    """U V^T of each matrix U S V^T, nearly: singular values come out between 0.7 and 1.2 but for those next to 0.

    Five quintic Newton-Schulz steps (Jordan et al. 2024), in float32 where PyTorch's own take bfloat16: these matrices
    are small.

    - `matrices`: float32 (..., M, N); the result has the same shape.
    """
    is_tall = matrices.shape[-2] > matrices.shape[-1]
    current: Tensor = matrices.mT if is_tall else matrices
    # The Frobenius norm bounds the spectral one, which must not exceed 1.
    current = current / current.flatten(-2).norm(dim=-1).clamp(min=1e-7)[..., None, None]
    first, third, fifth = NEWTON_SCHULZ
    for _ in range(NEWTON_SCHULZ_STEPS):
        gram = current @ current.mT
        current = first * current + (third * gram + fifth * gram @ gram) @ current
    return current.mT if is_tall else current
