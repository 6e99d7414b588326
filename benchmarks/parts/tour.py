"""The tour of the README, "A DNA in your hands", as it is written there: its commands, and its Python."""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

__all__ = ["NEEDED", "ROOT", "Tour", "prepare_folder", "read_tour"]

ROOT = Path(__file__).parents[2]
HEADING = "### A DNA in your hands\n"
NEEDED = ("data", "README.md")
"""What the tour reads of the checkout that it is pasted in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tour:
    """What a reader pastes."""

    commands: tuple[tuple[str, ...], ...]
    """Arguments of `dna-zoo`, one command after the other."""
    code: str


def read_tour(readme: Path = ROOT / "README.md") -> Tour:
    """The tour of a README. Raises `ValueError` where it has none, or where a line is no call of `dna-zoo`."""
    _, _, section = readme.read_text().partition(HEADING)
    blocks = re.findall(r"^```(?:python)?\n(.*?)^```", section, flags=re.MULTILINE | re.DOTALL)
    if len(blocks) < 2:
        raise ValueError(f"{readme.name} has no two blocks under {HEADING.strip()!r}.")
    lines = [shlex.split(line, comments=True) for line in blocks[0].splitlines()]
    if any(line[0] != "dna-zoo" for line in lines):
        raise ValueError(f"{readme.name} has a line in its tour that is no call of dna-zoo.")
    return Tour(commands=tuple(tuple(line[1:]) for line in lines), code=blocks[1])


def prepare_folder(folder: Path) -> None:
    """Put what the tour reads into an empty folder, so that what it writes does not stand in the checkout."""
    for name in NEEDED:
        (folder / name).symlink_to(ROOT / name)
