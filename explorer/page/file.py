"""The explorer as a file on the disk: there when it is complete, and nothing replaced without a word."""

import os
from pathlib import Path

from dna_zoo.errors import OutputError, SettingsError

__all__ = ["require_page", "write_page"]

SUFFIXES = (".html", ".htm")


def write_page(html: str, path: Path, *, force: bool = False) -> None:
    """Raises `SettingsError` for a name that no browser opens as a page, and for a file that is there unless `force`;
    `OutputError` if the file cannot be written."""
    require_page(path, force=force)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.write_text(html, encoding="utf-8")
        os.replace(part, path)
    except OSError as error:
        raise OutputError(
            f"Cannot write {str(path)!r}: {error.strerror or error}.",
            hint="Check that the folder exists, that you may write there, and that the disk has room.",
        ) from error
    finally:
        part.unlink(missing_ok=True)


def require_page(path: Path, *, force: bool) -> None:
    """Raise `SettingsError` where `write_page` would, before anything is computed."""
    if path.suffix.lower() not in SUFFIXES:
        raise SettingsError(f"{str(path)!r} is no name of a page.", hint="Name a file that ends in .html.")
    if os.path.lexists(path) and not (force and path.is_file()):
        what = "is there already" if path.is_file() else "is no file: a folder, a device or a pipe"
        hint = "Replace it with --force, or name another file." if path.is_file() else "Name another file."
        raise SettingsError(f"{str(path)!r} {what}.", hint=hint)
