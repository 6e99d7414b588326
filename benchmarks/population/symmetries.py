"""The symmetries of networks, as the specimens' scripts draw them."""

import importlib
import sys
from pathlib import Path
from types import ModuleType

__all__ = ["permutation"]

SCRIPTS = Path(__file__).parents[2] / "data" / "specimens"


def permutation() -> ModuleType:
    """`data/specimens/permutation.py`. The scripts there are no package: they import each other by bare name."""
    sys.path.insert(0, str(SCRIPTS))
    try:
        return importlib.import_module("permutation")
    finally:
        sys.path.remove(str(SCRIPTS))
