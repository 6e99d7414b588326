"""Training with its curve: AdamW, warm-up, cosine decay, the same budget for every start."""

from dataclasses import dataclass

import torch
from transformers import PreTrainedModel

from benchmarks.initialise.problems import Problem, Score, draw_batch, score
from benchmarks.population.lessons import share_of_rate

__all__ = ["Curve", "train"]

MAX_GRADIENT_NORM = 1.0
NUM_POINTS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """Scores on the test while training."""

    steps: tuple[int, ...]
    scores: tuple[Score, ...]

    @property
    def last(self) -> Score:
        return self.scores[-1]


def train(
    problem: Problem,
    model: PreTrainedModel,
    *,
    seed: int,
    size: int | None = None,
    is_source: bool = False,
) -> Curve:
    """Train in place; `seed` decides the examples and their order. Sources have their last score alone."""
    generator = torch.Generator().manual_seed(seed)
    draw = draw_batch(problem, is_source=is_source, size=size, seed=seed)
    total = problem.source_steps if is_source else problem.steps
    optimiser = torch.optim.AdamW(
        [
            {"params": [p for p in model.parameters() if p.ndim > 1], "weight_decay": problem.weight_decay},
            {"params": [p for p in model.parameters() if p.ndim <= 1], "weight_decay": 0.0},
        ],
        lr=problem.learning_rate,
        betas=(0.9, 0.98),
        fused=True,
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: share_of_rate(step, total))
    every = total if is_source else max(total // NUM_POINTS, 1)
    steps, scores = [0], [score(problem, model)]
    model.train()
    for step in range(1, total + 1):
        optimiser.zero_grad()
        model(**draw(generator)).loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), MAX_GRADIENT_NORM, foreach=True)
        optimiser.step()
        schedule.step()
        if step % every == 0 or step == total:
            steps.append(step)
            scores.append(score(problem, model))
    model.eval()
    return Curve(steps=tuple(steps), scores=tuple(scores))
