"""The lineage of mined models: find the weights of the patterns in a database, compare them, keep the result.

A result is kept in the home folder under the digests of both models' weights, so that it is computed once and stays
known where the weights are deleted.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from cattrs import Converter

from dna_zoo.errors import DnaZooError, FetchError, NotMinedError, StoreError, WeightsChangedError
from dna_zoo.text import shell_word
from patterndb.records import PatternSummary
from patterndb.store import PatternDatabase
from pipeline.events import Event, OnEvent, ignore
from pipeline.fetch.request import ModelRequest
from pipeline.kept.stages import StageStore, content_key
from pipeline.lineage.records import CANNOT_SAY, LINEAGE_VERSION, Lineage, ModelWeights
from pipeline.weights.files import WeightFiles

__all__ = ["NUM_NULLS", "MinedLineage", "find_weights"]

NUM_NULLS = 199
STAGE = "lineage"
log = logging.getLogger(__name__)


def find_weights(pattern: PatternSummary, database: PatternDatabase, *, home: Path) -> WeightFiles:
    """The files of the pattern's weights, verified by digest. Sends no request.

    Searches where the run found them, then in the Hugging Face cache. Raises `FetchError` if they are not on this
    machine, and `WeightsChangedError` if the files there are not those that were mined.
    """
    # A result that is kept is read without the code that fetches.
    from pipeline.fetch.stage import fetch

    problem: DnaZooError | None = None
    for request in _requests(pattern, database):
        try:
            files = fetch(request, home=home, offline=True)
        except DnaZooError as error:
            problem = problem or error
            continue
        if files.digest == pattern.model.sha256:
            return files
        problem = WeightsChangedError(
            f"The weights of {pattern.model.key!r} have changed since they were mined.",
            hint=f"Mine them again: `dna-zoo mine {shell_word(request.name)}`.",
        )
    if isinstance(problem, WeightsChangedError):
        raise problem
    message = f"The weights of {pattern.model.key!r} are not on this machine."
    raise FetchError(message, hint="Fetch them with `dna-zoo fetch`, or mine the model here.") from problem


def _requests(pattern: PatternSummary, database: PatternDatabase) -> Iterator[ModelRequest]:
    """The run's request for this key, then the model's repository and commit."""
    run = database.run(pattern.run)
    asked: Sequence[Mapping[str, str | None]] = run.request.get("models", ())
    for model, request in zip(run.models, asked, strict=False):
        is_meant = pattern.pattern_key == model.pattern_key or pattern.model.key == model.key
        if is_meant and request.get("name"):
            weights = request.get("weights")
            yield ModelRequest(
                name=str(request["name"]),
                key=request.get("key"),
                weights=Path(weights) if weights else None,
                revision=request.get("revision"),
                state_dict=request.get("state_dict"),
                adapter="delta" if request.get("adapter") == "delta" else "merged",
                base=request.get("base"),
                component=request.get("component"),
            )
    if pattern.model.repo and pattern.model.revision:
        yield ModelRequest(name=pattern.model.repo, revision=pattern.model.revision)


@dataclass(frozen=True, slots=True, kw_only=True)
class MinedLineage:
    """Compares models of one database."""

    database: PatternDatabase
    patterns: Mapping[str, PatternSummary]
    """Model key -> its current pattern."""
    home: Path
    on_event: OnEvent = ignore
    num_nulls: int = NUM_NULLS
    seed: int = 0

    @classmethod
    def of(cls, database: PatternDatabase, *, home: Path, on_event: OnEvent = ignore) -> "MinedLineage":
        """With the current patterns of the database."""
        current = {pattern.model.key: pattern for pattern in database.patterns() if pattern.is_current}
        return cls(database=database, patterns=current, home=home, on_event=on_event)

    def compare(self, a: str, b: str) -> Lineage:
        """The evidence on two model keys, in either order; `cannot say` where the weights are not on this machine.

        Raises `NotMinedError` for a key without a pattern, and `StoreError` where the database cannot be read.
        """
        # The smaller digest first, so that the result does not depend on the order of the keys.
        first, second = sorted((self._pattern(a), self._pattern(b)), key=lambda pattern: pattern.model.sha256)
        digests = [first.model.sha256, second.model.sha256]
        if len(set(digests)) == 1:
            return Lineage(verdict="the same file", reason="the files have one digest")
        key = content_key(LINEAGE_VERSION, digests, self.num_nulls, self.seed)
        store = StageStore(self.home)
        keys = {"a": first.model.key, "b": second.model.key, None: None}
        kept = store.find(STAGE, key)
        if kept is not None:
            found = Converter().structure(kept.result, Lineage)
            return replace(found, older=keys[found.older])
        self._tell("start", a, b)
        try:
            with self._weights(first) as left, self._weights(second) as right:
                # Imported here: a kept result, or missing weights, need no scipy.
                from pipeline.lineage.compare import compare_weights

                found = compare_weights(
                    left,
                    right,
                    num_nulls=self.num_nulls,
                    seed=self.seed,
                    on_progress=lambda done, total: self._tell("progress", a, b, done, total),
                )
        except StoreError:
            raise  # Of the database, and not of the weights.
        except DnaZooError as error:
            return Lineage(verdict=CANNOT_SAY, reason=_clause(error))
        finally:
            self._tell("done", a, b)
        self._keep(store, key, found)
        return replace(found, older=keys[found.older])

    def _pattern(self, key: str) -> PatternSummary:
        if key not in self.patterns:
            self.database.load_pattern(key)  # Raises, naming near misses.
            raise NotMinedError(f"{key!r} has no current pattern.", hint=f"Mine it: `dna-zoo mine {shell_word(key)}`.")
        return self.patterns[key]

    @contextmanager
    def _weights(self, pattern: PatternSummary) -> Iterator[ModelWeights]:
        from pipeline.weights.inventory import extract
        from pipeline.weights.reader import WeightReader
        from pipeline.weights.traced import Tracer

        files = find_weights(pattern, self.database, home=self.home)
        specs = extract(files, allow_nonfinite=True, allow_partial=True, tracer=Tracer(home=self.home)).specs
        with WeightReader(files) as reader:
            yield ModelWeights(specs=specs, load=reader.matrix, config=files.config)

    def _keep(self, store: StageStore, key: str, found: Lineage) -> None:
        try:
            store.run(STAGE, key, lambda directory: asdict(found))
        except OSError as error:  # Without a writable home the result is still good, and computed again next time.
            log.warning("The lineage could not be kept: %s.", error)

    def _tell(self, kind: str, a: str, b: str, done: float = 0, total: float = 0) -> None:
        event = Event(kind=kind, model=f"{a} and {b}", stage=STAGE, done=done, total=total, unit="blocks")  # type: ignore[arg-type]
        self.on_event(event)


def _clause(error: DnaZooError) -> str:
    """The error's sentence as a reason."""
    message = error.message.rstrip(".")
    return message[:1].lower() + message[1:]
