"""Questions about models next to others: who is near, and how near among all.

Up to `search.EXACT_MODELS` models all pairs are computed. Beyond, a model is held against all others alone, and
percentiles are among a sample of pairs that the database keeps.
"""

import hashlib
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from sqlalchemy import ARRAY, Connection, Integer, LargeBinary, column, func, literal, select, table

from dna_zoo.errors import StoreError
from patterndb.comparison import Comparison, compare
from patterndb.connection.batches import batches
from patterndb.connection.binary import as_bytes
from patterndb.connection.engine import upsert
from patterndb.connection.floats import pack_array, unpack_array, unpack_arrays
from patterndb.connection.retry import survives_restarts
from patterndb.neighbours import pair_sample, search
from patterndb.neighbours.code_files import CodeFiles
from patterndb.neighbours.code_rows import unpack_rows
from patterndb.neighbours.codes import Coded, Query, encode
from patterndb.neighbours.pair_sample import PairSample, draw_pairs
from patterndb.neighbours.reading import (
    StoredLayout,
    layouts_of,
    read_current,
    read_layouts,
    read_own,
    read_state,
    read_values,
)
from patterndb.neighbours.row_distances import Layout, row_distances
from patterndb.neighbours.search import (
    Bounds,
    CandidateBounds,
    CodedBounds,
    ExactBounds,
    Found,
    Own,
    Read,
    find_nearest,
)
from patterndb.neighbours.vectors import Vectors, drop_others, enable, is_there
from patterndb.patterns.digests import SIGNATURE, read_parts
from patterndb.patterns.reading import read_entries
from patterndb.patterns.store import PatternStore
from patterndb.patterns.which import CURRENT, IS_CURRENT, LISTED, SIGNED
from patterndb.records import Neighbour, PairDistances, SignatureEntry, SignatureRecord
from patterndb.similarity import Criterion, Distances, align, all_distances, nearest, place
from patterndb.tables import MODELS, PAIR_SAMPLES, PATTERNS, SIGNATURE_LAYOUTS, SIGNATURES

__all__ = ["NeighbourStore"]

Ids = npt.NDArray[np.int64]
Vector = npt.NDArray[np.float64]
log = logging.getLogger(__name__)
COUNTED = 5_000
"""So many signatures are counted by model key; of more it does not matter how many are not the current ones."""


