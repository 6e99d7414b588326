"""Imports point one way: cli -> pipeline -> {zoo, patterndb} -> dna_zoo."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MAY_IMPORT = {
    "dna_zoo": set(),
    "zoo": {"dna_zoo"},
    "patterndb": {"dna_zoo"},
    "pipeline": {"dna_zoo", "zoo", "patterndb"},
    "cli": {"dna_zoo", "zoo", "patterndb", "pipeline"},
}


def imported_packages(path: Path) -> set[str]:
    """Top-level names that the file imports anywhere, also inside functions."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.add(node.module.split(".")[0])
    return names


@pytest.mark.parametrize("package", sorted(MAY_IMPORT))
def test_package_imports_only_what_lies_below_it(package: str) -> None:
    for path in (ROOT / package).rglob("*.py"):
        ours = imported_packages(path) & set(MAY_IMPORT)
        assert ours <= MAY_IMPORT[package] | {package}, f"{path.relative_to(ROOT)} imports {ours}"


def test_a_wrong_arrow_would_be_seen(tmp_path: Path) -> None:
    path = tmp_path / "wrong.py"
    path.write_text("def f():\n    from pipeline.fit import fit\n")
    assert imported_packages(path) - {"zoo"} == {"pipeline"}


def test_migrations_folder_does_not_shadow_the_library() -> None:
    assert not (ROOT / "alembic" / "__init__.py").exists()
