"""Settings and other mappings in mappings, flat: by names with dots."""

from collections.abc import Iterator, Mapping
from typing import Any

__all__ = ["flat"]


def flat(value: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Names with dots, and values that are no mappings."""
    for name, each in value.items():
        if isinstance(each, Mapping):
            yield from flat(each, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", each
