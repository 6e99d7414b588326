"""What the benchmarks share: the command line, kept results, the matrices of a model, and figures in pages."""

import argparse
import json
import math
import tempfile
import textwrap
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.fetch.request import ModelRequest
from pipeline.fetch.stage import fetch
from pipeline.weights.inventory import extract
from pipeline.weights.reader import WeightReader
from zoo.tensors import Role, TensorSpec

__all__ = [
    "RESULTS",
    "filled",
    "inner_tensors",
    "make_parser",
    "read_figures",
    "read_matrices",
    "read_results",
    "write_figures",
    "write_results",
]

RESULTS = Path(__file__).parents[1] / "results"
END = "<!-- end of figures -->"
OUTER = (Role.TOKEN_EMBEDDING, Role.POSITION_EMBEDDING, Role.PATCH_EMBEDDING, Role.HEAD)


def make_parser(doc: str | None, *, out: str | None) -> argparse.ArgumentParser:
    """A parser with a module's docstring as its help, and `--out` for the name of its results."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", default=out, metavar="NAME", help="of the results, benchmarks/results/NAME.json")
    return parser


def write_results(name: str, found: Mapping[str, Any], *, folder: Path = RESULTS) -> Path:
    """Keep `found` as `NAME.json`; NaN and infinity become null, paths become strings."""
    path = folder / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(_finite(found), indent=1, allow_nan=False, default=str) + "\n", encoding="utf-8")
    return path


def read_results(name: str, *, folder: Path = RESULTS) -> dict[str, Any]:
    """What `write_results` kept under that name; empty where there is nothing."""
    path = folder / f"{name}.json"
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return found


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def read_matrices(model: str, is_wanted: Callable[[TensorSpec], bool]) -> dict[TensorSpec, npt.NDArray[np.float32]]:
    """The matrices of a model for which `is_wanted`, in file order; raises a `FetchError` as `mine` does."""
    with tempfile.TemporaryDirectory() as home:
        files = fetch(ModelRequest(name=model), home=Path(home))
        specs = [spec for spec in extract(files).specs if spec.is_matrix and is_wanted(spec)]
        with WeightReader(files) as reader:
            return {spec: reader.matrix(spec) for spec in specs}


def inner_tensors(specs: Iterable[TensorSpec]) -> list[TensorSpec]:
    """What is pooled as "the blocks"; of a model without any, all but embeddings and heads."""
    known = list(specs)
    inside = [spec for spec in known if spec.block is not None]
    return inside or [spec for spec in known if spec.role not in OUTER]


def filled(*sentences: str) -> str:
    """One paragraph, in lines of the length of the pages."""
    return textwrap.fill(" ".join(sentences), width=120, break_long_words=False, break_on_hyphens=False)


def read_figures(page: Path, command: str) -> str:
    """What stands between the marks that `write_figures` looks for; raises as it does."""
    return _around_figures(page, command)[1].strip("\n")


def write_figures(page: Path, command: str, lines: Iterable[str]) -> None:
    """Put the lines between the marks `<!-- figures: COMMAND -->` and `<!-- end of figures -->` of the page.

    Raises `ValueError` if the page does not have each, in this order.
    """
    before, _, after = _around_figures(page, command)
    page.write_text("\n".join((before, "", *lines, "", after)))


def _around_figures(page: Path, command: str) -> tuple[str, str, str]:
    """The page up to the first mark, what is between them, and the page from the second one on."""
    begin = f"<!-- figures: {command} -->"
    before, found, rest = page.read_text().partition(begin)
    figures, end, after = rest.partition(END)
    if not (found and end):
        raise ValueError(f"{page.name} has no {begin!r} with {END!r} behind it.")
    return f"{before}{begin}", figures, f"{END}{after}"
