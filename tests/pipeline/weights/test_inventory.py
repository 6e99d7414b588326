"""Extraction: every storage format, every dtype, matrix views, ties, values that are no numbers."""

import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from dna_zoo.errors import DamagedFileError, ExtractError, NonFiniteWeightsError, PartialModelError, UnsafeFileError
from pipeline.events import Event
from pipeline.fetch.request import ModelRequest
from pipeline.fetch.stage import fetch
from pipeline.weights import reader as reader_module
from pipeline.weights.files import WeightFiles
from pipeline.weights.inventory import Inventory, extract, take_inventory
from pipeline.weights.reader import WeightReader
from tests.support.tiny_models import make_tiny_checkpoint
from tests.support.weight_files import files_of
from zoo.registry import ALL_CARDS
from zoo.tensors import Role, TensorKind, TensorSpec

GPT2 = {"model_type": "gpt2", "n_head": 2}


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def save(tensors: dict[str, torch.Tensor], path: Path) -> WeightFiles:
    if path.suffix == ".safetensors":
        save_file(tensors, path)
    else:
        torch.save(tensors, path)
    return files_of(path)


def spec_of(inventory: Inventory, name: str) -> TensorSpec:
    return next(spec for spec in inventory.specs if spec.name == name)


# Formats and dtypes.

FORMATS = ["model.safetensors", "pytorch_model.bin", "old.pt"]


def save_as(tensors: dict[str, torch.Tensor], path: Path) -> WeightFiles:
    if path.name.startswith("old"):
        torch.save(tensors, path, _use_new_zipfile_serialization=False)
        return files_of(path)
    return save(tensors, path)


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64], ids=str)
def test_values_are_torchs_own_in_every_format(tmp_path: Path, name: str, dtype: torch.dtype) -> None:
    stored = {"a.weight": random(5, 7).to(dtype), "b.weight": random(4, 3, seed=1).to(dtype)}
    with WeightReader(save_as(stored, tmp_path / name)) as reader:
        for tensor, values in stored.items():
            read = reader.tensor(tensor)
            assert read.dtype == np.float32 and read.flags.c_contiguous
            assert np.array_equal(read, values.to(torch.float32).numpy())


@pytest.mark.parametrize("name", FORMATS)
def test_headers_name_shapes_and_dtypes(tmp_path: Path, name: str) -> None:
    stored = {"a.weight": random(5, 7).half(), "n": torch.tensor(3), "e": random(1, 2).bfloat16()}
    with WeightReader(save_as(stored, tmp_path / name)) as reader:
        found = {header.name: (header.shape, header.dtype) for header in reader.headers}
    assert found == {"a.weight": ((5, 7), "F16"), "n": ((), "I64"), "e": ((1, 2), "BF16")}


def test_half_precisions_keep_infinity_subnormals_and_sign(tmp_path: Path) -> None:
    values = torch.tensor([0.0, -0.0, float("inf"), float("-inf"), 6e-8, -1e-40, 65504.0, float("nan")])
    for dtype in (torch.float16, torch.bfloat16):
        with WeightReader(save({"w": values.to(dtype)}, tmp_path / f"{dtype}.safetensors")) as reader:
            read, wanted = reader.tensor("w"), values.to(dtype).float().numpy()
        assert np.array_equal(read.view(np.uint32)[:-1], wanted.view(np.uint32)[:-1]) and np.isnan(read[-1])


def test_float64_is_rounded_and_said_so(tmp_path: Path) -> None:
    files = save({"a.weight": random(5, 7).double() + 1e-12}, tmp_path / "model.safetensors")
    assert "1 tensors are stored as float64 and read as float32." in extract(files).notes


def test_dtype_without_plain_numbers_is_refused(tmp_path: Path) -> None:
    torch.save({"a.weight": random(5, 7).to(torch.complex64), "b.weight": random(5, 7)}, tmp_path / "model.bin")
    with pytest.raises(PartialModelError, match=r"'a.weight' \(stored as complex64\)"):
        extract(files_of(tmp_path / "model.bin"))


def test_numbers_of_8_bits_are_read(tmp_path: Path) -> None:
    stored = random(5, 7).to(torch.float8_e4m3fn)
    with WeightReader(save({"a.weight": stored}, tmp_path / "model.safetensors")) as reader:
        np.testing.assert_array_equal(reader.tensor("a.weight"), stored.float())


@pytest.mark.parametrize("layout", ["to_sparse", "to_sparse_csr"])
@pytest.mark.filterwarnings("ignore:Sparse CSR:UserWarning")
def test_sparse_tensor_is_read_as_the_dense_one(tmp_path: Path, layout: str) -> None:
    weight = torch.relu(random(5, 7))
    torch.save({"a.weight": getattr(weight, layout)()}, tmp_path / "model.bin")
    with WeightReader(files_of(tmp_path / "model.bin")) as reader:
        np.testing.assert_array_equal(reader.tensor("a.weight"), weight)


