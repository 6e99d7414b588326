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
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt

from patterndb.neighbours.codes import PARTS, ROW, Coded, Part, Query, Rows, dimensions_of
from patterndb.neighbours.row_distances import Layout
from patterndb.similarity import Criterion

__all__ = ["CodeFiles"]

Ids = npt.NDArray[np.int64]
Places = npt.NDArray[np.intp]
Vector = npt.NDArray[np.float64]
ROWS_AT_A_TIME = 128
"""So many rows are worked on in a processor's cache."""
ROWS_READ = 1_024
"""So many are read at once."""
MOST_SEGMENTS = 8
"""More are joined into one, which also leaves out the rows that nobody needs any more."""
VERSION = "2"
MEASURES: Mapping[Criterion, tuple[Part, ...]] = {"weights": ("roles", "names"), "kind": ("coarse",)}
"""What is read of every row."""


class CodeFiles:
    """The codes of one layout in one folder."""

    def __init__(self, folder: Path, layout: Layout) -> None:
        self._folder, self._layout = folder / VERSION, layout
        self._remembered = self._folder / "current.npz"
        self._hold([_Segment(path, layout) for path in sorted(self._folder.glob("segment-*"))])

    def _hold(self, segments: "list[_Segment]") -> None:
        self._segments = segments
        self._rows: Rows = np.concatenate([np.empty(0, dtype=ROW), *(each.rows for each in segments)])

    def are_there(self) -> bool:
        """Whether nobody took them away, or joined them, since."""
        return all(segment.path.exists() for segment in self._segments)

    def find(self, ids: Ids, stamps: Ids) -> tuple[Places, npt.NDArray[np.bool_]]:
        """The rows of these patterns, as confirmed at that time, each once; and which of them are in no segment.

        - `ids`: each once, sorted.
        """
        rows, found = self.rows(), np.zeros(len(ids), dtype=bool)
        if not len(ids):
            return np.empty(0, dtype=np.intp), found
        theirs = np.minimum(np.searchsorted(ids, rows["id"]), len(ids) - 1)
        known = np.flatnonzero((ids[theirs] == rows["id"]) & (stamps[theirs] == rows["stamp"]))
        found[theirs[known]] = True
        if len(known) > found.sum():
            known = np.sort(known[np.unique(theirs[known], return_index=True)[1]])
        return known, ~found

    def add(self, chunks: Iterable[Coded]) -> None:
        """One more segment. Raises `OSError` where it cannot be written."""
        self._hold([*self._segments, self._write(chunks)])

    def recall(self, state: str) -> tuple[Ids, Ids] | None:
        """The patterns that were remembered in this state of the database, and when they were confirmed."""
        with contextlib.suppress(OSError, ValueError, KeyError, zipfile.BadZipFile), np.load(self._remembered) as found:
            if str(found["state"]) == state:
                return found["ids"], found["stamps"]
        return None

    def remember(self, state: str, ids: Ids, stamps: Ids) -> None:
        """Spare the next search the question which patterns are current."""
        self._folder.mkdir(parents=True, exist_ok=True)
        partial = self._folder / f"part-{uuid.uuid4().hex}.npz"
        try:
            np.savez(partial, state=np.array(state), ids=ids, stamps=stamps)
            os.replace(partial, self._remembered)
        finally:
            partial.unlink(missing_ok=True)

    def tidy(self, ids: Ids, stamps: Ids) -> bool:
        """Join the segments if they are many, or if most rows are of none of these patterns; whether it did."""
        if len(self._segments) <= MOST_SEGMENTS and len(self._rows) <= 2 * len(ids):
            return False
        old = list(self._segments)
        self._hold([self._write(_only(self._chunks(old), ids, stamps))])
        for segment in old:
            shutil.rmtree(segment.path, ignore_errors=True)
        return True

    def _chunks(self, segments: Sequence["_Segment"]) -> Iterator[Coded]:
        for segment in segments:
            for start in range(0, len(segment.rows), ROWS_AT_A_TIME):
                yield segment.read(slice(start, start + ROWS_AT_A_TIME), PARTS)

    def _write(self, chunks: Iterable[Coded]) -> "_Segment":
        self._folder.mkdir(parents=True, exist_ok=True)
        for older in self._folder.parent.glob("[0-9]*"):
            if older.name != VERSION:
                shutil.rmtree(older, ignore_errors=True)
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
        return self._rows

    def bounds(self, query: Query, by: Criterion) -> Vector:
        """Of every row what `Query.bound` says, the latter by the first byte of each statistic."""
        jobs = [
            (each, slice(start, start + ROWS_READ))
            for each in self._segments
            for start in range(0, len(each.rows), ROWS_READ)
        ]

        def work(some: Sequence[tuple["_Segment", slice]]) -> list[Vector]:
            read = (segment.read(rows, MEASURES[by]) for segment, rows in some)
            return [query.bound(rows, by) for coded in read for rows in coded.pieces(ROWS_AT_A_TIME)]

        workers = os.cpu_count() or 1
        share = max(-(-len(jobs) // (4 * workers)), 1)
        with ThreadPoolExecutor(workers) as pool:
            found = list(pool.map(work, (jobs[start : start + share] for start in range(0, len(jobs), share))))
        return np.concatenate([np.empty(0), *(bounds for some in found for bounds in some)])

    def closer_kind(self, query: Query, places: Places) -> Vector:
        """Of these rows, sorted, what `Query.kind` says by both bytes of each statistic."""
        found, first = [np.empty(0)], 0
        for segment in self._segments:
            own = places[(places >= first) & (places < first + len(segment.rows))] - first
            found += [
                query.kind(segment.read(own[start : start + ROWS_AT_A_TIME], ("coarse", "fine")))
                for start in range(0, len(own), ROWS_AT_A_TIME)
            ]
            first += len(segment.rows)
        return np.concatenate(found)


class _Segment:
    """A folder with the codes of some rows."""

    def __init__(self, path: Path, layout: Layout) -> None:
        self.path, self._layout = path, layout
        self.rows: Rows = np.load(path / "rows.npy")
        self._masks = np.load(path / "masks.npy")
        self._keys = np.load(path / "keys.npy")

    def read(self, which: slice | Places, parts: Sequence[Part]) -> Coded:
        """Some rows, with these parts of their codes."""
        codes = {part: self._read_codes(which, part) for part in parts}
        return Coded(rows=self.rows[which], masks=self._masks, keys=self._keys[which], codes=codes)

    def _read_codes(self, which: slice | Places, part: Part) -> npt.NDArray[np.int8]:
        width = len(dimensions_of(self._layout, part))
        if isinstance(which, slice):
            start, stop, _ = which.indices(len(self.rows))
            count, offset = (stop - start) * width, start * width
            return np.fromfile(self.path / part, np.int8, count, offset=offset).reshape(stop - start, width)
        if not width or not len(which):
            return np.empty((len(which), width), dtype=np.int8)
        # What is mapped counts as memory of the process: only for a few rows here and there.
        return np.memmap(self.path / part, np.int8, "r", shape=(len(self.rows), width))[which].view(np.ndarray)


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


def _only(chunks: Iterable[Coded], ids: Ids, stamps: Ids) -> Iterator[Coded]:
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
