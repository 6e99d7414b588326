"""Artifacts by URL: the files of patterns where every machine finds them, named by what they hold.

A store is a folder, `s3://BUCKET/PATH`, `gs://...` or whatever else fsspec has a package for. A file lies at
`URL/sha256/ab/abcd...`, is written whole or not at all, and is checked against its name when it is read. Who may read
and write comes from the environment of the machine (such as AWS_PROFILE), never from the URL.
"""

import re
import shutil
import tempfile
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dna_zoo.errors import ArtifactError, SettingsError
from dna_zoo.files import NO_ROOM, file_sha256, whole_file
from dna_zoo.text import is_printable, printable, without_secrets
from patterndb.records import ArtifactRecord

__all__ = ["ArtifactStore", "artifact_file", "bring", "damaged_files", "store_url"]

LOCAL = "file://"
PLAIN_URL = re.compile(r"([a-z][a-z0-9+.-]*)://([^?#]*)")
RENAMES = ("ftp", "hdfs", "sftp", "smb", "ssh", "webhdfs")
"""Protocols of disks elsewhere, where a file that is being written shows: it gets its name at the end. An object store
shows an object when all of it is there."""
LONGEST = 300
"""Characters of what a server says that are shown."""


def store_url(given: str) -> str:
    """The URL of a store, or the folder as one. Raises `SettingsError` for what cannot be one, or holds a secret."""
    if "://" not in given:
        if not given or "::" in given or not is_printable(given):
            shown = printable(without_secrets(given), longest=60)
            raise SettingsError(f"`--artifacts` is {shown!r}.", hint="Give a folder or a URL.")
        if without_secrets(given) != given:
            hint = "Write PROTOCOL://PLACE/PATH, and give credentials by the environment; or name another folder."
            raise SettingsError("What `--artifacts` names looks like a URL that holds a password.", hint=hint)
        return LOCAL + str(Path(given).expanduser().absolute())
    url = _require_plain(given).rstrip("/")
    _file_system(url)
    return url


def _require_plain(url: str) -> str:
    """Raise `SettingsError` for a URL that is none, that holds a password or that may hold one."""
    protocol = printable(url.partition("://")[0], longest=20)
    found = PLAIN_URL.fullmatch(url)
    if found is None or "::" in url or not is_printable(url):
        hint = "Write PROTOCOL://PLACE/PATH, without parameters; credentials come from the environment."
        raise SettingsError(f"A store of artifacts cannot be at this {protocol!r} URL.", hint=hint)
    authority = found[2].partition("/")[0]
    if "@" in found[2] and (":" in found[2].rpartition("@")[0] or "@" not in authority):
        hint = f"Leave it out, and give credentials by the environment of what reads {protocol}."
        raise SettingsError(f"The {protocol!r} URL of the artifacts holds a password.", hint=hint)
    return url


def _file_system(url: str) -> type[Any]:
    """fsspec's class for the URL; raises `SettingsError` where it or its package is not there."""
    import fsspec

    protocol = url.partition("://")[0]
    try:
        found: type[Any] = fsspec.get_filesystem_class(protocol)
    except ImportError as error:
        needed = f"{str(error).rstrip('.')}, as `pip install` does it on every machine."
        raise SettingsError(f"A package is missing for artifacts at {protocol}://.", hint=needed) from error
    except ValueError as error:
        hint = "Give a folder, or such as s3://BUCKET/PATH or gs://BUCKET/PATH."
        raise SettingsError(f"fsspec knows no {protocol}:// for artifacts.", hint=hint) from error
    return found


@dataclass(frozen=True, slots=True)
class ArtifactStore:
    """Files by their sha256."""

    url: str
    """As `store_url` gives it."""
    rewrites: bool = False
    """Whether files that are there are written again: only their size was looked at, and they may be damaged."""

    def url_of(self, sha256: str) -> str:
        """Where the file with that content is, or would be."""
        return f"{self.url}/sha256/{sha256[:2]}/{sha256}"

    def holds(self, artifact: ArtifactRecord) -> bool:
        """Whether it is there, by its size. Raises `ArtifactError` where nobody can tell."""
        return bool(_translated(self.url, _size, self.url_of(artifact.sha256)) == artifact.num_bytes)

    def put(self, path: Path, artifact: ArtifactRecord) -> str:
        """Keep the file, unless it is there; its URL. Raises `ArtifactError` if that fails."""
        url = self.url_of(artifact.sha256)
        if self.rewrites or not self.holds(artifact):
            _translated(self.url, _write, path, url)
        return url


def bring(url: str, target: Path, *, sha256: str) -> None:
    """Copy what is at the URL to `target`, whole or not at all.

    Raises `ArtifactError` if it cannot be read, or is not what it is called.
    """
    _file_system(_require_plain(url))
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(target) as made:
            digest = _translated(url, _read, url, made)
            if digest != sha256:
                hint = "Mine the model again with `--force` and the same `--artifacts`."
                raise ArtifactError(f"The file at {url} is damaged: it has another sha256 than its name.", hint=hint)
    except OSError as error:
        hint = "Give yourself write access to the home folder, or name another with `--home`."
        raise ArtifactError(f"{str(target)!r} cannot be written ({error.strerror or error}).", hint=hint) from error


