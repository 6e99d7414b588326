"""A home or a database on a disk whose files cannot be locked: said at once, and nothing is written."""

import errno
import shutil
from collections.abc import Iterator
from pathlib import Path

from benchmarks.faults.commands import run
from benchmarks.faults.lockless import disk_without_locks
from benchmarks.faults.subject import difference, kept_in, mine_words, said_wrongly, url_of, write_tiny_model
from benchmarks.faults.trial import Place, Trial

__all__ = ["try_no_locks"]

REFUSALS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)
LONGEST = 30.0
"""Seconds: SQLite would wait a minute for a lock, locks of models for ever."""


def try_no_locks(place: Place) -> Iterator[Trial]:
    """Each way in which locks are refused, each part of what is kept on such a disk; and one that keeps locks."""
    model, home = write_tiny_model(place.fresh("model"), seed=1), place.fresh("home")
    ended = run(*mine_words(model), home=home)
    assert ended.code == 0, ended.err
    for refusal in (0, *REFUSALS)[: place.count]:
        held, disk = place.fresh("held"), place.fresh("disk")
        held.mkdir()
        disk.mkdir()
        shutil.copytree(home, held / "mined")
        with disk_without_locks(disk, held, refusal):
            yield from _kept(disk, model, home) if refusal == 0 else _refused(disk, place, model, refusal)


def _kept(disk: Path, model: Path, home: Path) -> Iterator[Trial]:
    """The same file system with locks is one like any other."""
    ended = run(*mine_words(model), home=disk / "home")
    wrong = (
        f"exit code {ended.code}: {ended.said[-500:]}"
        if ended.code
        else difference(kept_in(disk / "home"), kept_in(home))
    )
    yield Trial(case="a disk of that make that keeps locks: mined", wrong=wrong)


def _refused(disk: Path, place: Place, model: Path, refusal: int) -> Iterator[Trial]:
    elsewhere = place.fresh("elsewhere")
    elsewhere.mkdir()
    for case, words, where in (
        ("home and database: mine", mine_words(model), disk / "home"),
        ("the home alone: mine", [*mine_words(model), "--db", url_of(elsewhere)], disk / "home"),
        ("the database alone: mine", [*mine_words(model), "--db", url_of(disk)], elsewhere),
        ("the database: upgrade", ["db", "upgrade", "--db", f"sqlite:///{disk / 'new.db'}"], elsewhere),
        ("the database: read", ["models"], disk / "mined"),
    ):
        ended = run(*words, home=where)
        wrong = said_wrongly(ended, "keeps no locks")
        if not wrong and ended.seconds > LONGEST:
            wrong = f"said after {ended.seconds:.0f} s"
        yield Trial(case=f"no locks ({errno.errorcode[refusal]}), {case}", wrong=wrong, said=ended.said)
