"""Questions about models next to others: who is near, and how near among all.

Up to `search.EXACT_MODELS` models all pairs are computed. Beyond, a model is held against all others alone, and
percentiles are among a sample of pairs that the database keeps.
"""

import hashlib
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from sqlalchemy import Connection, Text, func, select, type_coerce

from dna_zoo.errors import StoreError
from patterndb.comparison import Comparison, compare
from patterndb.connection.engine import upsert
from patterndb.connection.floats import pack_array, unpack_array
from patterndb.connection.retry import survives_restarts
from patterndb.neighbours import pair_sample, search
from patterndb.neighbours.code_files import CodeFiles
from patterndb.neighbours.codes import Coded, Query, encode
from patterndb.neighbours.pair_sample import PairSample, draw_pairs
from patterndb.neighbours.row_distances import Layout, row_distances
from patterndb.neighbours.search import Bounds, CodedBounds, ExactBounds, Found, Own, find_nearest
from patterndb.neighbours.vectors import Vectors, enable, is_there
from patterndb.patterns.digests import SIGNATURE, read_parts, require_layout
from patterndb.patterns.reading import read_entries
from patterndb.patterns.store import PatternStore
from patterndb.patterns.which import CURRENT, IS_CURRENT, NEWEST_FIRST, SIGNED
from patterndb.records import Neighbour, SignatureEntry, SignatureRecord
from patterndb.similarity import Criterion, Distances, align, all_distances, nearest, pair_distances
from patterndb.tables import MODELS, PAIR_SAMPLES, PATTERNS, SIGNATURE_LAYOUTS, SIGNATURES

__all__ = ["NeighbourStore"]

Ids = npt.NDArray[np.int64]
Vector = npt.NDArray[np.float64]
log = logging.getLogger(__name__)
COUNTED = 5_000
"""So many signatures are counted by model key; of more it does not matter how many are not the current ones."""


class NeighbourStore(PatternStore):
    """The part of the pattern database that compares models."""

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
        version = self._versions_of([name])[name]
        if self._is_large(version):
            return self._search(name, version, top_k, by, self._sample(version))
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
                found |= {name: self._search(name, version, top_k, "weights", sample) for name in ours}
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
            layouts = _read_layouts(connection)
        large = [layout_id for layout_id, each in layouts.items() if self._is_large(each.version)]
        if self.path is not None:
            with self._reading() as connection:
                return sum(len(self._files(connection, layouts[each])[1]) for each in large)
        with self._writing() as connection:
            if not large or not enable(connection):
                return 0
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
        kept = select(SIGNATURES.c.pattern_id).where(SIGNATURES.c.layout_id.in_(_layouts_of(version)))
        with self._reading() as connection:
            count = connection.execute(select(func.count()).select_from(kept.subquery())).scalar_one()
            if search.EXACT_MODELS < count <= COUNTED:
                of_keys = select(func.count(MODELS.c.key.distinct())).select_from(PATTERNS.join(MODELS))
                count = connection.execute(of_keys.where(PATTERNS.c.id.in_(kept))).scalar_one()
        return count > search.EXACT_MODELS

    def _entries(self, version: str) -> tuple[SignatureEntry, ...]:
        """The current signatures of this version."""
        with self._reading() as connection:
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

    def _sample(self, version: str) -> PairSample:
        """The sample of pairs, drawn again where it does not stand for the catalog any more."""
        with self._reading() as connection:
            count = _count_signatures(connection, version)
            found = _read_sample(connection, version)
            if found is not None and found.is_fresh(count):
                return found
            found = _draw_sample(connection, version, count)
        try:
            with self._writing() as connection:
                _write_sample(connection, version, found)
        except StoreError as error:
            # Of a database that may only be read, it is drawn each time: always the same.
            log.info("The sample of pairs is not kept: %s", error.message)
        return found

    def _search(self, name: str, version: str, top_k: int, by: Criterion, among: PairSample) -> tuple[Neighbour, ...]:
        """The nearest among many."""
        with self._reading() as connection:
            layouts = _read_layouts(connection)
            found = _read_own(connection, name)
            assert found is not None
            own = _own(connection, found.id, layouts[found.layout_id], found.sha256)
            read = partial(_read_values, connection, layouts, own.layout)
            ranked = find_nearest(own, self._bounds(connection, own, layouts, found.layout_id), read, top_k, by)
            return _neighbours(connection, own, ranked, top_k, among)

    def _bounds(
        self, connection: Connection, own: Own, layouts: "Mapping[int, _Layout]", layout_id: int
    ) -> Sequence[Bounds]:
        """What leaves out most models: pgvector's tables, files of codes, or nothing but their signatures."""
        read = partial(_read_values, connection, layouts, own.layout)
        comparable = [each for each in layouts.values() if each.version == layouts[layout_id].version]
        if self.path is not None:
            bounds = [self._coded(connection, each, own, layouts[layout_id]) for each in comparable]
            if None not in bounds:
                return [each for each in bounds if each is not None]
        found: list[Bounds] = []
        candidates: Callable[[Criterion], Ids]
        for each in comparable:
            vectors = Vectors.find(connection, each.id, own.layout) if each.id == layout_id else None
            if vectors is not None:
                candidates = partial(_candidates, connection, vectors, own)
            else:
                candidates = partial(_every, _read_current(connection, each.id)[0])
            found.append(ExactBounds(candidates, own, read))
        return found

    def _coded(self, connection: Connection, layout: "_Layout", own: Own, own_layout: "_Layout") -> Bounds | None:
        """By the files of codes; None where they cannot be written."""
        try:
            files, ids, stamps = self._files(connection, layout)
        except OSError as error:
            log.info("No files of codes, so every signature is read: %s", error)
            return None
        others = ids != own.pattern_id
        query = Query(layout.dimensions, layout.dimensions.take(own_layout.dimensions.names, own.values))
        return CodedBounds(files, files.places(ids[others], stamps[others]), query)

    def _files(self, connection: Connection, layout: "_Layout") -> tuple[CodeFiles, Ids, Ids]:
        """The files of codes of a layout, with everything that is in the database; patterns, when confirmed."""
        assert self.path is not None
        files = CodeFiles(Path(f"{self.path}-codes") / layout.digest[:16], layout.dimensions)
        state = _read_state(connection)
        known = files.recall(state)
        ids, stamps = known or _read_current(connection, layout.id)
        if known is None:
            files.remember(state, ids, stamps)
        missing = files.missing(ids, stamps)
        if missing.any():
            log.info("Coding %d signatures.", missing.sum())
            files.add(_encoded(connection, layout, ids[missing], stamps[missing]))
        files.tidy(ids, stamps)
        return files, ids, stamps


