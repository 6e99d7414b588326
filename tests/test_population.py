"""The population of the retrieval benchmark: made in full, related where it says so."""

import copy
from pathlib import Path

import pytest
import torch
from transformers import PreTrainedModel

from benchmarks.population.__main__ import make_all
from benchmarks.population.architectures import ARCHITECTURES, new_model
from benchmarks.population.lessons import fixed_batch
from benchmarks.population.members import RELATIONS, plan
from benchmarks.population.shrinking import halve_width
from benchmarks.population.storage import load, read_facts
from benchmarks.population.surgery import prune, round_to, shuffle

SAME_LOGITS = 1e-4
"""Of a few hundred float32 terms, relative to logits near 1; the norm's epsilon is in it too."""
KEEP_THE_FUNCTION = ("opt-a-permuted", "opt-a-rescaled", "opt-a-rotated", "resnet-a-permuted", "resnet-a-rescaled")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two roots of a decoder with ReLU and of a CNN, each trained for two steps, and all their children."""
    target = tmp_path_factory.mktemp("population")
    make_all(plan(("opt", "resnet"), num_roots=2), target, max_steps=1)
    return target


def logits(folder: Path, name: str) -> torch.Tensor:
    architecture = ARCHITECTURES[read_facts(folder / name)["architecture"]]
    with torch.no_grad():
        return load(folder / name, architecture)(**fixed_batch(architecture)).logits


def test_parents_come_before_their_children() -> None:
    seen: set[str] = set()
    for member in plan():
        assert seen.issuperset(member.parents), member.name
        seen.add(member.name)
    assert len(seen) == len(plan())


@pytest.mark.slow
def test_every_member_is_made_and_says_what_it_is(folder: Path) -> None:
    expected = {member.name: member for member in plan(("opt", "resnet"), num_roots=2)}
    facts = {path.name: read_facts(path) for path in folder.iterdir()}
    assert facts.keys() == expected.keys()
    assert {fact["relation"] for fact in facts.values()} == RELATIONS.keys()
    assert facts["opt-a-merged-roots"]["roots"] == ["opt-a", "opt-b"]


@pytest.mark.slow
def test_a_shuffled_copy_is_in_no_family(folder: Path) -> None:
    assert read_facts(folder / "opt-a-shuffled")["roots"] == ["opt-a-shuffled"]


@pytest.mark.slow
@pytest.mark.parametrize("child", KEEP_THE_FUNCTION)
def test_symmetries_keep_the_function(folder: Path, child: str) -> None:
    root = "-".join(child.split("-")[:2])
    assert torch.allclose(logits(folder, root), logits(folder, child), atol=SAME_LOGITS)


@pytest.mark.slow
def test_a_member_that_is_there_is_kept(folder: Path) -> None:
    lines: list[str] = []
    make_all(plan(("opt", "resnet"), num_roots=2), folder, max_steps=2, say=lines.append)
    assert lines == []


def model(name: str = "opt") -> PreTrainedModel:
    return copy.deepcopy(new_model(ARCHITECTURES[name], seed=0))


def test_pruning_takes_the_smallest_share() -> None:
    pruned = model()
    prune(pruned, 0.4)
    weight = pruned.model.decoder.layers[0].fc1.weight
    assert float((weight == 0).double().mean()) == pytest.approx(0.4, abs=0.001)


def test_four_bits_leave_fifteen_values_a_row() -> None:
    rounded = model()
    round_to(rounded, 4, by_row=True)
    rows = rounded.model.decoder.layers[0].fc1.weight
    assert max(len(row.unique()) for row in rows) <= 15


def test_shuffling_keeps_the_values_of_every_tensor() -> None:
    before, after = model(), model()
    shuffle(after, torch.Generator().manual_seed(0))
    for ours, theirs in zip(before.parameters(), after.parameters(), strict=True):
        assert torch.equal(ours.flatten().sort().values, theirs.flatten().sort().values)


def test_half_the_width_keeps_the_largest_units() -> None:
    whole = model()
    half = halve_width(whole, ARCHITECTURES["opt"])
    ours, theirs = (m.model.decoder.layers[0] for m in (whole, half))
    size = ours.fc1.weight.norm(dim=1) * ours.fc2.weight.norm(dim=0)
    kept = size.topk(len(size) // 2).indices.sort().values
    assert torch.equal(theirs.fc1.weight, ours.fc1.weight[kept])
