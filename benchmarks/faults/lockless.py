"""A file system whose files cannot be locked, as of a network disk without a lock service: a folder shown through FUSE.

It speaks the kernel's protocol itself, as much of it as a home and a database need, and mounting it needs the rights of
root. Requests are answered one after the other, by a process of its own.
"""

import ctypes
import errno
import os
import signal
import stat
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from benchmarks.faults.trial import Unavailable

__all__ = ["disk_without_locks"]

LARGEST_WRITE = 1 << 17
POSIX_LOCKS, BIG_WRITES, FLOCK_LOCKS = 1 << 1, 1 << 5, 1 << 10
"""What the file system says that it does itself; locks are then asked of it, and refused."""
IN_HEADER, OUT_HEADER = struct.Struct("<IIQQIIII"), struct.Struct("<IiQ")
ATTRIBUTES = struct.Struct("<6Q10I")
ROOT = 1


@contextmanager
def disk_without_locks(folder: Path, held: Path, refusal: int) -> Iterator[None]:
    """Show the folder `held` at `folder`, and answer each request for a lock by the error `refusal`.

    0 leaves locks to the kernel, as on a local disk. Raises `Unavailable` where it cannot be mounted.
    """
    try:
        device = os.open("/dev/fuse", os.O_RDWR)
    except OSError as error:
        raise Unavailable("there is no FUSE here") from error
    options = f"fd={device},rootmode=40000,user_id=0,group_id=0,allow_other,default_permissions"
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"lockless", os.fsencode(folder), b"fuse", 0, options.encode()):
        os.close(device)
        raise Unavailable("file systems cannot be mounted here")
    pid = os.fork()
    if not pid:
        with suppress(BaseException):
            _Server(device, held, refusal).serve()
        os._exit(0)
    os.close(device)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)
        os.kill(pid, signal.SIGKILL)  # It would go on for as long as somebody has a file of it open.
        os.waitpid(pid, 0)


