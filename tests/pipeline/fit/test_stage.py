"""The fit stage: four kinds of DNA, both scopes, controls with and without structure, and a DNA that can be rebuilt."""

import dataclasses
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from cattrs import structure

from dna_zoo.errors import FitDivergedError
from patterndb.records import FitRecord
from pipeline.dna.dna import Dna
from pipeline.dna.file import DNA_FILE
from pipeline.events import Event
from pipeline.fit import pointwise as pointwise_module
from pipeline.fit import stacks as stacks_module
from pipeline.fit import stage as fit_module
from pipeline.fit.report import FitCost, TensorFit, report
from pipeline.fit.stacks import plan_stacks
from pipeline.fit.stage import FitResult, fit, resolve_precision
from pipeline.settings import DnaType, FitSettings, Scope
from tests.support.damage import DAMAGES
from tests.support.fitting import (
    Float32,
    fit_matrices,
    gaussian,
    low_rank,
    quick,
    rebuild,
    shuffled,
)
from tests.support.small_models import matrix_spec
from zoo.tensors import Axis, Role, TensorSpec

pytestmark = pytest.mark.slow

WAYS = pytest.mark.parametrize(
    ("kind", "scope"),
    [("separable", "tensor"), ("separable", "model"), ("hierarchical", "tensor"), ("adaptive", "model")],
)
"""Each kind of problem in each scope; what the kinds of networks have in common is tested with the networks."""
KINDS = pytest.mark.parametrize("kind", ["separable", "hierarchical"])


class Killed(Exception):
    """Stands in for a kill."""


def model() -> dict[TensorSpec, Float32]:
    """Three matrices of two shapes, and two vectors that are not fitted."""
    query = matrix_spec("0.query", 12, 10, role=Role.ATTENTION_QUERY, block=0, depth=0.25, row_axis=Axis.ATTENTION)
    return {
        query: low_rank(12, 10, 2),
        matrix_spec("1.ffn.in", 16, 10, block=1, depth=0.75): gaussian(16, 10),
        matrix_spec("0.ffn.in", 16, 10, block=0, depth=0.25): low_rank(16, 10, 3, seed=5) + 0.5,
        matrix_spec("0.norm", 1, 10, role=Role.NORM): gaussian(1, 10),
        matrix_spec("0.bias", 1, 10, role=Role.BIAS): gaussian(1, 10),
    }


def matrices_of(tensors: Mapping[TensorSpec, Float32]) -> dict[TensorSpec, Float32]:
    return {spec: matrix for spec, matrix in tensors.items() if spec.is_matrix}


def dna_bytes(directory: Path) -> bytes:
    return (directory / DNA_FILE).read_bytes()


def records(result: FitResult, settings: FitSettings) -> dict[str, FitRecord]:
    return {item.name: report([item], settings, result.cost) for item in result.tensors}


# Every kind and scope.


@WAYS
def test_every_kind_and_scope_gives_a_complete_result(kind: DnaType, scope: Scope, tmp_path: Path) -> None:
    settings = quick(dna_type=kind, scope=scope, num_nulls=2)
    result = fit_matrices(model(), settings, tmp_path)
    assert [item.name for item in result.tensors] == ["0.ffn.in", "0.query", "1.ffn.in"]
    record = report(result.tensors, settings, result.cost)
    missing = {name for name, value in asdict(record).items() if value is None}
    assert missing == {"r2_low", "r2_high", "sampled_weights"}
    assert all(math.isfinite(value) for value in asdict(record).values() if isinstance(value, float))
    assert (record.dna_type, record.scope, record.num_weights, record.num_nulls) == (kind, scope, 440, 2)
    assert all(item.errors.points == item.num_weights for item in result.tensors)


@WAYS
def test_the_dna_on_disk_has_the_r2_that_is_reported(kind: DnaType, scope: Scope, tmp_path: Path) -> None:
    settings, tensors = quick(dna_type=kind, scope=scope, num_nulls=2), matrices_of(model())
    result = fit_matrices(tensors, settings, tmp_path)
    guesses = rebuild(tmp_path)
    for spec, matrix in tensors.items():
        name = spec.name
        error = float(((matrix - guesses[name]) ** 2).mean())
        reported = records(result, settings)[name]
        assert reported.mse == pytest.approx(error, rel=1e-4)
        assert reported.r2 == pytest.approx(1 - error / matrix.var(dtype=np.float64), abs=1e-4)


