"""Databases that may only be read: on a disk or in a folder that nobody may write to, left in order or by a killed
process, or written by somebody else meanwhile."""

import os
import shutil
import signal
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from benchmarks.faults.commands import Ended, import_everything, nothing, run
from benchmarks.faults.disks import only_readable
from benchmarks.faults.subject import mine_words, said_wrongly, write_tiny_model
from benchmarks.faults.trial import Place, Trial, Unavailable
from patterndb.store import PatternDatabase

__all__ = ["try_read_only"]

NOBODY = 65534
WRITES = (("models", "tag", "model-0", "good"), ("models", "note", "model-0", "a note"), ("models", "rm", "model-0"))
TAG = "left-by-a-writer"


def reads(out: Path) -> list[tuple[str, ...]]:
    """Commands that read the database and the home; files that they make go to `out`."""
    return [
        ("show", "model-1", "--format", "json"),
        ("models",),
        ("runs",),
        ("similar", "model-0"),
        ("export", str(out / "catalog.csv")),
        ("db", "check", "--files"),
        ("show", "model-0"),
        ("models", "versions", "model-0"),
        ("runs", "--status", "done"),
        ("compare", "model-0", "model-1"),
        ("taxonomy",),
        ("questions",),
        ("ask", "model-0"),
        ("rebuild", "model-0", "--out", str(out / "rebuilt"), "--format", "quiet"),
        ("export", str(out / "roles.csv"), "--table", "roles"),
        ("plot", "matrix", "model-0", "--out", str(out / "matrix.png")),
        ("report", "model-0", "--out", str(out / "report")),
        ("dashboard", "--export", str(out / "dashboard.html")),
        ("db", "current"),
        ("db", "backup", str(out / "backup.db")),
    ]


def _be_nobody() -> None:
    """Give up the rights of root, which no mode of a file stops."""
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
    os.environ["HOME"] = "/nonexistent"


@contextmanager
def _folder_of_others(home: Path) -> Iterator[None]:
    """Have the folder be one that only its owner may write to, and not even that one."""
    paths = [home, *home.rglob("*")]
    before = {path: path.stat().st_mode for path in paths}
    for path, mode in before.items():
        path.chmod(mode & 0o555 | 0o444)
    try:
        yield
    finally:
        for path, mode in before.items():
            if path.exists():
                path.chmod(mode)


Closed = Callable[[Path], AbstractContextManager[None]]
WAYS: dict[str, tuple[Closed, Callable[[], None]]] = {
    "on a read-only disk": (only_readable, nothing),
    "in a read-only folder": (_folder_of_others, _be_nobody),
}


def try_read_only(place: Place) -> Iterator[Trial]:
    """The first so many reading commands and some that write, in every way."""
    home = place.fresh("home")
    for number in range(2):
        model = write_tiny_model(place.folder / f"model-{number}", seed=number)
        ended = run(*mine_words(model), home=home)
        assert ended.code == 0, ended.err
    for way, (closed, before) in WAYS.items():
        try:
            yield from _commands(place, home, way, closed, before)
            yield from _left_by_a_writer(place, home, way, closed, before)
            if closed is not only_readable:
                yield from _written_meanwhile(place, home, way, closed, before)
        except Unavailable as reason:
            yield Trial(case=f"{way}: left out", said=str(reason))


def _commands(place: Place, home: Path, way: str, closed: Closed, before: Callable[[], None]) -> Iterator[Trial]:
    expected = [run(*words, home=home) for words in reads(_made(place.fresh("out")))[: place.count]]
    for ended in expected:
        import_everything(ended)  # What is imported later may lie where nobody else may read.
    with closed(home):
        for words, right in zip(reads(_made(place.fresh("out"))), expected, strict=False):
            found = run(*words, home=home, before=before)
            yield Trial(case=f"{way}: read", wrong=_other_answer(words, found, right), numbers={words[0]: 1})
        for words in WRITES:
            found = run(*words, home=home, before=before)
            yield Trial(case=f"{way}: write", wrong=said_wrongly(found, "cannot be written"), said=found.said)
        model = place.folder / "model-0"
        found = run(*mine_words(model), "--seed", "5", home=home, before=before)
        yield Trial(case=f"{way}: mine", wrong=said_wrongly(found, "cannot be written"), said=found.said)


def _made(folder: Path) -> Path:
    """A folder that everybody may write to."""
    folder.mkdir()
    folder.chmod(0o777)
    return folder


def _other_answer(words: tuple[str, ...], found: Ended, right: Ended) -> str:
    """How the answer differs; paths of files that were made are in folders of their own."""
    if found.code != right.code:
        return f"{' '.join(words[:2])}: exit code {found.code}: {found.said[-600:]}"
    same = _lines(found.out) == _lines(right.out)
    return "" if same else f"{' '.join(words[:2])}: it said {found.out[:300]!r}, not {right.out[:300]!r}"


def _lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if "/out-" not in line]


def _left_by_a_writer(
    place: Place, home: Path, way: str, closed: Closed, before: Callable[[], None]
) -> Iterator[Trial]:
    """A writer was killed before its changes were in the file itself: they are read, or it is said why not."""
    for is_whole in (True, False):
        left = place.fresh("left")
        shutil.copytree(home, left)
        _tag_and_die(left / "dna-zoo.db")
        if not is_whole:
            (left / "dna-zoo.db-shm").unlink()
        with closed(left):
            found = run("models", home=left, before=before)
        wrong = "" if found.code == 0 and TAG in found.out else said_wrongly(found, "dna-zoo.db-wal")
        case = f"{way}: left by a killed writer" + ("" if is_whole else ", copied without -shm")
        yield Trial(case=case, wrong=wrong, said=found.said)


def _tag(path: Path) -> sqlite3.Connection:
    """What was written is in the log beside the file, as long as the connection that comes back is open."""
    connection = sqlite3.connect(path)
    connection.execute("SELECT count(*) FROM model_tags").fetchone()
    with PatternDatabase.open(f"sqlite:///{path}") as database:
        database.tag_model("model-1", [TAG])
    return connection


def _tag_and_die(path: Path) -> None:
    pid = os.fork()
    if not pid:
        _tag(path)
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(pid, 0)
    assert Path(f"{path}-wal").stat().st_size


def _written_meanwhile(
    place: Place, home: Path, way: str, closed: Closed, before: Callable[[], None]
) -> Iterator[Trial]:
    """Another user writes; what is committed is read at once."""
    shared = place.fresh("shared")
    shutil.copytree(home, shared)
    connection = _tag(shared / "dna-zoo.db")
    with closed(shared):
        found = run("models", home=shared, before=before)
    connection.close()
    wrong = "" if found.code == 0 and TAG in found.out else f"exit code {found.code}: {found.out[-500:]} {found.said}"
    yield Trial(case=f"{way}: while its owner writes", wrong=wrong)
