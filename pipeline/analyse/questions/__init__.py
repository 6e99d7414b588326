"""The catalog speaks: the questions that the project was started for, asked of whatever has been mined."""

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
