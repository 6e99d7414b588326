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
    "magnitudes": QUERY | {"use_dora": True},
    "magnitudes of an embedding": QUERY | {"target_modules": ["word_embeddings"], "use_dora": True},
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
    if "use_dora" in SETTINGS[name]:
        return  # It has no update apart from its base.
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


# Files without a configuration.


@pytest.mark.parametrize("pattern", ["(a+)+$", "[", ".*query", "(?P<x>"])
def test_a_pattern_that_is_a_regular_expression_is_not_followed(pattern: str, tmp_path: Path) -> None:
    folder = tmp_path / "adapter"
    save_adapter(folder, QUERY | {"peft_type": "LORA", "alpha_pattern": {pattern: 3}})
    with pytest.raises(ExtractError, match="is no name of a module"):
        extract(fetch(ModelRequest(name=str(folder), adapter="delta"), home=tmp_path / "home"))


def test_an_adapter_of_itself_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "adapter"
    save_adapter(folder, QUERY | {"peft_type": "LORA", "base_model_name_or_path": str(folder)})
    with pytest.raises(FetchError, match="an adapter of an adapter"):
        fetch(ModelRequest(name=str(folder)), home=tmp_path / "home")


@pytest.mark.parametrize(("down", "up"), [((0, 4), (8, 0)), ((2, 4), (8, 3)), ((2,), (8, 2))])
def test_matrices_that_are_no_two_factors_are_refused(
    down: tuple[int, ...], up: tuple[int, ...], tmp_path: Path
) -> None:
    folder = tmp_path / "adapter"
    save_adapter(folder, QUERY | {"peft_type": "LORA"})
    name = "base_model.model.encoder.layer.0.attention.self.query.lora_"
    save_file(
        {f"{name}A.weight": torch.zeros(down), f"{name}B.weight": torch.zeros(up)}, folder / "adapter_model.safetensors"
    )
    with pytest.raises(ExtractError, match="no two factors"):
        extract(fetch(ModelRequest(name=str(folder), adapter="delta"), home=tmp_path / "home"))


def factors(down: str, up: str, *, rank: int = 2, alpha: str | None = None) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    found = {down: torch.randn(rank, 6, generator=generator), up: torch.randn(8, rank, generator=generator)}
    return found | ({alpha: torch.tensor(4.0)} if alpha else {})


KOHYA = "lora_unet_down_blocks_0_attn1_to_q"
LOOSE = {
    "kohya": (
        factors(f"{KOHYA}.lora_down.weight", f"{KOHYA}.lora_up.weight", alpha=f"{KOHYA}.alpha"),
        "lora_unet_down_blocks_0_attn1.to_q.weight",
        2.0,
    ),
    "diffusers": (factors("unet.a.to_q.lora.down.weight", "unet.a.to_q.lora.up.weight"), "unet.a.to_q.weight", 1.0),
    "old diffusers": (
        factors("unet.a.processor.to_q_lora.down.weight", "unet.a.processor.to_q_lora.up.weight"),
        "unet.a.processor.to_q.weight",
        1.0,
    ),
    "peft": (factors("unet.a.to_q.lora_A.weight", "unet.a.to_q.lora_B.weight"), "unet.a.to_q.weight", 1.0),
}


def loose(folder: Path, tensors: dict[str, torch.Tensor], **how: Any) -> WeightReader:
    save_file(tensors, folder / "pytorch_lora_weights.safetensors")
    return WeightReader(fetch(ModelRequest(name=str(folder), **how), home=folder / "home"))


@pytest.mark.parametrize("name", LOOSE)
def test_factors_without_a_configuration_are_updates_where_asked_for(tmp_path: Path, name: str) -> None:
    tensors, target, scale = LOOSE[name]
    down, up = list(tensors.values())[:2]
    with loose(tmp_path, tensors, adapter="delta") as reader:
        assert set(reader.tensors) == {target}
        np.testing.assert_allclose(reader.tensor(target), scale * (up @ down), rtol=1e-5, atol=1e-6)
    inventory = extract(reader.files)
    assert inventory.specs[0].role == "attention_query" and inventory.account.unreadable == 0


def test_factors_of_kernels_make_a_kernel(tmp_path: Path) -> None:
    down, up = torch.randn(2, 3, 3, 3), torch.randn(5, 2, 1, 1)
    with loose(tmp_path, {"a.lora_down.weight": down, "a.lora_up.weight": up}, adapter="delta") as reader:
        expected = torch.einsum("or,rikl->oikl", up[:, :, 0, 0], down)
        np.testing.assert_allclose(reader.tensor("a.weight"), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("more", "how", "message", "hint"),
    [
        ({}, {}, r"LoRA updates \(as kohya saves them\) and no model", "--adapter delta"),
        (
            {"a.weight": (4, 4)},
            {"adapter": "delta"},
            "beside weights of a model, such as 'a.weight'",
            "merge_and_unload",
        ),
        ({f"{KOHYA}.dora_scale": (8, 1)}, {"adapter": "delta"}, "of the kind DoRA", "Merge it"),
        ({f"{KOHYA}.hada_w1_a": (8, 1)}, {"adapter": "delta"}, "of the kind LoHa", "Merge it"),
        ({f"{KOHYA}.lora_mid.weight": (2, 2)}, {"adapter": "delta"}, "of the kind LoCon", "Merge it"),
    ],
)
def test_factors_never_pass_for_matrices(
    tmp_path: Path, more: dict[str, tuple[int, ...]], how: dict[str, Any], message: str, hint: str
) -> None:
    tensors = LOOSE["kohya"][0] | {name: torch.ones(shape) for name, shape in more.items()}
    with loose(tmp_path, tensors, **how) as reader, pytest.raises(ExtractError, match=message) as caught:
        _ = reader.tensors
    assert hint in caught.value.hint


def test_loha_alone_is_refused_by_name(tmp_path: Path) -> None:
    with loose(tmp_path, {"a.hada_w1_a": torch.ones(2, 2)}) as reader, pytest.raises(ExtractError, match="LoHa"):
        _ = reader.tensors
