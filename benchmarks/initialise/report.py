"""The table, the verdicts and the figure of the starts."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import t

from benchmarks.initialise.problems import CONFIRMATION, PROBLEMS
from patterndb.multiplicity import q_values

__all__ = ["Comparison", "compare", "draw", "page_lines", "page_table", "table"]

BASE, PATTERN, CONTROL = "default", "pattern", "shuffled pattern"
SCALES = (BASE, "transformers", "unit scale")
"""Starts that are a scale and nothing else."""
ALPHA = 0.05
OKABE_ITO = ("#000000", "#0072B2", "#56B4E9", "#E69F00", "#CC79A7", "#009E73", "#D55E00")
Float64 = npt.NDArray[np.float64]
Curves = Mapping[str, Any]
"""`steps`, and `loss` and `accuracy` (seeds, points), of one start on one problem and size."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One start beside the default one; differences are paired by seed, gains positive, with 95 % intervals of t."""

    problem: str
    size: int
    start: str
    seeds: int
    loss: float
    accuracy: float
    gain: float
    """Of the test loss (nats) at the end."""
    interval: float
    accuracy_gain: float
    accuracy_interval: float
    beyond: float | None = None
    """Of the pattern: how far its test loss at the end is below that of the pattern of shuffled models."""
    beyond_interval: float | None = None
    scale: str | None = None
    """Of the pattern: the scale that is best by this very loss, which is to the pattern's disadvantage; None where the
    default alone was run."""
    beyond_scale: float | None = None
    """How far the pattern's test loss at the end is below that of `scale`."""
    beyond_scale_interval: float | None = None
    p: float | None = None
    """Of the gain, two-sided; of one training there is none."""
    beyond_p: float | None = None
    beyond_scale_p: float | None = None
    steps: int | None
    """Until the mean test loss is at most the default's at the end; None where it never is."""

    @property
    def verdict(self) -> str:
        if self.start == BASE:
            return ""
        if self.gain > self.interval:
            return "better"
        return "worse" if self.gain < -self.interval else "no difference seen"


def compare(found: Mapping[str, Mapping[str, Mapping[str, Curves]]]) -> list[Comparison]:
    """Every start of every problem and size: `found[problem][size][start]`."""
    return [
        _comparison(problem, int(size), start, curves, starts)
        for problem, sizes in found.items()
        for size, starts in sizes.items()
        for start, curves in starts.items()
    ]


def _comparison(problem: str, size: int, start: str, curves: Curves, starts: Mapping[str, Curves]) -> Comparison:
    loss, accuracy = np.array(curves["loss"]), np.array(curves["accuracy"])
    base = starts[BASE]
    base_loss = np.array(base["loss"])
    last = {name: np.array(each["loss"])[:, -1] for name, each in starts.items()}
    control = last.get(CONTROL) if start == PATTERN else None
    beyond = None if control is None else control - last[start]
    scales = [name for name in SCALES if name in starts]
    scale = min(scales, key=lambda name: float(last[name].mean())) if start == PATTERN and len(scales) > 1 else None
    beyond_scale = None if scale is None else last[scale] - last[start]
    gain, interval = _paired(base_loss[:, -1] - loss[:, -1])
    accuracy_gain, accuracy_interval = _paired(accuracy[:, -1] - np.array(base["accuracy"])[:, -1])
    reached = np.flatnonzero(loss.mean(axis=0) <= base_loss[:, -1].mean())
    return Comparison(
        problem=problem,
        size=size,
        start=start,
        seeds=len(loss),
        loss=float(loss[:, -1].mean()),
        accuracy=float(accuracy[:, -1].mean()),
        gain=gain,
        interval=interval,
        accuracy_gain=accuracy_gain,
        accuracy_interval=accuracy_interval,
        beyond=None if beyond is None else _paired(beyond)[0],
        beyond_interval=None if beyond is None else _paired(beyond)[1],
        scale=scale,
        beyond_scale=None if beyond_scale is None else _paired(beyond_scale)[0],
        beyond_scale_interval=None if beyond_scale is None else _paired(beyond_scale)[1],
        p=None if start == BASE else _p_value(base_loss[:, -1] - loss[:, -1]),
        beyond_p=None if beyond is None else _p_value(beyond),
        beyond_scale_p=None if beyond_scale is None else _p_value(beyond_scale),
        steps=int(curves["steps"][reached[0]]) if len(reached) else None,
    )


