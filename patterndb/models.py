"""The models of the database as a person keeps them: listed, filtered, tagged, renamed, taken away."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    RowMapping,
    Select,
    Subquery,
    and_,
    delete,
    exists,
    func,
    or_,
    select,
    update,
)

from dna_zoo.errors import SettingsError, did_you_mean
from dna_zoo.text import is_printable, printable
from patterndb.connection.batches import batches
from patterndb.connection.engine import Transactions, find_or_insert, upsert
from patterndb.connection.retry import survives_restarts
from patterndb.patterns import rows
from patterndb.patterns.digests import MODEL_FIT, SUMMARY, keep_digests, read_parts, require_row
from patterndb.patterns.reading import chosen_columns, chosen_settings
from patterndb.patterns.which import LISTED, NEWEST_FIRST, not_mined, ranked
from patterndb.records import ArtifactRecord, ModelEntry, StageCost
from patterndb.row_digests import keep_row_digests, require_rows
from patterndb.tables import ARTIFACTS, FITS, MODEL_NOTES, MODEL_TAGS, MODELS, PATTERNS, RUN_MODELS, RUNS, STAGES

__all__ = ["ORDERS", "ModelFilter", "ModelStore", "Removed"]

LONGEST_TAG = 60
LONGEST_NOTE = 2_000
MOST_NAMED = 500
"""Keys that one query names; databases limit how many values a statement has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFilter:
    """Which models are meant: those for which everything holds that is not None."""

    modality: str | None = None
    architecture: str | None = None
    family: str | None = None
    tier: int | None = None
    pattern_class: str | None = None
    tags: tuple[str, ...] = ()
    """All of them."""
    text: str | None = None
    """Somewhere in the key, the repository, the family, the licence, the note or a tag; case does not matter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Removed:
    """What was taken out of the database with a model."""

    key: str
    patterns: int
    artifacts: tuple[ArtifactRecord, ...]
    """Their files, which lie on disks still; none that another pattern has too."""
    urls: tuple[str, ...]
    """Where files of theirs lie elsewhere, sorted; none that another pattern names. Another database may name them."""


NULL_R2 = func.coalesce(FITS.c.means_null_r2, FITS.c.null_r2)
GAIN = func.coalesce(FITS.c.gain_beyond_means, FITS.c.gain)
CHOSEN = chosen_columns()
DEVICE = PATTERNS.c.settings["device"].as_string().label("device")
ORDERS: Mapping[str, ColumnElement[Any]] = {
    "model": MODELS.c.key,
    "modality": MODELS.c.modality,
    "family": MODELS.c.family,
    "architecture": MODELS.c.architecture,
    "tier": MODELS.c.tier,
    "weights": MODELS.c.num_weights,
    "tensors": MODELS.c.num_tensors,
    "class": PATTERNS.c.pattern_class,
    "r2": FITS.c.r2,
    "null_r2": NULL_R2,
    "gain": GAIN,
    "bits": FITS.c.bits_per_weight,
    "budget": CHOSEN["budget"],
    "epochs": CHOSEN["epochs"],
    "found": PATTERNS.c.confirmed_at,
}
"""What models can be sorted by."""

COLUMNS = (
    PATTERNS.c.id,
    PATTERNS.c.digests,
    *SUMMARY.columns,
    *CHOSEN.values(),
    DEVICE,
)


class ModelStore(Transactions):
    """The part of the pattern database that keeps models in order."""

    @survives_restarts
    def models(
        self, which: ModelFilter | None = None, *, by: str = "model", descending: bool = False, limit: int | None = None
    ) -> tuple[ModelEntry, ...]:
        """The current version of each model that is meant, sorted by one of `ORDERS`; unknown values come last.

        Raises `SettingsError` for another order.
        """
        if by not in ORDERS:
            hint = did_you_mean(by, ORDERS) or f"Use one of: {', '.join(ORDERS)}."
            raise SettingsError(f"Models cannot be sorted by {by!r}.", hint=hint)
        order = ORDERS[by]
        direction = order.desc() if descending else order
        query, places = _listed(ranked())
        query = query.where(places.c.place == 1, *_conditions(which or ModelFilter()))
        with self._reading(*LISTED, MODEL_TAGS, MODEL_NOTES) as connection:
            query = query.order_by(order.is_(None), direction, MODELS.c.key).limit(limit)
            return _entries(connection, connection.execute(query).mappings().all())

    @survives_restarts
    def model_versions(self, key: str) -> tuple[ModelEntry, ...]:
        """Every pattern that is kept under the key, the newest first. Raises `NotMinedError` if there is none."""
        query, _ = _listed(ranked([key]))
        query = query.where(MODELS.c.key == key).order_by(*NEWEST_FIRST)
        with self._reading(*LISTED, MODEL_TAGS, MODEL_NOTES) as connection:
            _require(connection, key)
            return _entries(connection, connection.execute(query).mappings().all())

    @survives_restarts
    def same_files(self, key: str, sha256: str) -> tuple[str, ...]:
        """The keys of other models whose current version has files with this digest, sorted."""
        others = select(MODELS.c.key).where(MODELS.c.sha256 == sha256, MODELS.c.key != key).distinct()
        places = ranked(others)
        query = select(MODELS.c.key).select_from(PATTERNS.join(MODELS).join(places, places.c.id == PATTERNS.c.id))
        with self._reading() as connection:
            return tuple(sorted(connection.scalars(query.where(places.c.place == 1, MODELS.c.sha256 == sha256))))

    @survives_restarts
    def origins(self, keys: Sequence[str]) -> Mapping[str, tuple[tuple[str | None, str], ...]]:
        """Of each of these keys that is in the database, its versions: what it was asked for by, and its digest.

        The path or name is None where neither the pattern nor its run tells it.
        """
        mined = and_(RUN_MODELS.c.run_id == RUNS.c.id, RUN_MODELS.c.pattern_key == PATTERNS.c.pattern_key)
        source = PATTERNS.c.provenance["source"].as_string()
        columns = (MODELS.c.key, MODELS.c.sha256, source.label("source"), RUNS.c.request, RUN_MODELS.c.position)
        query = select(*columns).select_from(PATTERNS.join(MODELS).join(RUNS).outerjoin(RUN_MODELS, mined))
        found: dict[str, list[tuple[str | None, str]]] = defaultdict(list)
        with self._reading() as connection:
            for row in connection.execute(query.where(MODELS.c.key.in_(keys)).order_by(PATTERNS.c.id)):
                found[row.key].append((row.source or _asked(row.request, row.position), row.sha256))
        return {key: tuple(each) for key, each in found.items()}

    @survives_restarts
    def weights_of(self, sha256: str) -> int | None:
        """How many weights the files with this digest hold; None where they were never mined."""
        with self._reading() as connection:
            return connection.scalar(select(MODELS.c.num_weights).where(MODELS.c.sha256 == sha256).limit(1))

    @survives_restarts
    def stage_costs(self, *, limit: int = 5_000) -> tuple[StageCost, ...]:
        """What recorded stages of mined models took, the latest first, each once."""
        columns = (STAGES.c.stage, STAGES.c.key, STAGES.c.seconds, MODELS.c.num_weights, PATTERNS.c.settings)
        joined = STAGES.join(RUN_MODELS).join(PATTERNS, PATTERNS.c.pattern_key == RUN_MODELS.c.pattern_key)
        query = select(*columns).select_from(joined.join(MODELS)).where(STAGES.c.seconds.is_not(None))
        with self._reading() as connection:
            found = connection.execute(query.order_by(STAGES.c.id.desc()).limit(limit)).mappings().all()
        return tuple({(row["stage"], row["key"]): StageCost(**row) for row in reversed(found)}.values())[::-1]

    @survives_restarts
    def tag_model(self, key: str, tags: Sequence[str], *, take_away: bool = False) -> tuple[str, ...]:
        """Give the model these tags, or take them away; the tags that it has then, sorted.

        Raises `NotMinedError` for a key without a pattern, `SettingsError` for what is no tag.
        """
        for tag in tags:
            _require_tag(tag)
        with self._writing() as connection:
            _require(connection, key)
            for tag in tags:
                if take_away:
                    connection.execute(delete(MODEL_TAGS).where(MODEL_TAGS.c.key == key, MODEL_TAGS.c.tag == tag))
                else:
                    tag_id = find_or_insert(connection, MODEL_TAGS, {"key": key, "tag": tag}, key=("key", "tag"))
                    keep_row_digests(connection, MODEL_TAGS, MODEL_TAGS.c.id == tag_id)
            return _read_tags(connection, [key])[key]

    @survives_restarts
    def note_model(self, key: str, note: str) -> None:
        """Keep a note on the model, in place of the one it has; an empty one takes it away. Raises as `tag_model`."""
        if len(note) > LONGEST_NOTE or not is_printable(note):
            hint = f"Give at most {LONGEST_NOTE} characters on one line, without control characters."
            raise SettingsError("The note cannot be kept.", hint=hint)
        with self._writing() as connection:
            _require(connection, key)
            if note:
                note_id = upsert(connection, MODEL_NOTES, {"key": key, "note": note}, key=("key",))
                keep_row_digests(connection, MODEL_NOTES, MODEL_NOTES.c.id == note_id)
            else:
                connection.execute(delete(MODEL_NOTES).where(MODEL_NOTES.c.key == key))

    def rename_model(self, old: str, new: str) -> None:
        """Call a model otherwise, in all its versions, with its tags and its note. Its files stay where they are.

        Raises `NotMinedError` if there is no model `old`, `SettingsError` if there is a model `new`.
        """
        with self._writing() as connection:
            _require(connection, old)
            if connection.scalar(select(exists().where(MODELS.c.key == new))):
                hint = "Give another name, or take that model away first with `dna-zoo models rm`."
                raise SettingsError(f"There is a model {new!r} already.", hint=hint)
            ids = _require_undamaged(connection, old)
            _rename_patterns(connection, old, new)
            for row in connection.execute(select(MODELS).where(MODELS.c.key == old)).mappings().all():
                model = rows.model_row(rows.model_record({**row, "key": new}))  # type: ignore[arg-type]
                change = {"key": new, "digest": model["digest"]}
                connection.execute(update(MODELS).where(MODELS.c.id == row["id"]).values(change))
            keep_digests(connection, ids, [SUMMARY])
            for table in (MODEL_TAGS, MODEL_NOTES):
                connection.execute(delete(table).where(table.c.key == new))
                connection.execute(update(table).where(table.c.key == old).values(key=new))
                keep_row_digests(connection, table, table.c.key == new)

    def remove_model(self, key: str) -> Removed:
        """Take a model out of the database: all its versions, its tags and its note. What runs did stays told.

        Raises `NotMinedError` if there is none.
        """
        with self._writing() as connection:
            ids, removed = _removal(connection, key)
            keys = select(PATTERNS.c.pattern_key).where(PATTERNS.c.id.in_(ids))
            ended = tuple(connection.scalars(select(RUN_MODELS.c.id).where(RUN_MODELS.c.pattern_key.in_(keys))))
            connection.execute(update(RUN_MODELS).where(RUN_MODELS.c.id.in_(ended)).values(pattern_key=None))
            keep_row_digests(connection, RUN_MODELS, RUN_MODELS.c.id.in_(ended))
            connection.execute(delete(PATTERNS).where(PATTERNS.c.id.in_(ids)))
            for table in (MODELS, MODEL_TAGS, MODEL_NOTES):
                connection.execute(delete(table).where(table.c.key == key))
        return removed

    @survives_restarts
    def removal_of(self, key: str) -> Removed:
        """What `remove_model` would take out. Raises `NotMinedError` if there is no such model."""
        with self._reading() as connection:
            return _removal(connection, key)[1]


def _listed(places: Subquery) -> tuple[Select[Any], Subquery]:
    """The query for rows of `COLUMNS`, with their places."""
    joined = (
        PATTERNS.join(MODELS)
        .join(RUNS)
        .join(places, places.c.id == PATTERNS.c.id)
        .outerjoin(FITS, and_(FITS.c.pattern_id == PATTERNS.c.id, FITS.c.position == 0))
        .outerjoin(MODEL_NOTES, MODEL_NOTES.c.key == MODELS.c.key)
    )
    return select(*COLUMNS, places.c.place).select_from(joined), places


def _asked(request: Mapping[str, Any], position: int | None) -> str | None:
    """The path or name that a run's request has at this place."""
    asked = request.get("models") or ()
    if position is None or position >= len(asked):
        return None
    source: str | None = asked[position].get("weights") or asked[position].get("name")
    return source


