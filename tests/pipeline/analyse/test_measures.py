"""Statistics on a device, by the same code on the CPU: those of the host within stated tolerances, nothing is asked.

A GPU takes them as stacks of versions of several tensors; here a CPU does.
"""

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch

import pipeline.analyse.measures.device as device_module
import pipeline.analyse.stage as stage_module
from benchmarks.parts.gpu.tolerances import SIGNATURE_TOLERANCE, largest_differences, tolerance_of
from pipeline.analyse.measures.choose import measures_on
from pipeline.analyse.measures.device import OnDevice, numbers_of
from pipeline.analyse.measures.host import TOLERANCES, OnHost
from pipeline.analyse.measures.versions import Found, Measures, Version
from pipeline.analyse.stage import ModelAnalysis, analyse_model
from pipeline.analyse.tensor import analyse_tensor
from pipeline.fetch.request import ModelRequest
from pipeline.fetch.stage import fetch
from pipeline.nulls import NULLS, NullKind
from pipeline.order import Rows, canonicalise, seriate_tensor
from pipeline.settings import AnalysisSettings
from pipeline.weights.inventory import extract
from pipeline.weights.reader import WeightReader
from tests.support.devices import META, HostReads
from tests.support.mining import FAST, mine_into, request
from tests.support.small_models import Model, analysed, canonical, matrix_spec, trained_model
from tests.support.tiny_models import make_tiny_checkpoint
from zoo.tensors import Axis, TensorSpec

CPU = torch.device("cpu")
SPECIMENS = Path(__file__).parents[3] / "data" / "specimens"
SAMPLED = 64
"""Rows of which a table of more is sampled; the model has one of 80."""
EVERYTHING = tuple(NULLS)
Float32 = npt.NDArray[np.float32]


def on_device() -> OnDevice:
    return OnDevice(CPU)


@cache
def of_the_model(where: Callable[[], Measures]) -> ModelAnalysis:
    return analysed(trained_model(0), num_nulls=2, max_rows=SAMPLED, measures=where())


def assert_agree(host: ModelAnalysis, device: ModelAnalysis) -> None:
    one, other = ({item.spec.name: item for item in each.tensors} for each in (host, device))
    apart = largest_differences(one, other)
    assert len(apart) > 40 and max(apart.values()) <= 1, {name: size for name, size in apart.items() if size > 1}
    assert [item.pattern_class for item in classes_of(host)] == [item.pattern_class for item in classes_of(device)]
    assert signature_gap(host, device) <= SIGNATURE_TOLERANCE


def classes_of(found: ModelAnalysis) -> list[stage_module.Classification]:
    roles = [role.classification for role in found.roles if role.classification is not None]
    return [found.classification, *roles]


def signature_gap(one: ModelAnalysis, other: ModelAnalysis) -> float:
    assert one.signature.names == other.signature.names
    pairs = zip(one.signature.values, other.signature.values, strict=True)
    return max(abs((left or 0.0) - (right or 0.0)) for left, right in pairs if (left is None) == (right is None))


# The same statistics.


