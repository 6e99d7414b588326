"""What the fields of a record are, read from its annotations: one definition for tables, exports and documents."""

from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, get_args, get_origin, get_type_hints

__all__ = ["Field", "describe"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One field: `kind` is str, int, float, bool or tuple; `meaning` is a sentence with the unit."""

    name: str
    kind: type
    is_optional: bool
    """Whether it may be None."""
    meaning: str


def describe(record: type) -> tuple[Field, ...]:
    """The fields annotated as `Annotated[TYPE, MEANING]`, in order."""
    hints = get_type_hints(record, include_extras=True)
    return tuple(_field(name, *get_args(hint)) for name, hint in hints.items() if get_origin(hint) is Annotated)


def _field(name: str, hint: Any, meaning: str) -> Field:
    # Of `float | None` both, of `float` and `tuple[str, ...]` the type alone.
    kinds = get_args(hint) if isinstance(hint, UnionType) else (hint,)
    (kind,) = (get_origin(each) or each for each in kinds if each is not NoneType)
    return Field(name=name, kind=kind, is_optional=NoneType in kinds, meaning=meaning)