@WAYS
def test_the_dna_holds_no_null_and_only_the_parameters_it_says(kind: DnaType, scope: Scope, tmp_path: Path) -> None:
    settings = quick(dna_type=kind, scope=scope, num_nulls=3)
    result = fit_matrices(model(), settings, tmp_path)
    dna = Dna.load(tmp_path / DNA_FILE)
    values = [value for network in dna.contents.networks for value in network.state.values()]
    parameters = sum(value.numel() for value in values) + 2 * len(dna)
    assert report(result.tensors, settings, result.cost).parameters == parameters == dna.reported["parameters"]
    assert {len(value) for value in values} == ({1} if scope == "model" else {1, 2})
    assert dna.settings == settings


@KINDS
def test_a_rerun_gives_the_same_bits(kind: DnaType, tmp_path: Path) -> None:
    first, second = (fit_matrices(model(), quick(dna_type=kind), tmp_path / name) for name in ("a", "b"))
    assert first.tensors == second.tensors and first.history == second.history
    assert dna_bytes(tmp_path / "a") == dna_bytes(tmp_path / "b")


def test_another_seed_draws_other_nulls_and_other_networks(tmp_path: Path) -> None:
    first, second = (fit_matrices(model(), quick(), tmp_path / str(seed), seed=seed).tensors[0] for seed in (0, 1))
    assert first.errors != second.errors and first.null_baselines != second.null_baselines
    assert first.baseline == second.baseline


@pytest.mark.parametrize(("kind", "precision"), [("separable", "fp16"), ("spectral", "bf16")])
def test_half_precision_is_measured_in_full(kind: DnaType, precision: str, tmp_path: Path) -> None:
    settings, tensors = quick(dna_type=kind, precision=precision), matrices_of(model())
    result = fit_matrices(tensors, settings, tmp_path)
    guesses = rebuild(tmp_path)
    for spec, matrix in tensors.items():
        name = spec.name
        error = float(((matrix - guesses[name]) ** 2).mean())
        assert records(result, settings)[name].mse == pytest.approx(error, rel=1e-4)


# One tensor among others.


@KINDS
def test_a_tensor_is_fitted_as_it_would_be_alone(kind: DnaType, tmp_path: Path) -> None:
    # Pointwise kinds at a high learning rate are chaotic: they blow the last bit of a sum up to the second digit.
    settings, tensors = quick(dna_type=kind, num_nulls=2, learning_rate=1e-3), model()
    spec = next(spec for spec in tensors if spec.name == "0.ffn.in")
    among = records(fit_matrices(tensors, settings, tmp_path / "among"), settings)["0.ffn.in"]
    alone = records(fit_matrices({spec: tensors[spec]}, settings, tmp_path / "alone"), settings)["0.ffn.in"]
    assert among.r2 == pytest.approx(alone.r2, abs=1e-4)
    assert among.null_r2 == pytest.approx(alone.null_r2, abs=1e-4)
    assert (among.svd_r2, among.bits_per_weight) == (alone.svd_r2, alone.bits_per_weight)


def test_the_order_of_the_file_does_not_matter(tmp_path: Path) -> None:
    backwards = dict(reversed(model().items()))
    first, second = fit_matrices(model(), quick(), tmp_path / "a"), fit_matrices(backwards, quick(), tmp_path / "b")
    assert first.tensors == second.tensors


def test_a_permuted_model_has_the_same_fit(tmp_path: Path) -> None:
    tensors = matrices_of(model())
    copy = {spec: shuffled(matrix, seed) for seed, (spec, matrix) in enumerate(tensors.items())}
    settings = quick(num_nulls=0)
    first, second = fit_matrices(tensors, settings, tmp_path / "a"), fit_matrices(copy, settings, tmp_path / "b")
    for left, right in zip(first.tensors, second.tensors, strict=True):
        assert left.errors.sse == pytest.approx(right.errors.sse, rel=1e-4)


