"""Names, shapes and dtypes of the zoo's models at full size, as `tests/support/make_tensor_headers.py` wrote them."""

import gzip
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from zoo.tensors import TensorHeader

FOLDER = Path(__file__).parent.parent / "data" / "tensor_headers"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fixture:
    config: Mapping[str, Any]
    file: tuple[TensorHeader, ...]
    base: tuple[TensorHeader, ...]
    head: tuple[TensorHeader, ...]
    tied: Mapping[str, str]


@cache
def load_fixture(key: str) -> Fixture:
    data = json.loads(gzip.decompress((FOLDER / f"{key}.json.gz").read_bytes()))
    return Fixture(
        config=data["config"],
        file=_headers(data["file"]),
        base=_headers(data["base"]),
        head=_headers(data["head"]),
        tied=data["tied"],
    )


def _headers(rows: list[Any]) -> tuple[TensorHeader, ...]:
    return tuple(TensorHeader(name=name, shape=tuple(shape), dtype=dtype) for name, shape, dtype in rows)
