"""A Hugging Face folder of a model: weights in safetensors, config.json, tokenizer and processor files, a card."""

import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from safetensors.torch import save_file

from library.folder import new_folder
from library.rebuild.stored import StoredModel

__all__ = ["BESIDE", "copy_beside", "plain_config", "write_folder"]

WEIGHTS = "model.safetensors"
SHARD_BYTES = 2 << 30
"""Largest file of weights, and what is in memory at a time."""
BESIDE = (
    "tokenizer*", "vocab*", "merges.txt", "special_tokens_map.json", "added_tokens.json", "*.model", "chat_template*",
    "preprocessor_config.json", "processor_config.json", "image_processor*.json", "feature_extractor*.json",
    "video_preprocessor_config.json", "normalizer.json", "generation_config.json", "modules.json",
    "config_sentence_transformers.json", "sentence_bert_config.json",
)  # fmt: skip
"""Files beside the weights that make inputs or outputs of the model, by their patterns. None of them is code."""
MODULES = "modules.json"
"""Of sentence-transformers: what comes behind the transformer, each in a folder of its own."""
OF_A_MODULE = ("config.json", "*.safetensors", "*.bin")
QUANTISED = ("quantization_config", "compression_config")


def write_folder(
    path: Path,
    model: StoredModel,
    *,
    config: Mapping[str, Any],
    source: Path,
    files: Callable[[], Mapping[str, str]],
    force: bool = False,
) -> None:
    """Write the model; `path` is there when all of it is.

    - `config`: of the original (see `plain_config`);
    - `source`: the folder of the original, whose tokenizer and processor files are copied;
    - `files`: name -> text of what else the folder holds; asked for when the weights are written.

    Raises `OutputError` as `new_folder`.
    """
    with new_folder(path, force=force) as folder:
        _write_weights(folder, model)
        (folder / "config.json").write_text(json.dumps(plain_config(config), indent=2) + "\n", encoding="utf-8")
        copy_beside(source, folder)
        for name, text in files().items():
            (folder / name).write_text(text, encoding="utf-8")


def plain_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration whose weights are plain numbers."""
    return {
        name: plain_config(value) if isinstance(value, Mapping) else value
        for name, value in config.items()
        if name not in QUANTISED
    }


def copy_beside(source: Path, folder: Path) -> None:
    """Copy the files that make inputs and outputs, links followed, and the modules behind a transformer."""
    beside = {found for pattern in BESIDE for found in source.glob(pattern)}
    plain = {found for found in beside if not found.name.endswith((".safetensors", ".bin", ".py"))}
    modules = {found for module in _modules(source) for pattern in OF_A_MODULE for found in module.glob(pattern)}
    for found in sorted(plain | modules):
        if found.is_file():
            target = folder / found.relative_to(source)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(found, target)


def _modules(source: Path) -> Iterator[Path]:
    """The folders of the modules that are not the transformer itself, as far as they lie in this folder."""
    try:
        entries = json.loads((source / MODULES).read_bytes())
        named = [str(entry["path"]) for entry in entries]
    except (OSError, ValueError, TypeError, LookupError):
        return
    for name in named:
        path = PurePosixPath(name)
        if path.parts and not path.is_absolute() and ".." not in path.parts:
            yield source / path


def _write_weights(folder: Path, model: StoredModel) -> None:
    """In one file, or in shards with their index."""
    shards = list(_shards(model))
    names = [WEIGHTS] if len(shards) == 1 else [_shard_name(i, len(shards)) for i in range(len(shards))]
    for name, tensors in zip(names, shards, strict=True):
        save_file({each: model.tensor(each) for each in tensors}, folder / name, metadata={"format": "pt"})
    if len(shards) > 1:
        total = sum(model.num_bytes(each) for each in model.tensors)
        places = {each: name for name, tensors in zip(names, shards, strict=True) for each in tensors}
        index = {"metadata": {"total_size": total}, "weight_map": places}
        (folder / f"{WEIGHTS}.index.json").write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")


def _shards(model: StoredModel) -> Iterator[list[str]]:
    """The tensors in the order of the files, as many together as a file may hold."""
    shard: list[str] = []
    left = SHARD_BYTES
    for name in model.tensors:
        size = model.num_bytes(name)
        if shard and size > left:
            yield shard
            shard, left = [], SHARD_BYTES
        shard.append(name)
        left -= size
    yield shard


def _shard_name(index: int, count: int) -> str:
    return WEIGHTS.replace(".safetensors", f"-{index + 1:05d}-of-{count:05d}.safetensors")