def test_file_order_costs_no_bits_and_seriation_does(tmp_path: Path) -> None:
    bits = {}
    for order in ("raw", "seriated"):
        settings = quick(order=order)
        result = fit_matrices(model(), settings, tmp_path / order)
        bits[order] = report(result.tensors, settings, result.cost).order_bits_per_weight
    assert bits["raw"] == 0 < bits["seriated"]


def test_stacks_hold_one_shape_and_stay_within_their_size(monkeypatch: pytest.MonkeyPatch) -> None:
    specs = [matrix_spec(f"{number:02}", 10 + number % 2, 10) for number in range(12)]
    monkeypatch.setattr(stacks_module, "STACK_BYTES", 3 * 4 * 110 * 2)
    stacks = plan_stacks(specs, quick(num_nulls=1))
    assert sorted(spec.name for stack in stacks for spec in stack.specs) == [spec.name for spec in specs]
    assert all(len({(spec.rows, spec.cols) for spec in stack.specs}) == 1 for stack in stacks)
    assert [len(stack.specs) for stack in stacks] == [3, 3, 3, 3]


def test_a_matrix_larger_than_a_stack_has_one_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stacks_module, "STACK_BYTES", 1)
    specs = [matrix_spec(name, 10, 10) for name in "ab"]
    assert [len(stack.specs) for stack in plan_stacks(specs, quick())] == [1, 1]


def test_without_matrices_there_is_nothing_to_fit(tmp_path: Path) -> None:
    specs = [matrix_spec("norm", 1, 10, role=Role.NORM)]
    assert (
        fit(specs, lambda spec: gaussian(1, 10), quick(), order_bits={}, device="cpu", seed=0, directory=tmp_path)
        is None
    )


def test_auto_is_half_precision_for_pointwise_kinds_where_there_is_any() -> None:
    assert resolve_precision(quick(dna_type="spectral", precision="auto"), "cuda").precision == "bf16"
    on_cpu = "bf16" if torch.ops.mkldnn._is_mkldnn_bf16_supported() else "fp32"
    assert resolve_precision(quick(dna_type="spectral", precision="auto"), "cpu").precision == on_cpu
    assert resolve_precision(quick(precision="auto"), "cuda").precision == "fp32"
    assert resolve_precision(quick(dna_type="spectral", precision="fp16"), "cpu").precision == "fp16"


# Controls.


def test_noise_gains_nothing_over_its_null(tmp_path: Path) -> None:
    """Five random matrices, eight nulls each: a z beyond 2 may happen to one, not to three of five."""
    settings = quick(epochs=60, num_nulls=8)
    tensors = {matrix_spec(str(seed), 24, 20): gaussian(24, 20, seed) for seed in range(5)}
    found = records(fit_matrices(tensors, settings, tmp_path), settings).values()
    z = sorted(abs(record.gain / record.null_r2_std) for record in found)  # type: ignore[operator]
    assert z[2] < 2 and z[4] < 6


def test_a_planted_low_rank_is_found(tmp_path: Path) -> None:
    matrix = low_rank(32, 24, 2) + 0.01 * gaussian(32, 24, 9)
    settings = quick(epochs=500, num_nulls=2, hidden_dim=24, rank=4)
    values = np.linalg.svd(matrix - matrix.mean(), compute_uv=False) ** 2
    record = records(fit_matrices({matrix_spec("a", 32, 24): matrix}, settings, tmp_path), settings)["a"]
    assert record.r2 >= 0.95 * values[:2].sum() / values.sum()
    assert record.gain > 20 * record.null_r2_std and record.gain > 0.2  # type: ignore[operator]


