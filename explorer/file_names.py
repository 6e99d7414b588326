"""Names from outside as names of files."""

from pipeline.kept.stages import content_key

__all__ = ["file_name"]

LONGEST = 80
"""Characters of a name; file systems take 255 bytes, suffixes included."""


def file_name(*parts: str) -> str:
    """A name for a file of these parts, which come from outside: letters, digits, dots, dashes; no folder.

    What had to be replaced or cut leaves a hash, so that no two names become one.
    """
    joined = "-".join(parts)
    safe = "".join(each if each.isascii() and (each.isalnum() or each in "._-") else "-" for each in joined)
    safe = safe.lstrip(".")[:LONGEST]
    return joined if safe == joined else f"{safe}-{content_key(joined)[:8]}"
