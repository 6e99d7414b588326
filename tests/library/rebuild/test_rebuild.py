"""A rebuilt model: what its files hold is what the fit reported, and transformers loads it."""

import json
import math
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
import yaml
from safetensors.torch import load_file
from transformers import AutoModel

from dna_zoo.errors import NotMinedError, OutputError, SettingsError, WeightsChangedError
from library.rebuild.card import card_of
from library.rebuild.matrices import Request
from library.rebuild.rebuild import REPORT_FILE, rebuild
from library.rebuild.rounded import dna_bits
from library.rebuild.source import MinedModel, all_budgets, find_model
from pipeline.fit.networks import separable_parameters
from pipeline.weights.reader import WeightReader
from tests.support.mining import database_of
from tests.support.rebuilding import SPECIMENS, mined
from tests.support.tiny_models import make_tiny_checkpoint

pytestmark = pytest.mark.slow

SAME_R2 = 1e-6
KINDS: Mapping[str, Mapping[str, Any]] = {
    "separable": {},
    "separable-raw": {"order": "raw"},
    "separable-model": {"scope": "model"},
    "spectral": {"dna_type": "spectral", "epochs": 1, "num_layers": 2},
    "adaptive-model": {"dna_type": "adaptive", "scope": "model", "epochs": 1, "num_layers": 2},
    "hierarchical-model": {"dna_type": "hierarchical", "scope": "model", "epochs": 1, "num_layers": 3},
}
FILES = ("bert-a", "gpt2-a", "vit-a", "cnn-a")
"""An encoder with a tied head, a decoder with fused projections in transposed matrices, a ViT, a CNN."""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., MinedModel]:
    """Each specimen mined once a kind."""
    known: dict[tuple[str, str], MinedModel] = {}

    def get(name: str = "bert-a", kind: str = "separable") -> MinedModel:
        if (name, kind) not in known:
            known[name, kind] = mined(tmp_path_factory.mktemp(kind), SPECIMENS / name, **KINDS[kind])
        return known[name, kind]

    return get


def r2_of_files(found: MinedModel, folder: Path) -> float:
    """R2 of the fitted matrices by what lies in the folder, with the sums of squares of the fit report."""
    stored = load_file(folder / "model.safetensors")
    error = energy = 0.0
    with WeightReader(found.files) as reader:
        for name, fit in found.fits().items():
            tensor = found.dna[name].spec.tensor
            if found.dna[name].layout.row_slice is None:
                error += float(np.square(stored[tensor].numpy() - reader.tensor(tensor), dtype=np.float64).sum())
            energy += fit.mean_mse * fit.num_weights
        for tensor in {found.dna[name].spec.tensor for name in found.fits() if found.dna[name].layout.row_slice}:
            error += float(np.square(stored[tensor].numpy() - reader.tensor(tensor), dtype=np.float64).sum())
    return 1 - error / energy


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        *((name, "separable") for name in FILES),
        *(("vit-a", kind) for kind in KINDS),
    ],
)
def test_what_is_written_has_the_r2_that_was_reported(
    name: str, kind: str, model: Callable[..., MinedModel], tmp_path: Path
) -> None:
    found = model(name, kind)
    written = rebuild(found, tmp_path / "out")
    reported = found.pattern.fit
    assert reported is not None
    assert written.r2 == pytest.approx(reported.r2, abs=SAME_R2)
    assert r2_of_files(found, tmp_path / "out") == pytest.approx(reported.r2, abs=SAME_R2)
    assert written.bits_per_weight == pytest.approx(reported.bits_per_weight)
    for each in written.tensors:
        assert each.r2 == pytest.approx(each.reported_r2, abs=SAME_R2)


