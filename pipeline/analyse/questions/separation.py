"""Do signatures differ between labels? One permutation test of two statistics.

- The correlation of a classifier's predictions with the labels of left-out lineages: it sees what many dimensions say
  together, also where a label is of several kinds, such as two families.
- The largest epsilon squared of a single dimension: it sees what one dimension says among many that say nothing.

The smaller of their two p-values is the statistic of the test, and its own p is its rank among the labellings
(Tippett's combination by permutation, Pesarin 2001). So the test is exact, and nobody chooses between the two with the
data known.

Only dimensions that all units have are used. Others would tell labels apart by what their models lack.
"""

from dataclasses import dataclass

from pipeline.analyse.permutation_tests import Labellings
from pipeline.analyse.questions.dimensions import largest_shares
from pipeline.analyse.questions.prediction import (
    balanced_recalls,
    correlations,
    leave_lineages_out,
    normal_scores,
    predict,
)
from pipeline.analyse.questions.samples import Sample

__all__ = ["Separation", "separate"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Separation:
    """How well the labels of left-out lineages were predicted, and the p of both statistics."""

    accuracy: float
    """Balanced: the mean of the recalls."""
    chance: float
    """Mean of the same over the permuted labellings."""
    recalls: tuple[float, ...]
    """Of each label: the share of its units predicted correctly."""
    p: float

    @property
    def skill(self) -> float:
        """(accuracy - chance) / (1 - chance): 0 by chance, 1 at best."""
        return (self.accuracy - self.chance) / (1 - self.chance) if self.chance < 1 else 0.0


def separate(sample: Sample, dealt: Labellings) -> Separation:
    """Test whether the labels of `sample` go with its signatures more than the permuted labels `dealt` do.

    Needs two labels, each of two lineages, and a dimension that all units have.
    """
    common = sample.deviations[:, sample.is_common]
    predictor = leave_lineages_out(normal_scores(common), sample.lineages)
    predicted = predict(predictor, dealt.codes, sample.lineages)
    recalls = balanced_recalls(predicted, dealt.codes)
    accuracies = recalls.mean(axis=1)
    return Separation(
        accuracy=float(accuracies[0]),
        chance=float(accuracies.mean()),
        recalls=tuple(recalls[0].tolist()),
        p=dealt.combined_p(correlations(predicted, dealt.codes), largest_shares(common, dealt.codes)),
    )
