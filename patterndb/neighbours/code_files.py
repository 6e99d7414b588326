"""Signatures in codes as files beside a SQLite database: what a search through all models reads.

Nothing is lost with these files: they are made from the database, again if need be, and what is new in it is added when
somebody asks. A segment is a folder that is whole or not there, so several processes may read and add at once; the
worst that happens is that a row is in two segments, where it counts once.
"""

import contextlib
import os
import shutil
import uuid
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt

from patterndb.neighbours.codes import LARGEST, PARTS, ROW, Coded, Query, Rows
from patterndb.neighbours.row_distances import Layout

__all__ = ["CodeFiles"]

Vector = npt.NDArray[np.float64]
ROWS_AT_A_TIME = 512
"""So many rows are worked on in a processor's cache."""
MOST_SEGMENTS = 8
"""More are joined into one, which also leaves out the rows that nobody needs any more."""
VERSION = "1"


class CodeFiles:
    """The codes of one layout in one folder."""

    def __init__(self, folder: Path, layout: Layout) -> None:
        self._folder, self._layout = folder / VERSION, layout
        self._remembered = self._folder / "current.npz"
        self._segments = [_Segment(path, layout) for path in sorted(self._folder.glob("segment-*"))]

    def missing(self, ids: npt.NDArray[np.int64], stamps: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """Which of these patterns, as confirmed at that time, are in no segment."""
        rows = self.rows()
        return ~np.isin(_as_one(ids, stamps), _as_one(rows["id"], rows["stamp"]))

    def places(self, ids: npt.NDArray[np.int64], stamps: npt.NDArray[np.int64]) -> npt.NDArray[np.intp]:
        """The rows of these patterns, each once; those that are missing have none."""
        rows = self.rows()
        numbers, first = np.unique(_as_one(rows["id"], rows["stamp"]), return_index=True)
        return np.sort(first[np.isin(numbers, _as_one(ids, stamps))])

    def add(self, chunks: Iterable[Coded]) -> None:
        """One more segment. Raises `OSError` where it cannot be written."""
        self._segments.append(self._write(chunks))

    def recall(self, state: str) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]] | None:
        """The patterns that were remembered in this state of the database, and when they were confirmed."""
        with contextlib.suppress(OSError, ValueError, KeyError, zipfile.BadZipFile), np.load(self._remembered) as found:
            if str(found["state"]) == state:
                return found["ids"], found["stamps"]
        return None

    def remember(self, state: str, ids: npt.NDArray[np.int64], stamps: npt.NDArray[np.int64]) -> None:
        """Spare the next search the question which patterns are current."""
        self._folder.mkdir(parents=True, exist_ok=True)
        partial = self._folder / f"part-{uuid.uuid4().hex}.npz"
        try:
            np.savez(partial, state=np.array(state), ids=ids, stamps=stamps)
            os.replace(partial, self._remembered)
        finally:
            partial.unlink(missing_ok=True)

    def tidy(self, ids: npt.NDArray[np.int64], stamps: npt.NDArray[np.int64]) -> None:
        """Join the segments if they are many, or if most rows are of none of these patterns."""
        held = sum(len(each.rows) for each in self._segments)
        if len(self._segments) <= MOST_SEGMENTS and held <= 2 * len(ids):
            return
        old = list(self._segments)
        self._segments = [self._write(_only(self._chunks(old), ids, stamps))]
        for segment in old:
            shutil.rmtree(segment.path, ignore_errors=True)

    def _chunks(self, segments: Sequence["_Segment"]) -> Iterator[Coded]:
        for segment in segments:
            for start in range(0, len(segment.rows), ROWS_AT_A_TIME):
                yield segment.read(start, PARTS)

    def _write(self, chunks: Iterable[Coded]) -> "_Segment":
        self._folder.mkdir(parents=True, exist_ok=True)
        partial = self._folder / f"part-{uuid.uuid4().hex}"
        try:
            partial.mkdir()
            _write_segment(partial, chunks, self._layout)
            target = self._folder / f"segment-{uuid.uuid4().hex}"
            os.rename(partial, target)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
        return _Segment(target, self._layout)

    def rows(self) -> Rows:
        """What is known of every row, in the order of the bounds."""
        return np.concatenate([np.empty(0, dtype=ROW), *(each.rows for each in self._segments)])

    def bounds(self, query: Query, measure: str) -> Vector:
        """Of every row what `Query.weights` or `Query.kind` says."""
        parts = ("roles", "names") if measure == "weights" else ("statistics",)
        jobs = [(each, start) for each in self._segments for start in range(0, len(each.rows), ROWS_AT_A_TIME)]

        def work(job: tuple["_Segment", int]) -> Vector:
            found: Vector = getattr(query, measure)(job[0].read(job[1], parts))
            return found

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            return np.concatenate([np.empty(0), *pool.map(work, jobs)])


