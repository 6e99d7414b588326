"""The DNA of a model that was mined: its file, found by what the database says of the pattern."""

from pathlib import Path

from dna_zoo.errors import DnaFileError
from dna_zoo.text import shell_word
from patterndb.records import PatternRecord
from patterndb.store import PatternDatabase
from pipeline.dna.dna import Dna
from pipeline.kept.artifacts import artifact_file
from pipeline.kept.stages import StageStore
from pipeline.order import ORDER_FILE

__all__ = ["mined_dna"]


def mined_dna(pattern: PatternRecord, database: PatternDatabase, home: Path) -> Dna:
    """Read the DNA of a pattern, which is brought into this home from its URL if it has one and is not here.

    Raises `DnaFileError` where nothing was fitted or the file is nowhere, `ArtifactError` where it cannot be brought.
    """
    key = pattern.model.key
    kept = next((each for each in pattern.artifacts if each.kind == "checkpoint"), None)
    if pattern.fit is None:
        raise DnaFileError(
            f"{key!r} has no DNA: it holds no matrix that could be fitted.", hint="Ask for another model."
        )
    if kept is None:
        raise DnaFileError(
            f"The database does not say where the DNA of {key!r} is.",
            hint=f"Mine it again: `dna-zoo mine {shell_word(key)}`.",
        )
    path = artifact_file(kept, home)
    if not path.exists():
        raise DnaFileError(
            f"The DNA of {key!r} is not in this home folder ({str(path)!r} is not there).",
            hint=f"Name the home folder that it was mined in, or mine it again: `dna-zoo mine {shell_word(key)}`.",
        )
    return Dna.load(path, order=_order_of(pattern, database, home) if path.suffix == ".pt" else None)


def _order_of(pattern: PatternRecord, database: PatternDatabase, home: Path) -> Path | None:
    """Where the order of an older version's DNA is kept, by the stages of the run."""
    models = {model.key: model for model in database.run(pattern.run).models}
    stages = models[pattern.model.key].stages if pattern.model.key in models else ()
    order = next((stage.key for stage in stages if stage.stage == "order"), None)
    return StageStore(home).directory("order", order) / ORDER_FILE if order else None
