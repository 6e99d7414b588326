"""Checkpoints of training and archives: which mapping is the model, and what is none."""

import json
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchmarks.layouts.layout import Layout, Must
from benchmarks.layouts.models import llama, save, save_torch, tensors_of

__all__ = ["LAYOUTS"]

Tensors = dict[str, torch.Tensor]
LARGE = {"state": {0: {"exp_avg": torch.zeros(900, 90)}}}
"""An optimiser's, with more values than the model."""


def _own() -> Tensors:
    return tensors_of(llama())


def _other() -> Tensors:
    return tensors_of(llama(9))


def _before(prefix: str, tensors: Tensors) -> Tensors:
    return {f"{prefix}{name}": value for name, value in tensors.items()}


def _write(
    folder: Path, held: Callable[[], Any], name: str, said: str = "", key: str | None = None, prefix: str = ""
) -> Must:
    save_torch(folder, held(), name)
    model = {f"{prefix}{name}": value for name, value in llama().items()}
    return Must(model=model, said=said, how={"state_dict": key} if key else {})


def _refused(folder: Path, held: Callable[[], Any], refused: str) -> Must:
    save_torch(folder, held())
    return Must(refused=refused)


def _torchscript(folder: Path) -> Must:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.script(torch.nn.Linear(3, 3)).save(str(folder / "model.pt"))
    return Must(refused=r"TorchScript archive.*torch\.jit\.load")


def _old_format(folder: Path) -> Must:
    torch.save(_own(), folder / "pytorch_model.bin", _use_new_zipfile_serialization=False)
    return Must(model=llama())


def _flat(folder: Path, num_shards: int, said: str = "", key: str | None = None) -> Must:
    """An average beside raw weights by name alone, in safetensors; each shard holds some of both."""
    held = _before("ema.", _other() if key else _own()) | _before("net.", _own() if key else _other())
    parts = [dict([*held.items()][number::num_shards]) for number in range(num_shards)]
    names = [f"model-{number}.safetensors" for number in range(num_shards)]
    for name, part in zip(names, parts, strict=True):
        save(folder, part, name=name if num_shards > 1 else "model.safetensors")
    if num_shards > 1:
        index = {each: name for name, part in zip(names, parts, strict=True) for each in part}
        (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))
    model = {f"{key or 'ema'}.{name}": value for name, value in llama().items()}
    return Must(model=model, said=said, how={"state_dict": key} if key else {})


def _wrapped(folder: Path) -> Must:
    save(folder, _before("_orig_mod.module.", _own()))
    return Must(model=llama())


def _nano() -> Any:
    own = {"model": _before("_orig_mod.", _own()), "optimizer": LARGE, "iter_num": 100}
    return own | {"best_val_loss": torch.tensor(1.5)}


def _lightning() -> Any:
    return {"state_dict": _own(), "optimizer_states": [LARGE], "epoch": 3, "pytorch-lightning_version": "2.5"}


def _layout(name: str, held: Callable[[], Any], refused: str) -> Layout:
    return Layout(group="containers", name=name, write=partial(_refused, held=held, refused=refused))


def _training(name: str, held: Callable[[], Any], file: str = "last.pt", **how: Any) -> Layout:
    return Layout(group="containers", name=name, write=partial(_write, held=held, name=file, **how))


LAYOUTS = (
    _training("training: model and optimiser (nanoGPT)", _nano, "ckpt.pt"),
    _training("training: Lightning", _lightning, "last.ckpt"),
    _training("training: data parallel", lambda: {"model_state": _before("module.", _own()), "step": 3}),
    _training(
        "training: average beside raw",
        lambda: {"params": _other(), "params_ema": _own()},
        said="'params_ema' is read, and not 'params'",
    ),
    _training(
        "training: teacher and student",
        lambda: {"student": _other(), "teacher": _own(), "args": {"lr": 1e-3}},
        said="'teacher' is read",
    ),
    _training(
        "training: average and raw in one mapping",
        lambda: {"state_dict": _before("ema.", _own()) | _before("net.", _other())},
        said="'state_dict.ema' is read, and not 'state_dict.net'",
        prefix="ema.",
    ),
    *(
        Layout(group="containers", name=f"training: {name}", write=partial(_flat, **how))
        for name, how in (
            ("average and raw in safetensors", {"num_shards": 1, "said": "'ema' is read, and not 'net'"}),
            ("average and raw in shards", {"num_shards": 2, "said": "'ema' is read, and not 'net'"}),
            ("average and raw in safetensors, --state-dict", {"num_shards": 1, "key": "net"}),
        )
    ),
    Layout(group="containers", name="training: compiled, data parallel, in safetensors", write=_wrapped),
    _training("training: nested", lambda: {"checkpoint": {"net": {"state_dict": _own()}}, "optimizer": LARGE}),
    _training(
        "training: a part in a mapping of its own",
        lambda: {"backbone": _own(), "upscaler": {"up.weight": torch.ones(32, 32)}},
        said="'backbone' is read, and not 'upscaler'; --state-dict KEY",
    ),
    _training("training: --state-dict", lambda: {"params_ema": _other(), "params": _own()}, key="params"),
    _layout("an optimiser alone", lambda: {"optimizer": LARGE}, refused="holds no tensors by name"),
    _layout("arrays of numpy in a pickle", llama, refused="The pickle .* was not run"),
    Layout(group="containers", name="a PyTorch file of before 1.6", write=_old_format),
    Layout(group="containers", name="TorchScript", write=_torchscript),
)
