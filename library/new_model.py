"""Write a new model that starts from a shared pattern, as a directory that transformers loads."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from dna_zoo.errors import LibraryError
from library.initialise import Initialisation, initialise_
from library.patterns.records import SharedPattern

__all__ = ["make_model"]


def make_model(
    source: Path, pattern: SharedPattern, out: Path, *, seed: int = 0, force: bool = False
) -> Initialisation:
    """Build the model of a `config.json` (or of a directory with one), start it from the pattern, save it to `out`.

    The class is the one that the configuration names, else `AutoModel`'s; its default start and what the pattern adds
    depend on `seed` alone. Raises `LibraryError` if `out` is there and not `force`, if transformers cannot build the
    model, or if the pattern fits none of it; then nothing is written.
    """
    if out.exists() and not force:
        raise LibraryError(
            f"{str(out)!r} is there already.", hint="Name another folder with `--out`, or replace it with `--force`."
        )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = _build(source)
    found = initialise_(model, pattern, torch.Generator().manual_seed(seed))
    with _beside(out) as folder:
        model.save_pretrained(folder)
        (folder / "README.md").write_text(_card(pattern, found, seed), encoding="utf-8")
    return found


def _build(source: Path) -> Any:
    """The model with its default start, in evaluation mode. No code of a repository is run."""
    try:
        import transformers
    except ImportError as error:
        raise LibraryError(
            "New models are built by transformers, which is not installed.",
            hint="Install it: `pip install transformers`.",
        ) from error
    try:
        config = transformers.AutoConfig.from_pretrained(str(source), local_files_only=True, trust_remote_code=False)
        names = [name for name in config.architectures or () if hasattr(transformers, name)]
        auto: Any = transformers.AutoModel
        model: Any = getattr(transformers, names[0])(config) if names else auto.from_config(config)
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        reason = " ".join(str(error).split()).rstrip(".")[:200]
        raise LibraryError(
            f"transformers cannot build a model from {str(source)!r} ({reason}).",
            hint="Give a `config.json`, or a directory with one, of an architecture that transformers knows.",
        ) from error
    return model.eval()


@contextmanager
def _beside(out: Path) -> Iterator[Path]:
    """A folder beside `out` that takes its place at the end, and is gone after an error."""
    out.parent.mkdir(parents=True, exist_ok=True)
    folder = out.with_name(f".{out.name}.{os.getpid()}")
    folder.mkdir()
    try:
        yield folder
        if out.exists():
            old = out.with_name(f".{out.name}.{os.getpid()}.old")
            os.replace(out, old)
            os.replace(folder, out)
            shutil.rmtree(old)
        else:
            os.replace(folder, out)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _card(pattern: SharedPattern, found: Initialisation, seed: int) -> str:
    lines = [f"- `{name}`: {', '.join(terms)}" for name, terms in found.terms.items()]
    kept = "\n".join(f"- `{name}`" for name in found.default) or "- none"
    return (
        f"# Not trained\n\nStarted by dna-zoo from the pattern `{pattern.name}` (seed {seed}). {pattern.verdict}\n\n"
        f"## Set\n\n{chr(10).join(lines)}\n\n## At their default start\n\n{kept}\n"
    )
