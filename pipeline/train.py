"""The training loop of a stack of DNAs: Adam, full precision masters, finite checks, best state, exact resume."""

import logging
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dna_zoo.errors import FitDivergedError
from pipeline.problem import Movable, Problem, generator_for
from pipeline.settings import FitSettings

__all__ = ["TrainResult", "Trainer", "learning_rate_at", "save_tensors"]

log = logging.getLogger(__name__)

WARMUP_SHARE = 0.05
HISTORY_POINTS = 200
AUTOCAST = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainResult:
    """What training left: the best networks are loaded into the stack."""

    losses: tuple[float, ...]
    """Best training loss of each slot, standardised."""
    steps: int
    stopped_early: bool
    history: tuple[dict[str, float], ...]
    """`step`, `epoch`, `learning_rate`, `loss` (mean over the tensors), `null_loss` (mean over their nulls)."""


def learning_rate_at(step: int, total: int, settings: FitSettings) -> float:
    """Constant, or a linear warm-up over 5 % of the steps and a half cosine down to 0."""
    if settings.schedule == "constant":
        return settings.learning_rate
    warmup = max(int(WARMUP_SHARE * total), 1)
    if step < warmup:
        return settings.learning_rate * (step + 1) / warmup
    return settings.learning_rate * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(total - warmup, 1)))