class NeighbourStore(PatternStore):
    """The part of the pattern database that compares models.

    What it counted, and the sample of pairs, it remembers until there are newer signatures.
    """

    def __init__(self, url: str, **options: Any) -> None:
        super().__init__(url, **options)
        self._sizes: dict[str, _Size] = {}
        self._samples: dict[str, PairSample] = {}
        self._held: dict[str, _Held] = {}

    @survives_restarts
    def compare_patterns(self, a: str, b: str) -> Comparison:
        """The current patterns of two model keys side by side.

        Raises `NotMinedError` for a key without a pattern, `StoreError` for signatures of different versions.
        """
        left, right = (self.load_pattern(key, with_tensors=False) for key in (a, b))
        if left.signature.version != right.signature.version:
            align((left.signature, right.signature))  # Raises.
        return compare(left, right, self._among(left.signature.version))

    @survives_restarts
    def get_similar_models(self, name: str, top_k: int = 5, *, by: Criterion = "weights") -> tuple[Neighbour, ...]:
        """The `top_k` models nearest to the model key `name`, as `patterndb.similarity.nearest` ranks them.

        Among more than `search.EXACT_MODELS` models, as `search` does. Models whose signature has another
        version, or no dimension in common, are left out. Raises `NotMinedError` if `name` has no pattern, `StoreError`
        if no other model has a signature of its version.
        """
        with self._reading() as connection:
            found = read_own(connection, name)
            sample = None if found is None else self._kept_sample(connection, found.version)
            if sample is not None:
                return self._search(connection, found, top_k, by, sample)
        version = self._versions_of([name])[name]
        if self._is_large(version):
            return self._search_by_name(name, top_k, by, self._sample(version))
        entries = self._entries(version)
        if len(entries) == 1:
            self._require_one_version(entries[0].signature)
        return nearest([name], entries, top_k, by)[name]

    @survives_restarts
    def get_similar_to_each(self, names: Sequence[str], top_k: int = 5) -> Mapping[str, tuple[Neighbour, ...]]:
        """`get_similar_models` of several model keys at once; nothing where no other model has the same version.

        Raises `NotMinedError` if one has no pattern.
        """
        versions = self._versions_of(names)
        found: dict[str, tuple[Neighbour, ...]] = {}
        for version in sorted(set(versions.values())):
            ours = [name for name, each in versions.items() if each == version]
            if self._is_large(version):
                sample = self._sample(version)
                found |= {name: self._search_by_name(name, top_k, "weights", sample) for name in ours}
            else:
                found |= nearest(ours, self._entries(version), top_k)
        return {name: found[name] for name in names}

    @survives_restarts
    def index(self) -> int:
        """Make what finds neighbours in a large database, or bring it up to date; how many signatures it holds.

        On PostgreSQL with pgvector its tables, on SQLite files beside the database; elsewhere nothing, and a search
        reads all signatures. A catalog that is small needs nothing.
        """
        with self._reading() as connection:
            layouts = read_layouts(connection)
        large = [layout_id for layout_id, each in layouts.items() if self._is_large(each.version)]
        if self.path is not None:
            with self._reading() as connection:
                return sum(len(self._files(connection, layouts[each])[1]) for each in large)
        with self._writing() as connection:
            if not large or not enable(connection):
                return 0
            drop_others(connection, layouts)
            return sum(_index_vectors(connection, layouts[each]) for each in large)

    def _versions_of(self, names: Sequence[str]) -> dict[str, str]:
        """Of the signatures of these model keys; raises `NotMinedError`, naming near misses."""
        query = select(MODELS.c.key, SIGNATURE_LAYOUTS.c.version).select_from(SIGNED)
        with self._reading() as connection:
            rows = connection.execute(query.where(MODELS.c.key.in_(names), IS_CURRENT))
            found = {key: version for key, version in rows}
        for name in names:
            if name not in found:
                self.load_pattern(name)  # Raises.
        return found

    def _is_large(self, version: str) -> bool:
        """Whether so many models have a signature of this version that pairs are too many."""
        with self._reading() as connection:
            return self._size(connection, version).is_large

    def _size(self, connection: Connection, version: str) -> "_Size":
        """Of the catalog of a version; counted again when there are newer signatures."""
        newest = connection.scalar(select(func.max(SIGNATURES.c.pattern_id)))
        known = self._sizes.get(version)
        if known is None or known.newest != newest:
            known = self._sizes[version] = _measure(connection, version, newest)
        return known

    def _entries(self, version: str) -> tuple[SignatureEntry, ...]:
        """The current signatures of this version."""
        with self._reading(*LISTED) as connection:
            return read_entries(connection, PATTERNS.c.id.in_(CURRENT), version=version)

    def _require_one_version(self, signature: SignatureRecord) -> None:
        """Raise `StoreError` if there are signatures of other versions."""
        used = select(SIGNATURES.c.layout_id).where(SIGNATURES.c.pattern_id.in_(CURRENT))
        others = select(SIGNATURE_LAYOUTS.c.version).where(SIGNATURE_LAYOUTS.c.id.in_(used))
        with self._reading() as connection:
            versions = connection.scalars(others.distinct()).all()
        align([signature, *(SignatureRecord(version=version, names=(), values=()) for version in versions)])

    def _among(self, version: str) -> Distances | PairSample:
        """What percentiles are taken among: all pairs, or a sample."""
        if self._is_large(version):
            return self._sample(version)
        return all_distances(self._entries(version)).each_once()

    def _kept_sample(self, connection: Connection, version: str) -> PairSample | None:
        """The sample of pairs of a large catalog, if it is there and stands for it."""
        size = self._size(connection, version)
        if not size.is_large:
            return None
        sample = self._samples.get(version) or _read_sample(connection, version)
        if sample is None or not sample.is_fresh(size.signatures):
            sample = _read_sample(connection, version)
        if sample is None or not sample.is_fresh(size.signatures):
            return None
        self._samples[version] = sample
        return sample

    def _sample(self, version: str) -> PairSample:
        """The sample of pairs, drawn again where it does not stand for the catalog any more."""
        with self._reading() as connection:
            kept = self._kept_sample(connection, version)
            if kept is not None:
                return kept
            found = _draw_sample(connection, version, self._size(connection, version).signatures)
        try:
            with self._writing() as connection:
                _write_sample(connection, version, found)
        except StoreError as error:
            log.info("The sample of pairs is not kept: %s", error.message)
        # Of a database that may only be read, it is drawn in every session: always the same.
        self._samples[version] = found
        return found

    def _search_by_name(self, name: str, top_k: int, by: Criterion, among: PairSample) -> tuple[Neighbour, ...]:
        with self._reading() as connection:
            return self._search(connection, read_own(connection, name), top_k, by, among)

    def _search(
        self, connection: Connection, found: Any, top_k: int, by: Criterion, among: PairSample
    ) -> tuple[Neighbour, ...]:
        """The nearest among many to a model, as `read_own` gives it."""
        layouts = read_layouts(connection)
        own = _own(connection, found.id, layouts[found.layout_id], found.sha256)
        bounds = self._bounds(connection, own, layouts, found.layout_id)
        read = _Remembered(partial(read_values, connection, layouts, own.layout))
        ranked = find_nearest(own, bounds, read, top_k, by)
        return _neighbours(connection, own, ranked, top_k, among, read)

    def _bounds(
        self, connection: Connection, own: Own, layouts: "Mapping[int, StoredLayout]", layout_id: int
    ) -> Sequence[Bounds]:
        """What leaves out most models: pgvector's tables, files of codes, or nothing but their signatures."""
        read = partial(read_values, connection, layouts, own.layout)
        comparable = [each for each in layouts.values() if each.version == layouts[layout_id].version]
        if self.path is not None:
            bounds = [self._coded(connection, each, own, layouts[layout_id]) for each in comparable]
            if None not in bounds:
                return [each for each in bounds if each is not None]
        found: list[Bounds] = []
        for each in comparable:
            vectors = Vectors.find(connection, each.id, each.dimensions)
            if vectors is None:
                found.append(ExactBounds(read_current(connection, each.id)[0], own, read))
                continue
            values = each.dimensions.take(own.layout.names, own.values)
            named = partial(_candidates, connection, vectors, each.dimensions, own, values)
            found.append(CandidateBounds(named, Query(each.dimensions, values)))
        return found

    def _coded(
        self, connection: Connection, layout: "StoredLayout", own: Own, own_layout: "StoredLayout"
    ) -> Bounds | None:
        """By the files of codes; None where they cannot be written."""
        try:
            files, places = self._files(connection, layout)
        except OSError as error:
            log.info("No files of codes, so every signature is read: %s", error)
            return None
        others = places[files.rows()["id"][places] != own.pattern_id]
        query = Query(layout.dimensions, layout.dimensions.take(own_layout.dimensions.names, own.values))
        return CodedBounds(files, others, query)

    def _files(self, connection: Connection, layout: "StoredLayout") -> tuple[CodeFiles, npt.NDArray[np.intp]]:
        """The files of codes of a layout, with everything that is in the database, and the rows of current patterns."""
        assert self.path is not None
        state = read_state(connection)
        held = self._held.get(layout.digest)
        if held is not None and held.state == state and held.files.are_there():
            return held.files, held.places
        files = CodeFiles(Path(f"{self.path}-codes") / layout.digest[:16], layout.dimensions)
        known = files.recall(state)
        ids, stamps = known or read_current(connection, layout.id)
        if known is None:
            files.remember(state, ids, stamps)
        places, missing = files.find(ids, stamps)
        if missing.any():
            log.info("Coding %d signatures.", missing.sum())
            files.add(_encoded(connection, layout, ids[missing], stamps[missing]))
        if files.tidy(ids, stamps) or missing.any():
            places, _ = files.find(ids, stamps)
        self._held[layout.digest] = _Held(state=state, files=files, places=places)
        return files, places


