"""The training loop of a stack of DNAs: full precision masters, finite checks, best state, exact resume.

A step asks the device for nothing. What the host must know, whether all is finite, when a network last improved, the
history, is noted on the device (`pipeline.fit.notes`) and read at a check, every `Pace.check_every` steps.
"""

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn

from dna_zoo.errors import FitDivergedError
from pipeline.fit.capturing import CudaRecorder, Graphs, Recorder, side_stream
from pipeline.fit.draws import DeviceDraws, Draws, HostDraws
from pipeline.fit.notes import GRADIENT, LOSS, ROWS, Notes
from pipeline.fit.optimisers import make_optimisers
from pipeline.fit.pace import Pace, pace_of
from pipeline.fit.problem import Permutable, Problem
from pipeline.fit.schedules import Plateau, learning_rate_at, learning_rates
from pipeline.kept.sealed import load_tensors, save_tensors
from pipeline.settings import FitSettings

__all__ = ["Measure", "TrainResult", "Trainer"]

log = logging.getLogger(__name__)

HISTORY_POINTS = 200
AUTOCAST = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}


class Measure(Protocol):
    """What else the history is to say of a stack."""

    @property
    def num_sums(self) -> int:
        """How many numbers `take` gives."""

    def take(self, net: nn.Module) -> Tensor:
        """(`num_sums`,) of the moment, on the device; nothing is read."""

    def tell(self, taken: Sequence[float], losses: Sequence[float]) -> Mapping[str, float]:
        """What the history says, by what was taken, and the mean losses (S,) of the slots in the epoch."""


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
        measure: Measure | None = None,
        pace: Pace | None = None,
        recorder: Recorder | None = None,
    ) -> None:
        """`labels` names each slot for error messages; the first `num_real` slots are tensors, the rest are nulls.

        - What `measure` says of `r2` and `null_r2` replaces 1 - loss in the history.
        - `pace`: that of the device of `net`, unless given; where it captures, `recorder` records, CUDA's unless given.
        """
        self.problem, self.net, self.settings, self.seed = problem, net, settings, seed
        self.labels, self.num_real, self.total_steps = labels, num_real, total_steps
        self.checkpoint, self.on_step, self.measure = checkpoint, on_step, measure
        self.device = next(net.parameters()).device
        self.pace = pace or pace_of(self.device)
        self.now = torch.zeros((), dtype=torch.int64, device=self.device)
        """The step, as the device knows it."""
        self.rate = torch.zeros(1, device=self.device)
        self.draws: Draws = DeviceDraws(seed) if self.pace.on_device else HostDraws(seed, self.device)
        self.rates = learning_rates(total_steps, settings, self.device) if self.pace.on_device else None
        self.optimizers = make_optimisers(net, settings, None if self.rates is None else self.rate[0])
        epochs = math.ceil(total_steps / problem.steps_per_epoch)
        is_plateau = settings.schedule == "plateau"
        self.plateau = Plateau(problem.num_slots, epochs=epochs, device=self.device) if is_plateau else None
        self.scaler = self._new_scaler()
        self.best = {name: parameter.detach().clone() for name, parameter in net.named_parameters()}
        self.best_losses = torch.full((problem.num_slots,), math.inf, device=self.device)
        self.window = torch.zeros(problem.num_slots, device=self.device)
        num_sums = measure.num_sums if measure else 0
        width = problem.num_slots * (2 if is_plateau else 1) + num_sums
        self.notes = Notes(problem.num_slots, width, self.device)
        self.graphs = self._graphs(recorder)
        self.best_step = 0
        self.step = 0
        self.next_check = 0
        self.pending: list[tuple[int, float]] = []
        """Step and rate of the rows of the history that are noted and not yet read."""
        self.history: list[dict[str, float]] = []

    def _graphs(self, recorder: Recorder | None) -> Graphs:
        if not self.pace.captures:
            return Graphs(None)
        if self.settings.accumulate > 1:
            log.info("Steps of several batches are not captured as CUDA graphs: they run operation by operation.")
            return Graphs(None)
        return Graphs(recorder or CudaRecorder(), self._renew_scaler)

    def _new_scaler(self) -> torch.amp.GradScaler:
        return torch.amp.GradScaler(self.device.type, enabled=self.settings.precision == "fp16")

    def _renew_scaler(self) -> None:
        """A recording that broke off left the scaler in the middle of a step."""
        kept = self.scaler.state_dict()
        self.scaler = self._new_scaler()
        self.scaler.load_state_dict(kept)

    def run(self) -> TrainResult:
        """Train to the end, or until no slot has improved for `patience` epochs."""
        with side_stream(self.device):
            self._resume()
            self._plan_check()
            stopped_early = self._train()
            self._judge_final_state()
            self._take_best()
            return TrainResult(
                losses=tuple(self.best_losses.tolist()),
                steps=self.step,
                stopped_early=stopped_early,
                history=tuple(self.history),
            )

    def _train(self) -> bool:
        """Whether it stopped early."""
        while self.step < self.total_steps:
            self._one_step()
            is_to_move, is_to_save = self._is_to_move(), self._is_to_save()
            is_check = self.step >= self.next_check or is_to_move or is_to_save or len(self.pending) == ROWS
            if is_check:
                self._check()
            if is_to_move:
                self._move()
            self.on_step(self.step)
            if is_check and self._is_stale():
                return True
            if is_to_save:
                self._save()
        return False

    def _take_best(self) -> None:
        with torch.no_grad():
            for name, parameter in self.net.named_parameters():
                parameter.copy_(self.best[name])

    def _losses(self, step: int, now: Tensor) -> Tensor:
        dtype = AUTOCAST[self.settings.precision]
        with torch.autocast(self.device.type, dtype=dtype, enabled=dtype is not None):
            return self.problem.loss(self.net, self.draws.at(step, now))

    def _one_step(self) -> None:
        """One batch, and a step of the optimiser once `accumulate` of them, or the last ones, are together."""
        done = self.step % self.settings.accumulate
        together = min(self.settings.accumulate, self.total_steps - self.step + done)
        ends_epoch, is_noted = self._ends_epoch(), self._is_noted()
        rate = learning_rate_at(self.step, self.total_steps, self.settings)
        if self.rates is None:
            self._set_rate(rate)

        def work() -> None:
            """The same for all steps of a kind, but for what lies on the device."""
            losses = self._losses(self.step, self.now)
            self.notes.watch(LOSS, losses.detach(), self.now)
            self._observe(losses.detach(), ends_epoch=ends_epoch, is_noted=is_noted)
            if done == 0:
                self.net.zero_grad(set_to_none=True)
            self.scaler.scale(losses.sum() / together).backward()  # type: ignore[no-untyped-call]
            if done + 1 == together:
                self._update()
            self.now.add_(1)

        self.graphs.run((ends_epoch, is_noted), work)
        if is_noted:
            self.pending.append((self.step, rate))
        self.step += 1

    def _set_rate(self, rate: float | Tensor) -> None:
        for group in (group for optimizer in self.optimizers for group in optimizer.param_groups):
            group["lr"] = rate

    def _update(self) -> None:
        """A step of the optimisers along the gradients that are there."""
        if self.rates is not None:
            torch.index_select(self.rates, 0, self.now[None], out=self.rate)
        for optimizer in self.optimizers:
            self.scaler.unscale_(optimizer)
        self._clip()
        parameters = list(self.net.parameters())
        before = [parameter.detach().clone() for parameter in parameters] if self.plateau else []
        for optimizer in self.optimizers:
            self.scaler.step(optimizer)
        self.scaler.update()
        if self.plateau:
            self.plateau.shorten(parameters, before)

    def _is_to_move(self) -> bool:
        """At `num_moves` steps, evenly through the training, the problem is moved to suit the networks."""
        epochs, now = self.total_steps // self.problem.steps_per_epoch, self.step / self.problem.steps_per_epoch
        parts = self.settings.num_moves + 1
        return isinstance(self.problem, Permutable) and now in [epochs * part // parts for part in range(1, parts)]

    def _move(self) -> None:
        """The best state so far was best at the old positions: it is forgotten."""
        assert isinstance(self.problem, Permutable)
        self.problem.move(self.net)
        self.graphs.forget()
        self.best_losses.fill_(math.inf)
        self._improved_at(self.step)
        if self.plateau:
            self.plateau.forget()

    def _improved_at(self, step: int) -> None:
        """The last improvement, for the host and for the device."""
        self.best_step = step
        self.notes.best_step.fill_(step)
        self._plan_check()

    def _plan_check(self) -> None:
        """The next one: soon, and no later than the first step at which patience may be at its end."""
        patience = self.settings.patience * self.problem.steps_per_epoch
        self.next_check = self.step + self.pace.check_every
        if patience:
            self.next_check = min(self.next_check, max(self.best_step + patience, self.step) + 1)

    def _check(self) -> None:
        """Read what the device has noted since the last check; a fit that has diverged goes back to its best state."""
        read = self.notes.read(len(self.pending))
        if read.diverged is not None:
            self._take_best()
            step, what, slot = read.diverged
            raise FitDivergedError(
                f"The {what} of {self.labels[slot]} became non-finite at step {step} of {self.total_steps}.",
                hint="Lower `--learning-rate`, or use `--precision fp32`.",
            )
        for (step, rate), row in zip(self.pending, read.rows, strict=True):
            self.history.append(self._entry(step, rate, row))
        self.pending.clear()
        self.best_step = read.best_step
        self._plan_check()

    def _clip(self) -> None:
        """Scale each slot's gradient to a norm of at most `clip_norm`, after noting whether it is finite."""
        gradients = [p.grad for p in self.net.parameters() if p.grad is not None]
        squares = torch.stack([g.flatten(1).square().sum(dim=1) for g in gradients]).sum(dim=0)
        norms = squares.sqrt()
        if self.settings.precision != "fp16":  # With fp16 an overflow is the scaler's to skip.
            self.notes.watch(GRADIENT, norms, self.now)
        scale = (self.settings.clip_norm / (norms + 1e-12)).clamp(max=1.0)
        for gradient in gradients:
            gradient.mul_(scale.view(-1, *[1] * (gradient.ndim - 1)))

    def _ends_epoch(self) -> bool:
        return (self.step + 1) % self.problem.steps_per_epoch == 0

    def _is_noted(self) -> bool:
        """Whether this step gives a point of the history."""
        epoch = self.step // self.problem.steps_per_epoch
        every = max(self.total_steps // self.problem.steps_per_epoch // HISTORY_POINTS, 1)
        return self._ends_epoch() and epoch % every == 0

    def _observe(self, losses: Tensor, *, ends_epoch: bool, is_noted: bool) -> None:
        """Judge the present state by this epoch's mean loss; keep it slot by slot where it is the best so far."""
        self.window.add_(losses)
        if not ends_epoch:
            return
        means = self.window / self.problem.steps_per_epoch
        self.window.zero_()
        self._keep_better(means)
        if is_noted:
            self._note(means)
        if self.plateau:
            self.plateau.observe(means)

    def _keep_better(self, losses: Tensor) -> None:
        better = losses < self.best_losses
        self.notes.improved(better, self.now)
        torch.where(better, losses, self.best_losses, out=self.best_losses)
        for name, parameter in self.net.named_parameters():
            mask = better.view(-1, *[1] * (parameter.ndim - 1))
            torch.where(mask, parameter.detach(), self.best[name], out=self.best[name])

    def _judge_final_state(self) -> None:
        """The state after the last step has not been seen by `_observe` yet."""
        with torch.no_grad():
            rounds = [
                self._losses(self.total_steps + extra, torch.full_like(self.now, self.total_steps + extra))
                for extra in range(self.problem.steps_per_epoch)
            ]
        losses = torch.stack(rounds).mean(dim=0)
        self._keep_better(losses)
        self._note(losses)
        self.pending.append((self.step, 0.0))
        self._check()

    def _note(self, losses: Tensor) -> None:
        """A row of the history, on the device."""
        factors = [self.plateau.factors] if self.plateau else []
        self.notes.write([losses, *factors, *([self.measure.take(self.net)] if self.measure else [])])

    def _entry(self, step: int, rate: float, row: Sequence[float]) -> dict[str, float]:
        """A point of the history of a row that was read."""
        count = self.problem.num_slots
        losses = torch.tensor(row[:count])
        if self.plateau:
            factors, count = torch.tensor(row[count : 2 * count]), 2 * count
            rate *= float(factors[: self.num_real].mean())
        real, null = losses[: self.num_real], losses[self.num_real :]
        entry = {
            "step": float(step),
            "epoch": step / self.problem.steps_per_epoch,
            "learning_rate": rate,
            "loss": float(real.mean()),
            "r2": 1 - float(real.mean()),
        }
        if len(null):
            entry |= {"null_loss": float(null.mean()), "null_r2": 1 - float(null.mean())}
        return entry | (dict(self.measure.tell(row[count:], losses.tolist())) if self.measure else {})

    def _is_stale(self) -> bool:
        patience = self.settings.patience * self.problem.steps_per_epoch
        return patience > 0 and self.step - self.best_step > patience

    def _is_to_save(self) -> bool:
        every = self.settings.checkpoint_every * self.problem.steps_per_epoch
        return self.checkpoint is not None and self.step % every == 0

    def _save(self) -> None:
        assert self.checkpoint is not None
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
        state = None if self.checkpoint is None else load_tensors(self.checkpoint, self.device)
        if self.checkpoint is None or state is None:
            return
        self.net.load_state_dict(state["net"])
        for optimizer, known in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(known)
        if self.rates is not None:
            self._set_rate(self.rate[0])  # Theirs was a copy.
        for name, parameter in self.net.named_parameters():
            parameter.grad = state["gradients"].get(name)
        if self.plateau:
            self.plateau.load_state_dict(state["plateau"])
        self.scaler.load_state_dict(state["scaler"])
        if isinstance(self.problem, Permutable):
            self.problem.arrange(state["places"])
        self.best = state["best"]
        self.best_losses.copy_(state["best_losses"])
        self.window.copy_(state["window"])
        self.step, self.history = state["step"], state["history"]
        self.now.fill_(self.step)
        self._improved_at(state["best_step"])
        log.info("Going on at step %d of %d from %s.", self.step, self.total_steps, self.checkpoint.name)