def test_a_planted_wave_under_a_hidden_permutation_is_measured_within_5_percent(tmp_path: Path) -> None:
    x, y = np.linspace(0, 2 * np.pi, 48)[:, None], np.linspace(0, 2 * np.pi, 40)[None, :]
    wave = (np.sin(x) * np.cos(y)).astype(np.float32)
    share = 0.8
    matrix = shuffled(wave + gaussian(48, 40) * wave.std() * np.float32(math.sqrt(1 / share - 1)))
    settings = quick(epochs=300, hidden_dim=8, rank=1)
    record = records(fit_matrices({matrix_spec("a", 48, 40): matrix}, settings, tmp_path), settings)["a"]
    assert record.r2 == pytest.approx(share, rel=0.05)
    assert record.null_r2 is not None and record.null_r2 < 0.2


def test_the_mean_alone_is_never_called_a_fit(tmp_path: Path) -> None:
    settings = quick(epochs=1, learning_rate=1e-9)
    result = fit_matrices({matrix_spec("a", 24, 20): gaussian(24, 20) + 10}, settings, tmp_path)
    record = report(result.tensors, settings, result.cost)
    assert record.r2 < 0.01 and record.psnr == pytest.approx(record.mean_psnr, abs=0.2)


@pytest.mark.parametrize(("kind", "scope"), [("separable", "tensor"), ("spectral", "model")])
def test_a_constant_matrix_is_fitted_without_a_crash(kind: DnaType, scope: Scope, tmp_path: Path) -> None:
    settings = quick(dna_type=kind, scope=scope)
    tensors = {matrix_spec("a", 8, 6): np.full((8, 6), 0.1, dtype=np.float32), matrix_spec("b", 8, 6): gaussian(8, 6)}
    result = fit_matrices(tensors, settings, tmp_path)
    assert records(result, settings)["a"].mse == pytest.approx(0, abs=1e-12)
    assert math.isfinite(report(result.tensors, settings, result.cost).r2)


