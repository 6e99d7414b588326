"""Which rule of a table a tensor's name meets first.

A checkpoint has the same names in every block but for the numbers in them, and no rule asks for a number of two digits
or more. So such numbers count as one, and each name is held against a table once.
"""

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Protocol, TypeVar

from zoo.rules import BUFFER_RULES, FUSED_RULES, KERNEL_RULES, MATRIX_RULES

__all__ = ["find_buffer_rule", "find_fused_rule", "find_kernel_rule", "find_matrix_rule", "without_numbers"]

_NUMBER = re.compile(r"(?<![^.])\d{2,}(?![^.])")
_REMEMBERED = 1 << 12


class _HasPattern(Protocol):
    @property
    def pattern(self) -> re.Pattern[str]: ...


_Rule = TypeVar("_Rule", bound=_HasPattern)


def without_numbers(name: str) -> str:
    """The name with 10 in place of each of its components that is a number of two digits or more."""
    return _NUMBER.sub("10", name)


def _first_of(rules: tuple[_Rule, ...]) -> Callable[[str], _Rule | None]:
    @lru_cache(maxsize=_REMEMBERED)
    def find(stem: str) -> _Rule | None:
        return next((rule for rule in rules if rule.pattern.search(stem)), None)

    return lambda stem: find(without_numbers(stem))


find_matrix_rule = _first_of(MATRIX_RULES)
find_kernel_rule = _first_of(KERNEL_RULES)
find_buffer_rule = _first_of(BUFFER_RULES)
find_fused_rule = _first_of(FUSED_RULES)
"""The rule of a tensor's name without `.weight`; None where the table has none."""
