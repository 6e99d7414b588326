"""The tables of docs/reliability.md."""
from typing import Any, Mapping
__all__ = ["write_page"]
def write_page(found: Mapping[str, Any]) -> None:
    raise NotImplementedError