def test_files_are_opened_when_first_asked_for_and_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files, opened = save({"a.weight": random(5, 7)}, tmp_path / "model.safetensors"), []
    real = reader_module.SafetensorsFile
    monkeypatch.setattr(reader_module, "SafetensorsFile", lambda path: opened.append(path) or real(path))
    with WeightReader(files) as reader:
        assert not opened
        take_inventory(reader)
        assert reader.tensor("a.weight").shape == (5, 7) and opened == [*files.paths]


def test_checkpoint_of_a_training_is_unwrapped(tmp_path: Path) -> None:
    torch.save({"epoch": 3, "state_dict": {"a.weight": random(5, 7)}}, tmp_path / "last.pt")
    assert extract(files_of(tmp_path / "last.pt")).num_weights == 35


def test_tensors_are_read_from_all_shards(tmp_path: Path) -> None:
    first = save({"a.weight": random(5, 7)}, tmp_path / "a.safetensors").paths
    second = save({"b.weight": random(4, 3)}, tmp_path / "b.safetensors").paths
    inventory = extract(files_of(*first, *second))
    assert (inventory.num_weights, inventory.num_tensors) == (35 + 12, 2)


def test_file_that_is_gone(tmp_path: Path) -> None:
    with pytest.raises(ExtractError, match="cannot be read"):
        extract(files_of(tmp_path / "gone.safetensors"))


def test_file_without_trained_weights(tmp_path: Path) -> None:
    with pytest.raises(ExtractError, match="no trained weights"):
        extract(save({"position_ids": torch.arange(5)}, tmp_path / "model.safetensors"))


# Matrix views.


@pytest.mark.parametrize("name", FORMATS)
def test_fused_projection_stored_in_out_is_split_and_transposed(tmp_path: Path, name: str) -> None:
    fused = random(4, 12)
    files = save_as({"h.0.attn.c_attn.weight": fused, "h.0.mlp.c_fc.weight": random(4, 16)}, tmp_path / name)
    files = files_of(*files.paths, config=GPT2)
    inventory = extract(files)
    with WeightReader(files) as reader:
        for part, start in (("query", 0), ("key", 4), ("value", 8)):
            matrix = reader.matrix(spec_of(inventory, f"h.0.attn.c_attn.weight[{part}]"))
            assert matrix.flags.c_contiguous and np.array_equal(matrix, fused.numpy()[:, start : start + 4].T)
    assert (inventory.num_weights, inventory.num_tensors) == (48 + 64, 2)


def test_convolution_is_unfolded(tmp_path: Path) -> None:
    kernel = random(6, 3, 2, 2)
    files = save({"stem.conv.weight": kernel}, tmp_path / "model.safetensors")
    with WeightReader(files) as reader:
        matrix = reader.matrix(extract(files).specs[0])
    assert np.array_equal(matrix, kernel.numpy().reshape(6, 12))


def test_axes_of_length_one_are_dropped(tmp_path: Path) -> None:
    token = random(1, 1, 8)
    files = save({"embeddings.cls_token": token, "x.weight": random(2, 2)}, tmp_path / "model.safetensors")
    with WeightReader(files) as reader:
        assert reader.matrix(spec_of(extract(files), "embeddings.cls_token")).shape == (1, 8)


@pytest.mark.slow
@pytest.mark.parametrize("key", sorted(ALL_CARDS))
def test_every_view_of_every_architecture_can_be_read(tmp_path: Path, key: str) -> None:
    files = fetch(ModelRequest(name=key, weights=make_tiny_checkpoint(key, tmp_path, 0)), home=tmp_path / "home")
    inventory = extract(files)
    with WeightReader(files) as reader:
        shapes = [(spec, reader.matrix(spec).shape) for spec in inventory.specs if spec.kind is TensorKind.WEIGHT]
    assert all(shape == (spec.rows, spec.cols) for spec, shape in shapes)
    assert inventory.num_weights == sum(spec.num_weights for spec, _ in shapes) > 1000
    assert inventory.nonfinite == {} and not any("named like" in note for note in inventory.notes)


# Ties.


def tied_state(head: torch.Tensor, table: torch.Tensor) -> dict[str, torch.Tensor]:
    return {"lm_head.weight": head, "transformer.wte.weight": table, "transformer.h.0.ln_1.weight": random(4)}


