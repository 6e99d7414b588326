"""A live model starts from a pattern: it gets what the pattern says, at its own width and depth, and nothing else."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from transformers import AutoModelForMaskedLM

from dna_zoo.errors import DnaZooError, LibraryError, SettingsError
from library.initialise import initialise_
from library.live import LiveTensors
from library.new_model import make_model
from library.patterns.measure import measure_model
from library.patterns.records import Key, SharedPattern
from tests.support.sharing import bert, build, gpt2, pattern_of, resnet, vit

pytestmark = pytest.mark.slow

MAKERS = {"bert": bert, "gpt2": gpt2, "vit": vit, "resnet": resnet}
PRODUCT = Key("query_key", "products")


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def state(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


@pytest.mark.parametrize("kind", MAKERS)
def test_a_model_of_another_width_and_depth_gets_the_pattern(kind: str) -> None:
    make: Callable[..., Any] = MAKERS[kind]
    sources = [make(seed) for seed in range(2)]
    for model in sources:
        for parameter in model.parameters():
            with torch.no_grad():
                parameter.mul_(3.0).add_(0.02 * torch.randn(parameter.shape, generator=generator(1)))
    pattern = build(sources, num_draws=1)
    target = make(5, width=16 if kind == "resnet" else 64, depth=3)
    found = initialise_(target, pattern, generator())
    assert found.default == () and found.untested
    wanted, measured = pattern.parts, measure_model(LiveTensors(target).tensors)
    scales = [key for key in wanted if key.term == "scale" and key in measured]
    assert len(scales) >= (3 if kind == "resnet" else 7)
    for key in scales:
        assert measured[key] == pytest.approx(wanted[key].values, abs=0.02), key
    vectors = [key for key in wanted if key.term == "vectors" and key in measured]
    for key in vectors:
        assert measured[key] == pytest.approx(wanted[key].values, abs=0.02), key


@pytest.mark.parametrize("kind", MAKERS)
def test_the_same_generator_gives_the_same_bits(kind: str) -> None:
    pattern = build([MAKERS[kind](seed) for seed in range(2)], num_draws=1)
    one, two, other = (MAKERS[kind](3) for _ in range(3))
    for model, seed in ((one, 0), (two, 0), (other, 1)):
        initialise_(model, pattern, generator(seed))
    assert all(torch.equal(value, two.state_dict()[name]) for name, value in one.state_dict().items())
    assert any(not torch.equal(value, other.state_dict()[name]) for name, value in one.state_dict().items())


@pytest.mark.parametrize("kind", ["bert", "gpt2", "vit"])
def test_queries_and_keys_are_turned_and_nothing_else_changes(kind: str) -> None:
    model = MAKERS[kind](0)
    before = LiveTensors(model).tensors
    others = {s.name: before.load(s) for s in before.specs if s.role != "attention_key"}
    found = initialise_(model, pattern_of({PRODUCT: [0.4, 0.0]}), generator())
    after = LiveTensors(model).tensors
    assert set(found.terms.values()) == {("products",)} and len(found.terms) == 2
    assert measure_model(after)[PRODUCT][:, 0] == pytest.approx(0.4, abs=1e-4)
    assert all(np.array_equal(after.load(s), others[s.name]) for s in after.specs if s.name in others)


def test_the_model_still_runs_and_tied_weights_stay_tied() -> None:
    model = gpt2(0)
    initialise_(model, build([gpt2(seed) for seed in range(2)], num_draws=1), generator())
    assert model.lm_head.weight.data_ptr() == model.transformer.wte.weight.data_ptr()
    assert torch.isfinite(model(input_ids=torch.arange(8)[None]).logits).all()


def test_what_explains_nothing_is_left_at_its_start() -> None:
    model, before = bert(0), state(bert(0))
    pattern = pattern_of({Key("attention_query", "scale"): [3.0]}, explained=-0.1)
    with pytest.raises(LibraryError, match="Nothing of the pattern 'some' is used here: what was tested"):
        initialise_(model, pattern, generator())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_a_pattern_of_another_kind_of_model_is_refused_in_two_sentences() -> None:
    with pytest.raises(LibraryError) as caught:
        initialise_(resnet(0), pattern_of({PRODUCT: [0.4, 0.0]}), generator())
    assert "fits a role" in caught.value.message and "library build" in caught.value.hint


def test_single_terms_can_be_chosen() -> None:
    pattern = build([bert(seed) for seed in range(2)], num_draws=1)
    found = initialise_(bert(4), pattern, generator(), terms={"vectors"})
    assert set(found.terms.values()) == {("vectors",)}


@pytest.mark.parametrize("terms", ["scale", ["scale", "nosuch"]])
def test_terms_that_there_are_not_are_named(terms: Collection[str]) -> None:
    with pytest.raises(SettingsError, match="not all of it are names of terms") as caught:
        initialise_(bert(0), pattern_of({PRODUCT: [0.4, 0.0]}), generator(), terms=terms)
    assert "spectrum" in caught.value.hint


@dataclass
class Settings:
    """As a library without transformers keeps them."""

    n_head: int = 4


@pytest.mark.parametrize("settings", [Settings(), SimpleNamespace(n_head=4), {"n_head": 4}, None, Settings])
def test_settings_come_as_any_library_keeps_them(settings: Any) -> None:
    """Those that say how many heads there are give what transformers' own give."""
    models = [gpt2(0), gpt2(0)]
    own, other = nn.Module(), nn.Module()
    own.transformer, other.transformer = (model.transformer for model in models)
    own.config, other.config = models[0].config, settings
    pattern = pattern_of({PRODUCT: [0.4, 0.2]})
    for module in (own, other):
        initialise_(module, pattern, generator())
    same = all(torch.equal(value, other.state_dict()[name]) for name, value in own.state_dict().items())
    assert own.config.n_head == 4 and same == (settings is not None and settings is not Settings)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64, torch.float8_e4m3fn])
