"""A home after a power cut or on a bad disk: what is damaged in it is computed again, or refused in two sentences."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dna_zoo.errors import ArtifactError
from explorer.kept import kept_history
from explorer.source import Source
from library.rebuild.source import find_model
from pipeline.dna.mined import mined_dna
from pipeline.events import Event
from pipeline.fetch.records import file_state, load_sha256
from pipeline.runs.runner import mine
from tests.support.damage import DAMAGES
from tests.support.mining import FAST, database_of, endings, mine_into, request, run_files, tables

pytestmark = pytest.mark.slow
Damage = Callable[[bytes], bytes]


def spoil(damage: Damage, *paths: Path) -> None:
    for path in paths:
        content = damage(path.read_bytes())
        path.unlink()  # A file of a run may be a link to that of its stage.
        path.write_bytes(content)


KINDS = {
    "stages/extract": "result.json",
    "stages/order": "order.safetensors",
    "stages/fit": "dna.safetensors",
    "stages/analyse": "result.json",
}
"""Where a stage is -> the file that is spoilt."""


@pytest.mark.parametrize(
    ("place", "damage"),
    [
        ("stages/extract", "a bit in the middle"),
        ("stages/order", "a third"),
        ("stages/order", "zeros"),
        ("stages/order", "a bit near the end"),
        ("stages/fit", "all but the last bytes"),
        ("stages/fit", "a bit in the middle"),
        ("stages/analyse", "a bit in the middle"),
    ],
)
def test_a_damaged_stage_is_done_again_and_no_other(place: str, damage: str, home: Path, checkpoint: Path) -> None:
    rows, files, events = tables(home), run_files(home), list[Event]()
    (path,) = (home / place).rglob(KINDS[place])
    spoil(DAMAGES[damage], path)
    assert mine_into(home, [request(checkpoint)], on_event=events.append).exit_code == 0
    done = {stage for stage, kind in endings(events).items() if kind == "done"}
    assert done == {place.removeprefix("stages/")}
    assert tables(home) == rows and run_files(home) == files


@pytest.mark.parametrize("damage", ["empty", "zeros", "a bit in the middle"])
def test_a_home_in_which_every_file_is_damaged_is_mined_anew(damage: str, home: Path, checkpoint: Path) -> None:
    rows, files = tables(home), run_files(home)
    spoil(
        DAMAGES[damage], *(path for path in home.rglob("*") if path.is_file() and path.stat().st_size and is_kept(path))
    )
    assert mine_into(home, [request(checkpoint)]).exit_code == 0
    assert tables(home) == rows and run_files(home) == files


def is_kept(path: Path) -> bool:
    return path.is_file() and path.suffix in (".json", ".safetensors")


@pytest.mark.parametrize("damage", ["empty", "a third", "zeros"])
def test_an_order_of_an_older_version_that_cannot_be_read_is_made_again(
    damage: str, home: Path, checkpoint: Path
) -> None:
    rows, events = tables(home), list[Event]()
    for path in (home / "stages").rglob("digests.json"):
        path.unlink()
    (order,) = (home / "stages").rglob("order.safetensors")
    spoil(DAMAGES[damage], order)
    assert mine_into(home, [request(checkpoint)], on_event=events.append).exit_code == 0
    assert endings(events)["order"] == "done" and tables(home) == rows


def damaged_in_turn(path: Path) -> Iterator[str]:
    """Damage the file in every way, one after the other."""
    content = path.read_bytes()
    path.unlink()  # A file of a run may be a link to that of its stage.
    for name, damage in DAMAGES.items():
        path.write_bytes(damage(content))
        yield name


def test_a_damaged_dna_is_read_by_nobody(home: Path) -> None:
    (path,) = (home / "runs").rglob("dna.safetensors")
    with database_of(home) as database:
        pattern = database.load_pattern("tiny")
        for _ in damaged_in_turn(path):
            for read in (lambda: mined_dna(pattern, database, home), lambda: find_model(database, "tiny", home=home)):
                with pytest.raises(ArtifactError, match="damaged") as found:
                    read()
                assert "--force" in found.value.hint


def test_a_damaged_history_is_drawn_by_nobody(home: Path) -> None:
    (path,) = (home / "runs").rglob("training_history.json")
    with database_of(home) as database:
        for _ in damaged_in_turn(path):
            with pytest.raises(ArtifactError, match="damaged"):
                kept_history(Source(database=database, home=home), "tiny")


def test_a_damaged_note_of_a_files_digest_is_not_believed(home: Path, checkpoint: Path) -> None:
    state = file_state(checkpoint / "model.safetensors")
    right = load_sha256(home, state)
    (path,) = (home / "fetch" / "sha256").iterdir()
    assert right is not None
    for _ in damaged_in_turn(path):
        assert load_sha256(home, state) is None


def test_a_damaged_dna_that_lies_elsewhere_too_is_fetched_again(home: Path, checkpoint: Path, tmp_path: Path) -> None:
    store = str(tmp_path / "store")
    with database_of(home) as database:
        assert mine([request(checkpoint)], FAST, database=database, home=home, artifacts=store).exit_code == 0
        pattern = database.load_pattern("tiny")
        (path,) = (home / "runs").rglob("dna.safetensors")
        content = path.read_bytes()
        for _ in damaged_in_turn(path):
            assert len(mined_dna(pattern, database, home)) and path.read_bytes() == content
