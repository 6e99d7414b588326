"""Folders: shards and their indexes, several models or formats side by side, caches, and what is no model."""

import json
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.layouts.layout import Layout, Must
from benchmarks.layouts.models import CONFIG, HIDDEN, llama, matrix, save, save_torch, tensors_of

__all__ = ["LAYOUTS"]

SHARDS = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")
INDEX = "model.safetensors.index.json"
ABSENT = "model-00030-of-00030.safetensors"
LOST = "model.norm.weight"


def _shards(folder: Path, index: Mapping[str, str] | None = None, below: str = "") -> dict[str, dict[str, Any]]:
    """The model in two shards with an index, which `index` changes."""
    model = llama()
    names = list(model)
    held = {below + SHARDS[0]: names[:10], below + SHARDS[1]: names[10:]}
    shards: dict[str, dict[str, Any]] = {shard: {name: model[name] for name in each} for shard, each in held.items()}
    for shard, tensors in shards.items():
        save(folder, tensors, CONFIG, shard)
    places = {name: shard for shard, each in held.items() for name in each}
    (folder / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": places | dict(index or {})}))
    return shards


def _plain(folder: Path, below: str = "") -> Must:
    _shards(folder, below=below)
    return Must(model=llama())


def _index_of_more(folder: Path) -> Must:
    _shards(folder, {"model.layers.9.mlp.up_proj.weight": SHARDS[0]})
    return Must(refused="names the tensor 'model.layers.9.mlp.up_proj.weight', which no shard holds")


def _torch_index_of_more(folder: Path) -> Must:
    """The same of PyTorch's own files."""
    tensors, shard = tensors_of(llama()), "pytorch_model-00001-of-00001.bin"
    save_torch(folder, tensors, shard)
    places = {**dict.fromkeys(tensors, shard), "model.layers.9.mlp.up_proj.weight": shard}
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": places}))
    return Must(refused="names the tensor 'model.layers.9.mlp.up_proj.weight', which no shard holds")


def _stale(folder: Path) -> Must:
    _shards(folder, {LOST: ABSENT})
    return Must(model=llama(), said=f"The index names '{ABSENT}', not there")


def _shard_gone(folder: Path) -> Must:
    _shards(folder)
    (folder / SHARDS[1]).unlink()
    return Must(refused=f"names the shard '{SHARDS[1]}', which is not there")


def _twice(folder: Path, is_equal: bool) -> Must:
    shards = _shards(folder)
    name, value = next(iter(shards[SHARDS[0]].items()))
    save(folder, shards[SHARDS[1]] | {name: value if is_equal else value + 1}, CONFIG, SHARDS[1])
    return Must(model=llama()) if is_equal else Must(refused="in two shards with other values")


def _beside_shards(folder: Path) -> Must:
    _shards(folder)
    save(folder, {"model.extra.weight": llama()["lm_head.weight"]}, CONFIG, "model-00003-of-00003.safetensors")
    return Must(model=llama(), said="'model-00003-of-00003.safetensors' beside the shards")


def _two_sets(folder: Path) -> Must:
    _shards(folder)
    save(folder, llama(9))
    return Must(model=llama(9), said="'model.safetensors' is read, and not")


def _variant(folder: Path) -> Must:
    save(folder, {name: value.astype(np.float16) for name, value in llama().items()}, name="model.fp16.safetensors")
    return Must(model=llama(), tolerance=1e-3)


def _trainer(folder: Path) -> Must:
    save_torch(folder, tensors_of(llama()))
    for name in ("optimizer.pt", "training_args.bin", "scheduler.pt", "rng_state.pth"):
        torch.save({"state": torch.zeros(9)}, folder / name)
    return Must(model=llama())


def _diffusers(folder: Path) -> Must:
    """Each component in a folder of its own, named by `model_index.json`; a scheduler has no weights."""
    parts = {"unet": ["diffusers", "UNet2DConditionModel"], "text_encoder": ["transformers", "CLIPTextModel"]}
    index = {"_class_name": "StableDiffusionPipeline", "_diffusers_version": "0.35.0", **parts}
    index |= {"scheduler": ["diffusers", "PNDMScheduler"], "safety_checker": [None, None]}
    (folder / "model_index.json").write_text(json.dumps(index))
    (folder / "scheduler").mkdir()
    unet = {"down_blocks.0.attentions.0.proj_in.weight": matrix(np.random.default_rng(1), 12, 12, 1, 1)}
    save(folder / "unet", unet, {"_class_name": "UNet2DConditionModel"}, "diffusion_pytorch_model.safetensors")
    save(folder / "text_encoder", llama())
    return Must(components={"text_encoder": llama(), "unet": unet})


def _sentence_transformer(folder: Path) -> Must:
    """The transformer in the folder itself, a dense layer below it."""
    dense = {"linear.weight": matrix(np.random.default_rng(2), 16, HIDDEN), "linear.bias": np.ones(16, np.float32)}
    modules = [{"idx": 0, "path": ""}, {"idx": 1, "path": "1_Pooling"}, {"idx": 2, "path": "2_Dense"}]
    (folder / "modules.json").write_text(json.dumps(modules))
    save(folder, llama())
    (folder / "1_Pooling").mkdir()
    save(folder / "2_Dense", dense, {"in_features": HIDDEN, "out_features": 16})
    return Must(components={"": llama(), "2_Dense": dense})


def _without_modules(folder: Path) -> Must:
    """The same without `modules.json`: the folder's name says what it is."""
    must = _sentence_transformer(folder)
    (folder / "modules.json").unlink()
    return must


def _state_of_training(folder: Path) -> Must:
    """All trainings call them alike."""
    save(folder / "run-a" / "checkpoint-500", llama())
    return Must(model=llama(), path=folder / "run-a" / "checkpoint-500", key="run-a/checkpoint-500")


def _old_sentence_transformer(folder: Path) -> Must:
    """Before version 2 everything is below the folder; one component is the model."""
    modules = [{"idx": 0, "path": "0_Transformer"}, {"idx": 1, "path": "1_Pooling"}]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "config.json").write_text("{}")
    save_torch(folder / "0_Transformer", tensors_of(llama()))
    (folder / "1_Pooling").mkdir()
    return Must(model=llama(), key=folder.name)