def _own(connection: Connection, pattern_id: int, layout: StoredLayout, sha256: str) -> Own:
    same = select(PATTERNS.c.id).select_from(PATTERNS.join(MODELS)).where(MODELS.c.sha256 == sha256)
    return Own(
        pattern_id=pattern_id,
        layout=layout.dimensions,
        values=read_values(connection, {layout.id: layout}, layout.dimensions, [pattern_id])[pattern_id],
        same_file=frozenset(connection.scalars(same)) - {pattern_id},
    )


def _candidates(
    connection: Connection, vectors: Vectors, layout: Layout, own: Own, values: Vector, by: Criterion
) -> Coded | None:
    """The codes of the current patterns of a layout that pgvector names, and of those of the same file."""
    named = {*vectors.candidates(values, by), *own.same_file} - {own.pattern_id}
    codes = table(vectors.codes, column("pattern_id", Integer), column(by, LargeBinary))
    joined = codes.join(PATTERNS, PATTERNS.c.id == codes.c.pattern_id).join(MODELS, MODELS.c.id == PATTERNS.c.model_id)
    # One value, not one for each pattern: the driver reads a statement sign by sign.
    is_named = codes.c.pattern_id == func.any(literal(sorted(named), ARRAY(Integer)))
    query = select(codes.c[by]).select_from(joined).where(is_named, IS_CURRENT)
    with as_bytes(connection):
        packed = connection.scalars(query).all()
    return unpack_rows(layout, packed, by) if packed else None