class _Server:
    """Nodes are paths below the folder; open files are those of the system."""

    def __init__(self, device: int, held: Path, refusal: int) -> None:
        self._device, self._refusal = device, refusal
        self._paths, self._nodes = {ROOT: str(held)}, {str(held): ROOT}
        self._answers: dict[int, Any] = {
            1: self._lookup, 3: self._getattr, 4: self._setattr, 9: self._mkdir, 10: self._unlink, 11: self._rmdir,
            12: self._rename, 14: self._open, 15: self._read, 16: self._write, 17: self._statfs, 18: self._release,
            20: self._fsync, 25: self._nothing, 26: self._init, 27: self._opendir, 28: self._readdir,
            29: self._nothing, 30: self._nothing, 31: self._lock, 32: self._lock, 33: self._lock, 34: self._nothing,
            35: self._create, 45: self._rename2,
        }  # fmt: skip

    def serve(self) -> None:
        """Answer until it is unmounted."""
        while True:
            try:
                request = os.read(self._device, LARGEST_WRITE + 4096)
            except InterruptedError:
                continue
            _, opcode, unique, node = IN_HEADER.unpack_from(request)[:4]
            if opcode in (2, 36, 42):  # Nobody waits for an answer to these: what is forgotten or interrupted.
                continue
            try:
                body, error = self._answers[opcode](node, request[IN_HEADER.size :]), 0
            except KeyError:
                body, error = b"", errno.ENOSYS
            except OSError as problem:
                body, error = b"", problem.errno or errno.EIO
            with suppress(FileNotFoundError):  # The one who asked is gone.
                os.write(self._device, OUT_HEADER.pack(OUT_HEADER.size + len(body), -error, unique) + body)

    # Nodes.

    def _child(self, node: int, name: bytes) -> str:
        return os.path.join(self._paths[node], os.fsdecode(name.split(b"\0")[0]))

    def _node(self, path: str) -> int:
        if path not in self._nodes:
            self._nodes[path] = max(self._paths) + 1
            self._paths[self._nodes[path]] = path
        return self._nodes[path]

    def _entry(self, path: str) -> bytes:
        return struct.pack("<4Q2I", self._node(path), 0, 0, 0, 0, 0) + _packed(os.lstat(path))

    def _lookup(self, node: int, body: bytes) -> bytes:
        path = self._child(node, body)
        os.lstat(path)
        return self._entry(path)

    def _getattr(self, node: int, body: bytes) -> bytes:
        flags, _, handle = struct.unpack_from("<IIQ", body)
        return struct.pack("<QII", 0, 0, 0) + _packed(os.fstat(handle) if flags & 1 else os.lstat(self._paths[node]))

    def _setattr(self, node: int, body: bytes) -> bytes:
        valid, _, handle, size, _, atime, mtime, _, atime_ns, mtime_ns, _, mode = struct.unpack_from("<II6Q4I", body)
        place: Any = handle if valid & 64 else self._paths[node]
        if valid & 1:
            os.chmod(place, stat.S_IMODE(mode))
        if valid & 8:
            os.truncate(place, size)
        if valid & (16 | 32) and not valid & (128 | 256):
            os.utime(place, ns=(atime * 10**9 + atime_ns, mtime * 10**9 + mtime_ns))
        elif valid & (128 | 256):
            os.utime(place)
        return struct.pack("<QII", 0, 0, 0) + _packed(os.stat(place))

    def _mkdir(self, node: int, body: bytes) -> bytes:
        path = self._child(node, body[8:])
        os.mkdir(path, struct.unpack_from("<I", body)[0])
        return self._entry(path)

    def _unlink(self, node: int, body: bytes) -> bytes:
        os.unlink(self._child(node, body))
        self._forget(self._child(node, body))
        return b""

    def _rmdir(self, node: int, body: bytes) -> bytes:
        os.rmdir(self._child(node, body))
        self._forget(self._child(node, body))
        return b""

    def _forget(self, path: str) -> None:
        """The name is free for another file; the node stays, for those who have it open."""
        self._nodes.pop(path, None)

    def _rename(self, node: int, body: bytes, start: int = 8) -> bytes:
        old, new = body[start:].split(b"\0")[:2]
        source, target = self._child(node, old), self._child(struct.unpack_from("<Q", body)[0], new)
        os.rename(source, target)
        self._forget(target)
        for each, path in list(self._paths.items()):
            if path == source or path.startswith(f"{source}/"):
                self._nodes.pop(path, None)
                self._paths[each] = target + path[len(source) :]
                self._nodes[self._paths[each]] = each
        return b""

    def _rename2(self, node: int, body: bytes) -> bytes:
        return self._rename(node, body, 16)

    # Open files.

    def _open(self, node: int, body: bytes) -> bytes:
        flags = struct.unpack_from("<I", body)[0]
        return struct.pack("<QII", os.open(self._paths[node], flags & (os.O_ACCMODE | os.O_TRUNC)), 0, 0)

    def _create(self, node: int, body: bytes) -> bytes:
        flags, mode = struct.unpack_from("<II", body)
        path = self._child(node, body[16:])
        handle = os.open(path, os.O_CREAT | flags & (os.O_ACCMODE | os.O_TRUNC | os.O_EXCL), mode)
        return self._entry(path) + struct.pack("<QII", handle, 0, 0)

    def _read(self, node: int, body: bytes) -> bytes:
        handle, offset, size = struct.unpack_from("<QQI", body)
        return os.pread(handle, size, offset)

    def _write(self, node: int, body: bytes) -> bytes:
        handle, offset, size = struct.unpack_from("<QQI", body)
        return struct.pack("<II", os.pwrite(handle, body[40 : 40 + size], offset), 0)

    def _fsync(self, node: int, body: bytes) -> bytes:
        return b""  # The folder behind is on a disk of this machine, which nobody unplugs here.

    def _release(self, node: int, body: bytes) -> bytes:
        os.close(struct.unpack_from("<Q", body)[0])
        return b""

    def _opendir(self, node: int, body: bytes) -> bytes:
        return struct.pack("<QII", 0, 0, 0)

    def _readdir(self, node: int, body: bytes) -> bytes:
        _, offset, size = struct.unpack_from("<QQI", body)
        made = b""
        for number, entry in enumerate(sorted(os.scandir(self._paths[node]), key=lambda each: each.name)):
            name = os.fsencode(entry.name)
            kind = stat.S_IFMT(entry.stat(follow_symlinks=False).st_mode) >> 12
            packed = struct.pack("<QQII", entry.inode(), number + 1, len(name), kind) + name
            packed += bytes(-len(packed) % 8)
            if number >= offset and len(made) + len(packed) <= size:
                made += packed
        return made

    # The rest.

    def _init(self, node: int, body: bytes) -> bytes:
        major, minor, readahead = struct.unpack_from("<III", body)
        flags = BIG_WRITES | (POSIX_LOCKS | FLOCK_LOCKS if self._refusal else 0)
        return struct.pack(
            "<4IHHIIHHI7I", major, min(minor, 31), readahead, flags, 0, 0, LARGEST_WRITE, 1, 0, 0, *[0] * 8
        )

    def _lock(self, node: int, body: bytes) -> bytes:
        raise OSError(self._refusal, "no locks")

    def _statfs(self, node: int, body: bytes) -> bytes:
        found = os.statvfs(self._paths[ROOT])
        sizes = (found.f_blocks, found.f_bfree, found.f_bavail, found.f_files, found.f_ffree)
        return struct.pack("<5Q4I6I", *sizes, found.f_bsize, found.f_namemax, found.f_frsize, *[0] * 7)

    def _nothing(self, node: int, body: bytes) -> bytes:
        return b""


def _packed(found: os.stat_result) -> bytes:
    """The attributes as the kernel takes them."""
    times = (found.st_atime_ns, found.st_mtime_ns, found.st_ctime_ns)
    return ATTRIBUTES.pack(
        found.st_ino, found.st_size, found.st_blocks, *(each // 10**9 for each in times),
        *(each % 10**9 for each in times), found.st_mode, found.st_nlink, found.st_uid, found.st_gid, found.st_rdev,
        found.st_blksize, 0,
    )  # fmt: skip
