"""Tables of the database, whole or in pieces of a few models each, so that a large one is never in memory."""

import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Select, Text, cast, or_, select

from patterndb.connection.batches import batches
from patterndb.connection.retry import survives_restarts
from patterndb.exports.columns import WITH_STATISTICS, require_columns, require_table
from patterndb.patterns.reading import read_entries, read_part_statistics, read_roles, read_summaries, read_tensors
from patterndb.patterns.store import PatternStore
from patterndb.patterns.which import LISTED, NEWEST_FIRST
from patterndb.settings import flat
from patterndb.tables import METRICS, MODELS, PATTERNS, RUN_MODELS, RUNS

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["ExportStore"]

MODELS_PER_PIECE: Mapping[str, int] = {"catalog": 500, "tensors": 8, "roles": 50, "signatures": 50}
PAIRS_PER_PIECE = 50_000
IDS_PER_QUERY = 500
NO_FINDINGS = ("preset", "device", "allow_nonfinite", "allow_partial", "fit.compile", "fit.checkpoint_every")
"""Settings that no figure depends on."""
OF_SIGNATURES = ("analysis.", "seed")
"""How the settings begin that a signature depends on."""


class ExportStore(PatternStore):
    """The part of the pattern database that gives tables."""

    @survives_restarts
    def export_catalog(
        self, table: str = "catalog", *, keys: Sequence[str] | None = None, run: str | None = None
    ) -> "pd.DataFrame":
        """The current patterns as one table: `catalog`, `tensors`, `roles`, `signatures` or `distances`.

        - `keys`: of the models that are meant; all of them where None are given;
        - `run`: what this run found, in place of the current patterns.

        `patterndb.exports.columns.COLUMN_MEANINGS` says what each column means; `attrs["table"]` of the frame is the
        table's name. Raises `SettingsError` for another table, `NotMinedError` for a key that is not there.
        """
        # Only exports need pandas.
        import pandas as pd

        frame = pd.concat(list(self.export_pieces(table, keys=keys, run=run)), ignore_index=True)
        frame.attrs["table"] = table
        return frame

    def export_pieces(
        self,
        table: str = "catalog",
        *,
        keys: Sequence[str] | None = None,
        run: str | None = None,
        columns: Sequence[str] | None = None,
    ) -> Iterator["pd.DataFrame"]:
        """The same as frames with the same columns, a few models each, at least one; all of them see one state.

        - `columns`: those to have, in this order; all where None are given. Raises `SettingsError` for an unknown one.
        """
        require_table(table)
        with self._reading(*(LISTED if keys is None else ())) as connection:
            for frame in self._pieces(connection, table, partial(self._selected, connection, keys, run)):
                if columns is not None:
                    require_columns(table, columns, list(frame.columns))
                    frame = frame[list(columns)]
                frame.attrs["table"] = table
                yield frame

    def _pieces(
        self, connection: Connection, table: str, selected: Callable[[], Iterable[int]]
    ) -> Iterator["pd.DataFrame"]:
        from patterndb.exports import catalog
        from patterndb.exports.pairs import distance_frames

        if table == "distances":
            yield from distance_frames(connection, selected(), PAIRS_PER_PIECE)
            return
        names = _statistic_names(connection, table, selected()) if table in WITH_STATISTICS else ()
        pieces = batches(selected(), MODELS_PER_PIECE[table])
        for piece in itertools.chain([next(pieces, [])], pieces):
            if table == "catalog":
                yield catalog.catalog_frame(read_summaries(connection, piece))
            elif table == "tensors":
                statistics = read_part_statistics(connection, "tensor", piece)
                yield catalog.tensors_frame(read_tensors(connection, {}, piece), statistics, names)
            elif table == "roles":
                statistics = read_part_statistics(connection, "role", piece)
                yield catalog.all_roles_frame(read_roles(connection, piece), statistics, names)
            else:
                yield catalog.signatures_frame(read_entries(connection, PATTERNS.c.id.in_(piece), with_nulls=True))

    def _selected(self, connection: Connection, keys: Sequence[str] | None, run: str | None) -> Iterable[int]:
        """Ids of the patterns that are meant, by model key. Raises `NotMinedError` for a key that has none.

        Where no keys are given they come as they are read: a million of them are never in memory.
        """
        query = select(PATTERNS.c.id, MODELS.c.key).select_from(PATTERNS.join(MODELS).join(RUNS))
        if run is not None:
            own = RUNS.alias("own")
            ended_with = select(RUN_MODELS.c.pattern_key).select_from(RUN_MODELS.join(own)).where(own.c.run == run)
            query = query.where(or_(RUNS.c.run == run, PATTERNS.c.pattern_key.in_(ended_with)))
        if keys is None:
            return _newest_of_each(connection, query)
        found: list[int] = []
        for some in batches(sorted(set(keys)), IDS_PER_QUERY):
            mine = list(_newest_of_each(connection, query.where(MODELS.c.key.in_(some))))
            if len(mine) < len(some):
                for key in some:
                    self.load_pattern(key, run=run, with_tensors=False)  # Raises, naming near misses.
            found += mine
        return found

    @survives_restarts
    def mixed_settings(
        self, *, keys: Sequence[str] | None = None, run: str | None = None, signatures_only: bool = False
    ) -> Mapping[str, tuple[Any, ...]]:
        """Settings in which these patterns differ, and that their figures depend on: name -> the values.

        - `keys`, `run`: as in `export_catalog`;
        - `signatures_only`: only what signatures, and so distances, depend on.
        """
        with self._reading() as connection:
            ids = self._selected(connection, keys, run)
            settings: set[str] = set()
            for piece in batches(ids, IDS_PER_QUERY):
                text = cast(PATTERNS.c.settings, Text)
                settings |= set(connection.scalars(select(text).where(PATTERNS.c.id.in_(piece)).group_by(text)))
            known = [dict(flat(json.loads(each))) for each in settings]
        names = dict.fromkeys(name for each in known for name in each)
        found = {name: {json.dumps(each.get(name)) for each in known} for name in names}
        return {
            name: tuple(json.loads(value) for value in sorted(values))
            for name, values in sorted(found.items())
            if len(values) > 1
            and not name.startswith(NO_FINDINGS)
            and (name.startswith(OF_SIGNATURES) or not signatures_only)
        }


def _newest_of_each(connection: Connection, query: Select[Any]) -> Iterator[int]:
    """Of these patterns the newest of each key, sorted by key as Python sorts texts."""
    # A server may sort texts by the rules of a language.
    key = MODELS.c.key.collate("C") if connection.dialect.name == "postgresql" else MODELS.c.key
    sorted_query = query.order_by(key, *NEWEST_FIRST).execution_options(yield_per=IDS_PER_QUERY)
    last: str | None = None
    for pattern_id, own in connection.execute(sorted_query):
        if own != last:
            yield pattern_id
        last = own


def _statistic_names(connection: Connection, table: str, ids: Iterable[int]) -> tuple[str, ...]:
    """The statistics that the tensors or roles of these patterns have, sorted: each has columns in every piece."""
    part = METRICS.c.tensor if table == "tensors" else METRICS.c.role
    names: set[str] = set()
    for piece in batches(ids, IDS_PER_QUERY):
        query = select(METRICS.c.name).where(METRICS.c.pattern_id.in_(piece), part.is_not(None))
        names |= set(connection.scalars(query.distinct()))
    return tuple(sorted(names))
