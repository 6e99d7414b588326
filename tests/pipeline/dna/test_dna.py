"""A DNA as functions: at its samples, between them, at other resolutions and depths, and what it oscillates with."""

import math
from dataclasses import replace
from inspect import unwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from dna_zoo.errors import SettingsError, UnknownTensorError
from pipeline.dna.dna import FRAME_TYPES, Dna, DnaTensor
from pipeline.dna.frequencies import FREQUENCY_COLUMNS
from pipeline.fit.networks import SeparableDna, SpectralDna
from pipeline.order import canonicalise
from pipeline.settings import DnaType, Scope
from tests.support.dnas import BRIEF, fit_files
from tests.support.weight_files import files_of

KINDS: tuple[DnaType, ...] = ("separable", "spectral", "hierarchical", "adaptive")
NAME = "bert.encoder.layer.0.intermediate.dense.weight"
TABLE = "bert.embeddings.word_embeddings.weight"


@pytest.fixture(scope="module")
def dnas(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[DnaType, Scope], Dna]:
    """Of every kind and scope: two blocks' matrices, and a table whose column means are bought."""
    folder, generator = tmp_path_factory.mktemp("dna"), torch.Generator().manual_seed(0)
    weights = {
        f"bert.encoder.layer.{block}.intermediate.dense.weight": torch.randn(32, 16, generator=generator)
        for block in range(2)
    }
    weights[TABLE] = torch.randn(60, 16, generator=generator) + 4 * torch.randn(16, generator=generator)
    save_file(weights, folder / "model.safetensors")
    files = files_of(folder / "model.safetensors")
    scopes: tuple[Scope, ...] = ("tensor", "model")
    return {
        (kind, scope): fit_files(
            files, replace(BRIEF, dna_type=kind, scope=scope, budget=0.2), folder / f"{kind}-{scope}"
        ).dna
        for kind in KINDS
        for scope in scopes
    }


def grid(length: int) -> torch.Tensor:
    return torch.linspace(-1, 1, length)


def test_evaluated_at_its_samples_a_function_is_the_matrix(dnas: dict[tuple[DnaType, Scope], Dna]) -> None:
    for dna in dnas.values():
        for tensor in dna.tensors:
            rows, cols = tensor.shape
            canonical, scale = tensor.canonical(), float(tensor.canonical().abs().max())
            assert torch.allclose(tensor.evaluate(grid(rows), grid(cols)), canonical, atol=1e-4 * scale)
            assert torch.equal(tensor.resample((rows, cols)), canonical)
            in_order = canonicalise(tensor.in_file_order().numpy(), tensor.order)
            assert np.array_equal(in_order, canonical.numpy())


def test_any_coordinates_come_in_any_form_and_shape(dnas: dict[tuple[DnaType, Scope], Dna]) -> None:
    tensor = dnas["separable", "tensor"][NAME]
    rows, cols = np.array([[-1.0, 0.3], [0.5, 1.0]]), torch.tensor([0.0, 0.25, -0.5])
    found = tensor.evaluate(rows, cols)
    assert found.shape == (2, 2, 3) and found.dtype == torch.float32
    assert tensor.evaluate(0.3, 0.25).shape == ()
    assert float(tensor.evaluate(0.3, 0.25)) == pytest.approx(float(found[0, 1, 1]), rel=1e-5)
    for bad in (1.01, -2.0, math.nan):
        with pytest.raises(SettingsError, match=r"`cols` holds coordinates outside \[-1, 1\]"):
            tensor.evaluate(0, [0, bad])
    for bad in ("a", [[0, 1], [2]], torch.zeros(2, device="meta")):
        with pytest.raises(SettingsError, match="`rows` is no array of numbers"):
            tensor.evaluate(bad, 0)


def test_twice_the_resolution_has_the_samples_and_what_is_between(dnas: dict[tuple[DnaType, Scope], Dna]) -> None:
    for dna in dnas.values():
        for tensor in (dna[NAME], dna[TABLE]):
            rows, cols = tensor.shape
            fine = tensor.resample((2 * rows - 1, 2 * cols - 1))
            scale = float(tensor.canonical().abs().max())
            assert torch.allclose(fine[::2, ::2], tensor.canonical(), atol=1e-4 * scale)
            assert tensor.resample((5, 1)).shape == (5, 1)
    assert tensor.resample((np.int64(3), 4)).shape == (3, 4)


@pytest.mark.parametrize("shape", [(0, 4), (2.5, 3), (math.nan, 2), (5,), 5, "ab", (None, 2)])
def test_what_is_no_resolution_is_refused(dnas: dict[tuple[DnaType, Scope], Dna], shape: Any) -> None:
    with pytest.raises(SettingsError, match="`shape` is"):
        unwrap(DnaTensor.resample)(dnas["separable", "tensor"][NAME], shape)


def test_means_are_in_the_values_and_interpolated(dnas: dict[tuple[DnaType, Scope], Dna]) -> None:
    tensor = dnas["separable", "tensor"][TABLE]
    assert tensor.kept.col_means is not None and tensor.kept.row_means is None
    means, step = torch.from_numpy(tensor.kept.col_means), 2 / 15
    between = float(tensor.evaluate(0.1, -1 + step / 2))
    plain = replace(tensor, kept=replace(tensor.kept, col_means=None))
    assert between - float(plain.evaluate(0.1, -1 + step / 2)) == pytest.approx(float(means[:2].mean()), rel=1e-4)