def test_errors_of_a_sample_come_with_their_interval(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings, tensors = quick(dna_type="spectral"), {matrix_spec("a", 40, 30): low_rank(40, 30, 2)}
    whole = fit_matrices(tensors, settings, tmp_path / "whole")
    monkeypatch.setattr(pointwise_module, "POINTS_PER_EVALUATION", 300)
    part = fit_matrices(tensors, settings, tmp_path / "part")
    truth, record = records(whole, settings)["a"], records(part, settings)["a"]
    assert record.sampled_weights == 300
    assert record.r2_low is not None and record.r2_high is not None
    spread = record.r2_high - record.r2_low
    assert 0 < spread < 1 and record.r2_low - spread < truth.r2 < record.r2_high + spread


# Trouble.


def test_a_diverging_fit_names_the_tensor_the_model_and_the_step(tmp_path: Path) -> None:
    with pytest.raises(FitDivergedError, match=r"of [01]\.\S+ of toy became non-finite at step 1 of 20\.$"):
        fit_matrices(model(), quick(learning_rate=1e30, schedule="constant"), tmp_path)


def killed_after(count: int) -> "list[Event]":
    class Events(list[Event]):
        def append(self, event: Event) -> None:
            super().append(event)
            if len(self) == count:
                raise Killed

    return Events()


@pytest.mark.parametrize(("kind", "count"), [("separable", 1), ("separable", 21), ("separable", 42), ("adaptive", 30)])
def test_a_killed_fit_ends_with_the_files_of_an_undisturbed_one(kind: DnaType, count: int, tmp_path: Path) -> None:
    settings = quick(dna_type=kind, checkpoint_every=3, epochs=20, batch_size=160)
    expected = fit_matrices(model(), settings, tmp_path / "undisturbed")
    with pytest.raises(Killed):
        fit_matrices(model(), settings, tmp_path / "killed", on_event=killed_after(count).append)
    resumed = fit_matrices(model(), settings, tmp_path / "killed")
    assert resumed.tensors == expected.tensors and resumed.history == expected.history
    assert dna_bytes(tmp_path / "killed") == dna_bytes(tmp_path / "undisturbed")


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_what_a_killed_fit_left_damaged_is_computed_again(damage: Callable[[bytes], bytes], tmp_path: Path) -> None:
    settings = quick(checkpoint_every=3)
    expected = fit_matrices(model(), settings, tmp_path / "undisturbed")
    with pytest.raises(Killed):
        fit_matrices(model(), settings, tmp_path / "killed", on_event=killed_after(30).append)
    left = {path.name: path for path in (tmp_path / "killed").iterdir()}
    # One stack is done, the other was in training.
    assert sorted(left) == ["split.json", "stack-000.train.pt", "stack-001.json", "stack-001.pt"]
    for path in left.values():
        path.write_bytes(damage(path.read_bytes()))
    resumed = fit_matrices(model(), settings, tmp_path / "killed")
    assert resumed.tensors == expected.tensors and resumed.history == expected.history
    assert dna_bytes(tmp_path / "killed") == dna_bytes(tmp_path / "undisturbed")


def test_a_finished_stack_is_not_trained_again(tmp_path: Path) -> None:
    with pytest.raises(Killed):
        fit_matrices(model(), quick(), tmp_path, on_event=killed_after(30).append)
    (finished,) = tmp_path.glob("stack-*.json")
    before = finished.stat().st_mtime_ns
    events: list[Event] = []
    fit_matrices(model(), quick(), tmp_path, on_event=events.append)
    assert finished.stat().st_mtime_ns == before
    assert len(events) == 1 + 20 + 1  # The finished stack at once, the steps of the other, its end.


@pytest.fixture
def two_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stacks are trained on two threads, however small they are."""
    monkeypatch.setattr(fit_module, "SHARED_FROM", 0)
    monkeypatch.setattr(fit_module, "num_cores", lambda: 2)


@KINDS
def test_stacks_trained_at_once_end_with_the_same_bytes(
    kind: DnaType, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    one_by_one = fit_matrices(model(), quick(dna_type=kind), tmp_path / "one")
    request.getfixturevalue("two_at_once")
    at_once = fit_matrices(model(), quick(dna_type=kind), tmp_path / "two")
    assert at_once.tensors == one_by_one.tensors and at_once.history == one_by_one.history
    assert dna_bytes(tmp_path / "two") == dna_bytes(tmp_path / "one")


@pytest.mark.usefixtures("two_at_once")
def test_a_fit_killed_on_two_threads_goes_on(tmp_path: Path) -> None:
    settings = quick(checkpoint_every=3)
    expected = fit_matrices(model(), settings, tmp_path / "undisturbed")
    with pytest.raises(Killed):
        fit_matrices(model(), settings, tmp_path / "killed", on_event=killed_after(16).append)
    resumed = fit_matrices(model(), settings, tmp_path / "killed")
    assert resumed.tensors == expected.tensors
    assert dna_bytes(tmp_path / "killed") == dna_bytes(tmp_path / "undisturbed")


@pytest.mark.usefixtures("two_at_once")
def test_a_fit_that_diverges_on_a_thread_says_so(tmp_path: Path) -> None:
    with pytest.raises(FitDivergedError, match=r"of toy became non-finite at step 1 of 20\.$"):
        fit_matrices(model(), quick(learning_rate=1e30, schedule="constant"), tmp_path)


def test_what_is_left_is_one_dna_and_the_results(tmp_path: Path) -> None:
    fit_matrices(model(), quick(checkpoint_every=3), tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "dna.safetensors",
        "split.json",
        "stack-000.json",
        "stack-001.json",
    ]


def test_progress_counts_the_steps_of_all_stacks(tmp_path: Path) -> None:
    events: list[Event] = []
    fit_matrices(model(), quick(), tmp_path, on_event=events.append)
    assert {(event.kind, event.model, event.stage, event.total, event.unit) for event in events} == {
        ("progress", "toy", "fit", 40, "steps")
    }
    done = [event.done for event in events]
    assert done == sorted(done) and done[-1] == 40


def test_a_result_is_plain_json_and_back(tmp_path: Path) -> None:
    result = fit_matrices(model(), quick(), tmp_path)
    data = json.loads(json.dumps([dataclasses.asdict(item) for item in result.tensors]))
    assert tuple(structure(item, TensorFit) for item in data) == result.tensors
    assert isinstance(result.cost, FitCost) and result.cost.steps == 40
    assert dataclasses.asdict(result.cost)["device"] == "cpu"
