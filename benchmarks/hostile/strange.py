"""Texts, values and bytes that strangers may send."""

from collections.abc import Callable
from typing import Any

import numpy as np

__all__ = ["ODD_TEXTS", "ODD_VALUES", "changed", "damaged", "odd_text", "odd_value", "pick"]

Rng = np.random.Generator

ODD_TEXTS = (
    "\x1b[31mred", "\x1b]8;;http://x\x07link", "\x9b2J", "a\x00b", "\ud800", "two\nlines", "\r", "\u202eabc", "[/x]",
    "\\[/x]", "\\[link=http://x]y", "=1+1", "@sum", "+1", "-1", "\ttab", "<script>", "a\\|b", "x" * 100_000, "[query]",
    "../../up", "C:\\x", "\ufeffbom", "e\u0301", "\u2028", "", " ", "=HYPERLINK(1)", "-2+3+cmd|' /C calc'!A0",
    "[x](javascript:alert(1))", "<img src=x onerror=alert(1)>", "![x](http://x)", "| a | b |", "`code`", "\\input{x}",
    "\\write18{x}", "%", "$x$", "{", "}", "&", "#", "~", "^", "_", "[h]", "\u200b", "\u200f", "\x7f", "\x85",
    "%s%n", "{0}", "${HOME}", "$(touch x)", "`touch x`", "; rm -rf x", "'; DROP TABLE models; --", "\"", "'", "\\",
    "nul", "con", "\U0001f600", "\ud83d", "\udcff", "\uffff", "a" * 300, "/", "//", ".", "..", "~root", "-", "--help",
)  # fmt: skip
"""What a stranger may write where a name or a text belongs."""
ODD_VALUES: tuple[Any, ...] = (
    None, True, False, [], {}, [1, "a"], {"a": 1}, -1, 0, 1, 0.5, 1e308, float("nan"), float("inf"), -float("inf"),
    10**30, -(10**30), 2**31, 2**63, 2**64, "12", "0", [None], [[[]]], [0], {"": {}}, [[1, 2], [3]], 1e-320, "x" * 5000,
)  # fmt: skip
PIECES = ("a", "0", "layer", ".", "weight", "_", "é", "模", "\n", "\x1b[", "]", "[", "|", "=", "\u202e", "\x00", " ")


def pick(rng: Rng, values: Any) -> Any:
    """One of them, of whatever types."""
    return values[int(rng.integers(len(values)))]


def odd_text(rng: Rng) -> str:
    """One of `ODD_TEXTS`, or pieces of such in any order."""
    if rng.integers(2):
        return str(pick(rng, ODD_TEXTS))
    return "".join(pick(rng, PIECES) for _ in range(rng.integers(1, 12)))


def odd_value(rng: Rng) -> Any:
    """What JSON can hold, and mostly what nobody expects."""
    return odd_text(rng) if rng.integers(3) == 0 else pick(rng, ODD_VALUES)


def damaged(data: bytes, rng: Rng, *, start: int = 0, stop: int | None = None) -> bytes:
    """The bytes with one to eight of them changed between `start` and `stop`, or with a part cut, doubled or zeroed."""
    found = bytearray(data)
    stop = min(len(data), stop or len(data))
    if stop <= start:
        return bytes(found)
    ways: tuple[Callable[[int], None], ...] = (_flip(found, rng), _flip(found, rng), _replace(found, rng))
    if rng.integers(4):
        for _ in range(rng.integers(1, 9)):
            pick(rng, ways)(int(rng.integers(start, stop)))
        return bytes(found)
    first, last = sorted(int(each) for each in rng.integers(start, stop, size=2))
    part = bytes(found[first : last + 1])
    found[first : last + 1] = pick(rng, (b"", part + part, bytes(len(part)), b"\xff" * len(part), part[::-1]))
    return bytes(found)


def _flip(found: bytearray, rng: Rng) -> Callable[[int], None]:
    def flip(place: int) -> None:
        found[place] ^= 1 << int(rng.integers(8))

    return flip


def _replace(found: bytearray, rng: Rng) -> Callable[[int], None]:
    def replace(place: int) -> None:
        found[place] = int(pick(rng, (0, 1, 0x7F, 0x80, 0xFF, int(rng.integers(256)))))

    return replace


def changed(value: Any, rng: Rng) -> Any:
    """The JSON value with one to four of its parts replaced, renamed or taken out."""
    found = value
    for _ in range(rng.integers(1, 5)):
        found = _changed_once(found, rng)
    return found


def _changed_once(value: Any, rng: Rng) -> Any:
    if isinstance(value, dict) and value and rng.integers(6):
        name = pick(rng, list(value))
        way = rng.integers(8)
        if way == 0:
            return {each: value[each] for each in value if each != name}
        if way == 1:
            return {odd_text(rng) if each == name else each: value[each] for each in value}
        return value | {name: _changed_once(value[name], rng)}
    if isinstance(value, list) and value and rng.integers(4):
        place = int(rng.integers(len(value)))
        return [*value[:place], _changed_once(value[place], rng), *value[place + 1 :]]
    if isinstance(value, int) and not isinstance(value, bool) and rng.integers(2):
        return pick(rng, (value + 1, value - 1, -value, value * 2**20, value + 2**32, float(value), str(value), 0))
    return odd_value(rng)