def _conditions(which: ModelFilter) -> list[ColumnElement[bool]]:
    """SQL of the filter."""
    equal = {name: getattr(which, name) for name in ("modality", "architecture", "family", "tier")}
    found: list[ColumnElement[bool]] = [MODELS.c[name] == value for name, value in equal.items() if value is not None]
    if which.pattern_class is not None:
        found.append(PATTERNS.c.pattern_class == which.pattern_class)
    own = MODEL_TAGS.c.key == MODELS.c.key
    found += [exists().where(own, MODEL_TAGS.c.tag == tag) for tag in which.tags]
    if which.text is not None:
        text = which.text.lower()
        columns = (MODELS.c.key, MODELS.c.repo, MODELS.c.family, MODELS.c.licence, MODEL_NOTES.c.note)
        tagged = exists().where(own, func.lower(MODEL_TAGS.c.tag).contains(text, autoescape=True))
        found.append(or_(tagged, *(func.lower(column).contains(text, autoescape=True) for column in columns)))
    return found


def _entries(connection: Connection, found: Sequence[RowMapping]) -> tuple[ModelEntry, ...]:
    """The records of rows of `COLUMNS`, with two queries for what else belongs to their keys."""
    for row in found:
        require_row(connection, SUMMARY, row)
    fits = _read_fits(connection, [row["id"] for row in found])
    keys = list(dict.fromkeys(row["key"] for row in found))
    tags, counts, notes = _read_tags(connection, keys), _count_versions(connection, keys), _read_notes(connection, keys)
    return tuple(
        ModelEntry(
            model=rows.model_record(row),
            **{name: row[name] for name in ("pattern_key", "run", "confirmed_at", "pattern_class", "class_margin")},
            is_current=row["place"] == 1,
            chosen=chosen_settings(row),
            device=row["device"],
            **fits[row["id"]],
            patterns=counts[row["key"]][0],
            versions=counts[row["key"]][1],
            tags=tags[row["key"]],
            note=notes.get(row["key"]),
        )
        for row in found
    )