def save_tensors(value: Any, path: Path) -> None:
    """`torch.save` that is there whole or not at all; only tensors and plain containers, so `weights_only` loads it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as file:  # Given a path, torch writes its name into the file.
            torch.save(value, file)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


class Trainer:
    """One stack, one problem. `run` starts at the checkpoint, if there is one, and ends with the best state loaded.

    Each slot is its own fit: losses, clipping and the best state are kept slot by slot, and Adam works element by
    element, so a slot's neighbours do not influence it.
    """

    def __init__(
        self,
        problem: Problem,
        net: nn.Module,
        settings: FitSettings,
        *,
        seed: int,
        labels: Sequence[str],
        num_real: int,
        total_steps: int,
        checkpoint: Path | None = None,
        on_step: Callable[[int], None] = lambda step: None,
    ) -> None:
        """`labels` names each slot for error messages; the first `num_real` slots are tensors, the rest are nulls."""
        self.problem, self.net, self.settings, self.seed = problem, net, settings, seed
        self.labels, self.num_real, self.total_steps = labels, num_real, total_steps
        self.checkpoint, self.on_step = checkpoint, on_step
        self.device = next(net.parameters()).device
        self.optimizer = torch.optim.Adam(net.parameters(), lr=settings.learning_rate, fused=True)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=settings.precision == "fp16")
        self.best = {name: parameter.detach().clone() for name, parameter in net.named_parameters()}
        self.best_losses = torch.full((problem.num_slots,), math.inf, device=self.device)
        self.window = torch.zeros(problem.num_slots, device=self.device)
        self.best_step = 0
        self.step = 0
        self.history: list[dict[str, float]] = []

    def run(self) -> TrainResult:
        """Train to the end, or until no slot has improved for `patience` epochs."""
        self._resume()
        stopped_early = False
        while self.step < self.total_steps:
            self._one_step()
            self._move()
            self.on_step(self.step)
            stopped_early = self._is_stale()
            if stopped_early:
                break
            if self.step % (self.settings.checkpoint_every * self.problem.steps_per_epoch) == 0:
                self._save()
        self._judge_final_state()
        with torch.no_grad():
            for name, parameter in self.net.named_parameters():
                parameter.copy_(self.best[name])
        return TrainResult(
            losses=tuple(self.best_losses.tolist()),
            steps=self.step,
            stopped_early=stopped_early,
            history=tuple(self.history),
        )

    def _losses(self, step: int) -> Tensor:
        dtype = AUTOCAST[self.settings.precision]
        with torch.autocast(self.device.type, dtype=dtype, enabled=dtype is not None):
            return self.problem.loss(self.net, generator_for(self.seed, step))

    def _one_step(self) -> None:
        rate = learning_rate_at(self.step, self.total_steps, self.settings)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        losses = self._losses(self.step)
        self._check_finite(losses, "loss")
        self._observe(losses.detach(), rate)
        self.optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(losses.sum()).backward()  # type: ignore[no-untyped-call]
        self.scaler.unscale_(self.optimizer)
        self._clip()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.step += 1

    def _move(self) -> None:
        """At `num_moves` steps, evenly through the training, the problem is moved to suit the networks.

        A best state from before was best in other places: it is forgotten.
        """
        epochs, now = self.total_steps // self.problem.steps_per_epoch, self.step / self.problem.steps_per_epoch
        parts = self.settings.num_moves + 1
        if not isinstance(self.problem, Movable) or now not in [epochs * part // parts for part in range(1, parts)]:
            return
        self.problem.move(self.net)
        self.best_losses = torch.full_like(self.best_losses, math.inf)
        self.best_step = self.step

    def _check_finite(self, values: Tensor, what: str) -> None:
        finite = torch.isfinite(values)
        if not bool(finite.all()):
            label = self.labels[int(torch.nonzero(~finite)[0])]
            raise FitDivergedError(
                f"The {what} of {label} became non-finite at step {self.step} of {self.total_steps}.",
                hint="Lower `--learning-rate`, or use `--precision fp32`.",
            )

    def _clip(self) -> None:
        """Scale each slot's gradient to a norm of at most `clip_norm`, after checking that it is finite."""
        gradients = [p.grad for p in self.net.parameters() if p.grad is not None]
        squares = torch.stack([g.flatten(1).square().sum(dim=1) for g in gradients]).sum(dim=0)
        norms = squares.sqrt()
        if self.settings.precision != "fp16":  # With fp16 an overflow is the scaler's to skip.
            self._check_finite(norms, "gradient norm")
        scale = (self.settings.clip_norm / (norms + 1e-12)).clamp(max=1.0)
        for gradient in gradients:
            gradient.mul_(scale.view(-1, *[1] * (gradient.ndim - 1)))

    def _observe(self, losses: Tensor, rate: float) -> None:
        """Judge the present state by this epoch's mean loss; keep it slot by slot where it is the best so far."""
        self.window += losses
        if (self.step + 1) % self.problem.steps_per_epoch:
            return
        means = self.window / self.problem.steps_per_epoch
        self.window = torch.zeros_like(self.window)
        self._keep_better(means)
        epoch = self.step // self.problem.steps_per_epoch
        if epoch % max(self.total_steps // self.problem.steps_per_epoch // HISTORY_POINTS, 1) == 0:
            self._record(means, rate)

    def _keep_better(self, losses: Tensor) -> None:
        better = losses < self.best_losses
        if not bool(better.any()):
            return
        self.best_step = self.step
        self.best_losses = torch.where(better, losses, self.best_losses)
        for name, parameter in self.net.named_parameters():
            mask = better.view(-1, *[1] * (parameter.ndim - 1))
            torch.where(mask, parameter.detach(), self.best[name], out=self.best[name])

    def _judge_final_state(self) -> None:
        """The state after the last step has not been seen by `_observe` yet."""
        with torch.no_grad():
            rounds = [self._losses(self.total_steps + extra) for extra in range(self.problem.steps_per_epoch)]
        losses = torch.stack(rounds).mean(dim=0)
        self._keep_better(losses)
        self._record(losses, 0.0)

    def _record(self, losses: Tensor, rate: float) -> None:
        real, null = losses[: self.num_real], losses[self.num_real :]
        entry = {
            "step": float(self.step),
            "epoch": self.step / self.problem.steps_per_epoch,
            "learning_rate": rate,
            "loss": float(real.mean()),
            "r2": 1 - float(real.mean()),
        }
        if len(null):
            entry |= {"null_loss": float(null.mean()), "null_r2": 1 - float(null.mean())}
        self.history.append(entry)

    def _is_stale(self) -> bool:
        patience = self.settings.patience * self.problem.steps_per_epoch
        return patience > 0 and self.step - self.best_step > patience

    def _save(self) -> None:
        if self.checkpoint is None:
            return
        state = {
            "step": self.step,
            "best_step": self.best_step,
            "net": self.net.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "best": self.best,
            "best_losses": self.best_losses,
            "window": self.window,
            "history": self.history,
            "places": self.problem.places if isinstance(self.problem, Movable) else [],
        }
        save_tensors(state, self.checkpoint)

    def _resume(self) -> None:
        if self.checkpoint is None or not self.checkpoint.exists():
            return
        state = torch.load(self.checkpoint, weights_only=True, map_location=self.device)
        self.net.load_state_dict(state["net"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        if isinstance(self.problem, Movable):
            self.problem.arrange(state["places"])
        self.best, self.best_losses, self.window = state["best"], state["best_losses"], state["window"]
        self.step, self.best_step, self.history = state["step"], state["best_step"], state["history"]
        log.info("Going on at step %d of %d from %s.", self.step, self.total_steps, self.checkpoint.name)
