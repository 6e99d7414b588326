"""Build a shared pattern from what was measured in lineages, and combine patterns."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from dna_zoo.errors import SettingsError
from library.patterns.evidence import judge_parts, shrunk_mean
from library.patterns.measure import Measures
from library.patterns.records import Key, Lineage, Part, SharedPattern

__all__ = ["build_pattern", "combine"]

CANONICAL = "canonical"


def build_pattern(
    name: str,
    lineages: Sequence[Lineage],
    measured: Sequence[Measures],
    shuffled: Sequence[Sequence[Measures]],
    *,
    selection: str = "",
    left_out: Mapping[str, str] | None = None,
    seed: int = 0,
) -> SharedPattern:
    """The shrunk mean of the lineages, each counting once, with the evidence for every part.

    - `measured[i]`, `shuffled[i][j]`: lineage i, and draw j of its shuffled copies.

    Canonical forms are kept only where they explain left-out lineages: elsewhere averaging leaves nothing of them.
    """
    num_draws = min(map(len, shuffled), default=0)
    evidence = judge_parts(measured, [each[:num_draws] for each in shuffled], seed=seed) if num_draws else {}
    parts = {}
    for key in sorted({key for found in measured for key in found}):
        own = [found[key] for found in measured if key in found]
        values = shrunk_mean(np.stack(own)).astype(np.float32)
        part = Part(values=values, lineages=len(own), evidence=evidence.get(key))
        if key.term != CANONICAL or (part.evidence is not None and part.is_used):
            parts[key] = part
    return SharedPattern(
        name=name,
        parts=parts,
        lineages=tuple(lineages),
        selection=selection,
        left_out=dict(left_out or {}),
        num_draws=num_draws,
        seed=seed,
    )


def combine(name: str, patterns: Sequence[SharedPattern], weights: Sequence[float]) -> SharedPattern:
    """The weighted mean of patterns; what only some of them have is the mean of those.

    Parts that explain nothing stay out. Raises `SettingsError` for weights that are no weights, or one too few.
    """
    is_finite = all(map(math.isfinite, weights))
    if len(weights) != len(patterns) or not is_finite or min(weights, default=0.0) < 0 or sum(weights) <= 0:
        raise SettingsError(
            f"{len(patterns)} patterns cannot be combined with the weights {', '.join(map(str, weights)) or 'none'}.",
            hint="Give one finite weight for each pattern, none of them negative, such as `--weights 0.7 0.3`.",
        )
    shares = [weight / sum(weights) for weight in weights]
    keys = sorted({key for pattern in patterns for key, part in pattern.parts.items() if part.is_used})
    lineages = {lineage.name: lineage for pattern in patterns for lineage in pattern.lineages}
    combined: dict[str, float] = {}
    for pattern, share in zip(patterns, shares, strict=True):
        combined[pattern.name] = combined.get(pattern.name, 0.0) + float(share)
    return SharedPattern(
        name=name,
        parts={key: part for key in keys if (part := _mixed(key, patterns, shares)) is not None},
        lineages=tuple(lineages.values()),
        combined=combined,
    )


def _mixed(key: Key, patterns: Sequence[SharedPattern], shares: Sequence[float]) -> Part | None:
    """The mean over the patterns that use the part and have a share; None where there is none."""
    pairs = [
        (pattern.parts[key], share) for pattern, share in zip(patterns, shares, strict=True) if key in pattern.parts
    ]
    own = [(part, share) for part, share in pairs if part.is_used and share > 0]
    if not own:
        return None
    values = np.average([part.values for part, _ in own], axis=0, weights=[share for _, share in own])
    return replace(own[0][0], values=values.astype(np.float32), lineages=_lineages(own, patterns), evidence=None)


def _lineages(own: Sequence[tuple[Part, float]], patterns: Sequence[SharedPattern]) -> int:
    """How many lineages a part of a combination may have: those of its patterns, each once, as far as it is known."""
    known = {lineage.name for pattern in patterns for lineage in pattern.lineages}
    most = sum(part.lineages for part, _ in own)
    return max(max(part.lineages for part, _ in own), min(most, len(known) or most))
