"""Lineage: the alignment test on the weights of two models (docs/lineage.md).

Here: align what a symmetry may have permuted, then test on weights that took no part in the alignment.
Not here: the fingerprint in the signature (`fingerprint`), which needs one model at a time.
"""

from pipeline.lineage.records import LINEAGE_VERSION, Lineage, ModelWeights, RoleEvidence, Verdict

__all__ = ["LINEAGE_VERSION", "Lineage", "ModelWeights", "RoleEvidence", "Verdict"]
