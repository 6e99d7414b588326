"""The benchmark of a GPU runs in all its parts, on the CPU and the smallest sizes; one that fails stops no other."""

from pathlib import Path

import pytest

from benchmarks import gpu
from benchmarks.parts.scaffold import read_results

PARTS = {"kinds", "reads", "equality", "default", "reference"}


@pytest.mark.slow
def test_every_part_runs_and_is_kept(tmp_path: Path) -> None:
    found = gpu.main(["--device", "cpu", "--short", "--out", "trial"], folder=tmp_path)
    assert read_results("trial", folder=tmp_path).keys() == found.keys() >= PARTS
    assert not [part for part in PARTS if "failed" in found[part]]
    assert all(found["kinds"][kind]["ratios"] for kind in gpu.KINDS)
    assert all(found["equality"][kind]["difference"] == 0 for kind in gpu.KINDS)
    assert found["reference"]["epochs"] == 2 and found["default"]["stages"]["fit"] > 0


def test_a_part_that_fails_says_why_and_the_others_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(bench: gpu.Bench) -> dict[str, float]:
        raise RuntimeError("no kernel image is available")

    for part in ("kinds", "equality", "default", "reference"):
        monkeypatch.setattr(gpu, part, fail)
    fail.__name__ = "kinds"
    found = gpu.main(["--device", "cpu", "--short", "--out", "trial"], folder=tmp_path)
    kept = read_results("trial", folder=tmp_path)
    assert kept["kinds"]["failed"] == found["kinds"]["failed"] == "RuntimeError: no kernel image is available"
    assert kept["reads"]["left_out"]
