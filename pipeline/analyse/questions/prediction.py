"""Predict a label from the signature, by the nearest neighbour of another lineage.

A whole lineage is left out at a time: with single models left out, a fine-tuned copy would reveal the label. One
neighbour, since most labels of a catalog have few lineages.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.analyse.permutation_tests import Labellings
from pipeline.analyse.questions.records import Finding
from pipeline.analyse.questions.samples import Sample

__all__ = ["Prediction", "predict", "predictable"]

Float64 = npt.NDArray[np.float64]
Labels = npt.NDArray[np.intp]


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """How well the labels of left-out lineages were predicted."""

    accuracy: float
    """Balanced: the mean over labels of the share predicted correctly."""
    chance: float
    """Mean of the same over the permuted labellings."""
    p: float
    recalls: tuple[Finding, ...]

    @property
    def skill(self) -> float:
        """(accuracy - chance) / (1 - chance): 0 by chance, 1 at best."""
        return (self.accuracy - self.chance) / (1 - self.chance) if self.chance < 1 else 0.0


def predictable(sample: Sample) -> Sample:
    """The units whose label another lineage has too: other labels cannot be predicted with their lineage left out."""
    lineages_of = [set(sample.lineages[sample.codes == code].tolist()) for code in range(len(sample.labels))]
    return sample.only(np.array([len(lineages_of[code]) > 1 for code in sample.codes], dtype=bool))


def predict(sample: Sample, dealt: Labellings) -> Prediction:
    """Predict each unit's label by its nearest unit of another lineage. Needs two lineages."""
    unrelated = sample.lineages[:, None] != sample.lineages[None, :]
    nearest = np.where(unrelated, sample.distances, np.inf).argmin(axis=1)
    codes = dealt.codes
    # Neighbours do not depend on labels, so each labelling costs one look-up per unit.
    hits = codes[:, nearest] == codes
    recalls = np.stack(
        [(hits & (codes == code)).sum(axis=1) / count for code, count in enumerate(np.bincount(sample.codes))], axis=1
    )
    accuracies = recalls.mean(axis=1)
    return Prediction(
        accuracy=float(accuracies[0]),
        chance=float(accuracies.mean()),
        p=dealt.p_value(accuracies),
        recalls=tuple(
            Finding(name=label, effect=float(recall)) for label, recall in zip(sample.labels, recalls[0], strict=True)
        ),
    )
