"""Which stages and runs on a disk the database still needs: those that a pattern rests on, or that may go on."""

import datetime as dt
from dataclasses import dataclass, fields

from sqlalchemy import and_, exists, func, or_, select

from patterndb.connection.engine import Transactions
from patterndb.connection.retry import survives_restarts
from patterndb.records import ArtifactRecord
from patterndb.tables import ARTIFACTS, PATTERNS, RUN_MODELS, RUNS, STAGES

__all__ = ["NeedStore", "Needs"]

StageKey = tuple[str, str]
"""Name of the stage, and its key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """What the database says of the folders of stages and runs."""

    stages: frozenset[StageKey]
    """Those that something rests on."""
    known_stages: frozenset[StageKey]
    """Those that were ever recorded."""
    runs: frozenset[str]
    """Folders of those that a pattern rests on, that go on, or that ended short ago."""
    known_runs: frozenset[str]
    """All of them."""


FOLDER = func.coalesce(RUNS.c.request_key, RUNS.c.run)
"""Name of the folder of a run's files: all runs of a request share it."""


class NeedStore(Transactions):
    """The part of the pattern database that says what it needs on the disk."""

    @survives_restarts
    def needs(self, *, recent: dt.datetime) -> Needs:
        """What is needed; of runs that left nothing, those that ended after `recent`."""
        has_pattern = RUN_MODELS.c.pattern_key.is_not(None)
        may_go_on = or_(RUNS.c.finished.is_(None), RUNS.c.finished > recent)
        stages = select(STAGES.c.stage, STAGES.c.key).select_from(STAGES.join(RUN_MODELS).join(RUNS)).distinct()
        needed = stages.where(or_(has_pattern, and_(RUN_MODELS.c.status != "done", may_go_on)))
        own = RUN_MODELS.c.run_id == RUNS.c.id
        left_something = or_(
            exists().where(PATTERNS.c.run_id == RUNS.c.id),
            exists().where(own, has_pattern),
            and_(may_go_on, ~exists().where(own, RUN_MODELS.c.status == "done")),
            RUNS.c.finished.is_(None),
        )
        with self._reading(PATTERNS, RUNS, RUN_MODELS, STAGES) as connection:
            return Needs(
                stages=frozenset((stage, key) for stage, key in connection.execute(needed)),
                known_stages=frozenset((stage, key) for stage, key in connection.execute(stages)),
                runs=frozenset(connection.scalars(select(FOLDER).where(left_something))),
                known_runs=frozenset(connection.scalars(select(FOLDER))),
            )

    @survives_restarts
    def artifacts(self) -> tuple[ArtifactRecord, ...]:
        """Every file that a pattern speaks of, once for each path and content, by path."""
        columns = [ARTIFACTS.c[each.name] for each in fields(ArtifactRecord)]
        query = select(*columns).distinct().order_by(ARTIFACTS.c.path, ARTIFACTS.c.sha256)
        with self._reading(ARTIFACTS) as connection:
            return tuple(ArtifactRecord(**row) for row in connection.execute(query).mappings())