def test_every_statistic_of_a_model_is_that_of_the_host_within_its_tolerance() -> None:
    host, device = of_the_model(OnHost), of_the_model(on_device)
    assert_agree(host, device)
    for ours, theirs in zip(device.tensors, host.tensors, strict=True):
        assert [item.name for item in ours.measured] == [item.name for item in theirs.measured]
        assert ours.labels == theirs.labels and ours.rows_used == theirs.rows_used
        assert ours.cluster_norms == pytest.approx(theirs.cluster_norms)
    assert any(item.samples for item in device.tensors[-1].measured) or any(
        len(item.measured[0].samples) == 4 for item in device.tensors
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", ["bert-b", "bert-untrained", "cnn-a", "gpt2-a-finetuned", "vit-a"])
def test_a_specimen_has_the_class_and_the_signature_that_it_has_on_the_host(name: str, tmp_path: Path) -> None:
    files = fetch(ModelRequest(name=str(SPECIMENS / name)), home=tmp_path)
    specs = extract(files).specs
    with WeightReader(files) as reader:
        orders = {spec.name: seriate_tensor(reader.matrix(spec), spec) for spec in specs if spec.is_matrix}

        def load(spec: TensorSpec, rows: Rows) -> Float32:
            matrix = reader.matrix(spec)
            return canonicalise(matrix, orders[spec.name])[rows] if spec.is_matrix else matrix

        host, device = (
            analyse_model(
                specs,
                load,
                in_file_order=reader.pieces,
                settings=AnalysisSettings(num_nulls=3),
                seed=0,
                measures=measures,
            )
            for measures in (OnHost(), on_device())
        )
    assert_agree(host, device)


@pytest.mark.parametrize(
    "matrix",
    [
        np.zeros((12, 9)),
        np.ones((12, 9)),
        np.full((9, 12), 1e-30),
        np.arange(108).reshape(12, 9) * 1e6,
        np.arange(5)[:, None] - 2.0,
        np.eye(3, 17) + np.arange(17),
    ],
    ids=["zeros", "ones", "tiny", "large", "one column", "few rows"],
)
def test_odd_matrices_have_the_numbers_of_the_host(matrix: npt.NDArray[np.floating]) -> None:
    values = np.asarray(matrix, dtype=np.float32)
    spec = matrix_spec("odd", *values.shape, row_axis=Axis.HIDDEN, col_axis=Axis.VOCABULARY)
    settings = AnalysisSettings(num_nulls=0)
    host, device = (
        {"odd": analyse_tensor(values, spec, settings=settings, seed=0, measures=each)}
        for each in (OnHost(), on_device())
    )
    apart = largest_differences(host, device)
    assert max(apart.values()) <= 1, apart


def test_a_rerun_gives_the_same_bits() -> None:
    again = analysed(trained_model(0), num_nulls=2, max_rows=SAMPLED, measures=on_device())
    assert again == of_the_model(on_device)


def test_what_is_measured_beside_a_matrix_does_not_matter() -> None:
    """One version a stack, or all of them."""
    rng = np.random.default_rng(0)
    stack = torch.from_numpy(rng.standard_normal((6, 24, 20), dtype=np.float32))
    spec = matrix_spec("any", 24, 20)
    together = numbers_of(stack, spec, EVERYTHING, needs_order=True)
    for place in range(len(stack)):
        alone = numbers_of(stack[place : place + 1], spec, EVERYTHING, needs_order=True)
        for name, values in alone.items():
            assert together[name][place].double().numpy() == pytest.approx(values[0].double().numpy(), abs=1e-6), name


def test_tolerances_know_every_block() -> None:
    names = {item.name for tensor in of_the_model(OnHost).tensors for item in tensor.measured}
    blocks = {name.split(".")[0] for name in names} - {"products"}
    assert blocks | {".beyond_means"} == TOLERANCES.keys()
    assert tolerance_of("heavy_tail.alpha") == TOLERANCES["heavy_tail"]
    assert tolerance_of("heavy_tail.alpha.beyond_means") == TOLERANCES[".beyond_means"]


def test_a_difference_would_be_seen() -> None:
    host = {item.spec.name: item for item in of_the_model(OnHost).tensors}
    name, item = next((name, item) for name, item in host.items() if item.spec.is_matrix)
    place = next(place for place, each in enumerate(item.measured) if each.name == "sizes.rows")
    for changes in ({"value": item.measured[place].value + 1e-8}, {"draws": (math.nan, 1.0)}):
        measured = list(item.measured)
        measured[place] = replace(measured[place], **changes)
        apart = largest_differences(host, host | {name: replace(item, measured=tuple(measured))})
        assert apart.pop("sizes.rows") > 1 and not any(apart.values())


# The same draws, each copied once.


class Watched:
    """What is asked of whom, and the matrices that are made."""

    def __init__(self, inner: Measures) -> None:
        self.inner = inner
        self.made: dict[tuple[str, tuple[NullKind, ...], int], list[bytes]] = {}
        self.groups = inner.groups

    def of(self, versions: Sequence[Version]) -> list[Found]:
        seen = Counter[tuple[str, tuple[NullKind, ...]]]()
        watched = []
        for version in versions:
            key = (version.spec.name, version.kinds, seen[version.spec.name, version.kinds])
            seen[version.spec.name, version.kinds] += 1
            watched.append(replace(version, make=lambda key=key, make=version.make: self._kept(key, make())))
        return self.inner.of(watched)

    def _kept(self, key: tuple[str, tuple[NullKind, ...], int], matrix: Float32) -> Float32:
        self.made.setdefault(key, []).append(matrix.tobytes())
        return matrix


def test_nulls_and_samples_are_the_same_bits_and_each_is_made_once() -> None:
    host, device = Watched(OnHost()), Watched(on_device())
    for watched in (host, device):
        analysed(trained_model(0), num_nulls=2, max_rows=SAMPLED, measures=watched)
    assert device.made == host.made
    assert {len(made) for made in device.made.values()} == {1}
    matrices = sum(spec.is_matrix for spec in trained_model(0))
    assert len(host.made) == matrices * 4 * (1 + 2) + 4


# What the host waits for.


def stack_of(rows: int, cols: int, device: torch.device) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).standard_normal((2, rows, cols), dtype=np.float32)).to(device)