def test_a_model_keeps_its_dtype(dtype: torch.dtype) -> None:
    model = bert(0).to(dtype)
    found = initialise_(model, pattern_of({Key("ffn_in", "scale"): [1.0]}), generator())
    assert found.terms and {parameter.dtype for parameter in model.parameters()} == {dtype}


def test_a_model_without_values_is_refused() -> None:
    with torch.device("meta"):
        model = bert(0)
    for each in (model, nn.LazyLinear(4)):
        with pytest.raises(LibraryError, match="has no values yet"):
            initialise_(each, pattern_of({PRODUCT: [0.4, 0.0]}), generator())


@pytest.fixture
def encoder_pattern() -> SharedPattern:
    return build([bert(seed) for seed in range(2)], num_draws=1)


def test_a_written_model_is_loaded_and_starts_from_the_pattern(tmp_path: Path, encoder_pattern: SharedPattern) -> None:
    config = bert(0, width=64, depth=3).config
    config.architectures = ["BertForMaskedLM"]
    config.save_pretrained(tmp_path / "source")
    for source, out in ((tmp_path / "source", "one"), (tmp_path / "source" / "config.json", "two")):
        make_model(source, encoder_pattern, tmp_path / out, seed=3)
    models = [AutoModelForMaskedLM.from_pretrained(tmp_path / out) for out in ("one", "two")]
    expected = bert(3, width=64, depth=3)
    initialise_(expected, encoder_pattern, generator(3))
    for model in models:
        found = model.state_dict()
        assert all(torch.equal(value, found[name]) for name, value in expected.state_dict().items())
    assert "Not trained" in (tmp_path / "one" / "README.md").read_text()


def test_nothing_is_overwritten_and_nothing_half_written(tmp_path: Path, encoder_pattern: SharedPattern) -> None:
    resnet(0).config.save_pretrained(tmp_path / "cnn")
    bert(0).config.save_pretrained(tmp_path / "source")
    (tmp_path / "out").mkdir()
    (tmp_path / "nothing.json").write_text("{}")
    attempts = (
        (tmp_path / "source", tmp_path / "out", "there already"),
        (tmp_path / "cnn", tmp_path / "new", "fits a role"),
        (tmp_path / "nothing.json", tmp_path / "new", "cannot build"),
        (tmp_path / "nowhere", tmp_path / "new", "cannot build"),
    )
    before = sorted(tmp_path.iterdir())
    pattern = pattern_of({PRODUCT: [0.4, 0.0]})
    for source, out, message in attempts:
        with pytest.raises(DnaZooError, match=message) as caught:
            make_model(source, pattern, out)
        assert caught.value.hint
    (tmp_path / "out" / "notes.txt").write_text("no model")
    with pytest.raises(DnaZooError, match="not a model's folder"):
        make_model(tmp_path / "source", pattern, tmp_path / "out", force=True)
    (tmp_path / "out" / "notes.txt").unlink()
    assert sorted(tmp_path.iterdir()) == before
    make_model(tmp_path / "source", pattern, tmp_path / "out", force=True)
    assert (tmp_path / "out" / "model.safetensors").exists()
    assert sorted(tmp_path.iterdir()) == before