class _Layout:
    """A layout as the database has it."""

    def __init__(self, connection: Connection, row: Any) -> None:
        require_layout(connection, row)
        self.id, self.version, self.digest = int(row.id), str(row.version), str(row.digest)
        self.dimensions = Layout(tuple(row.names))


def _layouts_of(version: str) -> Any:
    return select(SIGNATURE_LAYOUTS.c.id).where(SIGNATURE_LAYOUTS.c.version == version)


def _read_layouts(connection: Connection) -> dict[int, _Layout]:
    return {row.id: _Layout(connection, row) for row in connection.execute(select(SIGNATURE_LAYOUTS))}


def _read_own(connection: Connection, name: str) -> Any:
    """Pattern, layout, version and file of the model key's current pattern; None without one."""
    query = (
        select(PATTERNS.c.id, SIGNATURES.c.layout_id, SIGNATURE_LAYOUTS.c.version, MODELS.c.sha256)
        .select_from(PATTERNS.join(MODELS).join(SIGNATURES).join(SIGNATURE_LAYOUTS))
        .where(MODELS.c.key == name)
    )
    return connection.execute(query.order_by(*NEWEST_FIRST).limit(1)).first()


def _own(connection: Connection, pattern_id: int, layout: _Layout, sha256: str) -> Own:
    same = select(PATTERNS.c.id).select_from(PATTERNS.join(MODELS)).where(MODELS.c.sha256 == sha256)
    return Own(
        pattern_id=pattern_id,
        layout=layout.dimensions,
        values=_read_values(connection, {layout.id: layout}, layout.dimensions, [pattern_id])[pattern_id],
        same_file=frozenset(connection.scalars(same)) - {pattern_id},
    )


def _read_values(
    connection: Connection, layouts: Mapping[int, _Layout], wanted: Layout, ids: Sequence[int]
) -> dict[int, Vector]:
    """Pattern -> its signature as values of one layout; NaN for what is missing."""
    by_digest, found = {each.digest: each for each in layouts.values()}, {}
    for pattern_id, (own,) in read_parts(connection, [SIGNATURE], ids):
        ((_, layout, packed),) = own
        names = by_digest[layout].dimensions.names
        found[pattern_id] = wanted.take(names, unpack_array(packed, len(names)))
    return found


def _read_current(connection: Connection, layout_id: int) -> tuple[Ids, Ids]:
    """The current patterns with a signature of this layout, and when they were confirmed.

    Of a hundred thousand models, ranking and parsing times in SQL take longer than reading all rows.
    """
    of_layout = select(SIGNATURES.c.pattern_id).where(SIGNATURES.c.layout_id == layout_id)
    described = PATTERNS.join(MODELS)
    query = select(MODELS.c.key, type_coerce(PATTERNS.c.confirmed_at, Text), PATTERNS.c.id).select_from(described)
    kept = connection.execute(query).all()
    if len({row[0] for row in kept}) < len(kept):
        newest: dict[str, Any] = {}
        for row in kept:
            if row[0] not in newest or tuple(newest[row[0]]) < tuple(row):
                newest[row[0]] = row
        kept = list(newest.values())
    # SQLite gives text, PostgreSQL times with a zone, which numpy does not take.
    times = [time if isinstance(time, str) else time.replace(tzinfo=None) for _, time, _ in kept]
    ids, stamps = np.array([row[2] for row in kept], dtype=np.int64), np.array(times, dtype="datetime64[us]")
    ours = np.isin(ids, np.array(connection.scalars(of_layout).all(), dtype=np.int64))
    order = np.argsort(ids[ours])
    return ids[ours][order], stamps.astype(np.int64)[ours][order]


