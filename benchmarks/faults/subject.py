"""What is mined while something goes wrong: tiny models; and what of it must be as after an undisturbed run."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Table, select

from benchmarks.faults.commands import Ended
from benchmarks.parts.random_models import RandomModel, write_model
from patterndb.connection.engine import make_engine, parse_url
from patterndb.tables import METADATA
from zoo.tensors import TensorHeader

__all__ = [
    "FAST",
    "Kept",
    "difference",
    "kept_in",
    "mine_words",
    "rows_of",
    "said_wrongly",
    "url_of",
    "write_tiny_model",
]

FAST = (
    "--epochs", "6", "--rank", "2", "--hidden-dim", "4", "--nulls", "1", "--num-moves", "0", "--checkpoint-every", "2",
)  # fmt: skip
"""Settings of a mine that takes a moment, most of it spread over the stages."""
HISTORY = ("runs", "run_models", "stages")
"""Tables of what was done when, to which every run adds."""
OF_THE_MOMENT = {"id", "run_id", "seconds", "confirmed_at", "digests"}
"""Columns that tell when a row was written, by which run, and after how many others, and what is made of those."""


def write_tiny_model(folder: Path, seed: int) -> Path:
    """Two matrices of a BERT with random weights, which take a second to mine."""
    shapes = {
        "encoder.layer.0.attention.self.query.weight": (24, 24),
        "encoder.layer.0.intermediate.dense.weight": (48, 24),
    }
    headers = tuple(TensorHeader(name=name, shape=shape, dtype="F32") for name, shape in shapes.items())
    config = {"model_type": "bert", "hidden_size": 24, "num_hidden_layers": 1, "num_attention_heads": 4}
    write_model(RandomModel(key=folder.name, config=config, headers=headers), folder, seed)
    return folder


def mine_words(*models: Path) -> list[str]:
    """The words after `dna-zoo` that mine the models."""
    local = [word for folder in models for word in ("--local", str(folder), "--name", folder.name)]
    return ["mine", *local, *FAST, "--format", "quiet"]


def url_of(home: Path) -> str:
    """Of the database in a home."""
    return f"sqlite:///{home / 'dna-zoo.db'}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What a mine leaves behind, without times."""

    rows: Mapping[str, tuple[str, ...]]
    """Table -> digests of its rows."""
    files: Mapping[str, str]
    """Path in the home -> digest, of the files of the runs; logs are left out."""
    stages: frozenset[str]
    """Paths of the files of the stages."""


def kept_in(home: Path, url: str | None = None) -> Kept:
    """What is kept in the home, and in the database (that in the home, unless another is named)."""
    files = [path for path in sorted((home / "runs").rglob("*")) if path.is_file() and path.name != "run.log"]
    return Kept(
        rows=rows_of(url or url_of(home)),
        files={path.relative_to(home).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files},
        stages=frozenset(path.relative_to(home).as_posix() for path in (home / "stages").rglob("*") if path.is_file()),
    )


def difference(found: Kept, expected: Kept) -> str:
    """What of it differs, in words; empty where all is the same."""
    tables = [name for name in expected.rows if found.rows[name] != expected.rows[name]]
    files = sorted(dict(found.files.items() ^ expected.files.items()))
    stages = sorted(found.stages ^ expected.stages)
    return "; ".join(
        f"{what} differ: {', '.join(names)}"
        for what, names in (("tables", tables), ("files of runs", files), ("files of stages", stages))
        if names
    )


def rows_of(url: str) -> dict[str, tuple[str, ...]]:
    """Table -> the digests of its rows, sorted; the history is left out.

    What a row refers to counts by its content, since numbers of rows depend on who wrote first.
    """
    engine = make_engine(parse_url(url))
    found: dict[str, tuple[str, ...]] = {}
    names: dict[str, dict[Any, str]] = {}
    with engine.connect() as connection:
        for table in METADATA.sorted_tables:
            if table.name in HISTORY:
                continue
            rows = connection.execute(select(table)).mappings().all()
            digests = [_digest(table, row, names) for row in rows]
            if "id" in table.columns:
                names[table.name] = {row["id"]: digest for row, digest in zip(rows, digests, strict=True)}
            found[table.name] = tuple(sorted(digests))
    engine.dispose()
    return found


def _digest(table: Table, row: Mapping[Any, Any], names: Mapping[str, Mapping[Any, str]]) -> str:
    values = {}
    for column in table.columns:
        if column.name in OF_THE_MOMENT:
            continue
        referred = [key.column.table.name for key in column.foreign_keys if key.column.name == "id"]
        value = row[column.key if column.key in row else column.name]
        values[column.name] = names[referred[0]][value] if referred else value
    return hashlib.sha256(json.dumps(values, sort_keys=True, default=_plain).encode()).hexdigest()


def _plain(value: Any) -> str:
    """Bytes by their digits, and times."""
    return value.hex() if isinstance(value, bytes | memoryview) else str(value)


def said_wrongly(ended: Ended, *wanted: str) -> str:
    """What is wrong about how a command told of a fault: it must say two sentences with these words."""
    if ended.code != 1:
        return f"exit code {ended.code}: {ended.said[-600:]}"
    missing = [word for word in wanted if word not in ended.said]
    if missing or "Traceback" in ended.err or "This is a bug" in ended.err or "Logging error" in ended.err:
        return f"it said: {ended.said[-600:]}"
    return ""
