"""The specimens are what their cards say: small, loadable, really trained, and related where they claim to be."""

import copy
import importlib
import json
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from transformers import AutoTokenizer, PreTrainedModel

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent / "data" / "specimens"
FOLDERS = {path.parent.name: path.parent for path in sorted(ROOT.glob("*/specimen.json"))}
MAX_BYTES = 400_000
SCHEMA: dict[str, type | tuple[type, ...]] = {
    "name": str,
    "family": str,
    "kind": str,
    "relation": str,
    "parent": (str, type(None)),
    "root": str,
    "architecture": str,
    "modality": str,
    "objective": str,
    "model_class": str,
    "parameters": int,
    "training": dict,
    "metric": dict,
}
# In float64, where another order of summation costs next to nothing: what is left would be another function. In
# float32 the same two differ by rounding, up to 5e-5 in logits of size 10.
SAME_LOGITS = 1e-9


@pytest.fixture(scope="module", autouse=True)
def scripts_on_path() -> Iterator[None]:
    """The scripts beside the specimens are no package: they import each other by bare name."""
    sys.path.insert(0, str(ROOT))
    yield
    sys.path.remove(str(ROOT))


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def script(name: str) -> ModuleType:
    return importlib.import_module(name)


def facts(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((FOLDERS[name] / "specimen.json").read_text())
    return found


@cache
def load(name: str) -> PreTrainedModel:
    model: PreTrainedModel = script("evaluation").load_specimen(FOLDERS[name])
    return model


def weights(name: str) -> dict[str, torch.Tensor]:
    return {key: tensor.detach() for key, tensor in load(name).named_parameters()}


def distance(a: str, b: str) -> float:
    """Relative Euclidean distance of the weights both have in the same shape."""
    first, second = weights(a), weights(b)
    shared = [name for name in first if name in second and first[name].shape == second[name].shape]
    difference = sum(float((first[name] - second[name]).square().sum()) for name in shared)
    return (difference / sum(float(first[name].square().sum()) for name in shared)) ** 0.5


def test_every_specimen_of_the_tree_is_there() -> None:
    assert set(FOLDERS) == set(script("tree").SPECIMENS)


@pytest.mark.parametrize("name", FOLDERS)
def test_folder_is_under_400_kb_and_complete(name: str) -> None:
    files = {file.name: file.stat().st_size for file in FOLDERS[name].iterdir()}
    assert {"README.md", "config.json", "model.safetensors", "specimen.json"} <= set(files)
    assert sum(files.values()) < MAX_BYTES


@pytest.mark.parametrize("name", FOLDERS)
def test_facts_follow_the_schema_and_the_tree(name: str) -> None:
    found, specimen = facts(name), script("tree").SPECIMENS[name]
    assert list(found) == list(SCHEMA)
    assert all(isinstance(found[key], kind) for key, kind in SCHEMA.items())
    assert (found["name"], found["parent"], found["relation"]) == (name, specimen.parent, specimen.relation)
    assert set(found["metric"]) == {"name", "value", "start", "blind"}
    assert found["parent"] is None or found["parent"] in FOLDERS


@pytest.mark.parametrize("name", FOLDERS)
def test_card_names_licence_and_parent(name: str) -> None:
    _, front, body = (FOLDERS[name] / "README.md").read_text().split("---\n", maxsplit=2)
    assert "license: apache-2.0\n" in front
    parent = facts(name)["parent"]
    assert (f"base_model: {parent}\n" in front) if parent else ("base_model" not in front)
    assert f"{facts(name)['metric']['value']:.3f}" in body


@pytest.mark.parametrize("name", FOLDERS)
def test_readme_shows_the_figures_of_each(name: str) -> None:
    row = next(line for line in (ROOT / "README.md").read_text().splitlines() if line.startswith(f"| {name} |"))
    assert f"| {facts(name)['metric']['value']:.3f} |" in row


@pytest.mark.parametrize("name", FOLDERS)
def test_transformers_finds_each_weight_and_no_other(name: str) -> None:
    cls = script("models").model_class(facts(name)["family"])
    model, info = cls.from_pretrained(FOLDERS[name], output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"] and not info["mismatched_keys"]
    assert sum(parameter.numel() for parameter in model.parameters()) == facts(name)["parameters"]
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


@pytest.mark.parametrize("name", [name for name in FOLDERS if name.startswith(("bert", "gpt2"))])
def test_the_tokenizer_gives_the_characters_their_ids(name: str) -> None:
    tokenizer, text = AutoTokenizer.from_pretrained(FOLDERS[name]), "def f(x):\n    return é + 1"
    assert tokenizer(text)["input_ids"] == script("corpora").encode(text).tolist()
    assert tokenizer.mask_token_id == (script("corpora").MASK if name.startswith("bert") else None)


@pytest.mark.parametrize("name", [name for name in FOLDERS if name != "bert-untrained"])
def test_trained_is_far_better_than_untrained_and_blind(name: str) -> None:
    family, data = facts(name)["family"], facts(name)["training"]["data"]
    evaluation = script("evaluation")
    reached = evaluation.score(load(name), family, data)
    blind = evaluation.blind_score(family, data).value
    if reached.name == "accuracy":
        assert reached.value > 0.9 > blind + 0.3
        return
    untrained = evaluation.score(script("models").new_model(family, seed=0), family, data).value
    assert reached.value < 0.75 * blind < 0.75 * untrained


@pytest.mark.parametrize("name", ["bert-a-finetuned", "gpt2-a-finetuned"])
def test_fine_tuning_taught_what_the_parent_did_not_know(name: str) -> None:
    score = script("evaluation").score
    parent = score(load(facts(name)["parent"]), facts(name)["family"], "licence-texts").value
    assert score(load(name), facts(name)["family"], "licence-texts").value < 0.95 * parent


@pytest.mark.parametrize("name", [name for name in FOLDERS if name.endswith("-finetuned")])
def test_fine_tuned_child_stays_close_to_its_parent(name: str) -> None:
    assert 0.001 < distance(facts(name)["parent"], name) < 0.5


def test_second_seed_is_as_far_as_unrelated_weights() -> None:
    assert distance("bert-a", "bert-b") > 1


def test_untrained_is_what_transformers_initialises() -> None:
    fresh = script("models").new_model("bert", seed=facts("bert-untrained")["training"]["seed"])
    stored = weights("bert-untrained")
    assert all(torch.equal(tensor, stored[name]) for name, tensor in fresh.named_parameters())


@torch.no_grad()
def test_permuted_computes_the_same_logits_from_other_matrices() -> None:
    ids = script("evaluation").corpus("python-source").held_out[: 32 * 32].view(32, 32)
    original, permuted = (copy.deepcopy(load(name)).double() for name in ("bert-a", "bert-a-permuted"))
    expected, got = original(input_ids=ids).logits, permuted(input_ids=ids).logits
    assert float((expected - got).abs().max()) < SAME_LOGITS
    assert distance("bert-a", "bert-a-permuted") > 1


def test_the_permuted_specimen_is_what_its_seed_draws() -> None:
    seed = torch.Generator().manual_seed(facts("bert-a-permuted")["training"]["seed"])
    drawn, stored = script("permutation").permuted(load("bert-a"), generator=seed), weights("bert-a-permuted")
    assert all(torch.equal(drawn[name], tensor) for name, tensor in stored.items())


def test_permutation_keeps_the_values_up_to_sign() -> None:
    first, second = weights("bert-a"), weights("bert-a-permuted")
    for name, tensor in first.items():
        assert torch.equal(tensor.abs().flatten().sort().values, second[name].abs().flatten().sort().values), name


def test_student_starts_from_layers_of_its_teacher() -> None:
    teacher = load("bert-a")
    student = script("models").shallow_copy(teacher, (0, 2))
    assert student.config.num_hidden_layers == 2 == load("bert-a-distilled").config.num_hidden_layers
    pair = [model.bert.encoder.layer[i].attention.self.query.weight for model, i in ((student, 1), (teacher, 2))]
    assert torch.equal(*pair)


def test_training_again_gives_the_same_bits(tmp_path: Path) -> None:
    make, specimen = script("train").make, script("tree").SPECIMENS["gpt2-a"]
    short = script("train").replace(specimen, steps=5)
    results = [make(short, tmp_path / str(run)) for run in range(2)]
    files = [(tmp_path / str(run) / "gpt2-a" / "model.safetensors").read_bytes() for run in range(2)]
    assert files[0] == files[1] != (FOLDERS["gpt2-a"] / "model.safetensors").read_bytes()
    assert results[0].reached.value < results[0].start.value
