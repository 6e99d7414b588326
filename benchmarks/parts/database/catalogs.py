"""Databases of many models: one small model really mined, then kept again and again under other names.

Every copy has the tables that a mined model has, to the last row; its signature is drawn at random, so that no two are
alike. What is timed on such a database depends on the number of rows, not on what they say.
"""

import hashlib
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.parts.random_models import bert_model, write_model
from patterndb.records import PatternRecord, RunModelRecord, SignatureRecord, StageRecord
from patterndb.store import PatternDatabase
from pipeline.fetch.request import ModelRequest
from pipeline.runs.runner import mine
from pipeline.settings import AnalysisSettings, MineSettings, preset

__all__ = ["mined_pattern", "save_copies"]

RUN = "benchmark"
STAGES = ("fetch", "extract", "order", "fit", "analyse", "persist")


def mined_pattern(*, layers: int = 6) -> PatternRecord:
    """A pattern with as many tensors as MiniLM-L6 has, by default; its matrices are tiny."""
    settings = MineSettings(fit=preset("quick", epochs=2), analysis=AnalysisSettings(num_nulls=2), device="cpu")
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        write_model(bert_model("tiny", width=16, layers=layers, vocabulary=32), home / "model", 0)
        with PatternDatabase.open(f"sqlite:///{home / 'one.db'}") as database:
            mine([ModelRequest(name=str(home / "model"), key="tiny")], settings, database=database, home=home)
            return database.load_pattern("tiny")


def copies(pattern: PatternRecord, start: int, count: int) -> Iterator[PatternRecord]:
    """The pattern as that of models `model-00000`, `model-00001`, ... from number `start` on."""
    for number in range(start, start + count):
        digest = hashlib.sha256(f"copy {number}".encode()).hexdigest()
        model = replace(pattern.model, key=f"model-{number:05}", sha256=digest)
        signature = _drawn(pattern.signature, number)
        yield replace(pattern, model=model, run=RUN, pattern_key=digest[:32], signature=signature)


def _drawn(signature: SignatureRecord, number: int) -> SignatureRecord:
    """The same dimensions with other values."""
    values = np.random.default_rng(number).standard_normal(len(signature.values)).astype(np.float32).tolist()
    pairs = zip(signature.values, values, strict=True)
    return replace(signature, values=tuple(None if old is None else new for old, new in pairs))


def save_copies(database: PatternDatabase, pattern: PatternRecord, start: int, count: int) -> None:
    """Keep `count` more models, as runs would."""
    database.start_run(RUN, {"models": []})
    for copy in copies(pattern, start, count):
        database.save_pattern(copy)
        stages = tuple(StageRecord(stage=stage, key=copy.pattern_key, status="done", seconds=1.0) for stage in STAGES)
        done = RunModelRecord(key=copy.model.key, status="done", pattern_key=copy.pattern_key, stages=stages)
        database.finish_model(RUN, done)
    database.finish_run(RUN, "done", 0)
