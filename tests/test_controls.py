"""The mutation notes can be repeated: each place to break is there, and docs/controls.md names each and real tests."""

import re
from pathlib import Path

import pytest

from tests.mutations import MUTATIONS, Mutation

ROOT = Path(__file__).parent.parent
NOTES = (ROOT / "docs" / "controls.md").read_text()


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.title)
def test_each_mutation_finds_its_place(mutation: Mutation) -> None:
    source = (ROOT / mutation.path).read_text()
    assert mutation.applied(source) != source


def test_a_place_that_is_gone_or_twice_there_is_refused() -> None:
    for source in ("", "a a"):
        with pytest.raises(ValueError, match="not one"):
            Mutation("title", "path", "a", "b", "tests").applied(source)


def test_the_notes_tell_of_every_mutation_and_none_survived() -> None:
    rows = [line for line in NOTES.splitlines() if re.match(r"\| \d", line)]
    told = [tuple(row.split(" | ")[1:3]) for row in rows]
    assert told == [(mutation.title, f"`{mutation.path}`") for mutation in MUTATIONS]
    assert all("`test_" in row for row in rows)


def test_the_notes_name_tests_that_exist() -> None:
    written = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    named = set(re.findall(r"`(test_\w+)`", NOTES))
    assert named and all(f"def {name}(" in written for name in named)