def _foreign(folder: Path, name: str, refused: str) -> Must:
    (folder / name).write_bytes(b"x" * 64)
    return Must(refused=refused)


def _sliced(folder: Path, by_rows: bool = True, lost: int | None = None) -> Must:
    """A decoder in two slices under Llama's own names; its table cut by rows (Llama 3) or by columns."""
    generator = np.random.default_rng(3)
    cut = {"wq": 0, "wk": 0, "wv": 0, "wo": 1, "w1": 0, "w2": 1, "w3": 0}
    shapes = {"wq": (HIDDEN, HIDDEN), "wk": (16, HIDDEN), "wv": (16, HIDDEN), "wo": (HIDDEN, HIDDEN)}
    # As many hidden units in a slice as the stream is wide: shapes alone would not tell the axis.
    shapes |= {"w1": (2 * HIDDEN, HIDDEN), "w2": (HIDDEN, 2 * HIDDEN), "w3": (2 * HIDDEN, HIDDEN)}
    model = {"tok_embeddings.weight": matrix(generator, 64, HIDDEN), "output.weight": matrix(generator, 64, HIDDEN)}
    axes: dict[str, int | None] = {"tok_embeddings.weight": 0 if by_rows else 1, "output.weight": 0}
    for layer in range(2):
        for name, shape in shapes.items():
            place = (
                f"layers.{layer}.{'attention' if name in ('wq', 'wk', 'wv', 'wo') else 'feed_forward'}.{name}.weight"
            )
            model[place], axes[place] = matrix(generator, *shape), cut[name]
        model[f"layers.{layer}.ffn_norm.weight"] = matrix(generator, HIDDEN)
    model["norm.weight"] = matrix(generator, HIDDEN)
    for rank in range(2):
        parts = {
            name: value if (axis := axes.get(name)) is None else np.split(value, 2, axis=axis)[rank]
            for name, value in model.items()
        }
        if rank != lost:
            save_torch(folder, tensors_of(parts), f"consolidated.0{rank}.pth", None)
    return (
        Must(model=model, said="2 slices of each matrix are put together")
        if lost is None
        else Must(refused="not the one of number")
    )


