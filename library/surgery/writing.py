"""A model as a folder that transformers loads: made beside its place, and renamed when it is complete."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from dna_zoo.errors import JoinError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["new_folder", "write_model"]

BESIDE = (
    "tokenizer*",
    "vocab*",
    "merges.txt",
    "special_tokens_map.json",
    "added_tokens.json",
    "preprocessor_config.json",
)
"""Files beside the weights that make inputs of a model. None of them is code."""


@contextmanager
def new_folder(path: Path, *, force: bool = False) -> Iterator[Path]:
    """A folder to write into, which becomes `path` at the end of the block; of a block that fails nothing is left.

    Raises `JoinError` if there is something at `path`, unless `force` and it is a model's folder.
    """
    path = path.absolute()
    _require_free(path, force=force)
    made = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        made.mkdir(parents=True)
        yield made
        _require_free(path, force=force)
        if path.exists():
            shutil.rmtree(path)
        made.rename(path)
    except OSError as error:
        hint = "Check the permissions and the space of that disk, or name another folder."
        raise JoinError(f"{str(path)!r} cannot be written ({error.strerror or error}).", hint=hint) from error
    finally:
        shutil.rmtree(made, ignore_errors=True)


def write_model(folder: Path, model: "PreTrainedModel", *, source: Path, card: str) -> None:
    """Save the model, the files beside the weights of `source` that make its inputs, and a card."""
    model.save_pretrained(folder)
    for found in sorted(path for pattern in BESIDE for path in source.glob(pattern)):
        if found.is_file() and found.suffix != ".py":
            shutil.copyfile(found, folder / found.name)
    (folder / "README.md").write_text(card, encoding="utf-8")


def _require_free(path: Path, *, force: bool) -> None:
    if not path.exists():
        return
    if not force:
        raise JoinError(f"{str(path)!r} is there already.", hint="Name another folder, or replace it with `--force`.")
    if not (path / "config.json").is_file():
        raise JoinError(f"{str(path)!r} is not a model's folder, and is not replaced.", hint="Name another folder.")