@pytest.mark.parametrize("name", ["pytorch_model.bin", "old.pt"])
def test_shared_storage_counts_once(tmp_path: Path, name: str) -> None:
    table = random(9, 4)
    files = files_of(*save_as(tied_state(table, table), tmp_path / name).paths, config=GPT2)
    with WeightReader(files) as reader:
        assert reader.shared == {"transformer.wte.weight": "lm_head.weight"}
    inventory = extract(files)
    assert inventory.num_weights == 36 + 4
    assert spec_of(inventory, "lm_head.weight").tied_to == "transformer.wte.weight"


def test_transposed_view_of_one_storage_is_no_copy(tmp_path: Path) -> None:
    square = random(4, 4)
    torch.save({"a.weight": square, "b.weight": square.t(), "c.weight": square[1:]}, tmp_path / "model.bin")
    with WeightReader(files_of(tmp_path / "model.bin")) as reader:
        assert reader.shared == {} and np.array_equal(reader.tensor("b.weight"), square.numpy().T)


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
def test_copy_stored_twice_counts_once(tmp_path: Path, name: str) -> None:
    table = random(9, 4)
    files = save(tied_state(table.clone(), table), tmp_path / name)
    assert extract(files_of(*files.paths, config=GPT2)).num_weights == 36 + 4


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
def test_head_named_like_a_copy_that_differs_counts_apart(tmp_path: Path, name: str) -> None:
    files = save(tied_state(random(9, 4, seed=1), random(9, 4)), tmp_path / name)
    inventory = extract(files_of(*files.paths, config=GPT2))
    assert inventory.num_weights == 2 * 36 + 4
    assert spec_of(inventory, "lm_head.weight").role is Role.HEAD
    assert "counts apart" in inventory.notes[0]


# Values that are no numbers.


def broken(tmp_path: Path, *places: tuple[str, float]) -> WeightFiles:
    tensors = {"a.weight": random(5, 7), "b.weight": random(4, 3), "c.bias": random(3)}
    for name, value in places:
        tensors[name].view(-1)[:2] = value
    return save(tensors, tmp_path / "model.safetensors")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_nonfinite_tensor_is_named_and_counted(tmp_path: Path, value: float) -> None:
    with pytest.raises(NonFiniteWeightsError, match=r"'b.weight' of 'tiny' holds 2 values") as caught:
        extract(broken(tmp_path, ("b.weight", value)))
    assert "--allow-nonfinite" in caught.value.hint


def test_further_nonfinite_tensors_are_counted(tmp_path: Path) -> None:
    with pytest.raises(NonFiniteWeightsError, match="and 1 more of its tensors"):
        extract(broken(tmp_path, ("b.weight", np.nan), ("c.bias", np.inf)))


def test_allowed_nonfinite_tensor_is_left_out_and_listed(tmp_path: Path) -> None:
    inventory = extract(broken(tmp_path, ("b.weight", np.nan)), allow_nonfinite=True)
    assert inventory.nonfinite == {"b.weight": 2}
    assert {spec.name for spec in inventory.specs} == {"a.weight", "c.bias"}
    assert inventory.num_weights == 35 + 12 + 3 and "'b.weight' is left out" in inventory.notes[0]


def test_float64_beyond_float32_is_not_finite(tmp_path: Path) -> None:
    files = save({"a.weight": torch.full((2, 2), 1e300, dtype=torch.float64)}, tmp_path / "model.safetensors")
    with pytest.raises(NonFiniteWeightsError, match="4 values"):
        extract(files)


def test_infinity_in_a_mask_is_no_trouble(tmp_path: Path) -> None:
    mask = torch.full((1, 1, 8, 8), float("-inf"))
    tensors = {"h.0.attn.bias": mask, "h.0.attn.c_attn.weight": random(4, 12)}
    files = save(tensors, tmp_path / "model.safetensors")
    assert extract(files_of(*files.paths, config=GPT2)).num_weights == 48


def test_progress_ends_at_all_weights(tmp_path: Path) -> None:
    events: list[Event] = []
    inventory = extract(broken(tmp_path), on_event=events.append)
    assert events[-1].done == events[-1].total == inventory.num_weights


# Pickles.