@pytest.mark.parametrize("name", FILES)
def test_transformers_loads_it_with_every_name_known(
    name: str, model: Callable[..., MinedModel], tmp_path: Path
) -> None:
    rebuild(model(name), tmp_path / "out")
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    own = getattr(transformers, config["architectures"][0])
    loaded, info = own.from_pretrained(tmp_path / "out", output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"] and not info["mismatched_keys"]
    assert AutoModel.from_pretrained(tmp_path / "out") is not None
    original = own.from_pretrained(SPECIMENS / name)
    kept = {key for key, value in loaded.named_parameters() if value.ndim == 1}
    parameters = dict(loaded.named_parameters())
    changed = [key for key, value in original.named_parameters() if not torch.equal(value, parameters[key])]
    assert len(changed) > 5 and not kept & set(changed)


def test_what_is_stored_as_lengths_and_directions_is_loaded(tmp_path: Path) -> None:
    """The convolution of positions of a wav2vec 2: its class has no parameter that is called as the weight in use."""
    path = make_tiny_checkpoint("wav2vec2-base", tmp_path / "wav2vec2-base", seed=0)
    found = mined(tmp_path / "home", path.parent)
    rebuild(found, tmp_path / "out")
    model, info = transformers.Wav2Vec2ForPreTraining.from_pretrained(tmp_path / "out", output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"]
    convolution = model.wav2vec2.encoder.pos_conv_embed.conv
    expected = found.dna["wav2vec2.encoder.pos_conv_embed.conv.weight"].matrix()
    assert torch.allclose(convolution.weight, expected, atol=1e-6)


def test_tied_weights_stay_tied(model: Callable[..., MinedModel], tmp_path: Path) -> None:
    """Also where the file holds both: the tiny decoder's head is a copy of its token table."""
    path = make_tiny_checkpoint("distilgpt2", tmp_path / "distilgpt2", seed=0)
    found = mined(tmp_path / "home", path.parent)
    rebuild(found, tmp_path / "out")
    stored = load_file(tmp_path / "out" / "model.safetensors")
    assert torch.equal(stored["lm_head.weight"], stored["transformer.wte.weight"])
    loaded = transformers.GPT2LMHeadModel.from_pretrained(tmp_path / "out")
    assert loaded.lm_head.weight is loaded.transformer.wte.weight


def test_8_bits_have_the_r2_and_the_size_that_were_reported(model: Callable[..., MinedModel], tmp_path: Path) -> None:
    for kind in ("separable", "separable-model"):
        found = model("vit-a", kind)
        written = rebuild(found, tmp_path / kind, Request(bits=8))
        assert found.pattern.fit is not None
        assert written.r2 == pytest.approx(found.pattern.fit.r2_8bit, abs=SAME_R2)
        assert written.bits_per_weight == pytest.approx(found.pattern.fit.bits_per_weight_8bit)


def test_bits_of_a_matrix_by_hand(model: Callable[..., MinedModel]) -> None:
    """8 units, 2 ranks, as many layers as the network has; 48 x 48 with signs free along the rows of a query."""
    found, name = model("bert-a"), "bert.encoder.layer.0.attention.self.query.weight"
    size = found.dna.contents.networks[found.dna[name].kept.network].size
    numbers = 2 * separable_parameters(1, size.hidden_dim, size.num_layers, size.rank, size.num_branches)
    order = 2 * math.log2(math.factorial(48)) + 48
    means = sum(
        len(each) for each in (found.dna[name].kept.row_means, found.dna[name].kept.col_means) if each is not None
    )
    assert dna_bits(found, None)[name] == pytest.approx(32 * (numbers + 2 + means) + order)


def test_fewer_bits_are_smaller_and_worse(model: Callable[..., MinedModel], tmp_path: Path) -> None:
    found = model("vit-a")
    sizes = [rebuild(found, tmp_path / str(bits), Request(bits=bits)) for bits in (3, 6, 12)]
    assert sizes[0].bits < sizes[1].bits < sizes[2].bits
    assert sizes[0].r2 < sizes[2].r2


def test_a_residual_is_counted_and_brings_the_weights_back(model: Callable[..., MinedModel], tmp_path: Path) -> None:
    found = model("bert-a")
    plain = rebuild(found, tmp_path / "plain", Request(bits=8))
    fine = rebuild(found, tmp_path / "fine", Request(bits=8, residual_bits=6))
    scales = sum(each.rows for each in fine.tensors)  # Every matrix has rows of at least 32 weights.
    assert fine.bits - plain.bits == pytest.approx(6 * fine.num_weights + 16 * scales)
    assert fine.r2 > 0.998 > plain.r2
    assert r2_of_files(found, tmp_path / "fine") == pytest.approx(fine.r2, abs=SAME_R2)


def test_only_what_is_asked_for_is_replaced(model: Callable[..., MinedModel], tmp_path: Path) -> None:
    written = rebuild(model(), tmp_path / "out", Request(tensors=("*query*",)))
    assert len(written.tensors) == 3 and all("query" in each.name for each in written.tensors)
    old, new = load_file(SPECIMENS / "bert-a" / "model.safetensors"), load_file(tmp_path / "out" / "model.safetensors")
    assert {name for name in old if not torch.equal(old[name], new[name])} == {each.name for each in written.tensors}
    with pytest.raises(SettingsError, match="no matrix of the DNA"):
        rebuild(model(), tmp_path / "other", Request(tensors=("*quarry*",)))
    assert not (tmp_path / "other").exists()


def test_a_part_of_a_fused_projection_is_asked_for_by_its_name(
    model: Callable[..., MinedModel], tmp_path: Path
) -> None:
    """Its brackets are no pattern."""
    name = "transformer.h.0.attn.c_attn.weight[query]"
    written = rebuild(model("gpt2-a"), tmp_path / "out", Request(tensors=(name,)))
    assert [each.name for each in written.tensors] == [name]


def test_the_folder_has_a_card_a_report_and_the_tokenizer(model: Callable[..., MinedModel], tmp_path: Path) -> None:
    written = rebuild(model(), tmp_path / "out")
    card = (tmp_path / "out" / "README.md").read_text()
    assert f"{written.r2:.4f}" in card and f"{written.null_r2:.4f}" in card and f"{written.bits:,.0f} bits" in card
    report = json.loads((tmp_path / "out" / REPORT_FILE).read_text())
    assert report["r2"] == written.r2 and len(report["tensors"]) == len(written.tensors)
    assert (tmp_path / "out" / "tokenizer.json").exists()


def test_names_in_the_card_are_neither_markdown_nor_front_matter(
    model: Callable[..., MinedModel], tmp_path: Path
) -> None:
    written = replace(rebuild(model(), tmp_path / "out"), model="<b> [x](y)")
    record = replace(model().pattern.model, licence="x: [\ntags: z", repo="a/b # c", revision="`r`")
    card = card_of(written, record)
    front = yaml.safe_load(card.split("---")[1])
    assert front["license"] == "x: [\\x0atags: z" and front["base_model"] == "a/b # c" and front["tags"] == ["dna-zoo"]
    assert r"# \<b\> \[x\](y), rebuilt" in card and r"commit \`r\`" in card


def test_a_folder_that_is_there_is_kept(model: Callable[..., MinedModel], tmp_path: Path) -> None:
    rebuild(model(), tmp_path / "out")
    before = (tmp_path / "out" / "model.safetensors").stat().st_mtime_ns
    with pytest.raises(OutputError):
        rebuild(model(), tmp_path / "out")
    assert (tmp_path / "out" / "model.safetensors").stat().st_mtime_ns == before
    rebuild(model(), tmp_path / "out", force=True)


def test_nothing_is_left_where_writing_fails(
    model: Callable[..., MinedModel], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: Any, **more: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("library.rebuild.write.save_file", full)
    with pytest.raises(OutputError, match="No space left"):
        rebuild(model(), tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_weights_that_are_no_longer_those_that_were_mined(tmp_path: Path) -> None:
    folder = tmp_path / "vit-a"
    shutil.copytree(SPECIMENS / "vit-a", folder)
    mined(tmp_path / "home", folder)
    shutil.copy(SPECIMENS / "vit-a-finetuned" / "model.safetensors", folder)
    with database_of(tmp_path / "home") as database, pytest.raises(WeightsChangedError) as raised:
        find_model(database, "vit-a", home=tmp_path / "home")
    assert "dna-zoo mine" in raised.value.hint


def test_budgets_are_found_among_the_versions(tmp_path: Path) -> None:
    for budget in (0.02, 0.05):
        mined(tmp_path / "home", SPECIMENS / "vit-a", budget=budget)
    with database_of(tmp_path / "home") as database:
        assert all_budgets(database, "vit-a") == (0.02, 0.05)
        assert find_model(database, "vit-a", home=tmp_path / "home").budget == 0.05
        assert find_model(database, "vit-a", home=tmp_path / "home", budget=0.02).budget == 0.02
        with pytest.raises(NotMinedError, match=r"0\.02, 0\.05") as raised:
            find_model(database, "vit-a", home=tmp_path / "home", budget=0.1)
    assert raised.value.hint == "Mine it so: `dna-zoo mine vit-a --budget 0.1`."
