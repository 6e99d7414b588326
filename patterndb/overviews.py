"""What a page that stays open asks again and again: what has changed, and a little of every model at once."""

import hashlib
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select

from patterndb.connection.engine import Transactions
from patterndb.connection.retry import survives_restarts
from patterndb.patterns.reading import read_labels, read_roles
from patterndb.patterns.which import CURRENT, LISTED
from patterndb.records import RoleRecord
from patterndb.tables import MODELS, PATTERNS, RUN_MODELS, RUNS, STAGES

__all__ = ["DatabaseState", "OverviewStore"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseState:
    """Two digests: equal ones mean that nothing has changed in between."""

    patterns: str
    """Of the models and their patterns."""
    runs: str
    """Of the runs, their models and their stages."""


class OverviewStore(Transactions):
    """The part of the pattern database that looks at all models at once."""

    @survives_restarts
    def state(self) -> DatabaseState:
        """What the database holds at this moment, as two digests; three cheap queries."""
        patterns = select(PATTERNS.c.pattern_key, PATTERNS.c.confirmed_at, MODELS.c.key, MODELS.c.digest)
        runs = select(RUNS.c.run, RUNS.c.status, RUNS.c.started, RUNS.c.finished)
        parts = select(
            func.count(STAGES.c.id),
            func.max(STAGES.c.id),
            select(func.count(RUN_MODELS.c.id)).scalar_subquery(),
            select(func.count(RUN_MODELS.c.id)).where(RUN_MODELS.c.status != "pending").scalar_subquery(),
        )
        with self._reading() as connection:
            of_patterns = connection.execute(patterns.select_from(PATTERNS.join(MODELS)).order_by(PATTERNS.c.id)).all()
            of_runs = [*connection.execute(runs.order_by(RUNS.c.id)).all(), *connection.execute(parts).all()]
        return DatabaseState(patterns=_digest(of_patterns), runs=_digest(of_runs))

    @survives_restarts
    def settings(self) -> Mapping[str, Mapping[str, Any]]:
        """Model key -> settings of its current pattern."""
        with self._reading(*LISTED) as connection:
            return {row["key"]: row["settings"] for row in read_labels(connection, CURRENT).values()}

    @survives_restarts
    def roles(self) -> Mapping[str, tuple[RoleRecord, ...]]:
        """Model key -> its roles in the order of its current pattern, with their fits and without statistics."""
        found: dict[str, list[RoleRecord]] = defaultdict(list)
        with self._reading(*LISTED) as connection:
            for entry in read_roles(connection, CURRENT):
                found[entry.model].append(entry.role)
        return {key: tuple(roles) for key, roles in found.items()}


def _digest(found: Any) -> str:
    return hashlib.sha256(repr([tuple(row) for row in found]).encode()).hexdigest()[:16]
