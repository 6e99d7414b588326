"""A database as finished runs would have left it, and the command line to ask it."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from cli.main import app
from library.patterns.records import Evidence, Key, Part, SharedPattern
from library.patterns.records import Lineage as SharedLineage
from library.patterns.store import Library
from patterndb.records import RunModelRecord, StageRecord
from patterndb.store import PatternDatabase
from pipeline.kept.stages import StageStore, content_key
from pipeline.lineage import LINEAGE_VERSION, Lineage, RoleEvidence
from pipeline.lineage.mined import NUM_NULLS
from tests.support.patterns import make_pattern, save_patterns

MODELS = ("alpha", "beta", "gamma", "delta", "epsilon")
PARTIAL = "run-partial"

Invoke = Callable[..., Result]
Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture(scope="session")
def filled_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five models of one run, and a later run in which one model failed."""
    path = tmp_path_factory.mktemp("filled") / "dna-zoo.db"
    with PatternDatabase.open(f"sqlite:///{path}") as database:
        patterns = [make_pattern(key, seed) for seed, key in enumerate(MODELS)]
        save_patterns(database, *patterns)
        database.start_run(PARTIAL, {"names": ["alpha", "nosuch"]})
        database.set_run_models(PARTIAL, ["alpha", "nosuch"])
        done = StageRecord(stage="fit", key="0123456789abcdef", status="done", seconds=94.0)
        failed = StageRecord(stage="fetch", key="", status="failed", error="Unknown model 'nosuch'.")
        key = patterns[0].pattern_key
        database.finish_model(PARTIAL, RunModelRecord(key="alpha", status="done", pattern_key=key, stages=(done,)))
        failure = RunModelRecord(
            key="nosuch", status="failed", error="Unknown model 'nosuch'.", hint="See `dna-zoo zoo`.", stages=(failed,)
        )
        database.finish_model(PARTIAL, failure)
        database.finish_run(PARTIAL, "partial", 3)
    return path


def keep_lineage(home: Path, *pair: str) -> None:
    """What comparing the weights of two models of the database would have left; those weights are nowhere."""
    role = RoleEvidence(role="ffn_out", tensors=2, weights=4096, correlation=0.75, z=41.0)
    found = Lineage(
        verdict="same lineage", reason="the weights agree", correlation=0.75, z=41.0, p=0.005, num_nulls=199, tensors=2,
        weights=4096, roles=(role,),
    )  # fmt: skip
    digests = sorted(make_pattern(key, MODELS.index(key)).model.sha256 for key in pair)
    StageStore(home).run("lineage", content_key(LINEAGE_VERSION, digests, NUM_NULLS, 0), lambda folder: asdict(found))


def keep_pattern(home: Path) -> None:
    """A shared pattern called `some`."""
    values = np.zeros((5, 1), dtype=np.float32)
    evidence = Evidence(lineages=3, explained=0.5, null=0.0, p=0.02, q=0.04)
    parts = {Key("attention_query", "scale"): Part(values=values, lineages=3, evidence=evidence)}
    lineages = (SharedLineage(name="alpha", models=("alpha", "beta")),)
    pattern = SharedPattern(name="some", parts=parts, lineages=lineages, selection="modality=text")
    Library(home).save(pattern, replace=True)


def keep_stage(home: Path) -> Path:
    """A stage that no run of the database knows, last touched long ago."""
    folder = home / "stages" / "fit" / "00" / "00000000"
    folder.mkdir(parents=True)
    (folder / "result.json").write_text("{}")
    for path in (folder / "result.json", folder):
        os.utime(path, (0, 0))
    return folder


@pytest.fixture
def environment(filled_path: Path, tmp_path: Path) -> dict[str, str]:
    """Variables that give a command the filled database as its own copy, and a home of its own."""
    home = tmp_path / "home"
    home.mkdir()
    shutil.copy(filled_path, home / "dna-zoo.db")
    keep_lineage(home, "alpha", "beta")
    keep_pattern(home)
    keep_stage(home)
    return {"DNA_ZOO_HOME": str(home), "DNA_ZOO_DB": "", "COLUMNS": "100", "HF_HOME": str(tmp_path / "hub")}


@pytest.fixture
def other_run(environment: dict[str, str]) -> str:
    """A run that found something else in one of the models; its name."""
    with PatternDatabase.open(f"sqlite:///{environment['DNA_ZOO_HOME']}/dna-zoo.db") as database:
        save_patterns(database, make_pattern("alpha", 99, run="run-other"))
    return "run-other"


@pytest.fixture
def invoke(environment: dict[str, str]) -> Invoke:
    """Run a command in this process."""

    def run(*arguments: str, **more: str) -> Result:
        return CliRunner().invoke(app, list(arguments), env={**environment, **more})

    return run


@pytest.fixture
def ask(invoke: Invoke) -> Callable[..., Any]:
    """Run a command with `--format json`, and read what it prints."""

    def run(*arguments: str) -> Any:
        result = invoke(*arguments, "--format", "json")
        assert result.exit_code == 0, result.stderr
        return json.loads(result.stdout)

    return run


@pytest.fixture
def start(environment: dict[str, str]) -> Iterator[Start]:
    """Start a command as a process of its own; what it printed comes with `communicate()`."""
    processes = []

    def run(*arguments: str, code: str = "from cli.main import app; app()", **more: str) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            [sys.executable, "-W", "error", "-c", code, *arguments],
            cwd=Path(__file__).parents[2],
            env={"PATH": "/usr/bin:/bin", **environment, **more},
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            # What a shell or `nohup` starts may be deaf to signals, and so would be the tests' children.
            preexec_fn=lambda: [signal.signal(each, signal.SIG_DFL) for each in (signal.SIGINT, signal.SIGHUP)],
        )
        processes.append(process)
        return process

    yield run
    for process in processes:
        process.kill()
        process.communicate()


@pytest.fixture
def tiny_model(tmp_path: Path) -> Path:
    """A directory with a model of one matrix."""
    import numpy as np
    from safetensors.numpy import save_file

    folder = tmp_path / "tiny-model"
    folder.mkdir()
    values = np.random.default_rng(0).standard_normal((8, 8), dtype=np.float32)
    save_file({"encoder.layer.0.attention.self.query.weight": values}, folder / "model.safetensors")
    (folder / "config.json").write_text('{"model_type": "bert"}')
    return folder


@pytest.fixture(scope="session")
def dna_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The DNA of two blocks, each a query and a key."""
    import torch
    from safetensors.torch import save_file

    from tests.support.dnas import BRIEF, fit_files
    from tests.support.weight_files import files_of

    folder, generator = tmp_path_factory.mktemp("dna"), torch.Generator().manual_seed(0)
    weights = {
        f"bert.encoder.layer.{block}.attention.self.{part}.weight": torch.randn(16, 12, generator=generator)
        for block in range(2)
        for part in ("query", "key")
    }
    save_file(weights, folder / "model.safetensors")
    return fit_files(files_of(folder / "model.safetensors"), BRIEF, folder / "fit").path
