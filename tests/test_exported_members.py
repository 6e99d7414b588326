"""`__all__` of every module names what the module defines in public, all of it and nothing else."""

import importlib
import inspect
import pkgutil
from types import ModuleType

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


def faults_of(module: ModuleType) -> list[str]:
    """What is wrong with its `__all__`, in words."""
    exported = getattr(module, "__all__", None)
    if exported is None:
        # A package that is only a folder, with its docstring, exports nothing.
        is_folder = hasattr(module, "__path__") and not defined_in(module)
        return [] if is_folder else ["there is none"]
    twice = sorted({member for member in exported if exported.count(member) > 1})
    absent = [member for member in exported if not hasattr(module, member)]
    forgotten = sorted(defined_in(module) - set(exported))
    return [
        f"{what}: {', '.join(names)}"
        for what, names in {"twice": twice, "not there": absent, "forgotten": forgotten}.items()
        if names
    ]


def test_all_names_what_each_module_defines() -> None:
    found = {name: faults_of(importlib.import_module(name)) for name in module_names()}
    assert not {name: faults for name, faults in found.items() if faults}


def test_what_is_wrong_would_be_seen() -> None:
    module = ModuleType("forgetful")
    exec("__all__ = ['gone', 'gone']\ndef seen(): pass\ndef _hidden(): pass", vars(module))
    assert faults_of(module) == ["twice: gone", "not there: gone, gone", "forgotten: seen"]
