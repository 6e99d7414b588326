"""Which rule of each table a tensor's name meets first.

A checkpoint has the same names in every block but for the numbers in them, and no rule asks for a number of two digits
or more. So such numbers count as one, and each name is held against the tables once.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol, TypeVar

from zoo.rules import BUFFER_RULES, FUSED_RULES, KERNEL_RULES, MATRIX_RULES, BufferRule, FusedRule, Rule

__all__ = ["Met", "rules_of", "without_numbers"]

_NUMBER = re.compile(r"\d{2,}")
_REMEMBERED = 1 << 12


class _HasPattern(Protocol):
    @property
    def pattern(self) -> re.Pattern[str]: ...


_Rule = TypeVar("_Rule", bound=_HasPattern)


@dataclass(frozen=True, slots=True, kw_only=True)
class Met:
    """The first rule of each table that a name meets; None where it meets none."""

    matrix: Rule | None
    kernel: Rule | None
    buffer: BufferRule | None
    fused: FusedRule | None


def rules_of(stem: str) -> Met:
    """The rules that the name of a tensor without `.weight` meets."""
    return _rules_of(without_numbers(stem))


def without_numbers(name: str) -> str:
    """The name with 10 in place of each number of two digits or more."""
    return _NUMBER.sub("10", name)


@lru_cache(maxsize=_REMEMBERED)
def _rules_of(stem: str) -> Met:
    return Met(
        matrix=_first(MATRIX_RULES, stem),
        kernel=_first(KERNEL_RULES, stem),
        buffer=_first(BUFFER_RULES, stem),
        fused=_first(FUSED_RULES, stem),
    )


def _first(rules: Iterable[_Rule], stem: str) -> _Rule | None:
    return next((rule for rule in rules if rule.pattern.search(stem)), None)