def _slices(folder: Path) -> Must:
    for rank in range(2):
        save_torch(folder, tensors_of(llama(rank)), f"consolidated.0{rank}.pth", None)
    return Must(refused="how 'model.embed_tokens.weight' was cut is not known")


def _consolidated(folder: Path) -> Must:
    save(folder, llama(), None, "consolidated.safetensors")
    (folder / "params.json").write_text("{}")
    return Must(model=llama())


def _cache(folder: Path) -> Must:
    """The Hub's cache: a commit's folder of links into `blobs`."""
    root, commit = folder / "models--org--name", "0" * 39 + "1"
    save(root / "blobs", llama(), None, "blob")
    snapshot = root / "snapshots" / commit
    snapshot.mkdir(parents=True)
    (snapshot / "model.safetensors").symlink_to("../../blobs/blob")
    (snapshot / "config.json").write_text(json.dumps(CONFIG))
    return Must(model=llama(), path=snapshot, key="org/name")


def _dangling(folder: Path) -> Must:
    (folder / "model.safetensors").symlink_to("../../blobs/0123abcd")
    return Must(refused="is a link to '../../blobs/0123abcd', which is not there")


def _adapter_alone(folder: Path) -> Must:
    stored = {"base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight": np.ones((2, HIDDEN), np.float32)}
    save_torch(folder, tensors_of(stored), "adapter_model.bin", None)
    return Must(refused="holds an adapter without its `adapter_config.json`")


def _no_tensors(folder: Path) -> Must:
    save(folder, {})
    return Must(refused="holds no trained weights")


def _pointer(folder: Path) -> Must:
    text = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"
    (folder / "model.safetensors").write_text(text)
    return Must(refused="is a Git LFS pointer.*git lfs pull")


def _layout(name: str, write: Callable[[Path], Must]) -> Layout:
    return Layout(group="folders", name=name, write=write)


LAYOUTS = (
    _layout("shards with an index", _plain),
    _layout("shards in a folder below", partial(_plain, below="parts/")),
    _layout("an index that names what no shard holds", _index_of_more),
    _layout("an index that names what no PyTorch shard holds", _torch_index_of_more),
    _layout("an index that is older than the shards", _stale),
    _layout("a shard that is not there", _shard_gone),
    _layout("equal tensors in two shards", partial(_twice, is_equal=True)),
    _layout("other values in two shards", partial(_twice, is_equal=False)),
    _layout("a shard that the index does not name", _beside_shards),
    _layout("two sets of weights in one folder", _two_sets),
    _layout("a variant alone (fp16)", _variant),
    _layout("what a trainer leaves", _trainer),
    _layout("diffusers", _diffusers),
    _layout("sentence-transformers", _sentence_transformer),
    _layout("sentence-transformers without modules.json", _without_modules),
    _layout("a state of training by its folder", _state_of_training),
    _layout("sentence-transformers of before 2.0", _old_sentence_transformer),
    _layout("TensorFlow alone", partial(_foreign, name="tf_model.h5", refused="weights of TensorFlow.*from_tf=True")),
    _layout("Flax alone", partial(_foreign, name="flax_model.msgpack", refused="weights of Flax.*from_flax=True")),
    _layout("ONNX alone", partial(_foreign, name="model.onnx", refused="weights of ONNX.*PyTorch model")),
    _layout("slices of tensor parallelism (Llama 3)", _sliced),
    _layout("slices of tensor parallelism (Llama 2)", partial(_sliced, by_rows=False)),
    _layout("slices of tensor parallelism, one missing", partial(_sliced, lost=0)),
    _layout("slices of tensor parallelism, names that are not known", _slices),
    _layout("one consolidated file", _consolidated),
    _layout("the Hub's cache by path", _cache),
    _layout("a link to nothing", _dangling),
    _layout("an adapter without its configuration", _adapter_alone),
    _layout("a file without tensors", _no_tensors),
    _layout("a Git LFS pointer", _pointer),
)