def _encoded(connection: Connection, layout: StoredLayout, ids: Ids, stamps: Ids) -> Iterator[Coded]:
    """The signatures in codes, some at a time; the next are read while these are coded."""

    def code(some: tuple[Ids, Ids, Sequence[bytes]]) -> Coded:
        own, when, packed = some
        return encode(layout.dimensions, own, when, unpack_arrays(packed, len(layout.dimensions.names)))

    workers = os.cpu_count() or 1
    with ThreadPoolExecutor(workers) as pool:
        for some in batches(_packed(connection, ids, stamps), workers):
            yield from pool.map(code, some)


def _packed(connection: Connection, ids: Ids, stamps: Ids) -> Iterator[tuple[Ids, Ids, Sequence[bytes]]]:
    """The signatures of these patterns, sorted, as they are kept, some at a time."""
    for start in range(0, len(ids), search.AT_A_TIME):
        some = slice(start, start + search.AT_A_TIME)
        with as_bytes(connection):
            found = {
                pattern_id: rows for pattern_id, (rows,) in read_parts(connection, [SIGNATURE], ids[some].tolist())
            }
        yield ids[some], stamps[some], [found[pattern_id][0][-1] for pattern_id in ids[some].tolist()]


def _index_vectors(connection: Connection, layout: StoredLayout) -> int:
    """Make pgvector's tables of a layout, if they are not there; how many signatures they hold."""
    of_layout = select(SIGNATURES.c.pattern_id).where(SIGNATURES.c.layout_id == layout.id)
    ids = np.array(sorted(connection.scalars(of_layout)), dtype=np.int64)
    if not is_there(connection, layout.id):
        vectors = Vectors(connection, layout.id, layout.dimensions)
        vectors.create()
        for own, _, packed in _packed(connection, ids, ids):
            vectors.put(own, unpack_arrays(packed, len(layout.dimensions.names)))
        vectors.index()
    return len(ids)


class _Remembered:
    """Values of patterns, which are not read again while they are few."""

    def __init__(self, read: Read) -> None:
        self._read = read
        self._known: dict[int, Vector] = {}

    def __call__(self, ids: Sequence[int]) -> Mapping[int, Vector]:
        if len(self._known) > search.AT_A_TIME:
            self._known = {}
        if new := [pattern_id for pattern_id in ids if pattern_id not in self._known]:
            self._known |= self._read(new)
        return self._known


