"""The benchmark of a GPU runs in all its parts, on the CPU and the smallest sizes; one that fails stops no other."""

from pathlib import Path

import pytest
import torch

from benchmarks import gpu
from benchmarks.parts import gpu_analysis
from benchmarks.parts.scaffold import read_results
from pipeline.settings import AnalysisSettings
from tests.support.small_models import matrix_spec

PARTS = {"kinds", "reads", "equality", "analysis", "default", "reference"}


@pytest.mark.slow
def test_every_part_runs_and_is_kept(tmp_path: Path) -> None:
    found = gpu.main(["--device", "cpu", "--short", "--out", "trial"], folder=tmp_path)
    assert read_results("trial", folder=tmp_path).keys() == found.keys() >= PARTS
    assert not [part for part in PARTS if "failed" in found[part]]
    assert all(found["kinds"][kind]["ratios"] for kind in gpu.KINDS)
    assert all(found["equality"][kind]["difference"] == 0 for kind in gpu.KINDS)
    assert found["analysis"]["are_within"] and found["analysis"]["classes_are_equal"]
    assert found["analysis"]["seconds"].keys() == {"cpu", "device"} and len(found["analysis"]["differences"]) > 40
    assert found["reference"]["epochs"] == 2 and found["default"]["stages"]["fit"] > 0


def test_waits_of_a_stack_are_counted_for_each_kind_of_statistics(monkeypatch: pytest.MonkeyPatch) -> None:
    """What counts them is CUDA's; the work is done here."""
    monkeypatch.setattr(gpu_analysis, "waits_of", lambda work: {"waits": int(work() is None), "where": []})
    found = gpu_analysis.stack_waits(torch.device("cpu"), size=24)
    assert list(found) == ["shuffle", "rotate", "gaussian", "means"]
    assert all(each == {"waits": 0, "where": []} for each in found.values())


def test_an_analysis_is_counted_without_computing_it() -> None:
    specs = [matrix_spec("a", 12, 10), matrix_spec("b", 12, 10), matrix_spec("c", 30, 10)]
    stacks, operations = gpu_analysis.count_operations(specs, AnalysisSettings(num_nulls=2, max_rows=20))
    # Of each of two shapes: the matrices, their shuffles, and the three other kinds; and the samples of the long one.
    assert stacks == 2 * 5 + 1
    assert 4 * (2 * 2 * 22 + 2 * 30 * 2) < operations < 10_000


def test_a_part_that_fails_says_why_and_the_others_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(bench: gpu.Bench) -> dict[str, float]:
        raise RuntimeError("no kernel image is available")

    for part in ("kinds", "equality", "analysis", "default", "reference"):
        monkeypatch.setattr(gpu, part, fail)
    fail.__name__ = "kinds"
    found = gpu.main(["--device", "cpu", "--short", "--out", "trial"], folder=tmp_path)
    kept = read_results("trial", folder=tmp_path)
    assert kept["kinds"]["failed"] == found["kinds"]["failed"] == "RuntimeError: no kernel image is available"
    assert kept["reads"]["left_out"]
