"""Weight-level evidence of lineage: see docs/lineage.md."""

from pipeline.lineage.records import LINEAGE_VERSION, Lineage, ModelWeights, RoleEvidence, Verdict

__all__ = ["LINEAGE_VERSION", "Lineage", "ModelWeights", "RoleEvidence", "Verdict"]
