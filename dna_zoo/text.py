"""Text from strangers: names, licences, paths and messages may hold what steers a terminal or breaks a database."""

import re
import shlex

__all__ = ["is_printable", "markdown", "plain_address", "printable", "printable_json", "shell_word", "without_secrets"]

_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f"  # C0 and C1 controls: escape sequences, NUL, line breaks.
    "\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069"  # Line breaks of Unicode, and what turns text round.
    "\ud800-\udfff]"  # Halves of a pair, which no encoding can write.
)
_SHOWN = "application_name|connect_timeout|dbname|host|mode|port|sslmode|target_session_attrs|user"
_SECRETS = re.compile(
    r"(?P<authority>//).{0,500}@"
    r"|(?P<user>:)(?=\S).{0,500}@"
    # What follows a colon in an authority, unless it is a port.
    r"|(?P<colon>//[^\n/?#'\"@\[;=&]{0,200}?:)(?!\d{1,5}(?:[/?#\s'\",;.)]|$))\S+"
    rf"|(?P<parameter>[?&;#](?!(?:{_SHOWN})=)[^\s=&;?]{{1,100}}=)(?:'[^']*'|[^&;\s]*)"
    r"|(?P<word>\b[\w%-]{0,30}(?:pass|pwd|secret|token|key|auth|cred|sig)[\w%-]{0,30}\s{0,9}=\s{0,9})(?:'[^']*'|[^&;\s]*)",
    re.IGNORECASE,
)
"""An authority with a user, parameters of a URL but for those that are harmless, and words that say that they are
secret. A password may hold whatever cuts a URL in two: rather too much is hidden than too little. Each repetition has
an end, so that a long text costs no square of its length."""
_MARKS = re.compile(r"([\\`*_{}\[\]<>#|~$&!])")
_LINKS = re.compile(r"(?i)\b(https?|ftp|mailto|www)([:.])")
_ADDRESS = re.compile(r"[a-z]+://(?:[\w.-]+|\[[\da-f:]+\])(?::\d{1,5})?(?:/[\w.~/-]*)?", re.ASCII | re.IGNORECASE)
"""An address in which nothing can be a password: a scheme, a host, a port and a path."""


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


def printable_json(text: str) -> str:
    r"""JSON with each unsafe character in its texts as JSON's own escape (`\u009b`), which means the same."""
    return _UNSAFE.sub(lambda found: found[0] if found[0] == "\n" else f"\\u{ord(found[0]):04x}", text)


def markdown(text: str) -> str:
    """The text for Markdown: no emphasis, link, heading, table or HTML begins in it."""
    return _LINKS.sub(r"\1\\\2", _MARKS.sub(r"\\\1", printable(text)))


def shell_word(name: str) -> str:
    """A name within a command that a person may copy: quoted where a shell would do something with it."""
    return shlex.quote(printable(name))


def _escape(character: str) -> str:
    return character.encode("ascii", "backslashreplace").decode() if character > "\x7f" else f"\\x{ord(character):02x}"


def without_secrets(text: str) -> str:
    """The text of others, such as a driver's message or a traceback, without what may be a password."""
    return _SECRETS.sub(_hidden, text)


def _hidden(found: re.Match[str]) -> str:
    if found["authority"] or found["user"]:
        return f"{found['authority'] or found['user']}***@"
    return f"{found['colon'] or found['parameter'] or found['word']}***"


def plain_address(url: str) -> str:
    """The address of a server as it may be shown: as it is where no part of it can be a password, else hidden."""
    if _ADDRESS.fullmatch(url):
        return url
    scheme = re.match(r"[A-Za-z][A-Za-z0-9]*(?=://)", url)
    return f"{scheme[0]}://***" if scheme else "***"
