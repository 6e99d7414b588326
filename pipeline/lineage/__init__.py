"""Weight-level evidence of lineage: see docs/lineage.md."""

from pipeline.lineage.compare import LINEAGE_VERSION, compare_weights
from pipeline.lineage.records import Lineage, ModelWeights, RoleEvidence, Verdict

__all__ = ["LINEAGE_VERSION", "Lineage", "ModelWeights", "RoleEvidence", "Verdict", "compare_weights"]