def _read_fits(connection: Connection, ids: Sequence[int]) -> Mapping[int, Mapping[str, Any]]:
    """Of each pattern what a `ModelEntry` holds of its fit, None without one."""
    names = [column.name for column in MODEL_FIT.columns]
    found: dict[int, Mapping[str, Any]] = {}
    for some in batches(ids, MOST_NAMED):
        for pattern_id, (own,) in read_parts(connection, [MODEL_FIT], some):
            fit = defaultdict(lambda: None, dict(zip(names, own[0][1:], strict=True)) if own else {})
            found[pattern_id] = {
                "r2": fit["r2"],
                "null_r2": fit["null_r2"] if fit["means_null_r2"] is None else fit["means_null_r2"],
                "gain": fit["gain"] if fit["gain_beyond_means"] is None else fit["gain_beyond_means"],
                "bits_per_weight": fit["bits_per_weight"],
            }
    return found


def _read_tags(connection: Connection, keys: Sequence[str]) -> Mapping[str, tuple[str, ...]]:
    """Key -> its tags, sorted; keys without one have none."""
    query = select(MODEL_TAGS).order_by(MODEL_TAGS.c.tag)
    if len(keys) <= MOST_NAMED:
        query = query.where(MODEL_TAGS.c.key.in_(keys))
    known = connection.execute(query).mappings().all()
    require_rows(connection, MODEL_TAGS, known)
    found: dict[str, list[str]] = defaultdict(list)
    for row in known:
        found[row["key"]].append(row["tag"])
    return {key: tuple(found[key]) for key in keys}


