"""Imports point one way: between packages, and between the rooms of the pipeline."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DOOR = "dna_zoo"
BASE = {"dna_zoo", "dna_zoo.errors", "dna_zoo.files", "dna_zoo.text", "dna_zoo.home"}
"""Modules of the door that all packages may import, and that import no other package; the rest of it stands above."""
PACKAGES = {
    "dna_zoo": {"zoo", "patterndb", "pipeline", "library", "explorer"},
    "zoo": {"dna_zoo"},
    "patterndb": {"dna_zoo"},
    "pipeline": {"dna_zoo", "zoo", "patterndb"},
    "library": {"dna_zoo", "zoo", "patterndb", "pipeline"},
    "explorer": {"dna_zoo", "zoo", "patterndb", "pipeline", "library"},
    "cli": {"dna_zoo", "zoo", "patterndb", "pipeline", "library", "explorer"},
}
"""Package -> packages that it may import."""
SHARED = {
    "additive",
    "arrays",
    "decomposition",
    "events",
    "kept",
    "machine",
    "nulls",
    "order",
    "settings",
}
"""What any room of the pipeline may import; these import no other room."""
ROOMS = {
    "weights": set(),
    "fetch": {"weights"},
    "fit": set(),
    "dna": {"fit"},
    "fingerprint": set(),
    "dense": set(),
    "analyse": {"fingerprint", "dense"},
    "lineage": {"fetch", "weights"},
    "tuning": {"fetch", "weights", "fit"},
    "persist": set(),
    "stage_keys": {"weights", "fit", "analyse"},
    "chain": {"fetch", "weights", "fit", "dna", "analyse", "persist", "stage_keys"},
    "runs": {"fetch", "weights", "fit", "persist", "chain", "stage_keys"},
    **{name: set() for name in SHARED},
}
"""Room (a package or module of `pipeline`) -> rooms that it may import beside `SHARED`."""


def imported(path: Path) -> set[str]:
    """Modules that the file imports anywhere, also inside functions."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def imported_packages(path: Path) -> set[str]:
    return {name.split(".")[0] for name in imported(path)}


def modules_of_the_door(path: Path) -> set[str]:
    """Modules of the door that the file imports something from."""
    names = {name for name in imported(path) if name.split(".")[0] == DOOR}
    modules = {f"{DOOR}.{found.stem}" for found in (ROOT / DOOR).glob("*.py")}
    # `from dna_zoo.errors import X` is listed as `dna_zoo.errors.X`, and `from dna_zoo import X` as `dna_zoo.X`.
    return {".".join(name.split(".")[:2]) if ".".join(name.split(".")[:2]) in modules else DOOR for name in names}


def imported_rooms(path: Path) -> set[str]:
    return {name.split(".")[1] for name in imported(path) if name.startswith("pipeline.")}


@pytest.mark.parametrize("package", sorted(PACKAGES))
def test_package_imports_only_what_lies_below_it(package: str) -> None:
    for path in (ROOT / package).rglob("*.py"):
        ours = imported_packages(path) & set(PACKAGES)
        assert ours <= PACKAGES[package] | {package}, f"{path.relative_to(ROOT)} imports {ours}"


@pytest.mark.parametrize("package", sorted({*PACKAGES} - {DOOR, "cli"}))
def test_package_takes_from_the_door_only_what_lies_below_all(package: str) -> None:
    for path in (ROOT / package).rglob("*.py"):
        assert modules_of_the_door(path) <= BASE, f"{path.relative_to(ROOT)} imports {modules_of_the_door(path)}"


def test_what_lies_below_all_imports_nothing_of_ours() -> None:
    for name in ("errors", "home"):
        path = ROOT / DOOR / f"{name}.py"
        assert not imported_packages(path) & set(PACKAGES), f"{path.relative_to(ROOT)}"


def test_the_door_loads_nothing_before_it_is_used() -> None:
    code = "import sys, dna_zoo; print(*sorted(name.partition('.')[0] for name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "dna_zoo" in loaded and not loaded & ({*PACKAGES, "torch", "numpy", "pandas", "sqlalchemy"} - {DOOR})


@pytest.mark.parametrize("room", sorted(ROOMS))
def test_room_of_the_pipeline_imports_only_what_it_may(room: str) -> None:
    folder = ROOT / "pipeline" / room
    paths = list(folder.rglob("*.py")) if folder.is_dir() else [folder.with_suffix(".py")]
    for path in paths:
        others = imported_rooms(path) - {room}
        assert others <= ROOMS[room] | SHARED, f"{path.relative_to(ROOT)} imports {others}"


def test_every_room_of_the_pipeline_has_its_arrows_written_down() -> None:
    found = {path.stem for path in (ROOT / "pipeline").iterdir() if path.name not in ("__init__.py", "__pycache__")}
    assert found == set(ROOMS)


def test_a_wrong_arrow_would_be_seen(tmp_path: Path) -> None:
    path = tmp_path / "wrong.py"
    path.write_text("def f():\n    from pipeline.fit import stage\n")
    assert imported_packages(path) == {"pipeline"}
    assert imported_rooms(path) == {"fit"}


def test_migrations_folder_does_not_shadow_the_library() -> None:
    assert not (ROOT / "alembic" / "__init__.py").exists()
