"""Files of format 2, `dna.pt`, which held the networks alone: order and signs come from the stage that found them.

They do not say how a tensor lies in the model's files, so matrices come as (rows, columns) in float32, and there is no
`state_dict`. To mine the model again makes a file of today's format of what is there; nothing is fitted anew.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from dna_zoo.errors import DnaFileError
from pipeline.dna.contents import DnaContents
from pipeline.dna.file import unreadable
from pipeline.dna.make import dna_contents
from pipeline.order import ORDER_FILE, CanonicalOrder, raw_order, read_orders
from pipeline.settings import FitSettings
from zoo.layout import Layout
from zoo.tensors import Role, TensorSpec

__all__ = ["OLD_FILE", "read_format_2", "read_networks"]

OLD_FILE = "dna.pt"
AGAIN = "Mine the model again with `dna-zoo mine KEY`: what was fitted is used again."


def read_networks(path: Path) -> tuple[FitSettings, tuple[Mapping[str, Any], ...]]:
    """Settings and networks of a file of format 2. Raises `DnaFileError` if it is damaged or no DNA."""
    try:
        data = torch.load(path, weights_only=True)
        if data["format"] != 2:
            raise DnaFileError(f"{str(path)!r} has format {data['format']}, not 2.", hint=AGAIN)
        return FitSettings(**data["settings"]), tuple(data["networks"])
    except DnaFileError:
        raise
    except OSError as error:
        raise unreadable(path, error) from error
    except Exception as error:  # The reader has a dozen ways to say that the file is not its own.
        raise DnaFileError(
            f"{str(path)!r} is damaged, or no file of DNA ({type(error).__name__}).", hint=AGAIN
        ) from error


def read_format_2(path: Path, order: Path | None = None) -> DnaContents:
    """The contents of a file of format 2; `order`: the order stage's file, if it is not beside it."""
    settings, networks = read_networks(path)
    specs = [_spec_of(known) for stack in networks for known in stack["tensors"]]
    return dna_contents(
        networks,
        (),
        settings,
        specs=specs,
        orders=_orders(path, order or path.with_name(ORDER_FILE), specs, settings),
        layouts={spec.name: Layout.of(spec, (spec.rows, spec.cols)) for spec in specs},
        model="",
        digest="",
        has_layouts=False,
    )


def _spec_of(known: Mapping[str, Any]) -> TensorSpec:
    names = ("name", "rows", "cols", "depth")
    fields = {name: known[name] for name in names}
    return TensorSpec(tensor=known["name"], dtype="F32", role=Role(known["role"]), **fields)


def _orders(path: Path, order: Path, specs: list[TensorSpec], settings: FitSettings) -> dict[str, CanonicalOrder]:
    if settings.order == "raw":
        return {spec.name: raw_order(spec.rows, spec.cols) for spec in specs}
    try:
        return read_orders(order, specs)
    except (OSError, KeyError, ValueError) as error:
        raise DnaFileError(
            f"{str(path)!r} is of an older version that did not keep the order of rows and columns with it, and"
            f" {str(order)!r} does not hold it.",
            hint=AGAIN,
        ) from error
