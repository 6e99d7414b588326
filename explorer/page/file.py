"""A page as a file on the disk: there when it is complete, and nothing replaced without a word."""

from pathlib import Path

from dna_zoo.errors import SettingsError
from dna_zoo.files import whole_output
from patterndb.exports.files import require_writable

__all__ = ["require_page", "write_page"]

SUFFIXES = (".html", ".htm")


def write_page(html: str, path: Path, *, force: bool = False) -> None:
    """Raises `SettingsError` for a name that no browser opens as a page, and for a file that is there unless `force`;
    `OutputError` if the file cannot be written."""
    require_page(path, force=force)
    with whole_output(path) as made:
        made.write_text(html, encoding="utf-8", errors="backslashreplace")


def require_page(path: Path, *, force: bool) -> None:
    """Raise `SettingsError` where `write_page` would, before anything is computed."""
    if path.suffix.lower() not in SUFFIXES:
        raise SettingsError(f"{str(path)!r} is no name of a page.", hint="Name a file that ends in .html.")
    require_writable(path, force=force)
