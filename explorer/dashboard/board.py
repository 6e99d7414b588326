"""What the tabs read: the database as it is, asked again only when it has changed, and the pictures made so far."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast
from urllib.parse import quote, unquote

import numpy as np
import numpy.typing as npt

from dna_zoo.errors import DnaZooError
from explorer.dashboard.catalog import Catalog
from explorer.dashboard.summary import Measured, measured_rows
from explorer.kinds import KINDS, FigureKind
from explorer.plotting import make_view
from explorer.source import Source
from explorer.view import View
from patterndb.comparison import Comparison, compare
from patterndb.overviews import DatabaseState
from patterndb.records import PatternRecord, RunRecord, SignatureEntry
from patterndb.similarity import all_distances
from pipeline.analyse.taxonomy import Taxonomy, classify

__all__ = ["Board", "Failure", "Picture", "Request"]

MOST_KEPT = 200
FRESH_SECONDS = 0.5
T = TypeVar("T")
Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A picture that a tab wants."""

    kind: str
    models: tuple[str, ...] = ()
    tensor: str = ""

    @property
    def figure_kind(self) -> FigureKind:
        return KINDS[self.kind]

    @property
    def name(self) -> str:
        """What it is called in the page and in addresses of cameras; the same for the same picture."""
        return "|".join(quote(part, safe="") for part in (self.kind, self.tensor, *self.models))

    @classmethod
    def from_name(cls, name: str) -> "Request | None":
        """The inverse of `name`; None for what is none."""
        parts = [unquote(part) for part in name.split("|")]
        if parts[0] not in KINDS or len(parts) < 2:
            return None
        return cls(kind=parts[0], tensor=parts[1], models=tuple(parts[2:]))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Picture:
    """A view and its plotly figure, in no theme yet."""

    view: View
    figure: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why there is no picture: what happened, and what to do."""

    message: str
    hint: str


@dataclass(kw_only=True, eq=False)
class Board:
    """Answers for as long as the dashboard runs, from several threads. It only reads."""

    source: Source
    _kept: "OrderedDict[Hashable, Any]" = field(default_factory=OrderedDict)
    _seen: tuple[float, DatabaseState | None] = (0.0, None)
    _locks: dict[str, threading.RLock] = field(default_factory=dict)
    _guard: threading.Lock = field(default_factory=threading.Lock)

    def state(self) -> DatabaseState:
        """The database as it is, or was less than `FRESH_SECONDS` ago: one page asks some twenty times."""
        read_at, state = self._seen
        if state is None or time.monotonic() - read_at > FRESH_SECONDS:
            state = self.source.database.state()
            self._seen = (time.monotonic(), state)
        return state

    def forget_state(self) -> None:
        """Ask the database at the next question, however fresh the last answer is."""
        self._seen = (0.0, None)

    def catalog(self) -> Catalog:
        database = self.source.database
        return self._once(
            "catalog",
            lambda: Catalog(
                patterns=tuple(pattern for pattern in database.patterns() if pattern.is_current),
                roles=database.roles(),
                settings=database.settings(),
            ),
        )

    def runs(self) -> tuple[RunRecord, ...]:
        """Every run, the latest first; read anew as long as one is running."""
        found = self._keep("runs", ("runs", self.state().runs), self.source.database.runs)
        return self.source.database.runs() if any(run.status == "running" for run in found) else found

    def pattern(self, key: str) -> PatternRecord:
        """Raises `NotMinedError`."""
        return self._once("pattern", lambda: self.source.pattern(key), key)

    def measured(self) -> tuple[Measured, ...]:
        """Every statistic of every model as a whole, by model key."""

        def find() -> tuple[Measured, ...]:
            keys = {pattern.pattern_key: pattern.model.key for pattern in self.catalog().patterns}
            found = self.source.database.model_statistics()
            return measured_rows({keys[key]: statistics for key, statistics in found.items() if key in keys})

        return self._once("statistics", find)

    def distances(self, keys: tuple[str, ...]) -> tuple[Float64, Float64]:
        """Distances of weights and of kind of these models, (N, N) each. Raises `StoreError` for several versions."""

        def find() -> tuple[Float64, Float64]:
            found = all_distances(self._signatures(keys)) if keys else None
            return (found.weights, found.kind) if found else (np.empty((0, 0)), np.empty((0, 0)))

        return self._once("distances", find, keys)

    def comparison(self, a: str, b: str) -> Comparison | Failure:
        """Two models side by side; a failure where their signatures do not compare."""

        def find() -> Comparison:
            entries = self._signatures((a, b))
            left, right = (self.pattern(key) for key in (a, b))
            return compare(left, right, all_distances(entries).each_once())

        return self._once("comparison", lambda: _or_failure(find), a, b)

    def _signatures(self, keys: tuple[str, ...]) -> list[SignatureEntry]:
        """Of these models, in that order."""
        entries = self._once("signatures", lambda: self.source.database.signatures(with_nulls=False))
        by_key = {entry.model.key: entry for entry in entries}
        return [by_key[key] for key in keys if key in by_key]

    def taxonomy(self, keys: tuple[str, ...]) -> Taxonomy | Failure:
        """Of these models; a failure where signatures do not compare."""
        return self._once("taxonomy", lambda: _or_failure(lambda: classify(self._signatures(keys))), keys)

    def has_picture(self, request: Request) -> bool:
        """Whether `picture` answers at once."""
        key = self._picture_key(request)
        with self._guard:
            return key in self._kept

    def picture(self, request: Request) -> Picture | Failure:
        """The picture, made once; a failure where what it needs is not there."""
        key = self._picture_key(request)
        return self._keep("picture", key, lambda: _or_failure(lambda: self._draw(request)))

    def _picture_key(self, request: Request) -> Hashable:
        """Changes with the patterns that the picture is about: other models may be mined meanwhile."""
        if not request.models:
            return ("picture", request, self.state().patterns)
        keys = {pattern.model.key: pattern.pattern_key for pattern in self.catalog().patterns}
        return ("picture", request, tuple(keys.get(model) for model in request.models))

    def _draw(self, request: Request) -> Picture:
        known = set(self.catalog().keys)
        for model in request.models:
            if model not in known:
                self.source.database.load_pattern(model, with_tensors=False)  # Raises, naming near misses.
        view = make_view(self.source, request.kind, request.models, tensor=request.tensor or None)
        return Picture(view=view, figure=request.figure_kind.page(view))

    def _once(self, what: str, find: Callable[[], T], *key: Hashable) -> T:
        """What `find` gives for the database as it is, found by one thread alone."""
        return self._keep(what, (what, self.state().patterns, *key), find)

    def _keep(self, what: str, key: Hashable, find: Callable[[], T]) -> T:
        with self._guard:
            lock = self._locks.setdefault(what, threading.RLock())
        with lock:
            with self._guard:
                if key in self._kept:
                    self._kept.move_to_end(key)
                    return cast(T, self._kept[key])
            found = find()
            with self._guard:
                self._kept[key] = found
                while len(self._kept) > MOST_KEPT:
                    self._kept.popitem(last=False)
            return found


def _or_failure(find: Callable[[], T]) -> T | Failure:
    """What it finds, or why there is nothing."""
    try:
        return find()
    except DnaZooError as error:
        return Failure(message=error.message, hint=error.hint)
