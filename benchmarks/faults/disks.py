"""Small file systems to fill, and places that may only be read. Mounting needs the rights of root."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.faults.trial import Unavailable

__all__ = ["KIB", "Disk", "only_readable", "small_disk"]

KIB = 1024
SIZE = 32 * KIB * KIB
PIECE = 64 * KIB


class Disk:
    """A small file system, of which a file takes all but some room."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._filler = folder / "filler"

    @property
    def used(self) -> int:
        """Bytes that its files take."""
        found = os.statvfs(self.folder)
        return (found.f_blocks - found.f_bfree) * found.f_frsize

    def leave(self, room: int) -> None:
        """Fill it but for so many bytes."""
        with self._filler.open("wb", buffering=0) as file:
            while (left := self._free - room) > 0:
                file.write(bytes(min(left, PIECE)))
            file.truncate(max(0, file.tell() + self._free - room))

    @property
    def _free(self) -> int:
        found = os.statvfs(self.folder)
        return found.f_bavail * found.f_frsize

    def make_room(self) -> None:
        """Empty it of what fills it."""
        self._filler.unlink()


@contextmanager
def small_disk(folder: Path, system: str) -> Iterator[Disk]:
    """32 MiB of `tmpfs`, or of `ext4` in a file, mounted at `folder`. Raises `Unavailable` without the rights."""
    folder.mkdir()
    if system == "tmpfs":
        _mount("-t", "tmpfs", "-o", f"size={SIZE},mode=755", "none", str(folder))
    else:
        image = folder.with_name(f"{folder.name}.image")
        with image.open("wb") as file:
            file.truncate(SIZE)
        if shutil.which("mkfs.ext4") is None:
            raise Unavailable("there is no mkfs.ext4")
        subprocess.run(["mkfs.ext4", "-q", "-m", "0", str(image)], check=True)
        _mount("-o", "loop", str(image), str(folder))
    try:
        yield Disk(folder)
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)
        folder.rmdir()


@contextmanager
def only_readable(folder: Path) -> Iterator[None]:
    """Have the folder be on a disk that may only be read, root or not. Raises `Unavailable` without rights."""
    _mount("--bind", str(folder), str(folder))
    try:
        _mount("-o", "remount,bind,ro", str(folder))
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def _mount(*words: str) -> None:
    try:
        subprocess.run(["mount", *words], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise Unavailable("file systems cannot be mounted here") from error