def _read_state(connection: Connection) -> str:
    """What changes whenever another pattern becomes a current one."""
    numbers = (func.count(), func.max(PATTERNS.c.id), func.sum(PATTERNS.c.id))
    newest = func.max(type_coerce(PATTERNS.c.confirmed_at, Text))
    return repr(tuple(connection.execute(select(*numbers, newest).select_from(PATTERNS)).one()))


def _only_current(connection: Connection, ids: Sequence[int]) -> Ids:
    """Those of the patterns that are the current ones of their keys."""
    query = select(PATTERNS.c.id).select_from(PATTERNS.join(MODELS)).where(PATTERNS.c.id.in_(ids), IS_CURRENT)
    return np.array(sorted(connection.scalars(query)), dtype=np.int64)


def _every(ids: Ids, by: Criterion) -> Ids:
    return ids


def _candidates(connection: Connection, vectors: Vectors, own: Own, by: Criterion) -> Ids:
    """Current patterns that pgvector names."""
    named = {*vectors.candidates(own.pattern_id, own.values, by).tolist(), *own.same_file}
    return _only_current(connection, sorted(named))


def _encoded(connection: Connection, layout: _Layout, ids: Ids, stamps: Ids) -> Iterator[Coded]:
    """The signatures in codes, some at a time."""
    for start in range(0, len(ids), search.AT_A_TIME):
        some = ids[start : start + search.AT_A_TIME]
        values = _read_values(connection, {layout.id: layout}, layout.dimensions, some.tolist())
        stacked = np.stack([values[pattern_id] for pattern_id in some.tolist()])
        yield encode(layout.dimensions, some, stamps[start : start + search.AT_A_TIME], stacked)


def _index_vectors(connection: Connection, layout: _Layout) -> int:
    """Make pgvector's table of a layout, if it is not there; how many signatures it holds."""
    ids = connection.scalars(select(SIGNATURES.c.pattern_id).where(SIGNATURES.c.layout_id == layout.id)).all()
    if not is_there(connection, layout.id):
        vectors = Vectors(connection, layout.id, layout.dimensions)
        vectors.create()
        for start in range(0, len(ids), search.AT_A_TIME):
            some = ids[start : start + search.AT_A_TIME]
            values = _read_values(connection, {layout.id: layout}, layout.dimensions, some)
            vectors.put(some, np.stack([values[pattern_id] for pattern_id in some]))
        vectors.index()
    return len(ids)


def _neighbours(
    connection: Connection, own: Own, ranked: Sequence[Found], top_k: int, among: Distances | PairSample
) -> tuple[Neighbour, ...]:
    """The first `top_k` of those that were found, ties by name, with all that is said of them."""
    ids = [own.pattern_id, *(each.pattern_id for each in ranked)]
    found = read_entries(connection, PATTERNS.c.id.in_(ids))
    entries = dict(zip(_by_key(connection, ids), found, strict=True))
    rounded = sorted((round(each.rank, 9), entries[each.pattern_id].model.key, each.pattern_id) for each in ranked)
    mine = entries[own.pattern_id]
    return tuple(
        Neighbour(model=key, **asdict(pair_distances(mine, entries[pattern_id], among)))
        for _, key, pattern_id in rounded[:top_k]
    )


def _by_key(connection: Connection, ids: Sequence[int]) -> list[int]:
    """The patterns by their model keys, as `read_entries` sorts them."""
    query = select(MODELS.c.key, PATTERNS.c.id).select_from(PATTERNS.join(MODELS)).where(PATTERNS.c.id.in_(ids))
    return [pattern_id for _, pattern_id in sorted(connection.execute(query).all())]


# The sample of pairs.


def _count_signatures(connection: Connection, version: str) -> int:
    kept = select(func.count()).select_from(SIGNATURES).where(SIGNATURES.c.layout_id.in_(_layouts_of(version)))
    return int(connection.execute(kept).scalar_one())


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
    layouts = _read_layouts(connection)
    comparable = [each for each in layouts.values() if each.version == version]
    ids = np.concatenate([_read_current(connection, each.id)[0] for each in comparable])
    pairs = ids[draw_pairs(len(ids), pair_sample.NUM_PAIRS)]
    wanted = Layout(tuple(dict.fromkeys(name for each in comparable for name in each.dimensions.names)))
    weights, kind = np.full((2, len(pairs)), np.nan)
    for start in range(0, len(pairs), search.AT_A_TIME):
        some = pairs[start : start + search.AT_A_TIME]
        values = _read_values(connection, layouts, wanted, np.unique(some).tolist())
        a, b = (np.stack([values[pattern_id] for pattern_id in side.tolist()]) for side in some.T)
        found = row_distances(wanted, a, b)
        weights[start : start + len(some)], kind[start : start + len(some)] = found.weights, found.kind
    return PairSample(num_models=count, weights=weights, kind=kind)