class _Segment:
    """A folder with the codes of some rows."""

    def __init__(self, path: Path, layout: Layout) -> None:
        self.path, self._layout = path, layout
        self.rows: Rows = np.load(path / "rows.npy")
        self._masks = np.load(path / "masks.npy")
        self._keys = np.load(path / "keys.npy")

    def read(self, start: int, parts: Sequence[str]) -> Coded:
        """Some rows from `start` on."""
        stop = min(start + ROWS_AT_A_TIME, len(self.rows))
        codes = {}
        for part in parts:
            width, kind = len(self._layout.parts[part]), np.dtype(LARGEST[part][1])
            count, offset = (stop - start) * width, start * width * kind.itemsize
            codes[part] = np.fromfile(self.path / part, kind, count, offset=offset).reshape(stop - start, width)
        return Coded(rows=self.rows[start:stop], masks=self._masks, keys=self._keys[start:stop], codes=codes)


def _write_segment(folder: Path, chunks: Iterable[Coded], layout: Layout) -> None:
    rows, keys = [np.empty(0, dtype=ROW)], [np.empty((0, len(layout.parts["keys"])))]
    masks: dict[bytes, int] = {}
    with contextlib.ExitStack() as stack:
        files = {part: stack.enter_context((folder / part).open("wb")) for part in PARTS}
        for chunk in chunks:
            numbers = [masks.setdefault(np.packbits(mask).tobytes(), len(masks)) for mask in chunk.masks]
            own = chunk.rows.copy()
            own["mask"] = np.array(numbers, dtype=np.int32)[own["mask"]] if len(own) else own["mask"]
            rows.append(own)
            keys.append(chunk.keys)
            for part, file in files.items():
                file.write(chunk.codes[part].tobytes())
    np.save(folder / "rows.npy", np.concatenate(rows))
    np.save(folder / "keys.npy", np.concatenate(keys))
    packed = np.frombuffer(b"".join(masks), dtype=np.uint8).reshape(len(masks), -1)
    unpacked = np.unpackbits(packed, axis=1, count=len(layout.names)) if masks else np.empty((0, len(layout.names)))
    np.save(folder / "masks.npy", unpacked.astype(bool))


def _only(chunks: Iterable[Coded], ids: npt.NDArray[np.int64], stamps: npt.NDArray[np.int64]) -> Iterator[Coded]:
    """The rows of these patterns, each once."""
    wanted, done = dict(zip(ids.tolist(), stamps.tolist(), strict=True)), set[int]()
    for chunk in chunks:
        places = []
        for place, row in enumerate(chunk.rows[["id", "stamp"]].tolist()):
            if wanted.get(row[0]) == row[1] and row[0] not in done:
                done.add(row[0])
                places.append(place)
        codes = {part: numbers[places] for part, numbers in chunk.codes.items()}
        yield Coded(rows=chunk.rows[places], masks=chunk.masks, keys=chunk.keys[places], codes=codes)


def _as_one(ids: npt.NDArray[np.int64], stamps: npt.NDArray[np.int64]) -> npt.NDArray[np.complex128]:
    """Pattern and time as one number, for sets of them; exact until the year 2255."""
    found: npt.NDArray[np.complex128] = ids.astype(np.float64) + 1j * stamps.astype(np.float64)
    return found
