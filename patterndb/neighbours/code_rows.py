"""Rows in codes as bytes, a row each, for a database that gives single rows: all that one of the two bounds takes."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from patterndb.neighbours.codes import ROW, Coded, Part
from patterndb.neighbours.row_distances import Layout
from patterndb.similarity import Criterion

__all__ = ["pack_rows", "unpack_rows"]

CODES: dict[Criterion, tuple[Part, ...]] = {"weights": ("roles", "names"), "kind": ("coarse", "fine")}


def pack_rows(layout: Layout, coded: Coded, by: Criterion) -> list[bytes]:
    """What `unpack_rows` takes of each row."""
    found = np.zeros(len(coded.rows), dtype=_type(layout, by))
    found["row"], found["mask"] = coded.rows, np.packbits(coded.masks, axis=1)[coded.rows["mask"]]
    found["keys"] = coded.keys
    for part in CODES[by]:
        found[part] = coded.codes[part]
    return [row.tobytes() for row in found]


def unpack_rows(layout: Layout, packed: Sequence[bytes], by: Criterion) -> Coded:
    """The rows, with the codes that this bound takes."""
    found = np.frombuffer(b"".join(packed), dtype=_type(layout, by))
    masks: dict[bytes, int] = {}
    rows = found["row"].copy()
    rows["mask"] = [masks.setdefault(mask.tobytes(), len(masks)) for mask in found["mask"]]
    held = np.frombuffer(b"".join(masks), dtype=np.uint8).reshape(len(masks), -1)
    return Coded(
        rows=rows,
        masks=np.unpackbits(held, axis=1, count=len(layout.names)).astype(bool),
        keys=found["keys"],
        codes={part: found[part] for part in CODES[by]},
    )


def _type(layout: Layout, by: Criterion) -> npt.DTypeLike:
    keys = ("keys", "<f8", (len(layout.parts["keys"]),))
    sizes = {"roles": "roles", "names": "names", "coarse": "statistics", "fine": "statistics"}
    codes = [(part, "i1", (len(layout.parts[sizes[part]]),)) for part in CODES[by]]
    return np.dtype([("row", ROW), ("mask", "u1", (-(-len(layout.names) // 8),)), keys, *codes])
