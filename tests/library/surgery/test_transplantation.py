"""Transplant: layers that fit after their alignment, and those that are refused."""

from pathlib import Path

import pytest
import torch
import transformers

from dna_zoo.errors import JoinError
from library.surgery import Loaded, open_model, task_of, transplant
from library.surgery.alignment import values_of
from library.surgery.layers import layers_of, parse_layers
from library.surgery.tasks import score

pytestmark = pytest.mark.slow

SPECIMENS = Path(__file__).parents[3] / "data" / "specimens"


def specimen(name: str) -> Loaded:
    return open_model(SPECIMENS / name)


def test_layers_of_a_permuted_copy_fit_when_aligned() -> None:
    donor, host = specimen("bert-a-permuted"), specimen("bert-a")
    task = task_of(host)
    found = transplant(donor, host, donor_layers=[1], host_layers=[1], task=task, aligned=True, steps=0)
    loss = {each.layers: each.before.loss for each in found.variants}
    assert list(loss) == ["aligned", "unaligned", "random", "host's own"]
    assert loss["aligned"] == pytest.approx(loss["host's own"], abs=1e-4)
    assert min(loss["unaligned"], loss["random"]) > loss["host's own"] + 0.5
    assert score(found.model, task).loss == loss["aligned"]


def test_only_the_named_layers_move() -> None:
    donor, host = specimen("bert-b"), specimen("bert-a")
    found = transplant(donor, host, donor_layers=[2], host_layers=[0], task=task_of(host), steps=0)
    before, after, theirs = (values_of(model) for model in (host.model, found.model, donor.model))
    changed = {name for name, tensor in after.items() if not torch.equal(tensor, before[name])}
    assert changed == set(layers_of(host)[0].names.values())
    assert all(torch.equal(after[name], theirs[name.replace("layer.0.", "layer.2.")]) for name in changed)
    assert found.alignment is None and found.variants[0].layers == "unaligned"


def test_layers_of_a_shallower_model_fit() -> None:
    donor, host = specimen("bert-a-distilled"), specimen("bert-a")
    found = transplant(donor, host, donor_layers=[1], host_layers=[2], task=task_of(host), aligned=True, steps=0)
    loss = {each.layers: each.before.loss for each in found.variants}
    assert loss["aligned"] < loss["random"]


def test_fine_tune_is_the_same_for_every_variant_and_repeatable() -> None:
    donor, host = specimen("cnn-a-finetuned"), specimen("cnn-a")
    one, two = (
        transplant(donor, host, donor_layers=[1], host_layers=[1], task=task_of(host), steps=3, seed=5)
        for _ in range(2)
    )
    assert one.variants == two.variants
    assert all(each.before != each.after for each in one.variants)


@pytest.mark.parametrize(
    ("donor", "host", "layers", "said"),
    [
        ("gpt2-a", "bert-a", ([0], [0]), "are not made of the same tensors"),
        ("bert-b", "bert-a", ([3], [0]), "'bert-b' has 3 layers, and so no layer 3"),
        ("bert-b", "bert-a", ([0, 1], [0]), "2 layers cannot take the place of 1"),
        ("bert-b", "bert-a", ([0, 1], [0, 0]), "named twice"),
        ("cnn-a", "cnn-a-finetuned", ([1], [2]), "have the shapes"),
    ],
)
def test_layers_that_do_not_fit_are_refused(
    donor: str, host: str, layers: tuple[list[int], list[int]], said: str
) -> None:
    first, second = specimen(donor), specimen(host)
    with pytest.raises(JoinError, match=r".") as raised:
        transplant(first, second, donor_layers=layers[0], host_layers=layers[1], task=task_of(second), steps=0)
    assert said in raised.value.message and raised.value.hint


def test_other_width_is_resampled_and_the_embeddings_stay_out_of_it() -> None:
    host = specimen("bert-a")
    config = transformers.BertConfig(**{**host.config.to_dict(), "hidden_size": 32, "intermediate_size": 64})
    donor = Loaded(name="narrow", folder=host.folder, model=transformers.BertForMaskedLM(config).eval())
    asked = []

    def resample(name: str, tensor: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
        asked.append(name)
        return torch.zeros(shape)

    how = {"donor_layers": [0], "host_layers": [1], "task": task_of(host), "steps": 0}
    with pytest.raises(JoinError, match="have the shapes") as raised:
        transplant(donor, host, **how)
    assert "--resample" in raised.value.hint
    found = transplant(donor, host, **how, aligned=True, resample=resample)
    assert set(asked) == set(layers_of(donor)[0].names.values()) and len(found.resampled) == len(asked)


def test_layers_are_read_as_numbers_and_ranges() -> None:
    assert parse_layers("a:0") == ("a", (0,))
    assert parse_layers("./some/dir:1,4-6") == ("./some/dir", (1, 4, 5, 6))
    for wrong in ("a", "a:", ":1", "a:x", "a:3-1", "a:0-99999999999"):
        with pytest.raises(JoinError, match="names no layers"):
            parse_layers(wrong)
