"""Folders of several models: the components of a diffusers pipeline, the modules of a sentence-transformers model."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dna_zoo.errors import NoWeightsError
from pipeline.weights.folders import holds_weights, is_inside, snapshot

__all__ = ["MODULES", "PIPELINE", "component_names", "find_components"]

PIPELINE = "model_index.json"
"""Component -> library and class (diffusers)."""
MODULES = "modules.json"
"""A list of modules, each with its folder; an empty one is the folder itself (sentence-transformers)."""

MODULE = re.compile(r"\d+_[A-Z]\w*$")
"""How the folders of modules are called, where that file is missing: `2_Dense`."""


def find_components(directory: Path) -> dict[str, Path]:
    """Name below the directory -> folder of each component that holds weights; empty for any other path.

    The directory itself is called "". What is written there wrongly counts as nothing: reading the folder tells.
    """
    try:
        directory = snapshot(directory) if directory.is_dir() else directory
        return {name: directory / name for name in component_names(directory) if holds_weights(directory / name)}
    except (OSError, NoWeightsError):
        return {}


def component_names(directory: Path) -> tuple[str, ...]:
    """The folders that an index in the directory, or their own names, call components; the directory itself is ""."""
    return tuple(dict.fromkeys((*_of_pipeline(directory), *_of_modules(directory))))


def _of_pipeline(directory: Path) -> Iterator[str]:
    said = _read(directory / PIPELINE)
    for name, value in sorted(said.items()) if isinstance(said, dict) else ():
        if isinstance(value, list) and is_inside(name):
            yield name


def _of_modules(directory: Path) -> Iterator[str]:
    path = directory / MODULES
    said = _read(path)
    if not path.exists():
        below = sorted(each.name for each in directory.glob("*/") if MODULE.match(each.name))
        said = [{"path": name} for name in ("", *below)] if below else None
    for module in said if isinstance(said, list) else ():
        name = module.get("path") if isinstance(module, dict) else None
        if isinstance(name, str) and (name == "" or is_inside(name)):
            yield name


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except (ValueError, FileNotFoundError):
        return None
