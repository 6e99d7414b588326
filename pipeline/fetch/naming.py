"""Keys of models that are only paths: two directories of the same last name do not share one.

The key of a path is its last name. Where another model has that key, this one is called by its parent too, then by the
parent's parent, and so on; in the end by a hash of its path. A path that has one of these keys already keeps it.
"""

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from dna_zoo.errors import DnaZooError
from dna_zoo.text import printable
from pipeline.fetch.request import ModelRequest
from pipeline.weights.components import find_components

__all__ = ["LONGEST_KEY", "Mined", "Namer", "OriginsOf", "nothing_mined"]

LONGEST_KEY = 200
"""Characters of a model's name: it becomes the name of a folder."""
MOST_PARENTS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Mined:
    """What a key of the database stands for."""

    source: str | None
    """The path or name that it was asked for by; None where that is not known."""
    sha256: str


OriginsOf = Callable[[Sequence[str]], Mapping[str, Sequence[Mined]]]
"""What each of these keys stands for, those alone that are in the database."""


def nothing_mined(keys: Sequence[str]) -> Mapping[str, Sequence[Mined]]:
    """No key is taken."""
    return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Namer:
    """Gives keys to the paths of one request."""

    origins: OriginsOf
    home: Path | None
    taken: dict[str, str] = field(default_factory=dict)
    """Key -> path, of the request's models so far."""

    def name(self, request: ModelRequest, path: Path, first: str) -> ModelRequest:
        """The request as it is where its key `first` is free or its own; else with another key."""
        models = {name: folder.resolve() for name, folder in find_components(path).items()} or {"": path.resolve()}
        keys = list(_candidates(first, path.resolve()))
        spelled = {key: {_joined(key, name): folder for name, folder in models.items()} for key in keys}
        mined = self.origins([each for names in spelled.values() for each in names])
        own = (key for key in keys if any(self._is_own(mined.get(k, ()), p) for k, p in spelled[key].items()))
        free = (key for key in keys if not any(mined.get(each) for each in spelled[key]))
        chosen = next(own, None) or next((key for key in free if not self._is_taken(spelled[key])), keys[-1])
        self.taken.update({key: str(folder) for key, folder in spelled[chosen].items()})
        return request if chosen == first else replace(request, key=chosen)

    def _is_taken(self, spelled: Mapping[str, Path]) -> bool:
        """Whether a model before it in the request has the key; the same path twice is for others to refuse."""
        return any(self.taken.get(key, str(path)) != str(path) for key, path in spelled.items())

    def _is_own(self, mined: Sequence[Mined], path: Path) -> bool:
        """Whether a key stands for this path: it was mined from here, or from where the same files are no more."""
        if any(each.source is None or _is_same(each.source, path) for each in mined):
            return True
        moved = {
            each.sha256 for each in mined if os.path.isabs(each.source or "") and not Path(each.source or "").exists()
        }
        return bool(moved) and self._digest(path) in moved

    def _digest(self, path: Path) -> str | None:
        """The digest of the weights there; None where they cannot be read, which mining them tells."""
        # Fetching plans first, and plans name.
        from pipeline.fetch.stage import fetch

        if self.home is None:
            return None
        try:
            return fetch(ModelRequest(name=str(path), key="model"), home=self.home).digest
        except (DnaZooError, OSError):
            return None


def _joined(key: str, component: str) -> str:
    return f"{key}/{component}" if component else key


def _is_same(source: str, path: Path) -> bool:
    try:
        return os.path.isabs(source) and os.path.samefile(source, path)
    except OSError:
        return False


def _candidates(first: str, path: Path) -> Iterator[str]:
    """What a path may be called, the best first; the last is nobody else's."""
    yield first
    parents = [parent.name for parent in path.parents if parent.name]
    # What the key has of the path already is not said twice.
    while parents and first.split("/")[0] == parents[0]:
        parents.pop(0)
    for number in range(1, min(MOST_PARENTS, len(parents)) + 1):
        yield printable("/".join([*reversed(parents[:number]), first]), longest=LONGEST_KEY)
    yield f"{first[: LONGEST_KEY - 9]}-{hashlib.sha256(str(path).encode(errors='surrogateescape')).hexdigest()[:8]}"