class Marker:
    """Unpickled by a reader that trusts, this creates a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return eval, (f"open({str(self.path)!r}, 'w').close()",)


@pytest.mark.parametrize("kind", ["zip", "old", "plain"])
def test_malicious_pickle_is_refused_and_not_run(tmp_path: Path, kind: str) -> None:
    marker, path = tmp_path / "marker", tmp_path / "pytorch_model.bin"
    payload = {"a.weight": random(5, 7), "evil": Marker(marker)}
    if kind == "plain":
        path.write_bytes(pickle.dumps(payload, protocol=4))
    else:
        torch.save(payload, path, _use_new_zipfile_serialization=kind == "zip")
    with pytest.raises(UnsafeFileError, match="was not run") as caught:
        extract(files_of(path))
    text = f"{caught.value} {caught.value.hint}"
    assert "weights_only" not in text and "torch.load" not in text and "safetensors" in text
    assert not marker.exists()


def test_the_payload_would_run_under_a_reader_that_trusts(tmp_path: Path) -> None:
    pickle.loads(pickle.dumps(Marker(tmp_path / "marker")))
    assert (tmp_path / "marker").exists()


def test_refused_function_is_named(tmp_path: Path) -> None:
    torch.save({"evil": Marker(tmp_path / "marker")}, tmp_path / "model.bin")
    with pytest.raises(UnsafeFileError, match="wants to call 'eval'"):
        extract(files_of(tmp_path / "model.bin"))


@pytest.mark.parametrize("name", ["zip.bin", "old.bin"])
@pytest.mark.parametrize("keep", [0.0, 0.01, 0.5, 0.99])
def test_truncated_pickle_is_damaged(tmp_path: Path, name: str, keep: float) -> None:
    path = save_as({"a.weight": random(50, 70)}, tmp_path / name).paths[0]
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * keep)])
    with pytest.raises(DamagedFileError, match="cannot be read by torch as a file of weights") as caught:
        extract(files_of(path))
    assert "weights_only" not in caught.value.message


def test_file_that_is_no_pickle_is_damaged(tmp_path: Path) -> None:
    (tmp_path / "model.bin").write_bytes(b"<html>log in first</html>" * 9)
    with pytest.raises(DamagedFileError):
        extract(files_of(tmp_path / "model.bin"))


def test_pickle_without_names_is_refused(tmp_path: Path) -> None:
    torch.save([random(5, 7)], tmp_path / "model.bin")
    with pytest.raises(ExtractError, match="no tensors by name"):
        extract(files_of(tmp_path / "model.bin"))


# The price.

PEAK = """
import resource, sys
from dataclasses import replace
from pathlib import Path
from pipeline.weights.inventory import extract
from pipeline.weights.reader import WeightReader
from pipeline.fetch.stage import fetch
from pipeline.fetch.request import ModelRequest
files = fetch(ModelRequest(name=sys.argv[1]), home=Path(sys.argv[2]))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
inventory = extract(files)
with WeightReader(files) as reader:
    for spec in inventory.specs:
        reader.matrix(spec)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before, "torch" in sys.modules)
"""


@pytest.mark.slow
def test_memory_is_that_of_a_tensor_and_not_of_the_model(tmp_path: Path) -> None:
    tensors = {f"layer.{n}.weight": torch.ones(1000, 1000) * n for n in range(24)}
    save(tensors, tmp_path / "model.safetensors")
    command = [sys.executable, "-c", PEAK, str(tmp_path), str(tmp_path / "home")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    kibibytes, has_torch = done.stdout.split()
    # The model is 96 MB, a tensor 4 MB; finding NaN takes a mask of 1 MB more.
    assert int(kibibytes) < 24_000 and has_torch == "False"


@pytest.mark.minilm
def test_real_minilm_is_counted(tmp_path: Path) -> None:
    files = fetch(ModelRequest(name="minilm-l6"), home=tmp_path)
    inventory = extract(files)
    assert (inventory.num_weights, inventory.num_tensors, inventory.nonfinite) == (22_713_216, 103, {})


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.safetensors"])
@pytest.mark.parametrize("is_split", [False, True])
def test_a_fused_projection_may_repeat_another(tmp_path: Path, name: str, is_split: bool) -> None:
    first, second = ("h.0.attn.qkv.weight", "h.1.attn.qkv.weight") if is_split else ("h.0.a.wqkv", "h.1.a.wqkv")
    shared = random(12, 4)
    second_value = shared if name.endswith("bin") else shared.clone()
    files = save_as({first: shared, second: second_value, "h.0.mlp.up.weight": random(5, 4)}, tmp_path / name)
    inventory = extract(files)
    tied = {spec.name: spec.tied_to for spec in inventory.specs if spec.kind is TensorKind.TIED}
    ends = [f"[{part}]" for part in ("query", "key", "value")] if is_split else [""]
    assert tied == {second + end: first + end for end in ends}
    assert (inventory.account.tied, inventory.num_weights) == (4 * 48, 48 + 20)


def test_a_fused_projection_with_heads_of_its_own_repeats_none(tmp_path: Path) -> None:
    value = random(12, 4)
    tensors = {"layers.0.attn.qkv_proj.weight": value, "layers.1.attn.qkv_proj.weight": value}
    config = {"model_type": "phi3", "num_attention_heads": 2, "num_key_value_heads": [2, 1], "head_dim": 2}
    files = save_as(tensors, tmp_path / "pytorch_model.bin")
    specs = extract(replace(files, config=config)).specs
    assert [spec.kind for spec in specs] == [TensorKind.WEIGHT] * 6
