"""Questions about a catalog of mined models, each answered by a permutation test over independent lineages.

Here: labels compared and predicted from signatures, statistics that all models share, and what else may explain them.
Not here: the permutations (`permutation_tests`), lineages (`lineage_groups`), distances (`patterndb.similarity`).
"""

from pipeline.analyse.questions.ask import ALPHA, LEAST_EFFECT, QUESTIONS, ask
from pipeline.analyse.questions.records import Answer, Confound, Finding, Group, QuestionsAnswered

__all__ = [
    "ALPHA",
    "LEAST_EFFECT",
    "QUESTIONS",
    "Answer",
    "Confound",
    "Finding",
    "Group",
    "QuestionsAnswered",
    "ask",
]
