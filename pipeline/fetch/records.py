"""What fetching remembers in the home folder: the sha256 of files it has read, the commits it has resolved.

Each fact is one small JSON file, written under a temporary name and renamed: two processes may do so at once, and a
reader never sees half of a file. A record that cannot be read counts as none.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.kept.stages import content_key, write_json

__all__ = [
    "FileState",
    "file_state",
    "git_blob_sha1",
    "is_complete",
    "load_components",
    "load_revision",
    "load_sha256",
    "mark_complete",
    "store_components",
    "store_revision",
    "store_sha256",
]

FileState = Mapping[str, Any]
"""A file as it was when it was read: the same `path`, `size` and `mtime_ns` mean the same content."""


def git_blob_sha1(path: Path) -> str:
    """The name git gives the file's content: how the Hugging Face cache names what is not in LFS."""
    start = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: start).hexdigest()


def file_state(path: Path) -> FileState:
    """The file as it is now, links followed."""
    real = path.resolve()
    status = real.stat()
    return {"path": str(real), "size": status.st_size, "mtime_ns": status.st_mtime_ns}


def load_sha256(home: Path, file: FileState) -> str | None:
    """The sha256 found when the file was last in this state."""
    record = _read(_sha256_path(home, file))
    digest = record.get("sha256")
    return digest if isinstance(digest, str) and file.items() <= record.items() else None


def store_sha256(home: Path, file: FileState, sha256: str) -> None:
    """Keep the sha256 of a file that was in this state before it was read and found to be right."""
    record = {**file, "sha256": sha256}
    write_json(_sha256_path(home, file), record | {"check": content_key(record)})


def _sha256_path(home: Path, file: FileState) -> Path:
    return home / "fetch" / "sha256" / f"{hashlib.sha256(os.fsencode(file['path'])).hexdigest()[:32]}.json"


def is_complete(home: Path, repo: str, revision: str) -> bool:
    """Whether all there is to fetch of that commit has once been fetched: what is not in the cache does not exist."""
    return bool(_read(_path(home, "complete", repo, revision)))


def mark_complete(home: Path, repo: str, revision: str) -> None:
    """Keep that all there is to fetch of that commit has been fetched."""
    write_json(_path(home, "complete", repo, revision), {"repo": repo, "revision": revision})


def load_components(home: Path, repo: str, revision: str) -> tuple[str, ...] | None:
    """The folders of that commit that are models of their own, "" for the repository itself; None if never asked."""
    names = _read(_path(home, "components", repo, revision)).get("components")
    return tuple(map(str, names)) if isinstance(names, list) else None


def store_components(home: Path, repo: str, revision: str, names: tuple[str, ...]) -> None:
    """Keep which folders of that commit are models of their own."""
    record = {"repo": repo, "revision": revision, "components": names}
    write_json(_path(home, "components", repo, revision), record)


def load_revision(home: Path, repo: str) -> str | None:
    """The commit stored for a repository that has no pin of its own."""
    revision = _read(_path(home, "revisions", repo)).get("revision")
    return revision if isinstance(revision, str) else None


def store_revision(home: Path, repo: str, revision: str) -> None:
    """Keep the commit that the repository was first downloaded at."""
    write_json(_path(home, "revisions", repo), {"repo": repo, "revision": revision})


def _path(home: Path, kind: str, *place: str) -> Path:
    """Where a fact of that kind is kept of a repository, or of one of its commits."""
    return home / "fetch" / kind / f"{'--'.join(place).replace('/', '--')}.json"


def _read(path: Path) -> dict[str, Any]:
    try:
        record = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    if not isinstance(record, dict):
        return {}
    # A digest that is slightly another would make another model of the file. Older versions kept none of the record.
    check = record.pop("check", None)
    return record if check is None or check == content_key(record) else {}
