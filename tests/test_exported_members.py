"""`__all__` of every module names what the module defines in public, all of it and nothing else."""

import importlib
import inspect
import pkgutil
from types import ModuleType

import pytest

PACKAGES = ("dna_zoo", "zoo", "pipeline", "patterndb", "library", "explorer", "cli")


def module_names() -> list[str]:
    names = []
    for package in PACKAGES:
        names.append(package)
        path = importlib.import_module(package).__path__
        names += [info.name for info in pkgutil.walk_packages(path, prefix=f"{package}.")]
    return sorted(name for name in names if not name.endswith("__main__"))


def defined_in(module: ModuleType) -> set[str]:
    """Public classes and functions that the module defines itself."""
    return {
        name
        for name, member in vars(module).items()
        if not name.startswith("_")
        and (inspect.isclass(member) or inspect.isfunction(member))
        and member.__module__ == module.__name__
    }


@pytest.mark.parametrize("name", module_names())
def test_all_names_what_the_module_defines(name: str) -> None:
    module = importlib.import_module(name)
    exported = getattr(module, "__all__", None)
    if exported is None:
        # A package that is only a folder, with its docstring, exports nothing.
        assert hasattr(module, "__path__") and not defined_in(module), f"{name} has no __all__"
        return
    assert len(set(exported)) == len(exported)
    assert all(hasattr(module, member) for member in exported)
    assert defined_in(module) <= set(exported)


def test_a_forgotten_function_would_be_seen() -> None:
    module = ModuleType("forgetful")
    exec("__all__ = []\ndef seen(): pass\ndef _hidden(): pass", vars(module))
    assert defined_in(module) == {"seen"}
