"""The training loop of a stack of DNAs: full precision masters, finite checks, best state, exact resume."""

import logging
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dna_zoo.errors import FitDivergedError
from pipeline.fit.optimisers import make_optimisers
from pipeline.fit.problem import Permutable, Problem, generator_for
from pipeline.fit.schedules import Plateau, learning_rate_at
from pipeline.settings import FitSettings

__all__ = ["Measure", "TrainResult", "Trainer", "save_tensors"]

log = logging.getLogger(__name__)

HISTORY_POINTS = 200
AUTOCAST = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}
Measure = Callable[[nn.Module, Tensor], Mapping[str, float]]
"""What else the history is to say of a stack, by itself and the mean losses (S,) of its slots in the epoch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainResult:
    """What training left: the best networks are loaded into the stack."""

    losses: tuple[float, ...]
    """Best training loss of each slot, standardised."""
    steps: int
    stopped_early: bool
    history: tuple[dict[str, float], ...]
    """Some 200 to 400 points: `step`, `epoch`, `learning_rate`, `loss` (mean over the tensors, standardised),
    `null_loss` (mean over their nulls), `r2`, `null_r2`, and what the trainer was given to measure. A step is a batch.
    With `plateau` the rate is the mean over the tensors' networks."""


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

    Each slot is its own fit: losses, clipping, learning rate and the best state are kept slot by slot, and optimisers
    work element by element or matrix by matrix, so a slot's neighbours do not influence it.
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
        measure: Measure = lambda net, losses: {},
    ) -> None:
        """`labels` names each slot for error messages; the first `num_real` slots are tensors, the rest are nulls.

        What `measure` says of `r2` and `null_r2` replaces 1 - loss in the history.
        """
        self.problem, self.net, self.settings, self.seed = problem, net, settings, seed
        self.labels, self.num_real, self.total_steps = labels, num_real, total_steps
        self.checkpoint, self.on_step, self.measure = checkpoint, on_step, measure
        self.device = next(net.parameters()).device
        self.optimizers = make_optimisers(net, settings)
        epochs = math.ceil(total_steps / problem.steps_per_epoch)
        is_plateau = settings.schedule == "plateau"
        self.plateau = Plateau(problem.num_slots, epochs=epochs, device=self.device) if is_plateau else None
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
        """One batch, and a step of the optimiser once `accumulate` of them, or the last ones, are together."""
        rate = learning_rate_at(self.step, self.total_steps, self.settings)
        losses = self._losses(self.step)
        self._check_finite(losses, "loss")
        self._observe(losses.detach(), rate)
        done = self.step % self.settings.accumulate
        if done == 0:
            self.net.zero_grad(set_to_none=True)
        together = min(self.settings.accumulate, self.total_steps - self.step + done)
        self.scaler.scale(losses.sum() / together).backward()  # type: ignore[no-untyped-call]
        if done + 1 == together:
            self._update(rate)
        self.step += 1

    def _update(self, rate: float) -> None:
        """A step of the optimisers along the gradients that are there."""
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate
            self.scaler.unscale_(optimizer)
        self._clip()
        parameters = list(self.net.parameters())
        before = [parameter.detach().clone() for parameter in parameters] if self.plateau else []
        for optimizer in self.optimizers:
            self.scaler.step(optimizer)
        self.scaler.update()
        if self.plateau:
            self.plateau.shorten(parameters, before)

    def _move(self) -> None:
        """At `num_moves` steps, evenly through the training, the problem is moved to suit the networks.

        The best state so far was best at the old positions: it is forgotten.
        """
        epochs, now = self.total_steps // self.problem.steps_per_epoch, self.step / self.problem.steps_per_epoch
        parts = self.settings.num_moves + 1
        if not isinstance(self.problem, Permutable) or now not in [epochs * part // parts for part in range(1, parts)]:
            return
        self.problem.move(self.net)
        self.best_losses = torch.full_like(self.best_losses, math.inf)
        self.best_step = self.step
        if self.plateau:
            self.plateau.forget()

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
        if self.plateau:
            rate *= float(self.plateau.factors[: self.num_real].mean())
            self.plateau.observe(means)
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
        self.history.append(entry | dict(self.measure(self.net, losses)))

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
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "gradients": self._gradients(),
            "plateau": self.plateau.state_dict() if self.plateau else {},
            "scaler": self.scaler.state_dict(),
            "best": self.best,
            "best_losses": self.best_losses,
            "window": self.window,
            "history": self.history,
            "places": self.problem.permutations if isinstance(self.problem, Permutable) else [],
        }
        save_tensors(state, self.checkpoint)

    def _gradients(self) -> dict[str, Tensor]:
        """Of the batches whose step is still to come."""
        if self.step % self.settings.accumulate == 0:
            return {}
        return {name: p.grad for name, p in self.net.named_parameters() if p.grad is not None}

    def _resume(self) -> None:
        if self.checkpoint is None or not self.checkpoint.exists():
            return
        state = torch.load(self.checkpoint, weights_only=True, map_location=self.device)
        self.net.load_state_dict(state["net"])
        for optimizer, known in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(known)
        for name, parameter in self.net.named_parameters():
            parameter.grad = state["gradients"].get(name)
        if self.plateau:
            self.plateau.load_state_dict(state["plateau"])
        self.scaler.load_state_dict(state["scaler"])
        if isinstance(self.problem, Permutable):
            self.problem.arrange(state["places"])
        self.best, self.best_losses, self.window = state["best"], state["best_losses"], state["window"]
        self.step, self.best_step, self.history = state["step"], state["best_step"], state["history"]
        log.info("Going on at step %d of %d from %s.", self.step, self.total_steps, self.checkpoint.name)
