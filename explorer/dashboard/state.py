"""What is on screen, as one frozen value that the address of the page holds."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, Self, get_args
from urllib.parse import parse_qsl, urlencode

__all__ = ["FACETS", "TABS", "THEME_CHOICES", "State", "TabName", "ThemeChoice"]

TabName = Literal["overview", "models", "comparisons", "taxonomy", "statistics"]
ThemeChoice = Literal["auto", "light", "dark"]
TABS: tuple[TabName, ...] = get_args(TabName)
THEME_CHOICES: tuple[ThemeChoice, ...] = get_args(ThemeChoice)
FACETS = {"tiers": "tier", "modalities": "modality", "architectures": "arch", "roles": "role", "classes": "class"}
"""Field of the state that is a filter -> its name in the address."""
LISTS = {"models": "model", **FACETS}
TEXTS = {"search": "search", "kind": "kind", "tensor": "tensor"}
OF_TABLES = {"sorts": "sort", "finds": "find", "pages": "page"}
SEPARATOR = ":"
ALLOWED: dict[str, tuple[str, ...]] = {"tab": TABS, "theme": THEME_CHOICES}
LONGEST = 20_000
"""Characters of an address that are read."""

Pairs = tuple[tuple[str, str], ...]
Camera = tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """Two states are equal exactly if their addresses are."""

    tab: TabName = "overview"
    models: tuple[str, ...] = ()
    """Keys of the models that are looked at, in the order of choosing; none: all that the filters leave."""
    search: str = ""
    """Part of the keys that are listed."""
    kind: str = ""
    """Name of a kind of figure; empty for the tab's own."""
    tensor: str = ""
    tiers: tuple[str, ...] = ()
    modalities: tuple[str, ...] = ()
    architectures: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    sorts: Pairs = ()
    """Table -> column, with a `-` before it for descending."""
    finds: Pairs = ()
    """Table -> text that its rows hold."""
    pages: Pairs = ()
    """Table -> page, from 1."""
    theme: ThemeChoice = "auto"
    cameras: tuple[tuple[str, Camera], ...] = ()
    """Scene -> eye, centre and up of its camera, nine numbers."""

    @classmethod
    def from_hash(cls, text: str) -> Self:
        """The state that an address says, with or without `#`; what it says wrongly is as if it were not there."""
        found: dict[str, list[str]] = {}
        for name, value in parse_qsl(text[:LONGEST].lstrip("#?"), keep_blank_values=False, max_num_fields=None):
            found.setdefault(name, []).append(value)
        values: dict[str, Any] = {field: tuple(dict.fromkeys(found.get(name, ()))) for field, name in LISTS.items()}
        values |= {field: found[name][-1] for field, name in TEXTS.items() if name in found}
        values |= {field: _pairs(found.get(name, ())) for field, name in OF_TABLES.items()}
        given = {name: found[name][-1] for name in ("tab", "theme") if name in found}
        values |= {name: value for name, value in given.items() if value in ALLOWED[name]}
        return cls(**values, cameras=_cameras(found.get("camera", ())))

    def to_hash(self) -> str:
        """The address, without `#`; what is as usual is left out."""
        parts = [(name, getattr(self, name)) for name in ("tab", "theme") if getattr(self, name) != USUAL[name]]
        parts += [(name, value) for field, name in LISTS.items() for value in getattr(self, field)]
        parts += [(name, getattr(self, field)) for field, name in TEXTS.items() if getattr(self, field)]
        for field, name in OF_TABLES.items():
            parts += [(name, f"{table}{SEPARATOR}{value}") for table, value in getattr(self, field)]
        parts += [("camera", SEPARATOR.join([scene, *map(repr, numbers)])) for scene, numbers in self.cameras]
        return urlencode(parts)

    def but(self, **changes: Any) -> Self:
        """The same with other values."""
        return replace(self, **changes)

    def of_table(self, field: str, table: str) -> str:
        """The table's entry in `sorts`, `finds` or `pages`; empty if there is none."""
        pairs: Pairs = getattr(self, field)
        return dict(pairs).get(table, "")

    def with_table(self, field: str, table: str, value: str) -> Self:
        """The same with another entry for the table; an empty one is none."""
        entries = dict(getattr(self, field)) | {table: value}
        return self.but(**{field: _sorted_pairs(entries.items())})

    def camera(self, scene: str) -> Camera | None:
        return dict(self.cameras).get(scene)

    def toggled(self, model: str) -> Self:
        """The same with the model chosen, or no longer."""
        if model in self.models:
            return replace(self, models=tuple(key for key in self.models if key != model))
        return replace(self, models=(*self.models, model))


USUAL = {field.name: field.default for field in fields(State)}


def _sorted_pairs(pairs: Iterable[tuple[str, str]]) -> Pairs:
    return tuple(sorted((name, value) for name, value in pairs if name and value))


def _pairs(given: Iterable[str]) -> Pairs:
    split = (text.partition(SEPARATOR) for text in given)
    return _sorted_pairs({name: value for name, _, value in split}.items())


def _cameras(given: Iterable[str]) -> tuple[tuple[str, Camera], ...]:
    """Scenes by name, with nine finite numbers each; others are left out."""
    found = {}
    for text in given:
        scene, *numbers = text.rsplit(SEPARATOR, 9)
        try:
            values = tuple(map(float, numbers))
        except ValueError:
            continue
        if scene and len(values) == 9 and all(map(math.isfinite, values)):
            found[scene] = values
    return tuple(sorted(found.items()))
