"""Which patterns are meant: the current one of a key, those of a run, those with a signature; the error for none."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Column, ColumnElement, Connection, Select, Subquery, Table, func, or_, select, tuple_

from dna_zoo.errors import NotMinedError, did_you_mean
from dna_zoo.text import shell_word
from patterndb.connection.engine import require_whole
from patterndb.tables import MODELS, PATTERNS, RUN_MODELS, RUNS, SIGNATURE_LAYOUTS, SIGNATURES

__all__ = [
    "CURRENT",
    "DESCRIBED",
    "IS_CURRENT",
    "LISTED",
    "NEWEST_FIRST",
    "OTHER_MODELS",
    "OTHER_PATTERNS",
    "RANK",
    "RANKED",
    "SIGNED",
    "called_in_run",
    "columns_of",
    "is_among",
    "no_pattern",
    "not_mined",
    "of_run",
    "ranked",
    "read_keys",
]


def columns_of(table: Table, names: Sequence[str]) -> list[Column[Any]]:
    """These columns of the table, in this order."""
    return [table.c[name] for name in names]


DESCRIBED = PATTERNS.join(MODELS).join(RUNS)
# Plus 0: else SQLite goes by way of the index on `layout_id`, and where that is damaged, models are missing unseen.
SIGNED = DESCRIBED.join(SIGNATURES).join(SIGNATURE_LAYOUTS, SIGNATURES.c.layout_id + 0 == SIGNATURE_LAYOUTS.c.id)
LISTED = (MODELS, PATTERNS, RUNS)
"""Tables of which every list of models is made."""
NEWEST_FIRST = (PATTERNS.c.confirmed_at.desc(), PATTERNS.c.id.desc())
RANK = func.row_number().over(partition_by=MODELS.c.key, order_by=NEWEST_FIRST).label("place")
"""1 for the current pattern of a model key."""
RANKED = select(PATTERNS.c.id, RANK).select_from(PATTERNS.join(MODELS)).subquery()
CURRENT = select(RANKED.c.id).where(RANKED.c.place == 1)
"""Ids of the patterns that are the current ones of their model keys."""
OTHER_PATTERNS, OTHER_MODELS = PATTERNS.alias("other_patterns"), MODELS.alias("other_models")
IS_CURRENT = ~(
    select(OTHER_PATTERNS.c.id)
    .select_from(OTHER_PATTERNS.join(OTHER_MODELS))
    .where(
        OTHER_MODELS.c.key == MODELS.c.key,
        tuple_(OTHER_PATTERNS.c.confirmed_at, OTHER_PATTERNS.c.id) > tuple_(PATTERNS.c.confirmed_at, PATTERNS.c.id),
    )
    .correlate(PATTERNS, MODELS)
    .exists()
)
"""Whether a pattern is the current one of its key: for few patterns, which are looked up without ranking all."""


def is_among(column: ColumnElement[int], ids: Sequence[int] | None) -> ColumnElement[bool]:
    """Whether a pattern is one of these, or a current one where None are given."""
    return column.in_(CURRENT if ids is None else ids)


def ranked(keys: Select[Any] | Sequence[str] | None = None) -> Subquery:
    """Each pattern's id and its `place` among those of its model key, 1 for the current one: of these keys, or of all.

    To rank all costs a look at every pattern: whoever wants a few says whose.
    """
    query = select(PATTERNS.c.id, RANK).select_from(PATTERNS.join(MODELS))
    return (query if keys is None else query.where(MODELS.c.key.in_(keys))).subquery()


def of_run(connection: Connection, run: str) -> ColumnElement[bool]:
    """Which patterns the run saved or ended with; where no run has that name, those of all runs of that request."""
    runs = _runs(connection, run)
    ended_with = select(RUN_MODELS.c.pattern_key).where(RUN_MODELS.c.run_id.in_(runs))
    return or_(PATTERNS.c.run_id.in_(runs), PATTERNS.c.pattern_key.in_(ended_with))


def called_in_run(connection: Connection, name: str, run: str) -> ColumnElement[bool]:
    """Which patterns the run ended with in the model that it knew by that key; today it may have another."""
    known = RUN_MODELS.c.run_id.in_(_runs(connection, run)) & (RUN_MODELS.c.key == name)
    return PATTERNS.c.pattern_key.in_(select(RUN_MODELS.c.pattern_key).where(known))


def _runs(connection: Connection, run: str) -> Select[tuple[int]]:
    """Ids of the run of that name; where none has it, of all runs of that request."""
    is_name = connection.scalar(select(RUNS.c.id).where(RUNS.c.run == run)) is not None
    return select(RUNS.c.id).where((RUNS.c.run if is_name else RUNS.c.request_key) == run)


def read_keys(connection: Connection) -> tuple[str, ...]:
    """The keys of all models with a pattern, sorted."""
    return tuple(sorted(connection.scalars(select(MODELS.c.key).distinct().select_from(PATTERNS.join(MODELS)))))


def not_mined(connection: Connection, name: str) -> NotMinedError:
    """The error for a key without a pattern in the database. Raises `DamagedRowsError` where it may have been lost."""
    require_whole(connection, *LISTED)
    return no_pattern(name, None, read_keys(connection))


def no_pattern(name: str, run: str | None, keys: Sequence[str]) -> NotMinedError:
    """The error for a key without a pattern, with the keys that look like it."""
    where = "this database" if run is None else f"run {run!r}"
    near = "" if name in keys else did_you_mean(name, keys)
    hint = near or f"Mine it first: `dna-zoo mine {shell_word(name)}`."
    return NotMinedError(f"There is no pattern of {name!r} in {where}.", hint=hint)
