"""Names, shapes and dtypes of models with a card at full size, as `tests/support/make_tensor_headers.py` wrote them."""

import gzip
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from pipeline.weights.assembly import StoredTensor
from pipeline.weights.reparametrised import multiply_out
from zoo.tensors import TensorHeader

FOLDER = Path(__file__).parent.parent / "data" / "tensor_headers"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fixture:
    config: Mapping[str, Any]
    file: tuple[TensorHeader, ...]
    base: tuple[TensorHeader, ...]
    head: tuple[TensorHeader, ...]
    tied: Mapping[str, str]
    """Those that the file holds."""

    @property
    def read(self) -> tuple[TensorHeader, ...]:
        """The tensors of the file as the reader hands them on: weight norm multiplied out."""
        return as_read(self.file)


@cache
def load_fixture(key: str) -> Fixture:
    data = json.loads(gzip.decompress((FOLDER / f"{key}.json.gz").read_bytes()))
    file = _headers(data["file"])
    held = {header.name for header in file}
    return Fixture(
        config=data["config"],
        file=file,
        base=_headers(data["base"]),
        head=_headers(data["head"]),
        tied={name: first for name, first in data["tied"].items() if name in held},
    )


def as_read(headers: tuple[TensorHeader, ...]) -> tuple[TensorHeader, ...]:
    """The headers with weight norm multiplied out; no value is asked for."""
    stored = {header.name: StoredTensor(header=header, file=_NoFile()) for header in headers}
    return tuple(tensor.header for tensor in multiply_out(dict(stored)).values())


class _NoFile:
    """Stands where a file would be, of which nothing is read."""

    def chunks(self, header: TensorHeader, size: int) -> Any:
        raise NotImplementedError

    def array(self, header: TensorHeader) -> Any:
        raise NotImplementedError

    def entry(self, header: TensorHeader, index: int) -> Any:
        raise NotImplementedError


def _headers(rows: list[Any]) -> tuple[TensorHeader, ...]:
    return tuple(TensorHeader(name=name, shape=tuple(shape), dtype=dtype) for name, shape, dtype in rows)
