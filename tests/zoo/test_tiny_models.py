"""The tiny checkpoints stand for the real ones: same names, same format, same traps."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tests.support.architectures import ARCHITECTURES
from tests.support.tensor_headers import load_fixture
from tests.support.tiny_models import make_tiny_checkpoint
from tests.support.wider_architectures import WIDER_ARCHITECTURES
from zoo.registry import ALL_CARDS
from zoo.roles import describe_tensors
from zoo.tensors import Role, TensorHeader, TensorKind

DTYPES = {
    torch.float32: "F32",
    torch.float16: "F16",
    torch.int64: "I64",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}
BUILT = {**ARCHITECTURES, **WIDER_ARCHITECTURES}
every_key = pytest.mark.parametrize("key", ALL_CARDS)


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("tiny")
    return {key: make_tiny_checkpoint(key, root / key, seed=0) for key in ALL_CARDS}


def load(path: Path) -> dict[str, Any]:
    return torch.load(path, weights_only=True) if path.suffix == ".bin" else load_file(path)


def headers_of(path: Path) -> list[TensorHeader]:
    return [TensorHeader(name=n, shape=tuple(t.shape), dtype=DTYPES[t.dtype]) for n, t in load(path).items()]


def without_numbers(names: list[str]) -> set[str]:
    return {re.sub(r"\.\d+\.", ".N.", name) for name in names}


@pytest.mark.slow
@every_key
def test_tensors_are_named_as_at_full_size(key: str, checkpoints: dict[str, Path]) -> None:
    tiny = {header.name for header in headers_of(checkpoints[key])}
    full = {header.name for header in load_fixture(key).file}
    assert without_numbers(list(tiny)) == without_numbers(list(full))
    assert tiny <= full


@pytest.mark.slow
@every_key
def test_the_file_is_the_one_on_the_card_and_small(key: str, checkpoints: dict[str, Path]) -> None:
    assert checkpoints[key].name == (ALL_CARDS[key].weight_file or "model.safetensors")
    assert checkpoints[key].stat().st_size < 2_000_000


@every_key
def test_every_tiny_tensor_has_a_role_and_a_view(key: str, checkpoints: dict[str, Path]) -> None:
    config = json.loads((checkpoints[key].parent / "config.json").read_text())
    tensors = load(checkpoints[key])
    specs = describe_tensors(headers_of(checkpoints[key]), config)
    assert {spec.tensor for spec in specs} == set(tensors)
    assert all(spec.role is not Role.OTHER for spec in specs if spec.kind is TensorKind.WEIGHT)
    sizes = {name: 0 for name in tensors}
    for spec in specs:
        sizes[spec.tensor] += spec.num_weights
    assert sizes == {name: tensor.numel() for name, tensor in tensors.items()}


@pytest.mark.slow
@every_key
def test_transformers_loads_the_checkpoint(key: str, checkpoints: dict[str, Path]) -> None:
    import transformers

    config = json.loads((checkpoints[key].parent / "config.json").read_text())
    model_class = getattr(transformers, config["architectures"][0])
    _, info = model_class.from_pretrained(checkpoints[key].parent, output_loading_info=True)
    absent = BUILT[key].absent
    assert not [name for name in info["missing_keys"] if not re.search(absent, name)] and not info["mismatched_keys"]


def test_a_seed_gives_the_same_bytes(tmp_path: Path, checkpoints: dict[str, Path]) -> None:
    again = make_tiny_checkpoint("minilm-l6", tmp_path / "again", seed=0)
    other = make_tiny_checkpoint("minilm-l6", tmp_path / "other", seed=1)
    assert again.read_bytes() == checkpoints["minilm-l6"].read_bytes() != other.read_bytes()


def test_tied_weights_share_storage_in_a_bin_and_not_in_safetensors(checkpoints: dict[str, Path]) -> None:
    pickled = load(checkpoints["tinybert"])
    names = "bert.embeddings.word_embeddings.weight", "cls.predictions.decoder.weight"
    assert len({pickled[name].data_ptr() for name in names}) == 1
    plain = load(checkpoints["distilgpt2"])
    assert len({plain[name].data_ptr() for name in ("transformer.wte.weight", "lm_head.weight")}) == 2


def test_deberta_is_stored_in_half_precision(checkpoints: dict[str, Path]) -> None:
    assert {header.dtype for header in headers_of(checkpoints["deberta-v3-small"])} == {"F16", "I64"}
