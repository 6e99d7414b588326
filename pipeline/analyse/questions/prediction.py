"""Can a label be read off the signature? The nearest neighbour from another lineage answers.

Leaving single models out would let a fine-tuned copy of the model in question give its label away, so a whole lineage
is left out at a time. One neighbour, since most labels of a catalog have few lineages.
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
    """How well the labels of lineages left out were told."""

    accuracy: float
    """Balanced: the mean over labels of the share told rightly."""
    chance: float
    """Mean of the same over dealt labellings."""
    p: float
    recalls: tuple[Finding, ...]

    @property
    def skill(self) -> float:
        """(accuracy - chance) / (1 - chance): 0 by chance, 1 at best."""
        return (self.accuracy - self.chance) / (1 - self.chance) if self.chance < 1 else 0.0


def predictable(sample: Sample) -> Sample:
    """The units whose label another lineage has as well: of the others nothing can be learnt with theirs left out."""
    lineages_of = [set(sample.lineages[sample.codes == code].tolist()) for code in range(len(sample.labels))]
    return sample.only(np.array([len(lineages_of[code]) > 1 for code in sample.codes], dtype=bool))


def predict(sample: Sample, dealt: Labellings) -> Prediction:
    """Tell each unit's label by its nearest unit of another lineage. Needs two lineages."""
    strangers = sample.lineages[:, None] != sample.lineages[None, :]
    nearest = np.where(strangers, sample.distances, np.inf).argmin(axis=1)
    codes = dealt.codes
    # Whose neighbour is whose does not depend on labels, so each labelling costs one look-up a unit.
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
