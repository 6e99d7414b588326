"""Models that transformers loads: from a folder, or from a mined key by way of the files that were mined."""

import json
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError

from dna_zoo.errors import DnaZooError, JoinError
from pipeline.lineage.mined import find_weights

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from patterndb.store import PatternDatabase

BUILD_ERRORS = (
    OSError, ValueError, KeyError, TypeError, RuntimeError, ImportError, AttributeError, EOFError, SafetensorError,
    pickle.UnpicklingError,
)  # fmt: skip
"""What transformers raises for configurations and files that it cannot read."""
__all__ = ["Loaded", "folder_of", "open_model", "read_json"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """A model in memory, float32, in evaluation mode, and the folder it comes from."""

    name: str
    folder: Path
    model: "PreTrainedModel"

    @property
    def config(self) -> Any:
        """Its configuration."""
        return self.model.config


def folder_of(name: str, database: "PatternDatabase | None", *, home: Path) -> Path:
    """The folder of a model: `name` itself, or where the files of that mined key are.

    Raises `JoinError` where it has no `config.json`, `NotMinedError` for an unknown key, `FetchError` for weights that
    are not on this machine.
    """
    folder = Path(name).expanduser()
    if not folder.is_dir():
        if database is None:
            raise JoinError(f"There is no folder {name!r}.", hint="Give a model's folder, or the key of a mined model.")
        patterns = {pattern.model.key: pattern for pattern in database.patterns() if pattern.is_current}
        if name not in patterns:
            database.load_pattern(name)  # Raises, naming near misses.
        folder = find_weights(patterns[name], database, home=home).paths[0].parent
    if not (folder / "config.json").is_file():
        raise JoinError(
            f"{name!r} has no config.json beside its weights, so transformers cannot build it.",
            hint="Give a folder in Hugging Face's format.",
        )
    return folder


def open_model(folder: Path, *, name: str | None = None) -> Loaded:
    """The model in a folder, of the class that its configuration names. No code from the folder is run.

    Raises `JoinError` for a model that transformers cannot build whole.
    """
    transformers = _transformers()
    name = name or folder.name
    try:
        config = transformers.AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        names = config.architectures or ()
        chosen = next((getattr(transformers, each) for each in names if hasattr(transformers, each)), None)
        # In plain operations, so that each can be followed.
        model, report = (chosen or transformers.AutoModel).from_pretrained(
            folder, local_files_only=True, attn_implementation="eager", output_loading_info=True, dtype="float32"
        )
    except BUILD_ERRORS as error:
        first = (str(error).strip().splitlines() or [""])[0][:160].rstrip(".")
        raise JoinError(
            f"transformers cannot build {name!r} ({first}).", hint="Give a folder that `from_pretrained` loads."
        ) from error
    if missing := [*report["missing_keys"], *report["mismatched_keys"]]:
        raise JoinError(
            f"The weights of {name!r} lack {len(missing)} tensors of its architecture, {missing[0]!r} among them.",
            hint="Give a folder whose config.json names the class that was saved.",
        )
    return Loaded(name=name, folder=folder, model=model.eval())


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object; empty where there is none."""
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _transformers() -> Any:
    try:
        import transformers
    except ImportError as error:
        raise DnaZooError(
            "This needs the library transformers, which is not installed.",
            hint="Install it: `pip install transformers`.",
        ) from error
    logging: Any = transformers.utils.logging
    logging.disable_progress_bar()
    return transformers
