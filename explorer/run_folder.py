"""The folder of a model in a run, as users of the idea know it: checkpoints, what was read, pictures, a log.

`mine` leaves `summary.json` and `checkpoints/`; this adds `data/metadata.json`, `visualizations/` and `logs/`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from dna_zoo.errors import DnaFileError, OutputError
from dna_zoo.text import shell_word
from explorer.file_names import file_name
from explorer.plotting import Look, Plotted, default_tensor, plotted
from explorer.source import Source
from patterndb.records import PatternRecord
from pipeline.kept.stages import write_json

__all__ = ["draw_run_folder", "draw_run_folders"]

RAW_WEIGHTS = ("manifold", "matrix", "spectrum", "singular-values", "layer-spectra")
RECONSTRUCTION = ("reconstruction", "training", "rate", "gain")
MOST_RECONSTRUCTED = 8
"""Roles, of each of which one matrix is shown."""


def draw_run_folders(source: Source, run: str) -> Iterator[Plotted]:
    """`draw_run_folder` for every model of the run that is done. Raises `NotMinedError` where there is no such run."""
    for model in source.database.run(run).models:
        if model.status == "done":
            yield from draw_run_folder(source, model.key, run)


def draw_run_folder(source: Source, model: str, run: str | None = None, look: Look | None = None) -> Iterator[Plotted]:
    """Draw a model into the folder that its run left, a figure at a time; what was there is replaced.

    Figures are PNG, numbers and words beside each. What cannot be drawn is given with its error, and the rest goes on.
    Raises `NotMinedError`, `DnaFileError` where that folder is not in this home, `OutputError` where it cannot be
    written.
    """
    pattern = source.pattern(model, run=run)
    folder = _folder_of(pattern, source.home)
    try:
        write_json(folder / "data" / "metadata.json", _metadata(pattern), indent=1)
        _write_log(pattern, folder, source.home / "runs" / source.database.run(pattern.run).folder)
    except OSError as error:
        raise OutputError(
            f"{str(folder)!r} cannot be written ({error.strerror or error}).",
            hint="Check the permissions and the space of that disk.",
        ) from error
    for kind, tensor, path in _planned(source, pattern, folder / "visualizations"):
        chosen = look or Look(width="icml-double", dpi=150)
        yield plotted(source, kind, (model,), path, chosen, tensor=tensor, force=True)


def _folder_of(pattern: PatternRecord, home: Path) -> Path:
    summary = next((each for each in pattern.artifacts if each.kind == "summary"), None)
    folder = (home / summary.path).parent if summary else None
    if folder is None or not folder.is_dir():
        key = pattern.model.key
        raise DnaFileError(
            f"The run's folder of {key!r} is not in this home folder.",
            hint=f"Name the home folder that it was mined in, or mine it again: `dna-zoo mine {shell_word(key)}`.",
        )
    return folder


def _metadata(pattern: PatternRecord) -> dict[str, Any]:
    """What was read: the model, its tensors, the settings and versions."""
    return {
        "model": asdict(pattern.model),
        "run": pattern.run,
        "pattern_key": pattern.pattern_key,
        "settings": dict(pattern.settings),
        "provenance": dict(pattern.provenance),
        "tensors": [
            {
                "name": each.name,
                "role": each.role,
                "block": each.block,
                "depth": each.depth,
                "rows": each.rows,
                "cols": each.cols,
                "is_fitted": each.fit is not None,
            }
            for each in pattern.tensors
        ],
    }


def _write_log(pattern: PatternRecord, folder: Path, run_folder: Path) -> None:
    """What the run's log says of this model: the lines that begin with its key, and what belongs to no model."""
    log = run_folder / "run.log"
    text = log.read_text(errors="replace") if log.exists() else ""
    others = [each for each in _keys_of(text) if each != pattern.model.key]
    lines = [line for line in text.splitlines() if not any(f" {other}: " in line for other in others)]
    (folder / "logs").mkdir(exist_ok=True)
    (folder / "logs" / "mine.log").write_text("\n".join(lines) + "\n" if lines else "")


def _keys_of(text: str) -> Sequence[str]:
    """The models of a log: `pipeline.chain` writes `KEY: STAGE ...`."""
    found = (line.split(" pipeline.chain ", 1) for line in text.splitlines())
    return sorted({parts[1].rsplit(": ", 1)[0] for parts in found if len(parts) == 2 and ": " in parts[1]})


def _planned(source: Source, pattern: PatternRecord, folder: Path) -> Iterator[tuple[str, str | None, Path]]:
    """Kind, tensor and file of each figure."""
    if pattern.fit is None:
        return
    model = pattern.model.key
    tensor = default_tensor(source, model)
    for kind in RAW_WEIGHTS:
        yield (
            kind,
            tensor if kind in ("matrix", "spectrum", "singular-values") else None,
            _file(folder, "raw_weights", kind),
        )
    for kind in RECONSTRUCTION:
        if kind != "reconstruction":
            yield kind, None, _file(folder, "reconstruction", kind)
    for name in _of_each_role(pattern):
        yield "reconstruction", name, _file(folder, "reconstruction", f"reconstruction-{name}")


def _file(folder: Path, part: str, name: str) -> Path:
    return folder / part / f"{file_name(name)}.png"


def _of_each_role(pattern: PatternRecord) -> list[str]:
    """The matrix of each role whose gain is largest, of the roles with most weights."""
    roles = sorted((each for each in pattern.roles if each.fit), key=lambda each: (-each.weights, each.role))
    found = []
    for role in roles[:MOST_RECONSTRUCTED]:
        fitted = [(each.fit, each.name) for each in pattern.tensors if each.role == role.role and each.fit is not None]
        found.append(max(fitted, key=lambda pair: (pair[0].gain_beyond_means or pair[0].gain or 0.0, pair[1]))[1])
    return found