def _paired(differences: Float64) -> tuple[float, float]:
    """Mean, and half the 95 % interval."""
    count = len(differences)
    error = float(differences.std(ddof=1)) / np.sqrt(count) if count > 1 else float("nan")
    return float(differences.mean()), float(t.ppf(0.975, count - 1) * error) if count > 1 else float("nan")


def _p_value(differences: Float64) -> float | None:
    """Of Student's t, two-sided; None where it cannot be had."""
    mean, error = float(differences.mean()), float(differences.std(ddof=1)) if len(differences) > 1 else 0.0
    return float(2 * t.sf(abs(mean) / error * np.sqrt(len(differences)), len(differences) - 1)) if error else None


def _tests(rows: Sequence[Comparison]) -> dict[tuple[float, float], float]:
    """Gain and p of each test of the table -> its q over all of them. Rows may share trainings, which count once."""
    found = {
        (gain, p)
        for row in rows
        for gain, p in ((row.gain, row.p), (row.beyond, row.beyond_p), (row.beyond_scale, row.beyond_scale_p))
        if gain is not None and p is not None
    }
    tests = sorted(found)
    return {test: q for test, q in zip(tests, q_values([p for _, p in tests]), strict=True) if q is not None}


def table(rows: Sequence[Comparison]) -> Iterator[str]:
    """Markdown."""
    headings = (
        "model",
        "training set",
        "start",
        "test loss",
        "gain",
        "accuracy",
        "gain",
        "steps to its loss",
        "verdict",
        "beyond shuffled",
    )
    yield f"| {' | '.join(headings)} |"
    yield "|---" * len(headings) + "|"
    for row in rows:
        gains = ("", "") if row.start == BASE else (
            f"{row.gain:+.3f} ± {row.interval:.3f}",
            f"{row.accuracy_gain:+.3f} ± {row.accuracy_interval:.3f}",
        )  # fmt: skip
        steps = "never" if row.steps is None else str(row.steps)
        figures = (f"{row.loss:.3f}", gains[0], f"{row.accuracy:.3f}", gains[1], steps)
        beyond = "" if row.beyond is None else f"{row.beyond:+.3f} ± {row.beyond_interval:.3f}"
        yield f"| {' | '.join((row.problem, f'{row.size:,}', row.start, *figures, row.verdict, beyond))} |"


def page_table(rows: Sequence[Comparison]) -> Iterator[str]:
    """Markdown, one row for each training set: gains of the test loss over the default start; bold where q over all
    tests of the table is at most `ALPHA`."""
    tests = _tests(rows)

    def cell(gain: float | None, interval: float | None, p: float | None) -> str:
        is_bold = gain is not None and p is not None and tests[gain, p] <= ALPHA
        return _gain(gain, interval, is_bold=is_bold)

    starts = list(dict.fromkeys(row.start for row in rows if row.start != BASE))
    headings = (
        "model",
        "training set",
        "seeds",
        "default's loss",
        *starts,
        "pattern beyond shuffled",
        "beyond the best scale",
    )
    yield f"| {' | '.join(headings)} |"
    yield "|---" * len(headings) + "|"
    for problem, size in dict.fromkeys((row.problem, row.size) for row in rows):
        own = {row.start: row for row in rows if (row.problem, row.size) == (problem, size)}
        pattern = own.get(PATTERN)
        beyond = cell(pattern.beyond, pattern.beyond_interval, pattern.beyond_p) if pattern else "–"
        scale = cell(pattern.beyond_scale, pattern.beyond_scale_interval, pattern.beyond_scale_p) if pattern else "–"
        scale += f" ({pattern.scale})" if pattern and pattern.scale else ""
        each = (own.get(start) for start in starts)
        gains = [cell(row.gain, row.interval, row.p) if row else "–" for row in each]
        cells = (problem, f"{size:,}", str(own[BASE].seeds), f"{own[BASE].loss:.3f}", *gains, beyond, scale)
        yield f"| {' | '.join(cells)} |"


