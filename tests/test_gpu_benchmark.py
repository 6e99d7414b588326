"""The benchmark of a GPU runs in all its parts, on the CPU and the smallest sizes; one that fails stops no other."""

import contextlib
import re
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
import torch

from benchmarks import gpu
from benchmarks.parts.gpu import analysis as gpu_analysis
from benchmarks.parts.scaffold import read_results
from dna_zoo.errors import SettingsError
from pipeline.settings import AnalysisSettings
from pipeline.weights.reader import WeightReader
from tests.support.small_models import matrix_spec

PARTS = {"kinds", "reads", "equality", "analysis", "default", "reference"}


@pytest.mark.slow
def test_every_part_runs_and_is_kept(tmp_path: Path) -> None:
    # A machine that does other work, too, is no reason to leave a part out.
    found = gpu.main(["--device", "cpu", "--short", "--out", "trial", "--limit", "1e6"], folder=tmp_path)
    assert read_results("trial", folder=tmp_path).keys() == found.keys() >= PARTS
    assert "failed" not in (tmp_path / "trial.json").read_text()
    assert all(found["kinds"][kind]["ratios"] and found["kinds"][kind]["samples_per_second"] for kind in gpu.KINDS)
    assert all(found["reads"][kind]["reads"] == found["reads"][kind]["reads_of_a_check"] == [] for kind in gpu.KINDS)
    assert all(found["equality"][kind]["difference"] == 0 for kind in gpu.KINDS)
    assert found["analysis"]["are_within"] and found["analysis"]["classes_are_equal"]
    assert found["analysis"]["seconds"].keys() == {"cpu", "device"} and len(found["analysis"]["differences"]) > 40
    assert found["reference"]["epochs"] == 2 and found["default"]["stages"]["fit"] > 0
    assert found["reference"]["with_nulls"]["networks"] > 1


def test_waits_of_a_stack_are_counted_for_each_kind_of_statistics(monkeypatch: pytest.MonkeyPatch) -> None:
    """What counts them is CUDA's; the work is done here."""
    monkeypatch.setattr(gpu_analysis, "waits_of", lambda work: {"waits": int(work() is None), "where": []})
    found = gpu_analysis.stack_waits(torch.device("cpu"), size=24)
    assert list(found) == ["shuffle", "rotate", "gaussian", "means"]
    assert all(each == {"waits": 0, "where": []} for each in found.values())


@pytest.mark.slow
def test_an_analysis_is_counted_without_computing_it() -> None:
    specs = [matrix_spec("a", 12, 10), matrix_spec("b", 12, 10), matrix_spec("c", 30, 10)]
    stacks, operations = gpu_analysis.count_operations(specs, AnalysisSettings(num_nulls=2, max_rows=20))
    # Of each of two shapes: the matrices, their shuffles, and the three other kinds; and the samples of the long one.
    assert stacks == 2 * 5 + 1
    assert 4 * (2 * 2 * 22 + 2 * 30 * 2) < operations < 10_000


NAMES = list(dict.fromkeys(part.name for part in gpu.parts()))


def run(tmp_path: Path, *more: str) -> dict[str, Any]:
    """What is kept of a trial on the CPU."""
    gpu.main(["--device", "cpu", "--short", "--out", "trial", *more], folder=tmp_path)
    return read_results("trial", folder=tmp_path)


def only(monkeypatch: pytest.MonkeyPatch, works: dict[str, Callable[..., gpu.Found]]) -> None:
    """In place of what the parts do."""
    parts = gpu.parts()
    monkeypatch.setattr(gpu, "parts", lambda: [replace(part, work=works[part.name]) for part in parts])


def test_the_parts_are_those_that_are_told() -> None:
    told = re.findall(r"^\d\. `(\w+)`:", gpu.__doc__ or "", flags=re.MULTILINE)
    assert told == NAMES and set(NAMES) == PARTS == set(gpu.SECONDS)
    assert [part.kind for part in gpu.parts() if part.name == "kinds"] == list(gpu.KINDS)


@pytest.mark.parametrize("broken", NAMES)
def test_a_part_that_fails_says_why_and_the_others_run(
    broken: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(bench: gpu.Bench) -> gpu.Found:
        raise RuntimeError("no kernel image is available")

    only(monkeypatch, {name: fail if name == broken else lambda bench: {"is_done": True} for name in NAMES})
    kept = run(tmp_path)
    for part in gpu.parts():
        found = kept[part.name][part.kind] if part.kind else kept[part.name]
        expected = "RuntimeError: no kernel image is available" if part.name == broken else None
        assert found.get("failed") == expected and found.get("is_done", False) == (part.name != broken)


def test_what_was_found_is_kept_when_a_later_part_ends_the_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def end(bench: gpu.Bench) -> gpu.Found:
        raise KeyboardInterrupt

    only(monkeypatch, {name: end if name == "equality" else lambda bench: {"is_done": True} for name in NAMES})
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path)
    kept = read_results("trial", folder=tmp_path)
    assert kept.keys() & PARTS == {"kinds", "reads"} and kept["reads"]["separable"]["is_done"]


def test_a_part_that_does_not_end_says_that_its_time_is_over() -> None:
    def hang(bench: gpu.Bench) -> gpu.Found:
        while True:
            with contextlib.suppress(Exception):  # As a fit does that notes what failed.
                time.sleep(0.001)

    bench = gpu.Bench(device=torch.device("cpu"), specs=[], reader=cast(WeightReader, None), options=gpu.parse([]))
    part = gpu.Part(name="default", kind=None, work=hang, until=1.0)
    told = gpu.attempt(part, bench, seconds=0.05)
    assert told["failed"] == "OutOfTimeError: it took more than the 0.05 s that it has"
    assert gpu.attempt(replace(part, work=lambda bench: {"is_done": True}), bench, seconds=600.0)["is_done"]
    assert signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL


def test_without_time_left_nothing_is_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, dict.fromkeys(NAMES, lambda bench: {"is_done": True}))
    kept = run(tmp_path, "--limit", "0")
    assert {kept[name]["failed"] for name in ("analysis", "default", "reference")} == {
        "OutOfTimeError: no time was left for it"
    }


def test_a_gpu_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SettingsError, match="there is no CUDA device"):
        gpu.main([])
