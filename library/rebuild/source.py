"""A mined model with all that rebuilding takes: its pattern, its DNA, and the files of its weights."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cattrs import structure

from dna_zoo.errors import DnaZooError, NotMinedError, OutputError
from dna_zoo.text import shell_word
from patterndb.records import FitRecord, PatternRecord
from patterndb.store import PatternDatabase
from pipeline.dna.dna import Dna
from pipeline.dna.mined import mined_dna
from pipeline.lineage.mined import find_weights
from pipeline.settings import MineSettings
from pipeline.stage_keys import StageKeys, stage_keys
from pipeline.weights.files import WeightFiles

__all__ = ["MinedModel", "all_budgets", "find_model"]

NO_MODEL = (".gguf",)
"""Files whose names of tensors no class of transformers has."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MinedModel:
    """A model that was mined at one budget."""

    pattern: PatternRecord
    dna: Dna
    files: WeightFiles
    """Verified: they are those that were mined."""
    home: Path

    @property
    def key(self) -> str:
        return self.pattern.model.key

    @property
    def budget(self) -> float:
        found: float = self.dna.settings.budget
        return found

    @property
    def folder(self) -> Path:
        """Where config.json and what else belongs to the model lie."""
        return self.files.paths[0].parent

    @property
    def keys(self) -> StageKeys:
        """Of the stages that it was mined in; what another version kept may have had others."""
        return stage_keys(self.files, structure(self.pattern.settings, MineSettings))

    def fits(self) -> dict[str, FitRecord]:
        """The fit report of each matrix by name."""
        return {tensor.name: tensor.fit for tensor in self.pattern.tensors if tensor.fit is not None}


def find_model(database: PatternDatabase, key: str, *, home: Path, budget: float | None = None) -> MinedModel:
    """The model as it was last mined, or as it was last mined with `budget`.

    Raises `NotMinedError` where it was not, `FetchError` where the weights are not here any more, `OutputError` for
    files that no model can be rebuilt of, and `DnaFileError` for a DNA that is not there or cannot be read.
    """
    pattern = database.load_pattern(key)
    if budget is not None and _budget(pattern) != budget:
        pattern = _of_budget(database, key, budget)
    summary = next(each for each in database.patterns() if each.pattern_key == pattern.pattern_key)
    dna = mined_dna(pattern, database, home)
    files = find_weights(summary, database, home=home)
    _require_whole(files, key)
    return MinedModel(pattern=pattern, dna=dna, files=files, home=home)


def all_budgets(database: PatternDatabase, key: str) -> tuple[float, ...]:
    """Budgets at which the weights that are mined now were mined with the settings of the newest pattern otherwise."""
    newest = database.load_pattern(key, with_tensors=False)
    kept = {**newest.settings["fit"], "budget": None}
    found = {
        float(pattern.settings["fit"]["budget"])
        for pattern in _versions(database, key)
        if {**pattern.settings["fit"], "budget": None} == kept and pattern.model.sha256 == newest.model.sha256
    }
    return tuple(sorted(found))


def _versions(database: PatternDatabase, key: str) -> Iterator[PatternRecord]:
    """What runs have found of the model, the newest first, without single tensors."""
    summaries = [each for each in database.patterns() if each.model.key == key]
    for summary in sorted(summaries, key=lambda each: each.confirmed_at, reverse=True):
        yield database.load_pattern(key, run=summary.run, with_tensors=False)


def _of_budget(database: PatternDatabase, key: str, budget: float) -> PatternRecord:
    for version in _versions(database, key):
        if _budget(version) == budget:
            return database.load_pattern(key, run=version.run)
    known = ", ".join(f"{each:g}" for each in sorted({_budget(each) for each in _versions(database, key)}))
    raise NotMinedError(
        f"{key!r} was not mined with a budget of {budget:g}; it was with {known}.",
        hint=f"Mine it so: `dna-zoo mine {shell_word(key)} --budget {budget:g}`.",
    )


def _budget(pattern: PatternRecord) -> float:
    return float(pattern.settings["fit"]["budget"])


def _require_whole(files: WeightFiles, key: str) -> None:
    """Raise `OutputError` where the files are not those of a model that a class of transformers loads."""
    reason: DnaZooError | None = None
    if any(path.suffix in NO_MODEL for path in files.paths):
        reason = OutputError(
            f"{key!r} is a GGUF file, whose tensors no class of transformers knows by these names.",
            hint="Mine the model in safetensors that it was made from, and rebuild that.",
        )
    elif files.adapter and files.base is None:
        reason = OutputError(
            f"{key!r} is the updates of an adapter alone, and no model.",
            hint="Mine it merged into its base: `dna-zoo mine` without `--adapter delta`.",
        )
    elif not files.config:
        reason = OutputError(
            f"{key!r} has no config.json beside its weights, so nothing says which class loads them.",
            hint="Put the model's config.json there, and mine it again.",
        )
    if reason is not None:
        raise reason
