"""Surgery: two trained models made into one, after what symmetry leaves open has been aligned.

Here: weight matching (`align`), the line between two models of one architecture (`combine`), layers of one model in
another (`transplant`), each with the loss that it reaches and what that is held against.
Not here: which axes of a network move together (`zoo.tracing`), whether two models are related (`pipeline.lineage`).
"""

from library.models import Loaded, open_model
from library.surgery.alignment import Alignment, align
from library.surgery.combination import Combination, combine
from library.surgery.tasks import Task, task_of
from library.surgery.transplantation import Transplant, transplant

__all__ = [
    "Alignment",
    "Combination",
    "Loaded",
    "Task",
    "Transplant",
    "align",
    "combine",
    "open_model",
    "task_of",
    "transplant",
]