SPECS = {
    "signs of rows": matrix_spec("any", 14, 12, row_axis=Axis.ATTENTION, col_axis=Axis.RESIDUAL),
    "places": matrix_spec("any", 12, 14, row_axis=Axis.POSITION),
    "means of rows": replace(matrix_spec("any", 12, 12), free_row_signs=True),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", SPECS)
@pytest.mark.parametrize("kinds", [(kind,) for kind in NULLS] + [EVERYTHING])
def test_nothing_is_read_of_a_stack_until_its_end(kinds: tuple[NullKind, ...], case: str) -> None:
    """On `meta` a branch on a value is an error, and so is a tensor of the host beside one of the device."""
    spec = SPECS[case]
    for device in (CPU, META):
        stack = stack_of(spec.rows, spec.cols, device)
        numbers_of(stack, spec, kinds, needs_order=True)  # Once for a shape, the table of frequencies is copied over.
        with HostReads() as reads:
            numbers_of(stack, spec, kinds, needs_order=True)
        assert reads.found == []


def test_an_axis_that_is_cut_is_read_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.dense.ordering.LARGEST_CHAIN", 13)
    spec = SPECS["signs of rows"]
    with pytest.raises(NotImplementedError, match="meta"):
        numbers_of(stack_of(14, 12, META), spec, ("shuffle",), needs_order=True)
    numbers_of(stack_of(13, 12, META), spec, ("shuffle",), needs_order=True)


def test_each_stack_is_read_once() -> None:
    """Tensors of one shape and kind of axes are one stack for each kind of statistics, their nulls included."""
    measures = on_device()
    model = trained_model(0)
    analysed(model, num_nulls=2, max_rows=SAMPLED, measures=measures)
    shapes = {(s.rows, s.cols, s.row_axis, s.col_axis) for s in model if s.is_matrix}
    signed = {shape for shape in shapes if shape[2].is_sign_free}
    # A stack of the matrices themselves and one of their shuffles; the other nulls go with the matrices, but for those
    # of clusters where an order sets the signs of rows; samples.
    assert measures.num_reads == 5 * len(shapes) + len(signed) + 1


# Memory.


def test_a_device_that_holds_two_matrices_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[int] = []
    whole = numbers_of

    def small(stack: torch.Tensor, *given: object, **more: object) -> Mapping[str, torch.Tensor]:
        tried.append(len(stack))
        if len(stack) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return whole(stack, *given, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(device_module, "numbers_of", small)
    model: Model = {spec: values for spec, values in trained_model(0).items() if spec.block == 0}
    found = analysed(model, num_nulls=2, measures=on_device())
    assert max(tried) > 2
    monkeypatch.undo()
    assert_agree(analysed(model, num_nulls=2, measures=OnHost()), found)


def test_groups_are_of_one_shape_and_of_one_symmetry(monkeypatch: pytest.MonkeyPatch) -> None:
    specs = [spec for spec in trained_model(0) if spec.is_matrix]
    groups = [[spec.name for spec in group] for group in on_device().groups(specs, 4096)]
    assert ["0.query", "1.query"] not in groups and ["0.query", "0.value", "1.query", "1.value"] in groups
    assert sorted(name for group in groups for name in group) == sorted(spec.name for spec in specs)
    monkeypatch.setattr(device_module, "STACK_BYTES", 3 * 4 * 32 * 32)
    sizes = [len(group) for group in on_device().groups(specs, 4096) if group[0].rows == 32 == group[0].cols]
    assert sizes == [2, 2, 2]
    assert [len(group) for group in OnHost().groups(specs, 4096)] == [1] * len(specs)


# Which of them.


def test_a_cpu_is_left_to_numpy_and_other_devices_to_torch() -> None:
    assert isinstance(measures_on("cpu"), OnHost)
    chosen = measures_on("cuda:1")
    assert isinstance(chosen, OnDevice) and chosen.device == torch.device("cuda:1")


@pytest.mark.slow
def test_a_model_is_mined_on_the_device_that_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(stage_module, "measures_on", lambda device: (asked.append(device), on_device())[1])
    make_tiny_checkpoint("tinybert", tmp_path / "one", 0)
    mine_into(tmp_path / "home", [request(tmp_path / "one", "one")], FAST)
    assert asked == ["cpu"]


def test_a_canonical_matrix_stays_as_it_is() -> None:
    spec, (matrix,) = matrix_spec("any", 20, 16), np.random.default_rng(0).standard_normal((1, 20, 16))
    values = canonical(np.asarray(matrix, dtype=np.float32), spec)
    version = Version(spec=spec, kinds=("shuffle",), num_rows=20, make=lambda: values, is_canonical=True)
    known, found = (replace(version, is_canonical=each) for each in (True, False))
    first, second = on_device().of([known, found])
    assert first.statistics == pytest.approx(second.statistics, rel=1e-6)
