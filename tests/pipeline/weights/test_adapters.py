"""Adapters: what comes out is what peft merges, and the updates are the difference to the base."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from dna_zoo.errors import ExtractError, FetchError
from pipeline.fetch.request import ModelRequest
from pipeline.fetch.stage import fetch
from pipeline.weights.inventory import extract
from pipeline.weights.reader import WeightReader

QUERY: dict[str, Any] = {"r": 4, "lora_alpha": 8, "target_modules": ["query"]}
FIRST = "0.attention.self.query"
SETTINGS: dict[str, dict[str, Any]] = {
    "plain": QUERY | {"target_modules": ["query", "value"]},
    "rank-stabilised": QUERY | {"use_rslora": True},
    "patterns": QUERY | {"rank_pattern": {FIRST: 2}, "alpha_pattern": {FIRST: 5}},
    "embedding": QUERY | {"target_modules": ["word_embeddings"]},
    "saved": QUERY | {"modules_to_save": ["pooler"]},
}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from transformers import BertConfig, BertModel

    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    folder = tmp_path_factory.mktemp("base")
    BertModel(BertConfig(vocab_size=40, max_position_embeddings=12, **sizes)).save_pretrained(folder)
    return folder


def adapted(base: Path, folder: Path, settings: dict[str, Any]) -> dict[str, torch.Tensor]:
    """An adapter with weights at random in `folder`, and the weights of its base with it merged."""
    from peft import LoraConfig, get_peft_model
    from transformers import BertModel

    model = get_peft_model(BertModel.from_pretrained(base), LoraConfig(**settings))
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.copy_(torch.randn(parameter.shape, generator=generator))
    model.save_pretrained(folder)
    return {name: value.detach() for name, value in model.merge_and_unload().state_dict().items()}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("name", SETTINGS)
def test_merged_weights_and_updates_are_those_of_peft(base: Path, tmp_path: Path, name: str) -> None:
    merged, before = adapted(base, tmp_path / "adapter", SETTINGS[name]), load_file(base / "model.safetensors")
    changed = {key for key in before if not merged[key].equal(before[key])}
    assert changed
    request = ModelRequest(name=str(tmp_path / "adapter"))
    with WeightReader(fetch(request, home=tmp_path / "home")) as reader:
        assert set(reader.tensors) == set(before)
        for key in before:
            np.testing.assert_allclose(reader.tensor(key), merged[key], atol=1e-5)
    request = ModelRequest(name=str(tmp_path / "adapter"), adapter="delta")
    with WeightReader(fetch(request, home=tmp_path / "home")) as reader:
        assert set(reader.tensors) == changed
        for key in changed:
            expected = merged[key] if "pooler" in key else merged[key] - before[key]
            np.testing.assert_allclose(reader.tensor(key), expected, atol=1e-5)


def save_adapter(folder: Path, config: dict[str, Any], *more: str) -> None:
    folder.mkdir()
    stem = "base_model.model.layer.0.query"
    shapes = {f"{stem}.lora_A.weight": (2, 16), f"{stem}.lora_B.weight": (16, 2)} | dict.fromkeys(more, (16,))
    save_file({name: torch.ones(shape) for name, shape in shapes.items()}, folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "r": 2, "lora_alpha": 2} | config))


def test_an_adapter_whose_base_is_nowhere_says_so(tmp_path: Path) -> None:
    save_adapter(tmp_path / "adapter", {"base_model_name_or_path": "./gone"})
    with pytest.raises(FetchError, match=r"an adapter of '\./gone'") as caught:
        fetch(ModelRequest(name=str(tmp_path / "adapter")), home=tmp_path / "home")
    assert "--adapter delta" in caught.value.hint and "--base" in caught.value.hint


def test_an_adapter_of_another_base_is_refused(base: Path, tmp_path: Path) -> None:
    save_adapter(tmp_path / "adapter", {})
    files = fetch(ModelRequest(name=str(tmp_path / "adapter"), base=str(base)), home=tmp_path / "home")
    with pytest.raises(ExtractError, match=r"changes 'layer\.0\.query\.weight'"):
        extract(files)


@pytest.mark.parametrize(
    ("config", "more", "word"),
    [({"peft_type": "LOHA"}, (), "LOHA"), ({}, ("base_model.model.layer.0.query.lora_magnitude_vector",), "DoRA")],
)
def test_what_is_no_plain_lora_is_refused_by_name(
    tmp_path: Path, config: dict[str, Any], more: tuple[str, ...], word: str
) -> None:
    save_adapter(tmp_path / "adapter", config, *more)
    files = fetch(ModelRequest(name=str(tmp_path / "adapter"), adapter="delta"), home=tmp_path / "home")
    with pytest.raises(ExtractError, match=word):
        extract(files)
