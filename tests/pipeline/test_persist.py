"""What a mined model leaves: the record, the run's folder, and the same bytes whenever they are written."""

import hashlib
import json
import math
import os
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from patterndb.records import ArtifactRecord, PatternRecord
from patterndb.store import PatternDatabase
from pipeline.persist import RUN_LOG, are_intact, persist, summary_of, write_run_folder
from tests.support.patterns import make_pattern

HISTORY = ({"stack": 0, "steps": 3, "seconds": 1.5, "points": [{"loss": math.nan, "seconds": 0.5}]},)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    path = tmp_path / "stages" / "dna.safetensors"
    path.parent.mkdir()
    save_file({"a": torch.arange(3)}, path)
    return path


def write(tmp_path: Path, pattern: PatternRecord, checkpoint: Path | None) -> tuple[ArtifactRecord, ...]:
    return write_run_folder(tmp_path / "runs" / "r" / "tiny", tmp_path, pattern, HISTORY, checkpoint)


# The run's folder.


def test_the_folder_holds_what_the_artifacts_say(tmp_path: Path, checkpoint: Path) -> None:
    artifacts = write(tmp_path, make_pattern(), checkpoint)
    assert [artifact.kind for artifact in artifacts] == ["summary", "training_history", "checkpoint"]
    assert [artifact.path for artifact in artifacts] == [
        "runs/r/tiny/summary.json",
        "runs/r/tiny/training_history.json",
        "runs/r/tiny/checkpoints/dna.safetensors",
    ]
    for artifact in artifacts:
        content = (tmp_path / artifact.path).read_bytes()
        assert artifact.sha256 == hashlib.sha256(content).hexdigest() and artifact.num_bytes == len(content)


def test_a_model_called_as_the_log_leaves_the_log_its_name(database: PatternDatabase, tmp_path: Path) -> None:
    log = tmp_path / "runs" / "r" / RUN_LOG
    log.parent.mkdir(parents=True)
    log.write_text("what the run says\n")
    pattern = make_pattern(RUN_LOG, run="r")
    database.start_run("r", {}, request_key="r")
    persist(pattern, HISTORY, None, request_key="r", home=tmp_path, database=database)
    (found,) = database.artifacts()
    assert log.read_text() == "what the run says\n" and (tmp_path / found.path).is_file()


def test_a_model_without_a_fit_has_a_summary_alone(tmp_path: Path) -> None:
    artifacts = write(tmp_path, make_pattern(), None)
    assert [artifact.kind for artifact in artifacts] == ["summary"]
    assert [path.name for path in (tmp_path / "runs" / "r" / "tiny").iterdir()] == ["summary.json"]


def test_writing_again_gives_the_same_bytes_and_leaves_nothing_else(tmp_path: Path, checkpoint: Path) -> None:
    first = write(tmp_path, make_pattern(), checkpoint)
    assert write(tmp_path, make_pattern(), checkpoint) == first
    names = sorted(path.name for path in (tmp_path / "runs").rglob("*") if path.is_file())
    assert names == ["dna.safetensors", "summary.json", "training_history.json"]


def test_how_long_it_took_is_not_in_the_files(tmp_path: Path, checkpoint: Path) -> None:
    pattern = make_pattern()
    slow = replace(pattern, fit=replace(pattern.fit, seconds=999.0))  # type: ignore[arg-type]
    assert write(tmp_path, slow, checkpoint) == write(tmp_path, pattern, checkpoint)


def test_the_checkpoint_is_the_one_of_the_stage_even_after_the_stage_is_gone(tmp_path: Path, checkpoint: Path) -> None:
    write(tmp_path, make_pattern(), checkpoint)
    checkpoint.unlink()
    copy = tmp_path / "runs" / "r" / "tiny" / "checkpoints" / "dna.safetensors"
    assert torch.equal(load_file(copy)["a"], torch.arange(3))


def test_a_changed_checkpoint_replaces_the_old_one(tmp_path: Path, checkpoint: Path) -> None:
    first = write(tmp_path, make_pattern(), checkpoint)
    checkpoint.unlink()
    save_file({"a": torch.arange(4)}, checkpoint)
    assert write(tmp_path, make_pattern(), checkpoint)[2].sha256 != first[2].sha256


def test_a_file_system_without_links_gets_a_copy(
    tmp_path: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    linked = write(tmp_path, make_pattern(), checkpoint)

    def refuse(source: Path, target: Path) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(os, "link", refuse)
    assert write(tmp_path, make_pattern(), checkpoint) == linked
    assert (tmp_path / linked[2].path).stat().st_nlink == 1


def test_the_summary_is_finite_json_with_the_findings(tmp_path: Path) -> None:
    perfect = replace(make_pattern(), fit=replace(make_pattern().fit, psnr=math.inf, mse=0.0))  # type: ignore[arg-type]
    write(tmp_path, perfect, None)
    text = (tmp_path / "runs" / "r" / "tiny" / "summary.json").read_text()
    summary = json.loads(text, parse_constant=lambda name: pytest.fail(name))
    assert summary["model"]["key"] == "alpha" and summary["fit"]["psnr"] is None
    assert len(summary["tensors"]) == len(perfect.tensors) and "statistics" not in summary["tensors"][0]


def test_the_history_is_finite_json(tmp_path: Path, checkpoint: Path) -> None:
    write(tmp_path, make_pattern(), checkpoint)
    history = json.loads((tmp_path / "runs" / "r" / "tiny" / "training_history.json").read_text())
    assert history == [{"stack": 0, "steps": 3, "points": [{"loss": None}]}]


def test_the_summary_does_not_change_the_record() -> None:
    pattern = make_pattern()
    before = asdict(pattern)
    summary_of(pattern)
    assert asdict(pattern) == before


def test_artifacts_are_intact_until_one_is_changed_or_gone(tmp_path: Path, checkpoint: Path) -> None:
    artifacts = write(tmp_path, make_pattern(), checkpoint)
    assert are_intact(artifacts, tmp_path)
    (tmp_path / artifacts[1].path).write_text("[]\n")
    assert not are_intact(artifacts, tmp_path)
    (tmp_path / artifacts[1].path).unlink()
    assert not are_intact(artifacts, tmp_path)


def test_persisting_reports_each_step_and_keeps_the_pattern(database: PatternDatabase, tmp_path: Path) -> None:
    pattern, steps = make_pattern(), []
    database.start_run(pattern.run, {})
    persist(pattern, HISTORY, None, request_key="r", home=tmp_path, database=database, on_step=steps.append)
    kept = database.load_pattern("alpha")
    assert [artifact.kind for artifact in kept.artifacts] == ["summary"]
    assert replace(kept, artifacts=pattern.artifacts) == pattern
    assert len(steps) == len(set(steps)) > 3
