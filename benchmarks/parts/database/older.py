"""A database as it was at schema 0012, with the history of its runs: what `db upgrade` has to read."""

from collections.abc import Iterator

from sqlalchemy import select, text

from benchmarks.parts.database.bulk import AT_A_TIME, write_many
from patterndb.connection.batches import batches
from patterndb.patterns.rows import Row
from patterndb.row_digests import TABLES
from patterndb.runs.remaining import STAGES as STAGE_NAMES
from patterndb.store import PatternDatabase
from patterndb.tables import MODELS, PATTERNS, RUN_MODELS, RUNS, STAGES

__all__ = ["take_back"]

REVISION = "0012"


def take_back(database: PatternDatabase) -> None:
    """Give the run of each pattern its model and the six stages of that, and take the digests of schema 0013 away."""
    with database._writing() as connection:
        run_id = connection.scalar(select(RUNS.c.id))
        query = select(PATTERNS.c.id, PATTERNS.c.pattern_key, MODELS.c.key).select_from(PATTERNS.join(MODELS))
        mined = connection.execute(query.order_by(PATTERNS.c.id)).all()
        for some in batches(mined, AT_A_TIME):
            models: list[Row] = [
                {
                    "id": number, "run_id": run_id, "position": number, "key": key, "status": "done",
                    "pattern_key": pattern_key,
                }
                for number, pattern_key, key in some
            ]  # fmt: skip
            write_many(connection, RUN_MODELS, models)
            write_many(connection, STAGES, list(_stages([number for number, _, _ in some])))
        for table in TABLES:
            connection.execute(text(f"ALTER TABLE {table.name} DROP COLUMN digest"))
        connection.execute(text(f"UPDATE alembic_version SET version_num = '{REVISION}'"))


def _stages(numbers: list[int]) -> Iterator[Row]:
    """Those of the models of these numbers."""
    for number in numbers:
        for place, stage in enumerate(STAGE_NAMES):
            yield {
                "id": len(STAGE_NAMES) * number + place, "run_model_id": number, "stage": stage,
                "key": f"{number:032x}", "status": "done", "seconds": 1.5, "is_reused": False,
            }  # fmt: skip
