"""Disks that fill up while files are written, rows committed or a schema upgraded; and then there is room again."""

import resource
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.faults.commands import run
from benchmarks.faults.disks import KIB, small_disk
from benchmarks.faults.subject import difference, kept_in, mine_words, said_wrongly, write_tiny_model
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
    for system, cases in SYSTEMS.items():
        for case in cases:
            yield from _at_sizes(place, system, f"{system}: {case}", partial(SCENES[case], model))


def _at_sizes(place: Place, system: str, case: str, make: Callable[[Path, Path], Scene]) -> Iterator[Trial]:
    large = place.folder / "large"
    with _fresh(large), small_disk(place.folder / "small", system) as disk:
        before, scene = disk.used, make(disk.folder, large)
        ended = run(*scene.words, home=scene.home)
        assert ended.code == 0, ended.err
        expected, needed = kept_in(scene.home, scene.url), disk.used - before
    for room in (np.arange(place.count) + 0.5) / place.count * MOST * needed:
        with _fresh(large), small_disk(place.folder / "small", system) as disk:
            scene = make(disk.folder, large)
            held = disk.used - before
            disk.leave(max(0, int(room) - held) // PAGE * PAGE)
            full = run(*scene.words, home=scene.home)
            disk.make_room()
            again = run(*scene.words, home=scene.home)
            wrong = said_wrongly(full, *FULL) if full.code else ""
            if again.code:
                wrong += f" then exit code {again.code}: {again.said[-600:]}"
            else:
                wrong += difference(kept_in(scene.home, scene.url), expected)
            yield Trial(case=case, wrong=wrong, numbers={"had room": int(full.code == 0)}, said=full.said)


class _fresh:
    """A folder, empty at first and gone at the end."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __enter__(self) -> None:
        self._folder.mkdir()

    def __exit__(self, *raised: object) -> None:
        shutil.rmtree(self._folder)


def try_limits(place: Place) -> Iterator[Trial]:
    """The same without a mount: no file may grow beyond a size (EFBIG). So it is with quotas, which have a code of
    their own too."""
    model = write_tiny_model(place.fresh("model"), seed=1)
    large = place.folder / "large"
    with _fresh(large):
        scene = _both(model, large, large)
        assert run(*scene.words, home=scene.home).code == 0
        expected = kept_in(scene.home, scene.url)
        largest = (scene.home / "dna-zoo.db").stat().st_size
    for size in np.linspace(SMALLEST, MOST * largest, place.count):
        with _fresh(large):
            scene = _both(model, large, large)
            limited = partial(resource.setrlimit, resource.RLIMIT_FSIZE, (int(size), int(size)))
            full = run(*scene.words, home=scene.home, before=limited)
            again = run(*scene.words, home=scene.home)
            wrong = said_wrongly(full, "run the same command again") if full.code else ""
            if again.code:
                wrong += f" then exit code {again.code}: {again.said[-600:]}"
            else:
                wrong += difference(kept_in(scene.home, scene.url), expected)
            yield Trial(
                case="a limit on the size of files",
                wrong=wrong,
                numbers={"had room": int(full.code == 0)},
                said=full.said,
            )