def _neighbours(
    connection: Connection, own: Own, ranked: Sequence[Found], top_k: int, among: PairSample, read: Read
) -> tuple[Neighbour, ...]:
    """The first `top_k` of those that were found, ties by name, with all that is said of them."""
    ids = [each.pattern_id for each in ranked]
    query = select(PATTERNS.c.id, MODELS.c.key).select_from(PATTERNS.join(MODELS)).where(PATTERNS.c.id.in_(ids))
    keys = {pattern_id: key for pattern_id, key in connection.execute(query)}
    nearest = sorted((round(each.rank, 9), keys[each.pattern_id], each.pattern_id) for each in ranked)[:top_k]
    values = read([pattern_id for _, _, pattern_id in nearest])
    return tuple(
        Neighbour(model=key, **asdict(_placed(own, pattern_id, values[pattern_id], among)))
        for _, key, pattern_id in nearest
    )


def _placed(own: Own, pattern_id: int, values: Vector, among: PairSample) -> PairDistances:
    return place(own.layout.names, own.values, values, is_same_file=pattern_id in own.same_file, among=among)


# The sample of pairs.


@dataclass(frozen=True, slots=True, kw_only=True)
class _Held:
    """Files of codes, and the rows of current patterns, in one state of the database."""

    state: str
    files: CodeFiles
    places: npt.NDArray[np.intp]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Size:
    """How much there is of a version."""

    newest: int | None
    """The newest signature, of whatever version."""
    signatures: int
    is_large: bool


def _measure(connection: Connection, version: str, newest: int | None) -> _Size:
    kept = select(SIGNATURES.c.pattern_id).where(SIGNATURES.c.layout_id.in_(layouts_of(version)))
    signatures = models = int(connection.execute(select(func.count()).select_from(kept.subquery())).scalar_one())
    if search.EXACT_MODELS < signatures <= COUNTED:
        of_keys = select(func.count(MODELS.c.key.distinct())).select_from(PATTERNS.join(MODELS))
        models = int(connection.execute(of_keys.where(PATTERNS.c.id.in_(kept))).scalar_one())
    return _Size(newest=newest, signatures=signatures, is_large=models > search.EXACT_MODELS)


def _read_sample(connection: Connection, version: str) -> PairSample | None:
    row = connection.execute(select(PAIR_SAMPLES).where(PAIR_SAMPLES.c.version == version)).first()
    if row is None or row.seed != pair_sample.SEED or row.digest != _digest_of_sample(row._asdict()):
        return None
    weights, kind = (unpack_array(packed, pair_sample.NUM_PAIRS) for packed in (row.packed_weights, row.packed_kind))
    return PairSample(num_models=row.num_models, weights=weights, kind=kind)


def _write_sample(connection: Connection, version: str, sample: PairSample) -> None:
    row = {
        "version": version,
        "num_models": sample.num_models,
        "seed": pair_sample.SEED,
        "packed_weights": pack_array(sample.weights),
        "packed_kind": pack_array(sample.kind),
    }
    upsert(connection, PAIR_SAMPLES, row | {"digest": _digest_of_sample(row)}, key=("version",))


def _digest_of_sample(row: Mapping[str, Any]) -> str:
    packed = (row["packed_weights"], row["packed_kind"])
    return hashlib.sha256(repr(row["num_models"]).encode() + b"".join(map(bytes, packed))).hexdigest()


def _draw_sample(connection: Connection, version: str, count: int) -> PairSample:
    """The distances of random pairs of the current models."""
    layouts = read_layouts(connection)
    comparable = [each for each in layouts.values() if each.version == version]
    ids = np.concatenate([read_current(connection, each.id)[0] for each in comparable])
    pairs = ids[draw_pairs(len(ids), pair_sample.NUM_PAIRS)]
    wanted = Layout(tuple(dict.fromkeys(name for each in comparable for name in each.dimensions.names)))
    weights, kind = np.full((2, len(pairs)), np.nan)
    for start in range(0, len(pairs), search.AT_A_TIME):
        some = pairs[start : start + search.AT_A_TIME]
        values = read_values(connection, layouts, wanted, np.unique(some).tolist())
        a, b = (np.stack([values[pattern_id] for pattern_id in side.tolist()]) for side in some.T)
        found = row_distances(wanted, a, b)
        weights[start : start + len(some)], kind[start : start + len(some)] = found.weights, found.kind
    return PairSample(num_models=count, weights=weights, kind=kind)
