"""What a fit left in the home folder beside its DNA: how each tensor was measured, and how the training went."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from cattrs import structure

from dna_zoo.errors import DnaFileError
from dna_zoo.text import shell_word
from explorer.source import Source
from patterndb.records import PatternRecord
from pipeline.fit.report import TensorFit
from pipeline.kept.artifacts import artifact_file
from pipeline.kept.stages import StageStore

__all__ = ["fitted_pattern", "kept_fits", "kept_history"]


def fitted_pattern(source: Source, model: str, *, with_tensors: bool = True) -> PatternRecord:
    """The model's pattern. Raises `NotMinedError`, and `DnaFileError` where nothing was fitted."""
    pattern = source.database.load_pattern(model, with_tensors=with_tensors)
    if pattern.fit is None:
        raise DnaFileError(
            f"{model!r} has no fit: it holds no matrix that could be fitted.", hint="Ask for another model."
        )
    return pattern


def kept_fits(source: Source, model: str) -> tuple[TensorFit, ...]:
    """Each tensor's DNA and its nulls, with the curves of other codes.

    Raises what `fitted_pattern` does, and `DnaFileError` where the fit stage is not in this home any more.
    """
    pattern = fitted_pattern(source, model, with_tensors=False)
    models = {each.key: each for each in source.database.run(pattern.run).models}
    stages = models[model].stages if model in models else ()
    key = next((stage.key for stage in stages if stage.stage == "fit"), None)
    finished = StageStore(source.home).find("fit", key) if key else None
    if finished is None or not finished.result:
        raise _gone("The curves of other codes", model)
    return tuple(structure(each, TensorFit) for each in finished.result["tensors"])


def kept_history(source: Source, model: str) -> Sequence[Mapping[str, Any]]:
    """A record for each stack of tensors that were trained together: `tensors`, `steps`, `stopped_early`, `points`.

    Raises what `fitted_pattern` does, `DnaFileError` where the file is not in this home any more, and `ArtifactError`
    where it is damaged.
    """
    pattern = fitted_pattern(source, model, with_tensors=False)
    kept = next((each for each in pattern.artifacts if each.kind == "training_history"), None)
    try:
        found = json.loads(artifact_file(kept, source.home).read_text()) if kept else None
    except (OSError, ValueError):
        found = None
    if not isinstance(found, list):
        raise _gone("The training history", model)
    return found


def _gone(what: str, model: str) -> DnaFileError:
    return DnaFileError(
        f"{what} of {model!r} {'are' if what.startswith('The curves') else 'is'} not in this home folder.",
        hint=f"Name the home folder that it was mined in, or mine it again: `dna-zoo mine {shell_word(model)}`.",
    )