def _read_notes(connection: Connection, keys: Sequence[str]) -> Mapping[str, str]:
    """Key -> its note, where it has one."""
    query = select(MODEL_NOTES)
    if len(keys) <= MOST_NAMED:
        query = query.where(MODEL_NOTES.c.key.in_(keys))
    found = connection.execute(query).mappings().all()
    require_rows(connection, MODEL_NOTES, found)
    return {row["key"]: row["note"] for row in found}


def _count_versions(connection: Connection, keys: Sequence[str]) -> Mapping[str, tuple[int, int]]:
    """Key -> patterns, and different weights among them."""
    counts = (func.count(PATTERNS.c.id), func.count(MODELS.c.sha256.distinct()))
    query = select(MODELS.c.key, *counts).select_from(PATTERNS.join(MODELS)).group_by(MODELS.c.key)
    if len(keys) <= MOST_NAMED:
        query = query.where(MODELS.c.key.in_(keys))
    return {key: (patterns, versions) for key, patterns, versions in connection.execute(query)}


def _require(connection: Connection, key: str) -> None:
    """Raise `NotMinedError` for a key without a pattern."""
    if not connection.scalar(select(exists().where(PATTERNS.c.model_id == MODELS.c.id, MODELS.c.key == key))):
        raise not_mined(connection, key)


