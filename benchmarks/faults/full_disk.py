"""Disks that fill up while files are written, rows committed or a schema upgraded; and then there is room again."""

import resource
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.faults.commands import Ended, run
from benchmarks.faults.disks import KIB, small_disk
from benchmarks.faults.subject import Kept, difference, kept_in, mine_words, said_wrongly, write_tiny_model
from benchmarks.faults.trial import Place, Trial

__all__ = ["try_full_disks", "try_limits"]

SCHEMAS = Path(__file__).parents[2] / "tests" / "data" / "schema"
OLD_SCHEMA = SCHEMAS / "0001.sqlite"
FULL = ("full", "Free some space")
PAGE = 4 * KIB
SMALLEST = 16 * KIB
"""Bytes that the error itself, which goes to a file here, has room in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """A command that writes to a small disk."""

    words: Sequence[str | Path]
    home: Path
    url: str
    """Of the database, when the command has done its work."""


Scenes = Mapping[str, Callable[[Path, Path, Path], Scene]]
"""What is written -> the scene, from a model, the folder of a small disk and one of a large disk."""


def _files(model: Path, small: Path, large: Path) -> Scene:
    url = f"sqlite:///{large / 'zoo.db'}"
    return Scene(words=[*mine_words(model), "--db", url], home=small / "home", url=url)


def _rows(model: Path, small: Path, large: Path) -> Scene:
    url = f"sqlite:///{small / 'zoo.db'}"
    return Scene(words=[*mine_words(model), "--db", url], home=large / "home", url=url)


def _both(model: Path, small: Path, large: Path) -> Scene:
    url = f"sqlite:///{small / 'home' / 'dna-zoo.db'}"
    return Scene(words=[*mine_words(model), "--db", url], home=small / "home", url=url)


def _stored(model: Path, small: Path, large: Path) -> Scene:
    """The URL is the same in all trials, since the database has it."""
    scene = _both(model, large, large)
    (large / "store").symlink_to(small)
    return Scene(words=[*scene.words, "--artifacts", large / "store" / "artifacts"], home=scene.home, url=scene.url)


def _upgrade(model: Path, small: Path, large: Path) -> Scene:
    shutil.copy(OLD_SCHEMA, small / "zoo.db")
    url = f"sqlite:///{small / 'zoo.db'}"
    return Scene(words=["db", "upgrade", "--db", url], home=large / "home", url=url)


SCENES: Scenes = {
    "files of stages and runs": _files,
    "rows of the database": _rows,
    "files and rows": _both,
    "artifacts at a URL": _stored,
    "an upgrade of the schema": _upgrade,
}


APART = ("files of stages and runs", "rows of the database", "artifacts at a URL", "an upgrade of the schema")
SYSTEMS = {"tmpfs": APART, "ext4": ("files and rows", "an upgrade of the schema")}
MOST = 0.97
"""The share of what is needed that is still too little."""


def try_full_disks(place: Place) -> Iterator[Trial]:
    """Each scene at so many sizes of room, on each file system."""
    model = write_tiny_model(place.fresh("model"), seed=1)
    at_sizes = [
        _at_sizes(place, system, f"{system}: {case}", partial(SCENES[case], model))
        for system, cases in SYSTEMS.items()
        for case in cases
    ]
    for one_of_each in zip(*at_sizes, strict=True):
        yield from one_of_each


def _at_sizes(place: Place, system: str, case: str, make: Callable[[Path, Path], Scene]) -> Iterator[Trial]:
    large = place.folder / "large"
    with _fresh(large), small_disk(place.folder / "small", system) as disk:
        before, scene = disk.used, make(disk.folder, large)
        expected, needed = _undisturbed(scene), disk.used - before
    for room in place.rng.permutation((np.arange(place.count) + 0.5) / place.count * MOST * needed):
        with _fresh(large), small_disk(place.folder / "small", system) as disk:
            scene = make(disk.folder, large)
            held = disk.used - before
            disk.leave(max(0, int(room) - held) // PAGE * PAGE)
            full = run(*scene.words, home=scene.home)
            disk.make_room()
            trial = _repeated(case, scene, full, expected, FULL)
        yield trial


def _undisturbed(scene: Scene) -> Kept:
    ended = run(*scene.words, home=scene.home)
    assert ended.code == 0, ended.err
    return kept_in(scene.home, scene.url)


def _repeated(case: str, scene: Scene, full: Ended, expected: Kept, words: Sequence[str]) -> Trial:
    """Repeat the command, now that there is room, and judge what it said without."""
    again = run(*scene.words, home=scene.home)
    wrong = said_wrongly(full, *words) if full.code else ""
    if again.code:
        wrong += f" then exit code {again.code}: {again.said[-600:]}"
    else:
        wrong += difference(kept_in(scene.home, scene.url), expected)
    return Trial(case=case, wrong=wrong, numbers={"had room": int(full.code == 0)}, said=full.said)


@contextmanager
def _fresh(folder: Path) -> Iterator[None]:
    """The folder is empty at first and gone at the end."""
    folder.mkdir()
    try:
        yield
    finally:
        shutil.rmtree(folder)


def try_limits(place: Place) -> Iterator[Trial]:
    """The same without a mount: no file may grow beyond a size (EFBIG). So it is with quotas, which have a code of
    their own too."""
    model = write_tiny_model(place.fresh("model"), seed=1)
    large = place.folder / "large"
    with _fresh(large):
        scene = _both(model, large, large)
        expected = _undisturbed(scene)
        largest = (scene.home / "dna-zoo.db").stat().st_size
    for size in place.rng.permutation(np.linspace(SMALLEST, MOST * largest, place.count)):
        with _fresh(large):
            scene = _both(model, large, large)
            limited = partial(resource.setrlimit, resource.RLIMIT_FSIZE, (int(size), int(size)))
            full = run(*scene.words, home=scene.home, before=limited)
            yield _repeated("a limit on the size of files", scene, full, expected, ("run the same command again",))
