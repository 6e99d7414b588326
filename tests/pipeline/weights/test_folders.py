"""Which files of a folder are the model, and which tensors of a checkpoint."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from dna_zoo.errors import (
    DamagedFileError,
    DnaZooError,
    ExtractError,
    NoWeightsError,
    PartialModelError,
    UnsafeFileError,
)
from pipeline.fetch.plan import key_of
from pipeline.fetch.request import ModelRequest
from pipeline.fetch.stage import fetch
from pipeline.weights.inventory import Inventory, extract
from pipeline.weights.reader import WeightReader

Tensors = dict[str, torch.Tensor]


def model(seed: int = 0) -> Tensors:
    generator = torch.Generator().manual_seed(seed)
    return {f"layer.{number}.weight": torch.randn(6, 8, generator=generator) for number in range(4)}


def save_shards(folder: Path, shards: Mapping[str, Tensors], index: Mapping[str, str] | None = None) -> None:
    """Shards and an index of what they hold, or of what `index` says."""
    for name, tensors in shards.items():
        (folder / name).parent.mkdir(exist_ok=True)
        save_file(tensors, folder / name)
    held = {tensor: name for name, tensors in shards.items() for tensor in tensors}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index or held}))


def halves(tensors: Tensors, folder: str = "") -> dict[str, Tensors]:
    names = list(tensors)
    return {
        f"{folder}model-00001-of-00002.safetensors": {name: tensors[name] for name in names[:2]},
        f"{folder}model-00002-of-00002.safetensors": {name: tensors[name] for name in names[2:]},
    }


def read(path: Path, home: Path, state_dict: str | None = None) -> Inventory:
    return extract(fetch(ModelRequest(name=str(path), state_dict=state_dict), home=home))


def test_shards_in_a_folder_of_their_own(tmp_path: Path) -> None:
    save_shards(tmp_path, halves(model(), "parts/"))
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    files = fetch(ModelRequest(name=str(tmp_path)), home=tmp_path / "home")
    assert len(extract(files).specs) == 4 and files.config == {"model_type": "bert"}


@pytest.mark.parametrize("name", ["../model.safetensors", "/etc/model.safetensors", "a/../../model.safetensors"])
def test_an_index_leads_out_of_its_folder_nowhere(tmp_path: Path, name: str) -> None:
    save_shards(tmp_path, {}, {"a.weight": name})
    with pytest.raises(DamagedFileError, match="not an index"):
        read(tmp_path, tmp_path / "home")


def test_an_index_that_names_a_tensor_that_no_shard_holds(tmp_path: Path) -> None:
    shards = halves(model())
    held = {tensor: name for name, tensors in shards.items() for tensor in tensors}
    save_shards(tmp_path, shards, held | {"layer.9.weight": next(iter(shards))})
    with pytest.raises(DamagedFileError, match=r"'layer\.9\.weight', which no shard holds"):
        read(tmp_path, tmp_path / "home")


def test_an_index_of_pytorch_shards_that_names_a_tensor_that_none_holds(tmp_path: Path) -> None:
    shards = {name.replace(".safetensors", ".bin"): tensors for name, tensors in halves(model()).items()}
    held = {tensor: name for name, tensors in shards.items() for tensor in tensors}
    for name, tensors in shards.items():
        torch.save(tensors, tmp_path / name)
    index = tmp_path / "pytorch_model.bin.index.json"
    index.write_text(json.dumps({"weight_map": held | {"layer.9.weight": next(iter(shards))}}))
    with pytest.raises(DamagedFileError, match=r"'layer\.9\.weight', which no shard holds"):
        read(tmp_path, tmp_path / "home")
    index.write_text(json.dumps({"weight_map": held}))
    assert len(read(tmp_path, tmp_path / "home").specs) == 4


@pytest.mark.parametrize("end", ["safetensors", "bin"])
def test_a_damaged_shard_is_not_taken_for_a_wrong_index(tmp_path: Path, end: str) -> None:
    shards = {name.replace("safetensors", end): tensors for name, tensors in halves(model()).items()}
    held = {tensor: name for name, tensors in shards.items() for tensor in tensors}
    for name, tensors in shards.items():
        save_file(tensors, tmp_path / name) if end == "safetensors" else torch.save(tensors, tmp_path / name)
    (tmp_path / f"model.{end}.index.json").write_text(json.dumps({"weight_map": held}))
    first = tmp_path / next(iter(shards))
    first.write_bytes(first.read_bytes()[:200])
    with pytest.raises(DamagedFileError, match="00001-of-00002") as caught:
        read(tmp_path, tmp_path / "home")
    assert "names the tensor" not in caught.value.message


def test_a_shard_that_is_named_and_gone_matters_only_for_what_no_other_holds(tmp_path: Path) -> None:
    shards, gone = halves(model()), "model-00009-of-00009.safetensors"
    save_shards(tmp_path, shards, dict.fromkeys(model(), gone) | dict.fromkeys(list(model())[:1], next(iter(shards))))
    with pytest.raises(DamagedFileError, match=gone):
        read(tmp_path, tmp_path / "home")
    held = {tensor: name for name, tensors in shards.items() for tensor in tensors}
    save_shards(tmp_path, shards, held | {"layer.0.weight": gone})
    # The other tensor of the first shard keeps that shard in the index.
    assert any(gone in note for note in read(tmp_path, tmp_path / "home").notes)


def test_a_tensor_in_two_shards(tmp_path: Path) -> None:
    shards = halves(model())
    second = list(shards)[1]
    shards[second] |= {"layer.0.weight": model()["layer.0.weight"]}
    save_shards(tmp_path, shards)
    assert len(read(tmp_path, tmp_path / "home").specs) == 4
    shards[second] |= {"layer.0.weight": model(1)["layer.0.weight"]}
    save_shards(tmp_path, shards)
    with pytest.raises(DamagedFileError, match="in two shards with other values"):
        read(tmp_path, tmp_path / "home")


def test_what_lies_beside_the_weights_is_named(tmp_path: Path) -> None:
    save_shards(tmp_path, halves(model()))
    save_file(model(1), tmp_path / "model-00003-of-00003.safetensors")
    assert any("'model-00003-of-00003.safetensors'" in note for note in read(tmp_path, tmp_path / "home").notes)
    save_file(model(2), tmp_path / "model.safetensors")
    assert any("'model.safetensors' is read, and not" in note for note in read(tmp_path, tmp_path / "home").notes)


def test_what_training_leaves_is_no_model(tmp_path: Path) -> None:
    for name in ("optimizer.pt", "training_args.bin", "scheduler.pt", "rng_state_0.pth"):
        torch.save({"state": torch.ones(3)}, tmp_path / name)
    torch.save(model(), tmp_path / "weights.pt")
    assert len(read(tmp_path, tmp_path / "home").specs) == 4


def test_the_cache_of_the_hub_by_path(tmp_path: Path) -> None:
    folder = tmp_path / "models--org--name"
    for commit, seed in (("a" * 40, 0), ("b" * 40, 1)):
        (folder / "snapshots" / commit).mkdir(parents=True)
        save_file(model(seed), folder / "snapshots" / commit / "model.safetensors")
    with pytest.raises(NoWeightsError, match="2 commits"):
        read(folder, tmp_path / "home")
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text("b" * 40)
    assert fetch(ModelRequest(name=str(folder)), home=tmp_path / "home").paths[0].parent.name == "b" * 40
    for path in (folder, folder / "snapshots" / ("a" * 40)):
        assert key_of(ModelRequest(name=str(path))) == "org/name"


def test_a_link_to_nothing_is_named(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").symlink_to("../blobs/0123")
    with pytest.raises(DamagedFileError, match=r"is a link to '\.\./blobs/0123'"):
        read(tmp_path, tmp_path / "home")


@pytest.mark.parametrize(
    ("name", "word"),
    [("tf_model.h5", "TensorFlow"), ("flax_model.msgpack", "Flax"), ("model.onnx", "ONNX")],
)
def test_other_frameworks_are_named(tmp_path: Path, name: str, word: str) -> None:
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(NoWeightsError, match=word):
        read(tmp_path, tmp_path / "home")


def test_slices_for_tensor_parallelism_are_not_taken_for_a_model(tmp_path: Path) -> None:
    for rank in range(2):
        torch.save(model(rank), tmp_path / f"consolidated.0{rank}.pth")
    with pytest.raises(ExtractError, match=r"tensor parallelism, and how 'layer\.0\.weight' was cut"):
        read(tmp_path, tmp_path / "home")


def test_what_every_slice_has_whole_must_be_the_same(tmp_path: Path) -> None:
    for rank in range(2):
        parts = {"layers.0.attention.wq.weight": torch.randn(4, 8), "norm.weight": torch.full((8,), 1.0 + rank)}
        torch.save(parts, tmp_path / f"consolidated.0{rank}.pth")
    with pytest.raises(DamagedFileError, match=r"'norm\.weight' whole, and their values differ"):
        read(tmp_path, tmp_path / "home")


def test_slices_of_other_shapes_are_of_other_models(tmp_path: Path) -> None:
    for rank in range(2):
        torch.save({"layers.0.attention.wq.weight": torch.randn(4 + rank, 8)}, tmp_path / f"consolidated.0{rank}.pth")
    with pytest.raises(ExtractError, match="of 2, of the shapes"):
        read(tmp_path, tmp_path / "home")


# Checkpoints of training.


def _beside(one: str, ones: Tensors, two: str, twos: Tensors) -> Tensors:
    return {f"{one}{name}": value for name, value in ones.items()} | {f"{two}{n}": v for n, v in twos.items()}


LAYOUTS: dict[str, Callable[[Tensors], Any]] = {
    "nanoGPT": lambda own: {
        "model": {f"_orig_mod.{name}": value for name, value in own.items()},
        "optimizer": {"state": {0: {"exp_avg": torch.zeros(900, 9)}}},
        "best_val_loss": torch.tensor(1.47),
    },
    "Lightning": lambda own: {"state_dict": own, "optimizer_states": [{"m": torch.zeros(900, 9)}], "epoch": 3},
    "data parallel": lambda own: {"model_state": {f"module.{name}": value for name, value in own.items()}},
    "averages": lambda own: {"params": model(5), "params_ema": own},
    "teacher": lambda own: {"teacher": own, "student": model(5), "args": {"lr": torch.tensor(1.0)}},
    "average in one mapping": lambda own: {"state_dict": _beside("teacher.", own, "student.", model(5))},
    "average without dots": lambda own: {
        "state_dict": _beside("model.", model(5), "model_ema.", {n.replace(".", ""): v for n, v in own.items()})
        | {"model_ema.decay": torch.tensor(0.99), "first.weight": torch.ones(3, 2)}
    },
    "nested": lambda own: {"checkpoint": {"net": {"state_dict": own}}},
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_model_is_found_in_a_checkpoint_of_training(tmp_path: Path, layout: str) -> None:
    torch.save(LAYOUTS[layout](model()), tmp_path / "last.ckpt")
    prefix = {"average in one mapping": "teacher.", "average without dots": "model."}.get(layout, "")
    with WeightReader(fetch(ModelRequest(name=str(tmp_path)), home=tmp_path / "home")) as reader:
        assert {
            name: torch.from_numpy(reader.tensor(prefix + name)).equal(value) for name, value in model().items()
        } == dict.fromkeys(model(), True)
        kept = {name for name in reader.tensors if not name.startswith(prefix)} if prefix else set()
        assert kept == ({"model_ema.decay", "first.weight"} if prefix == "model." else set())


def test_one_of_several_sets_of_weights_can_be_chosen(tmp_path: Path) -> None:
    torch.save({"params": model(5), "params_ema": model()}, tmp_path / "net.pth")
    assert "'params_ema' is read, and not 'params'" in read(tmp_path, tmp_path / "home").notes[0]
    home = tmp_path / "home"
    raw, average = (
        fetch(ModelRequest(name=str(tmp_path), state_dict=key), home=home) for key in ("params", "params_ema")
    )
    assert raw.digest != average.digest
    with WeightReader(raw) as reader:
        assert torch.from_numpy(reader.tensor("layer.0.weight")).equal(model(5)["layer.0.weight"])
    with pytest.raises(DnaZooError, match="no tensors under 'ema'") as caught:
        read(tmp_path, home, "ema")
    assert "params, params_ema" in caught.value.hint


def save_flat(stored: Tensors, folder: Path, kind: str) -> None:
    """All tensors by name in a file, or every other one in each of two shards, so that each has some of both sets."""
    if "shards" not in kind:
        save_file(stored, folder / "model.safetensors")
        return
    end = "safetensors" if kind.startswith("safetensors") else "bin"
    index = {name: f"model-{1 + place % 2:05}-of-00002.{end}" for place, name in enumerate(stored)}
    for file in {*index.values()}:
        held = {name: value for name, value in stored.items() if index[name] == file}
        (save_file if end == "safetensors" else torch.save)(held, folder / file)
    start = "model" if end == "safetensors" else "pytorch_model"
    (folder / f"{start}.{end}.index.json").write_text(json.dumps({"weight_map": index}))


@pytest.mark.parametrize("kind", ["safetensors", "safetensors, shards", "bin, shards"])
def test_an_average_beside_raw_weights_is_known_by_its_prefix_in_every_container(tmp_path: Path, kind: str) -> None:
    own, raw, rest = model(), model(5), {"step": torch.tensor(3.0)}
    save_flat(_beside("net.", raw, "net_ema.", {n.replace(".", ""): v for n, v in own.items()}) | rest, tmp_path, kind)
    home = tmp_path / "home"
    files = {
        key: fetch(ModelRequest(name=str(tmp_path), state_dict=key), home=home) for key in (None, "net", "net_ema")
    }
    for key, values in ((None, own), ("net", raw), ("net_ema", own)):
        with WeightReader(files[key]) as reader:
            # Names of the average are without dots; those of the model are the raw ones'.
            assert {*reader.tensors} == {f"net.{name}" for name in values} | {"step"}
            assert all(torch.from_numpy(reader.tensor(f"net.{name}")).equal(value) for name, value in values.items())
    found = extract(files[None])
    assert found.account.others == {"net": sum(value.nbytes for value in raw.values())}
    assert any("'net_ema' is read, and not 'net'; --state-dict KEY reads another" in note for note in found.notes)
    assert any("bytes are of 'net', which is not read" in note for note in found.notes)
    assert extract(files["net"]).account.others == {"net_ema": found.account.others["net"]}
    assert len({each.digest for each in files.values()}) == 3
    with pytest.raises(DnaZooError, match="no tensors under 'ema'") as caught:
        extract(fetch(ModelRequest(name=str(tmp_path), state_dict="ema"), home=home))
    assert "net, net_ema" in caught.value.hint


def test_a_file_of_one_set_of_weights_has_none_to_choose(tmp_path: Path) -> None:
    save_file(model(), tmp_path / "model.safetensors")
    with pytest.raises(DnaZooError, match="no tensors under 'ema'") as caught:
        read(tmp_path, tmp_path / "home", "ema")
    assert "Leave --state-dict away" in caught.value.hint


def test_a_file_without_tensors_is_refused(tmp_path: Path) -> None:
    save_file({}, tmp_path / "model.safetensors")
    with pytest.raises(DnaZooError, match="no trained weights"):
        read(tmp_path, tmp_path / "home")


@pytest.mark.parametrize("kind", ["safetensors", "safetensors, shards", "bin, shards"])
def test_what_wrappers_put_before_names_is_no_part_of_them_in_every_container(tmp_path: Path, kind: str) -> None:
    save_flat({f"_orig_mod.module.{name}": value for name, value in model().items()}, tmp_path, kind)
    with WeightReader(fetch(ModelRequest(name=str(tmp_path)), home=tmp_path / "home")) as reader:
        assert {name: torch.from_numpy(reader.tensor(name)).equal(value) for name, value in model().items()} == (
            dict.fromkeys(model(), True)
        )
        assert {*reader.stored} == {*model()}


def test_towers_of_one_form_are_no_average_and_raw_weights(tmp_path: Path) -> None:
    torch.save(_beside("semantic.", model(), "acoustic.", model(5)), tmp_path / "net.pth")
    found = read(tmp_path, tmp_path / "home")
    assert len(found.specs) == 2 * len(model()) and not any("is read, and not" in note for note in found.notes)


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors:UserWarning")
def test_a_tensor_of_several_shapes_is_named(tmp_path: Path) -> None:
    nested = torch.nested.nested_tensor([torch.ones(4, 8), torch.ones(1, 8)])
    torch.save(model() | {"odd.weight": nested}, tmp_path / "pytorch_model.bin")
    with pytest.raises(PartialModelError, match=r"'odd\.weight' \(stored as nested\)"):
        read(tmp_path, tmp_path / "home")


def test_smaller_sets_of_weights_are_named_too(tmp_path: Path) -> None:
    held = {"backbone": model(), "metrics": model(3), "head": {"out.weight": torch.ones(2, 8)}}
    torch.save(held | {"upscaler": {"up.weight": torch.ones(8, 3)}, "stepOptimizer": model(5)}, tmp_path / "net.pth")
    note = read(tmp_path, tmp_path / "home").notes[0]
    assert "'backbone' is read, and not 'head', 'upscaler'; --state-dict KEY reads another." in note


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_a_torchscript_archive_is_not_run(tmp_path: Path) -> None:
    torch.jit.script(torch.nn.Linear(3, 3)).save(str(tmp_path / "model.pt"))
    with pytest.raises(UnsafeFileError, match="TorchScript"):
        read(tmp_path, tmp_path / "home")


@pytest.mark.parametrize("layout", ["empty", "meta"])
def test_tensors_without_values_do_not_disappear(tmp_path: Path, layout: str) -> None:
    tensors = model()
    tensors["layer.1.weight"] = torch.empty(0) if layout == "empty" else torch.empty(6, 8, device="meta")
    torch.save(tensors, tmp_path / "pytorch_model.bin")
    with pytest.raises(PartialModelError, match=r"25% of .*'layer\.1\.weight'"):
        read(tmp_path, tmp_path / "home")
    files = fetch(ModelRequest(name=str(tmp_path)), home=tmp_path / "home")
    inventory = extract(files, allow_partial=True)
    assert inventory.is_partial and [spec.name for spec in inventory.specs] == [
        name for name in model() if "1" not in name
    ]