def _require_tag(tag: str) -> None:
    if not 0 < len(tag) <= LONGEST_TAG or not is_printable(tag) or any(sign.isspace() or sign == "," for sign in tag):
        hint = f"Give 1 to {LONGEST_TAG} characters without spaces and commas."
        raise SettingsError(f"{printable(tag, longest=LONGEST_TAG)!r} cannot be a tag.", hint=hint)


def _require_undamaged(connection: Connection, key: str) -> tuple[int, ...]:
    """The patterns of the key; raises `DamagedRowsError` where what is said of one is not as it was written."""
    own = select(PATTERNS.c.id).select_from(PATTERNS.join(MODELS)).where(MODELS.c.key == key)
    return tuple(pattern_id for pattern_id, _ in read_parts(connection, [SUMMARY], own))


def _rename_patterns(connection: Connection, old: str, new: str) -> None:
    """Give the patterns of a key other keys: under their old ones the next mining would take them for its own."""
    query = select(PATTERNS.c.id, PATTERNS.c.pattern_key).select_from(PATTERNS.join(MODELS)).where(MODELS.c.key == old)
    for pattern_id, before in connection.execute(query).all():
        after = rows.digest([before, new])[: len(before)]
        ended = tuple(connection.scalars(select(RUN_MODELS.c.id).where(RUN_MODELS.c.pattern_key == before)))
        connection.execute(update(RUN_MODELS).where(RUN_MODELS.c.id.in_(ended)).values(pattern_key=None))
        connection.execute(update(PATTERNS).where(PATTERNS.c.id == pattern_id).values(pattern_key=after))
        connection.execute(update(RUN_MODELS).where(RUN_MODELS.c.id.in_(ended)).values(pattern_key=after))
        keep_row_digests(connection, RUN_MODELS, RUN_MODELS.c.id.in_(ended))


def _removal(connection: Connection, key: str) -> tuple[tuple[int, ...], Removed]:
    """The patterns of the key, and what goes with them. Raises `NotMinedError` for a key without a pattern."""
    _require(connection, key)
    own = select(PATTERNS.c.id).select_from(PATTERNS.join(MODELS)).where(MODELS.c.key == key)
    ids = tuple(connection.scalars(own))
    columns = [ARTIFACTS.c[name] for name in rows.ARTIFACT_FIELDS]
    query = select(*columns).where(_are_of_these_alone(ids, ARTIFACTS.c.path)).order_by(ARTIFACTS.c.path)
    artifacts = {row["path"]: ArtifactRecord(**row) for row in connection.execute(query).mappings()}
    urls = connection.scalars(select(ARTIFACTS.c.url).where(_are_of_these_alone(ids, ARTIFACTS.c.url)))
    return ids, Removed(key=key, patterns=len(ids), artifacts=tuple(artifacts.values()), urls=tuple(sorted(set(urls))))


def _are_of_these_alone(ids: Sequence[int], column: ColumnElement[Any]) -> ColumnElement[bool]:
    """Whether a file is of one of these patterns, and its value of the column is that of no other pattern's."""
    others = select(column).where(ARTIFACTS.c.pattern_id.not_in(ids), column.is_not(None))
    return and_(ARTIFACTS.c.pattern_id.in_(ids), column.is_not(None), column.not_in(others))
