"""Build a shared pattern from the models of a database: their weights are read where they were mined."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dna_zoo.errors import DnaZooError, LibraryError
from library.patterns.build import build_pattern
from library.patterns.measure import MEASURE_VERSION, Measures, ModelTensors, measure_model
from library.patterns.records import Key, Lineage, SharedPattern
from library.patterns.selections import describes, parse_where
from patterndb.records import PatternSummary
from patterndb.similarity import align
from patterndb.store import PatternDatabase
from pipeline.analyse.lineage_groups import find_related, group_lineages
from pipeline.events import Event, OnEvent, ignore
from pipeline.kept.stages import Finished, StageStore, content_key
from pipeline.lineage.mined import find_weights
from pipeline.order import ORDER_VERSION
from pipeline.weights.inventory import take_inventory
from pipeline.weights.reader import WeightReader

__all__ = ["NUM_DRAWS", "build_from_mined"]

NUM_DRAWS = 19
STAGE = "library"
VALUES = "values.npz"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Measured:
    lineage: Lineage
    values: Measures
    shuffled: Sequence[Measures]


def build_from_mined(
    name: str,
    database: PatternDatabase,
    *,
    home: Path,
    keys: Sequence[str] = (),
    where: str = "",
    num_draws: int = NUM_DRAWS,
    seed: int = 0,
    on_event: OnEvent = ignore,
) -> SharedPattern:
    """The pattern of the models with these keys, or of those that the where-clause describes.

    Models of one lineage count as one: the founder is measured, or the next whose weights are on this machine. By
    where-clause, models of class `noisy` are left out: random weights have nothing in common but that.
    Raises `LibraryError` if no model is left, and `NotMinedError` for a key without a pattern.
    """
    patterns = {pattern.model.key: pattern for pattern in database.patterns() if pattern.is_current}
    for key in keys:
        if key not in patterns:
            database.load_pattern(key)  # Raises, naming near misses.
    labels = parse_where(where)
    chosen = [patterns[key] for key in keys] or [p for p in patterns.values() if describes(labels, p.model)]
    left_out = {} if keys else {p.model.key: "its class is noisy" for p in chosen if p.pattern_class == "noisy"}
    groups = _grouped([pattern for pattern in chosen if pattern.model.key not in left_out], database)
    reader = _Reader(database=database, home=home, num_draws=num_draws, seed=seed, on_event=on_event)
    drafts = [reader.first_of(lineage, members, left_out) for lineage, members in groups]
    found = [each for each in drafts if each is not None]
    if not found:
        reason = next((f" ({key!r}: {why})" for key, why in reversed(left_out.items())), "")
        raise LibraryError(
            f"No mined model with weights here fits {', '.join(keys) or where or 'the selection'!r}{reason}.",
            hint="Mine some (`dna-zoo mine NAMES`), or name others with `--models` or `--where`.",
        )
    return build_pattern(
        name,
        [each.lineage for each in found],
        [each.values for each in found],
        [each.shuffled for each in found],
        selection=", ".join(keys) or where,
        left_out=left_out,
        seed=seed,
    )


def _grouped(
    patterns: Sequence[PatternSummary], database: PatternDatabase
) -> list[tuple[Lineage, list[PatternSummary]]]:
    """The lineages among these models, the founder first in each."""
    if not patterns:
        return []
    own = {pattern.model.key: pattern for pattern in patterns}
    entries = [entry for entry in database.signatures(with_nulls=False) if entry.model.key in own]
    names, values = align([entry.signature for entry in entries])
    groups = group_lineages([entry.model for entry in entries], find_related(names, values))
    found = []
    for number, founder in enumerate(groups.founders):
        members = [entries[founder], *(entries[i] for i in np.flatnonzero(groups.lineages == number) if i != founder)]
        keys = tuple(entry.model.key for entry in members)
        found.append((Lineage(name=groups.names[number], models=keys), [own[key] for key in keys]))
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reader:
    """Measures models of a database, once: the values are kept in the home folder as a finished stage."""

    database: PatternDatabase
    home: Path
    num_draws: int
    seed: int
    on_event: OnEvent

    def first_of(
        self, lineage: Lineage, members: Sequence[PatternSummary], left_out: dict[str, str]
    ) -> _Measured | None:
        """What the first member whose weights can be read holds; None, and the reasons, where none can."""
        for place, pattern in enumerate(members):
            try:
                values, shuffled = self._measured(pattern)
            except DnaZooError as error:
                left_out[pattern.model.key] = error.message.rstrip(".")
                continue
            keys = (lineage.models[place], *lineage.models[:place], *lineage.models[place + 1 :])
            return _Measured(lineage=Lineage(name=lineage.name, models=keys), values=values, shuffled=shuffled)
        return None

    def _measured(self, pattern: PatternSummary) -> tuple[Measures, list[Measures]]:
        """Values of the model and of its shuffled copies."""
        key = content_key(MEASURE_VERSION, ORDER_VERSION, pattern.model.sha256, self.num_draws, self.seed)
        finished = StageStore(self.home).run(STAGE, key, lambda directory: self._measure(pattern, directory))
        return _unflat(finished, self.num_draws)

    def _measure(self, pattern: PatternSummary, directory: Path) -> Any:
        files = find_weights(pattern, self.database, home=self.home)
        with WeightReader(files) as reader:
            specs = take_inventory(reader, allow_nonfinite=True, allow_partial=True).specs
            shapes = {header.name: header.shape for header in reader.headers}
            tensors = ModelTensors(specs=specs, load=reader.matrix, shapes=shapes, config=files.config)
            values, drawn = measure_model(tensors), []
            for draw in range(self.num_draws):
                drawn.append(measure_model(tensors, draw=draw, seed=self.seed))
                self._tell(pattern.model.key, draw + 1)
        np.savez(directory / VALUES, **_flat(values, drawn))
        return {"parts": len(values)}

    def _tell(self, model: str, done: int) -> None:
        self.on_event(Event(kind="progress", model=model, stage=STAGE, done=done, total=self.num_draws, unit="draws"))


def _flat(values: Measures, drawn: Sequence[Measures]) -> dict[str, Any]:
    """Name -> array: `SUBJECT TERM` and `N SUBJECT TERM`; slashes are no part of a name in an archive."""
    found = {f"{key.subject} {key.term}".replace("/", "|"): array for key, array in values.items()}
    for number, measures in enumerate(drawn):
        found |= {f"{number} {key.subject} {key.term}".replace("/", "|"): array for key, array in measures.items()}
    return found


def _unflat(finished: Finished, num_draws: int) -> tuple[Measures, list[Measures]]:
    values: dict[Key, Any] = {}
    drawn: list[dict[Key, Any]] = [{} for _ in range(num_draws)]
    with np.load(finished.directory / VALUES, allow_pickle=False) as archive:
        for name in archive.files:
            *number, subject, term = name.replace("|", "/").split(" ")
            (drawn[int(number[0])] if number else values)[Key(subject, term)] = archive[name]
    return values, list[Mapping[Key, Any]](drawn)
