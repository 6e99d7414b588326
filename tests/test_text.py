"""Text from strangers."""

import pytest

from dna_zoo.text import is_printable, printable, without_secrets

UNSAFE = ["\x1b[31m", "a\x00", "\x9b2J", "two\nlines", "\r", "\u202eabc", "\u2028", "\ud800"]


@pytest.mark.parametrize("text", UNSAFE)
def test_what_steers_a_terminal_is_escaped(text: str) -> None:
    assert not is_printable(text)
    safe = printable(text)
    assert is_printable(safe) and safe.encode() and "\\" in safe


@pytest.mark.parametrize("text", ["encoder.layer.0", "Größe", "模型", "עברית", "naïve ∞", "a\\b", "[x]", ""])
def test_what_people_write_stays(text: str) -> None:
    assert is_printable(text) and printable(text) == text


def test_a_long_text_is_cut() -> None:
    assert printable("x" * 100, longest=10) == "x" * 9 + "…"


@pytest.mark.parametrize(
    "text",
    [
        'could not connect to "postgresql://me:hunter2@h/d"',
        "postgresql://me:hu/nt@er2@h/d failed",
        "host=h password=hunter2 user=me",
        "password='hunter2 with spaces' host=h",
        "sslpassword=hunter2;PWD=hunter2&token=hunter2",
    ],
)
def test_no_secret_is_left(text: str) -> None:
    shown = without_secrets(text)
    assert "unter2" not in shown and "nt@er2" not in shown and "***" in shown
    assert without_secrets("connection to host h, port 5432 failed") == "connection to host h, port 5432 failed"
