"""Write a new model that starts from a shared pattern, as a directory that transformers loads."""

from pathlib import Path

import torch

from dna_zoo.text import markdown
from library.folder import new_folder
from library.initialise import Initialisation, initialise_
from library.models import Builder, quiet, read_config
from library.patterns.records import SharedPattern

__all__ = ["make_model"]


def make_model(
    source: Path, pattern: SharedPattern, out: Path, *, seed: int = 0, force: bool = False
) -> Initialisation:
    """Build the model of a `config.json` (or of a directory with one), start it from the pattern, save it to `out`.

    The class is the one that the configuration names, else the plain model of its type; its default start and what the
    pattern adds depend on `seed` alone. Nothing is written of what fails. Raises `OutputError` if `out` is there and
    not `force`, `UnbuildableModelError` if transformers cannot build the model, and `LibraryError` if the pattern fits
    none of it.
    """
    with new_folder(out, force=force) as folder:
        name = source.absolute().name
        builder = Builder.of(name, read_config(source, name))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = builder.fresh()
        found = initialise_(model, pattern, torch.Generator().manual_seed(seed))
        with quiet():
            model.save_pretrained(folder)
        (folder / "README.md").write_text(_card(pattern, found, seed), encoding="utf-8")
    return found


def _card(pattern: SharedPattern, found: Initialisation, seed: int) -> str:
    lines = [f"- {markdown(name)}: {', '.join(terms)}" for name, terms in found.terms.items()]
    kept = "\n".join(f"- {markdown(name)}" for name in found.default) or "- none"
    return (
        f"# Not trained\n\nStarted by dna-zoo from the pattern {markdown(pattern.name)} (seed {seed})."
        f" {markdown(pattern.verdict)}\n\n"
        f"## Set\n\n{chr(10).join(lines)}\n\n## At their default start\n\n{kept}\n"
    )