def artifact_file(artifact: ArtifactRecord, home: Path) -> Path:
    """Where the file is in this home folder, brought from its URL if it is not here yet, or not as it was written.

    A file that is neither here nor elsewhere is at a path that does not exist. Raises `ArtifactError` if it should be
    elsewhere and cannot be had, and if it is damaged here and nowhere else.
    """
    path = home / artifact.path
    is_right = path.is_file() and file_sha256(path) == artifact.sha256
    if is_right or (artifact.url is None and not path.is_file()):
        return path
    if artifact.url is None:
        raise ArtifactError(
            f"{printable(str(path), longest=LONGEST)!r} is damaged: it is not as it was written.",
            hint="Mine the model again with `--force`; `dna-zoo db check --files` names all such files.",
        )
    if not path.resolve().is_relative_to(home.resolve()):
        raise ArtifactError(
            f"The database says that a file is at {printable(artifact.path, longest=LONGEST)!r}, outside the home.",
            hint="Do not trust this database; mine the model again into one of your own.",
        )
    bring(artifact.url, path, sha256=artifact.sha256)
    return path


def damaged_files(artifacts: Iterable[ArtifactRecord], home: Path) -> Iterator[str]:
    """A line for each file that is missing or not as it was written, in the home and in stores elsewhere; what is in a
    store may be missing here. A store that cannot be used is named once, and asked no more."""
    asked, unusable = set[str | None](), set[str]()
    for each in artifacts:
        path = home / each.path
        if not path.is_file():
            if each.url is None:
                yield f"{each.path} is missing"
        elif path.stat().st_size != each.num_bytes or file_sha256(path) != each.sha256:
            yield f"{each.path} is not as it was written"
        store = (each.url or "").partition("/sha256/")[0]
        if each.url in asked or store in unusable:
            continue
        asked.add(each.url)
        try:
            fault = _fault_elsewhere(each)
        except (ArtifactError, SettingsError) as error:
            fault = error.message
            unusable.add(store)
        if fault is not None:
            yield fault


def _fault_elsewhere(artifact: ArtifactRecord) -> str | None:
    """What is wrong with the file at its URL, which is read as a whole; None for a sound one, or one without a URL.

    Raises `ArtifactError` where nobody can tell.
    """
    if artifact.url is None:
        return None
    _file_system(_require_plain(artifact.url))
    size = _translated(artifact.url, _size, artifact.url)
    if size is None:
        return f"{artifact.url} is missing"
    with tempfile.TemporaryDirectory() as folder:
        is_right = size == artifact.num_bytes and (
            _translated(artifact.url, _read, artifact.url, Path(folder) / "artifact") == artifact.sha256
        )
    return None if is_right else f"{artifact.url} is not as it was written"


def _translated(url: str, act: Any, *arguments: Any) -> Any:
    """What `act` gives; whatever a file system raises comes out as `ArtifactError`."""
    try:
        return act(*arguments)
    except OSError as error:
        if error.errno in NO_ROOM:
            hint = "Free some space there and run the same command again; what was finished is kept."
            raise ArtifactError(f"The disk of the artifacts at {url} is full.", hint=hint) from error
        raise _unusable(url, error) from error
    except Exception as error:  # Each package behind fsspec has errors of its own.
        raise _unusable(url, error) from error


def _unusable(url: str, error: Exception) -> ArtifactError:
    """What a file system said, in a sentence."""
    reason = without_secrets(str(error).strip()).splitlines() or [type(error).__name__]
    said = printable(reason[0], longest=LONGEST).rstrip(".")
    return ArtifactError(
        f"The artifacts at {url} cannot be used: {said}.",
        hint="Check that it can be reached with the credentials of this machine; what is done is kept.",
    )


def _opened(url: str) -> tuple[Any, str]:
    """The file system, and what it calls the file."""
    from fsspec.core import url_to_fs

    system, path = url_to_fs(url)
    system.invalidate_cache()
    return system, path


def _size(url: str) -> int | None:
    """Bytes; None where there is no file."""
    system, path = _opened(url)
    try:
        found = system.info(path)
    except FileNotFoundError:
        return None
    return int(found["size"]) if found.get("type", "file") == "file" else None


def _write(source: Path, url: str) -> None:
    if url.startswith(LOCAL):
        _write_here(source, Path(url.removeprefix(LOCAL)))
        return
    system, path = _opened(url)
    if not url.startswith(RENAMES):
        system.put_file(str(source), path)
        return
    temporary = f"{path}.{uuid.uuid4().hex}"
    system.makedirs(path.rpartition("/")[0], exist_ok=True)
    system.put_file(str(source), temporary)
    system.mv(temporary, path)


def _write_here(source: Path, target: Path) -> None:
    """On this disk, or one that looks like it: the bytes are on it before the name is."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(target) as made:
        shutil.copyfile(source, made)


def _read(url: str, target: Path) -> str:
    """Copy it, and give the sha256 of what came."""
    if _size(url) is None:
        raise FileNotFoundError("it is not there")
    system, path = _opened(url)
    system.get_file(path, str(target))
    return file_sha256(target)