def page_lines(rows: Sequence[Comparison], texts: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """What stands in docs/using.md: the table, the sizes of the texts, and how the confirmation ended."""
    yield from page_table(rows)
    yield ""
    yield from _multiplicity(rows)
    yield ""
    for name, text in texts.items():
        length = f"{text['train']:,} characters to learn from, {text['held_out']:,} held out"
        yield f"Text *{name}* ({text['source']}): {length}; by the frequency of"
        yield f"characters alone the loss is {text['blind']:.3f}."
        yield ""
    yield from _confirmation({row.problem: row for row in rows if row.start == PATTERN})


def _multiplicity(rows: Sequence[Comparison]) -> Iterator[str]:
    """How many tests stand in the table, and how many of them would be passed by chance."""
    tests = _tests(rows)
    passed, found = sum(p < ALPHA for _, p in tests), sum(q <= ALPHA for q in tests.values())
    yield f"Of {len(tests)} gains, those of the same trainings counted once, {passed} have an interval that leaves out"
    chance = f"if nothing helped or harmed, {ALPHA * len(tests):.0f} would"
    yield f"0; {chance}. {found} have q ≤ {ALPHA:g}, and are in bold."


def _confirmation(patterns: Mapping[str, Comparison]) -> Iterator[str]:
    """What is said of the text that no trial used, by one rule whichever way it ended."""
    row = patterns.get(CONFIRMATION)
    if row is None:
        yield f"**The confirmation on another text (*{CONFIRMATION}*) was not run yet.**"
        return
    has_structure = row.beyond is not None and row.beyond_interval is not None and row.beyond > row.beyond_interval
    gain, beyond = _gain(row.gain, row.interval), _gain(row.beyond, row.beyond_interval)
    ends = "confirms the finding" if row.gain > row.interval else "does not confirm the finding"
    yield f"**The confirmation on another text (*{CONFIRMATION}*) {ends}**: over the default start the pattern gains"
    yield f"{gain} nats. Over the pattern of shuffled models it gains {beyond}, so that structure is"
    yield f"{'' if has_structure else 'not '}seen to help."


def _gain(gain: float | None, interval: float | None, *, is_bold: bool | None = None) -> str:
    """Bold, where it is not said, if the interval leaves out 0."""
    if gain is None or interval is None:
        return "–"
    text = f"{gain:+.3f} ± {interval:.3f}"
    return f"**{text}**" if (abs(gain) > interval if is_bold is None else is_bold) else text


def draw(found: Mapping[str, Mapping[str, Mapping[str, Curves]]], path: Path) -> None:
    """Test loss by steps, a panel for each problem and size, with bands of the 95 % interval of the mean.

    A start has one colour in all panels, and one legend names those of any.
    """
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot as plt

    plt.rcParams["svg.hashsalt"] = "initialise"
    most = max(map(len, found.values()))
    names = dict.fromkeys(name for sizes in found.values() for starts in sizes.values() for name in starts)
    colours = dict(zip(names, OKABE_ITO, strict=False))
    chart, axes = plt.subplots(len(found), most, figsize=(3.4 * most, 2.6 * len(found)), squeeze=False)
    for row, (problem, sizes) in zip(axes, found.items(), strict=True):
        for panel in row[len(sizes) :]:
            panel.axis("off")
        for panel, (size, starts) in zip(row, sizes.items(), strict=False):
            for name, curves in starts.items():
                colour = colours[name]
                loss = np.array(curves["loss"])
                bands = np.array([_paired(column) for column in loss.T])
                panel.plot(curves["steps"], bands[:, 0], color=colour, label=name, linewidth=1)
                panel.fill_between(
                    curves["steps"], bands[:, 0] - bands[:, 1], bands[:, 0] + bands[:, 1], color=colour, alpha=0.15
                )
            unit = "characters" if PROBLEMS[problem.split(",")[0]].is_text else "pictures"
            panel.set(title=f"{problem}, {int(size):,} {unit}", xlabel="steps", ylabel="test loss", yscale="log")
    lines = {line.get_label(): line for panel in axes.flat for line in panel.get_lines()}
    chart.legend([lines[name] for name in names], names, loc="upper right")
    chart.tight_layout()
    chart.savefig(path, metadata={"Date": None, "Creator": None})
    plt.close(chart)
