"""What a DNA gives back is what the fit reported: over all specimens, kinds and scopes, in the files' own shapes."""

import json
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from pipeline.dna.dna import Dna
from pipeline.dna.stored import place
from pipeline.settings import DnaType, Scope
from pipeline.weights.reader import WeightReader
from tests.support.dnas import BRIEF, SPECIMENS, Fitted, fit_files, r2_of
from tests.support.weight_files import files_of
from zoo.tensors import Role, TensorSpec

NAMES = sorted(path.parent.name for path in SPECIMENS.glob("*/model.safetensors"))
QUICK = {("gpt2-a", "separable", "tensor"), ("cnn-a", "separable", "model"), ("gpt2-a", "hierarchical", "tensor")}
"""The others take the rest of a minute."""
WAYS = [
    pytest.param(name, kind, scope, marks=[] if (name, kind, scope) in QUICK else pytest.mark.slow)
    for name in NAMES
    for kind in ("separable", "spectral", "hierarchical", "adaptive")
    for scope in ("tensor", "model")
]
R2_TOLERANCE = 1e-6


def specimen(name: str, directory: Path, **changes: Any) -> Fitted:
    folder = SPECIMENS / name
    files = files_of(folder / "model.safetensors", config=json.loads((folder / "config.json").read_text()))
    return fit_files(files, replace(BRIEF, **changes), directory)


def part_in_file(fitted: Fitted, name: str) -> torch.Tensor:
    """The weights of a tensor of the DNA, cut from the file's tensor by hand."""
    layout = fitted.dna[name].layout
    weights = load_file(fitted.files.paths[0])[layout.tensor]
    if layout.entry is not None:
        weights = weights[layout.entry]
    if layout.row_slice is None:
        return weights
    start, stop = layout.row_slice
    picked = [row for row in range(max(weights.shape)) if start <= row % (layout.row_period or 10**9) < stop]
    return weights[:, picked] if layout.transposed else weights[picked]


@pytest.mark.parametrize(("name", "kind", "scope"), WAYS)
def test_matrices_have_the_r2_that_is_reported(name: str, kind: DnaType, scope: Scope, tmp_path: Path) -> None:
    fitted = specimen(name, tmp_path, dna_type=kind, scope=scope)
    assert set(fitted.dna) == {spec.name for spec in fitted.inventory.matrices}
    for tensor in fitted.dna.tensors:
        weights, guess = part_in_file(fitted, tensor.name), tensor.matrix()
        assert (guess.shape, guess.dtype) == (weights.shape, weights.dtype)
        assert r2_of(weights, guess, tensor) == pytest.approx(fitted.reported_r2(tensor.name), abs=R2_TOLERANCE)
        assert tensor.r2 == pytest.approx(fitted.reported_r2(tensor.name), abs=1e-12)
    stored = load_file(fitted.files.paths[0])
    state = fitted.dna.state_dict()
    assert set(state) == {spec.tensor for spec in fitted.inventory.matrices} and not fitted.dna.incomplete
    sse = sum(float((stored[each] - state[each]).double().square().sum()) for each in state)
    assert sse == pytest.approx(sum(each.errors.sse for each in fitted.result.tensors), rel=1e-5)