def test_depth_is_a_coordinate_of_one_dna_for_the_model(dnas: dict[tuple[DnaType, Scope], Dna]) -> None:
    for kind in KINDS:
        tensor = dnas[kind, "model"][NAME]
        assert tensor.depth == 0.25
        here = tensor.evaluate(grid(5), grid(4))
        assert torch.equal(tensor.evaluate(grid(5), grid(4), depth=0.25), here)
        assert not torch.equal(tensor.evaluate(grid(5), grid(4), depth=0.75), here)
        with pytest.raises(SettingsError, match="`depth` is 2"):
            tensor.evaluate(0, 0, depth=2)
        with pytest.raises(SettingsError, match="depth is no coordinate"):
            dnas[kind, "tensor"][NAME].evaluate(0, 0, depth=0.5)


# Frequencies.


def test_every_unit_of_a_first_layer_has_its_cycles(dnas: dict[tuple[DnaType, Scope], Dna]) -> None:
    for (kind, scope), dna in dnas.items():
        frame = dna[NAME].frequencies()
        assert tuple(frame.columns) == FREQUENCY_COLUMNS and frame["amplitude"].is_monotonic_decreasing
        assert (frame["amplitude"] >= 0).all() and np.isfinite(frame.drop(columns="network")).all(axis=None)
        assert (frame["depth_cycles"] > 0).all() == (scope == "model")
        assert set(frame["network"]) == {
            "separable": {"rows.0", "cols.0"},
            "hierarchical": {"coarse", "middle", "fine"},
        }.get(kind, {"net"})
        assert ((frame["highest"] > frame["lowest"]).all()) == (kind == "adaptive")


def planted(tensor: DnaTensor) -> None:
    """Put sin(2 pi 5 t), t from 0 to 1 along the rows, into a network of one layer."""
    net = tensor.decoder.net
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.zero_()
        if isinstance(net, SpectralDna):
            net.net.weights[0][0, 0, 0] = 5 * math.pi / net.net.omega
            net.net.out_weight[0, 0, 0] = 0.7
        if isinstance(net, SeparableDna):
            rows, cols = net.rows[0], net.cols[0]
            rows.weights[0][0, 0, 0] = 5 * math.pi / net.row_omega  # type: ignore[index, union-attr]
            rows.out_weight[0, 0, 0] = 0.7  # type: ignore[index]
            cols.out_bias[0, 0, 0] = 1.0  # type: ignore[index]


@pytest.mark.parametrize("kind", ["separable", "spectral"])
def test_a_planted_frequency_is_found_with_its_amplitude(kind: DnaType, tmp_path: Path) -> None:
    weights = {NAME: torch.randn(40, 20, generator=torch.Generator().manual_seed(0))}
    save_file(weights, tmp_path / "model.safetensors")
    settings = replace(BRIEF, dna_type=kind, num_layers=1)
    tensor = fit_files(files_of(tmp_path / "model.safetensors"), settings, tmp_path / "fit").dna[NAME]
    planted(tensor)
    first = tensor.frequencies().iloc[0]
    assert first["row_cycles"] == pytest.approx(5, rel=1e-5) and first["col_cycles"] == 0
    assert first["amplitude"] == pytest.approx(0.7 * tensor.kept.scale, rel=0.05)
    assert (tensor.frequencies()["amplitude"][1:] < 1e-6).all()


# The mapping.


def test_a_dna_is_a_mapping_that_helps_with_names(dnas: dict[tuple[DnaType, Scope], Dna]) -> None:
    dna = dnas["separable", "tensor"]
    assert len(dna) == 3 == len(list(dna)) and NAME in dna and "query" not in dna
    assert [tensor.name for tensor in dna.tensors] == list(dna) and dna[NAME] is dna[NAME]
    with pytest.raises(UnknownTensorError, match="has no tensor") as caught:
        dna[NAME.removesuffix(".weight")]
    assert NAME in caught.value.hint
    with pytest.raises(UnknownTensorError, match="has no tensor 3"):
        unwrap(Dna.__getitem__)(dna, 3)
    with pytest.raises(UnknownTensorError, match="does not hold all of a stored tensor"):
        dna.stored("nothing")


def test_it_says_in_a_line_what_it_is(dnas: dict[tuple[DnaType, Scope], Dna]) -> None:
    dna = dnas["separable", "tensor"]
    assert repr(dna).startswith("<Dna of tiny: 3 tensors, 1,984 weights, separable, scope tensor, R² ")
    assert repr(dna[NAME]).startswith(f"<DnaTensor {NAME!r}: ffn_in, depth 0.25, 32 x 16, R² ")
    assert "\n" not in repr(dna) and "<table" in dna._repr_html_() and NAME in dna._repr_html_()
    frame = dna.frame()
    assert list(frame.index) == list(dna) and frame.loc[NAME, "role"] == "ffn_in"


def test_columns_of_the_frame_have_their_types_where_no_tensor_has_a_value(
    dnas: dict[tuple[DnaType, Scope], Dna],
) -> None:
    contents = dnas["separable", "tensor"].contents
    bare = [replace(each, r2=None, spec=replace(each.spec, block=None, depth=None)) for each in contents.tensors]
    for tensors in (contents.tensors, tuple(bare), ()):
        frame = Dna(contents=replace(contents, tensors=tensors)).frame()
        assert {name: str(kind) for name, kind in frame.dtypes.items()} == FRAME_TYPES
