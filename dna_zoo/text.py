"""Text from strangers: names, licences, paths and messages may hold what steers a terminal or breaks a database."""

import re

__all__ = ["is_printable", "printable", "without_secrets"]

_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f"  # C0 and C1 controls: escape sequences, NUL, line breaks.
    "\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069"  # Line breaks of Unicode, and what turns text round.
    "\ud800-\udfff]"  # Halves of a pair, which no encoding can write.
)
_SECRETS = re.compile(r"//[^\s'\"]*@|\b\w*(?:pass|pwd|secret|token|key)\w*=('[^']*'|[^&;\s]*)", re.IGNORECASE)
"""An authority with a user, and parameters whose names say that they are secret."""


def is_printable(text: str) -> bool:
    """Whether nothing in the text would be escaped by `printable`."""
    return _UNSAFE.search(text) is None


def printable(text: str, *, longest: int | None = None, keep: str = "") -> str:
    r"""The text with each unsafe character as its escape (`\x1b`), cut to `longest` characters with an ellipsis.

    Characters in `keep` stay, such as line breaks in a message of several lines.
    """
    if longest is not None and len(text) > longest:
        text = text[: longest - 1] + "…"
    return _UNSAFE.sub(lambda found: found[0] if found[0] in keep else _escape(found[0]), text)


def _escape(character: str) -> str:
    return character.encode("ascii", "backslashreplace").decode() if character > "\x7f" else f"\\x{ord(character):02x}"


def without_secrets(text: str) -> str:
    """The text of others, such as a driver's message or a traceback, without what may be a password."""
    return _SECRETS.sub(
        lambda found: "//***@" if found[0].startswith("//") else f"{found[0].partition('=')[0]}=***", text
    )