def test_means_that_were_bought_come_back(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    table = torch.randn(60, 24, generator=generator) + 4 * torch.randn(24, generator=generator)
    rows = torch.randn(30, 20, generator=generator) + 4 * torch.randn(30, 1, generator=generator)
    weights = {"embeddings.word_embeddings.weight": table, "layer.0.intermediate.dense.weight": rows}
    save_file(weights, tmp_path / "model.safetensors")
    for kind in ("separable", "hierarchical"):
        fitted = fit_files(
            files_of(tmp_path / "model.safetensors"), replace(BRIEF, dna_type=kind, budget=0.2), tmp_path / kind
        )
        bought = [(t.kept.row_means is not None, t.kept.col_means is not None) for t in fitted.dna.tensors]
        assert (False, True) in bought and (True, False) in bought
        for tensor in fitted.dna.tensors:
            assert r2_of(weights[tensor.name], tensor.matrix(), tensor) == pytest.approx(
                fitted.reported_r2(tensor.name), abs=R2_TOLERANCE
            )


# What lies in a file in another way than a matrix.


def made_of(state: dict[str, torch.Tensor], config: dict[str, Any], directory: Path) -> Fitted:
    save_file(state, directory / "model.safetensors")
    return fit_files(files_of(directory / "model.safetensors", config=config), BRIEF, directory / "fit")


def values(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_a_fused_projection_that_repeats_another_is_put_together_twice(tmp_path: Path) -> None:
    names = [f"transformer.h.{layer}.self_attention.query_key_value.weight" for layer in range(2)]
    state = {name: values(72, 24) for name in names}
    fitted = made_of(state, {"model_type": "bloom", "n_head": 3, "hidden_size": 24}, tmp_path)
    assert list(fitted.dna) == [f"{names[0]}[{part}]" for part in ("query", "key", "value")]
    rebuilt = fitted.dna.state_dict()
    assert torch.equal(rebuilt[names[0]], rebuilt[names[1]]) and rebuilt[names[1]].shape == (72, 24)


def test_a_fused_projection_by_head_is_put_together_as_stored(tmp_path: Path) -> None:
    name = "transformer.h.0.self_attention.query_key_value.weight"
    fitted = made_of({name: values(72, 24)}, {"model_type": "bloom", "n_head": 3, "hidden_size": 24}, tmp_path)
    assert list(fitted.dna) == [f"{name}[query]", f"{name}[key]", f"{name}[value]"]
    whole = fitted.dna.state_dict()[name]
    assert whole.shape == (72, 24)
    by_head = whole.view(3, 3, 8, 24)
    for number, tensor in enumerate(fitted.dna.tensors):
        assert torch.equal(by_head[:, number].reshape(24, 24), tensor.matrix())
        assert torch.equal(
            part_in_file(fitted, tensor.name), values(72, 24).view(3, 3, 8, 24)[:, number].reshape(24, 24)
        )
        assert r2_of(part_in_file(fitted, tensor.name), tensor.matrix(), tensor) == pytest.approx(
            tensor.r2, abs=R2_TOLERANCE
        )


def test_a_projection_with_an_axis_of_heads_is_put_back_where_it_was_read(tmp_path: Path) -> None:
    """As XLNet has its queries: (inputs, heads, dimensions of a head)."""
    save_file({"q": values(24, 3, 8)}, tmp_path / "model.safetensors")
    spec = TensorSpec(
        name="q", tensor="q", dtype="F32", rows=24, cols=24, role=Role.ATTENTION_QUERY, depth=None, transposed=True
    )
    whole = torch.empty(24, 3, 8)
    with WeightReader(files_of(tmp_path / "model.safetensors")) as reader:
        place(torch.from_numpy(reader.matrix(spec)), reader.layout(spec), whole)
    assert torch.equal(whole, values(24, 3, 8))


@pytest.mark.parametrize(("kind", "shape"), [("mixtral", (4, 40, 24)), ("gpt_oss", (4, 24, 40))])
def test_stacked_experts_are_put_together_as_stored(kind: str, shape: tuple[int, ...], tmp_path: Path) -> None:
    name = "model.layers.0.mlp.experts.gate_up_proj"
    stack = values(*shape)
    fitted = made_of({name: stack}, {"model_type": kind, "hidden_size": 24}, tmp_path)
    assert len(fitted.dna) == 8 and fitted.dna.stored_names == (name,)
    whole = fitted.dna.state_dict()[name]
    assert whole.shape == stack.shape
    sse = sum(each.errors.sse for each in fitted.result.tensors)
    assert float((stack - whole).double().square().sum()) == pytest.approx(sse, rel=1e-5)


@pytest.mark.parametrize("part", ["w1", "w2"])
def test_experts_in_two_dimensions_are_put_together_as_stored(part: str, tmp_path: Path) -> None:
    name, stack = f"transformer.blocks.0.ffn.experts.mlp.{part}", values(3 * 40, 24)
    fitted = made_of({name: stack}, {"model_type": "dbrx", "ffn_config": {"moe_num_experts": 3}}, tmp_path)
    assert [each.shape for each in fitted.dna.tensors] == 3 * [(40, 24) if part == "w1" else (24, 40)]
    whole = fitted.dna.state_dict()[name]
    assert whole.shape == stack.shape
    sse = sum(each.errors.sse for each in fitted.result.tensors)
    assert float((stack - whole).double().square().sum()) == pytest.approx(sse, rel=1e-5)


def test_a_stack_of_which_a_sample_is_mined_is_incomplete(tmp_path: Path) -> None:
    name = "model.layers.0.mlp.experts.down_proj"
    fitted = made_of({name: values(20, 6, 8)}, {"model_type": "mixtral", "hidden_size": 6}, tmp_path)
    assert len(fitted.dna) == 16 and fitted.dna.incomplete == {name} and fitted.dna.state_dict() == {}


def test_second_copies_come_with_the_tensor_that_they_repeat(tmp_path: Path) -> None:
    table = values(40, 16)
    state = {
        "bert.embeddings.word_embeddings.weight": table,
        "cls.predictions.decoder.weight": table.clone(),
        "bert.encoder.layer.0.intermediate.dense.weight": values(32, 16),
    }
    fitted = made_of(state, {"model_type": "bert", "hidden_size": 16}, tmp_path)
    assert len(fitted.dna) == 2
    found = fitted.dna.state_dict()
    assert set(found) == set(state)
    assert found["cls.predictions.decoder.weight"] is found["bert.embeddings.word_embeddings.weight"]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_the_dtype_of_the_file_comes_back(dtype: torch.dtype, tmp_path: Path) -> None:
    name = "layer.0.intermediate.dense.weight"
    fitted = made_of({name: values(32, 16).to(dtype)}, {}, tmp_path)
    tensor = fitted.dna[name]
    assert tensor.matrix().dtype == fitted.dna.state_dict()[name].dtype == dtype
    exact = tensor.matrix(dtype=None)
    assert exact.dtype == torch.float32 and torch.equal(exact.to(dtype), tensor.matrix())
    assert tensor.matrix(torch.float16).dtype == torch.float16


@pytest.mark.slow
def test_large_matrices_come_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = {kind: specimen("gpt2-a", tmp_path / kind, dna_type=kind) for kind in ("separable", "spectral")}
    expected = {kind: fitted.dna.state_dict() for kind, fitted in whole.items()}
    monkeypatch.setattr("pipeline.dna.decoder.PRODUCTS_PER_PIECE", 1000)
    monkeypatch.setattr("pipeline.dna.decoder.POINTS_PER_PIECE", 700)
    for kind, fitted in whole.items():
        again = Dna.load(fitted.path).state_dict()
        for name, tensor in expected[kind].items():
            assert torch.allclose(again[name], tensor, atol=1e-5 * float(tensor.abs().max()))
    assert all(prod(tensor.shape) > 1000 for tensor in expected["separable"].values())
