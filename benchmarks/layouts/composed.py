"""Weights that are stored as what they are computed from: norms, masks, and the updates of adapters."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file

from benchmarks.layouts.layout import Layout, Must
from benchmarks.layouts.models import HIDDEN, Float32, llama, matrix, projections, save

__all__ = ["LAYOUTS"]

RANK, ALPHA = 4, 8
ADAPTED = "model.layers.0.self_attn.q_proj"


def _write(folder: Path, split: Callable[[Float32], dict[str, Any]], stem: str) -> Must:
    """The model with every projection split; `stem` stands between a module's name and a part's."""
    model = llama()
    stored: dict[str, Any] = dict(model)
    for module in projections(model):
        parts = split(stored.pop(f"{module}.weight"))
        stored |= {f"{module}{stem}{end}": part for end, part in parts.items()}
    save(folder, stored)
    return Must(model=model, tolerance=1e-6)


def _norm_by_row(weight: Float32, ends: tuple[str, str]) -> dict[str, Any]:
    return {ends[0]: np.linalg.norm(weight, axis=1, keepdims=True), ends[1]: weight / 3}


def _norm_of_all(weight: Float32) -> dict[str, Any]:
    return {"_g": np.float32(np.linalg.norm(weight)).reshape(()), "_v": weight / 3}


def _spectral(weight: Float32, ends: tuple[str, str, str]) -> dict[str, Any]:
    left, values, right = np.linalg.svd(weight)
    scaled = weight * 7.0 * values[0]
    # What is used is the stored weight over its largest singular value; that of `weight` is made 1 first.
    return {ends[0]: scaled, ends[1]: left[:, 0], ends[2]: right[0]}


def _write_spectral(folder: Path, ends: tuple[str, str, str], stem: str) -> Must:
    must = _write(folder, partial(_spectral, ends=ends), stem)
    return Must(
        model={
            name: value / np.linalg.norm(value, 2) if "_proj" in name else value for name, value in must.model.items()
        },
        tolerance=1e-5,
    )


def _other_parametrization(folder: Path) -> Must:
    """One of the user's own: what stands there is read, and it is said."""
    module = ADAPTED.replace("q_proj", "q_proj.parametrizations")
    model: dict[str, Any] = dict(llama())
    model[f"{module}.weight.original"] = model.pop(f"{ADAPTED}.weight")
    save(folder, model)
    return Must(model=model, said="1 tensor is of a parametrization that is not known")


def _pruned(folder: Path) -> Must:
    masks = {True: np.tile(np.float32([1, 0]), HIDDEN // 2)}

    def split(weight: Float32) -> dict[str, Any]:
        mask = np.broadcast_to(np.resize(masks[True], weight.shape[1]), weight.shape)
        return {"_orig": weight, "_mask": mask}

    must = _write(folder, split, ".weight")
    pruned = {
        name: value * np.resize(masks[True], value.shape[1]) if "_proj" in name else value
        for name, value in must.model.items()
    }
    return Must(model=pruned)


def _factors() -> tuple[Float32, Float32]:
    generator = np.random.default_rng(5)
    return matrix(generator, RANK, HIDDEN), matrix(generator, HIDDEN, RANK)


def _adapter(folder: Path, **config: Any) -> None:
    down, up = _factors()
    names = {"A": down, "B": up}
    stored = {f"base_model.model.{ADAPTED}.lora_{part}.weight": value for part, value in names.items()}
    save(folder, stored, None, "adapter_model.safetensors")
    settings = {"peft_type": "LORA", "r": RANK, "lora_alpha": ALPHA, **config}
    (folder / "adapter_config.json").write_text(json.dumps(settings))


def _update() -> Float32:
    down, up = _factors()
    return np.asarray(ALPHA / RANK * up @ down, dtype=np.float32)


def _lora_merged(folder: Path) -> Must:
    save(folder / "base", llama())
    _adapter(folder / "adapter", base_model_name_or_path=str(folder / "base"))
    model = llama()
    model[f"{ADAPTED}.weight"] = model[f"{ADAPTED}.weight"] + _update()
    return Must(model=model, tolerance=1e-6, path=folder / "adapter")


def _lora_delta(folder: Path) -> Must:
    _adapter(folder, base_model_name_or_path="someone/not-here")
    return Must(model={f"{ADAPTED}.weight": _update()}, tolerance=1e-6, how={"adapter": "delta"})


def _lora_alone(folder: Path) -> Must:
    _adapter(folder, base_model_name_or_path="someone/not-here")
    return Must(refused="adapter of 'someone/not-here'.*--base PATH.*--adapter delta")


def _dora(folder: Path) -> Must:
    """The merged weight has the rows' lengths that the adapter says."""
    save(folder / "base", llama())
    _adapter(folder / "adapter", base_model_name_or_path=str(folder / "base"), use_dora=True)
    lengths = np.linspace(0.5, 2.0, HIDDEN, dtype=np.float32)
    stored = load_file(folder / "adapter" / "adapter_model.safetensors")
    stored[f"base_model.model.{ADAPTED}.lora_magnitude_vector"] = lengths
    save(folder / "adapter", stored, None, "adapter_model.safetensors")
    model = llama()
    whole = model[f"{ADAPTED}.weight"] + _update()
    model[f"{ADAPTED}.weight"] = lengths[:, None] * whole / np.linalg.norm(whole, axis=1, keepdims=True)
    return Must(model=model, tolerance=1e-6, path=folder / "adapter")


def _dora_delta(folder: Path) -> Must:
    _dora(folder)
    return Must(refused="no update apart from its base", how={"adapter": "delta"}, path=folder / "adapter")


def _loose(folder: Path, names: tuple[str, str], target: str, alpha: str | None = None) -> Must:
    """Factors in a file without a configuration."""
    down, up = _factors()
    stored: dict[str, Any] = dict(zip(names, (down, up), strict=True))
    if alpha:
        stored[alpha] = np.float32(ALPHA).reshape(())
    save(folder, stored, None, "pytorch_lora_weights.safetensors")
    update = _update() if alpha else np.asarray(up @ down)
    return Must(model={target: update}, tolerance=1e-6, how={"adapter": "delta"})


_KOHYA = "lora_unet_down_blocks_0_attn1_to_q"
_kohya = partial(
    _loose,
    names=(f"{_KOHYA}.lora_down.weight", f"{_KOHYA}.lora_up.weight"),
    target="lora_unet_down_blocks_0_attn1.to_q.weight",
    alpha=f"{_KOHYA}.alpha",
)


def _kohya_unasked(folder: Path) -> Must:
    _kohya(folder)
    return Must(refused="LoRA updates .as kohya saves them. and no model.*--adapter delta")


def _beside_weights(folder: Path) -> Must:
    """A model saved in the middle of training, its adapter's factors not merged."""
    down, up = _factors()
    save(folder, llama() | {f"{ADAPTED}.lora_A.default.weight": down, f"{ADAPTED}.lora_B.default.weight": up})
    return Must(refused="LoRA factors beside weights of a model.*merge_and_unload")


def _other_adapter(folder: Path) -> Must:
    _adapter(folder, peft_type="IA3")
    return Must(refused="adapter of the kind IA3", how={"adapter": "delta"})


def _layout(name: str, write: Callable[[Path], Must]) -> Layout:
    return Layout(group="composed", name=name, write=write)


_OLD, _NEW = ("_g", "_v"), ("0", "1")
LAYOUTS = (
    _layout("weight norm, hooks", partial(_write, split=partial(_norm_by_row, ends=_OLD), stem=".weight")),
    _layout(
        "weight norm, parametrizations",
        partial(_write, split=partial(_norm_by_row, ends=_NEW), stem=".parametrizations.weight.original"),
    ),
    _layout("weight norm, one length for all", partial(_write, split=_norm_of_all, stem=".weight")),
    _layout("spectral norm, hooks", partial(_write_spectral, ends=("_orig", "_u", "_v"), stem=".weight")),
    _layout(
        "spectral norm, parametrizations",
        partial(_write_spectral, ends=("original", "0._u", "0._v"), stem=".parametrizations.weight."),
    ),
    _layout("a parametrization that is not known", _other_parametrization),
    _layout("masks of pruning", _pruned),
    _layout("LoRA adapter with its base", _lora_merged),
    _layout("LoRA adapter, --adapter delta", _lora_delta),
    _layout("LoRA adapter, base not to be had", _lora_alone),
    _layout("LoRA with magnitudes (DoRA) with its base", _dora),
    _layout("LoRA with magnitudes (DoRA), --adapter delta", _dora_delta),
    _layout("LoRA of kohya, --adapter delta", _kohya),
    _layout("LoRA of kohya, not asked for as updates", _kohya_unasked),
    _layout(
        "LoRA of diffusers, --adapter delta",
        partial(
            _loose, names=("unet.a.to_q.lora.down.weight", "unet.a.to_q.lora.up.weight"), target="unet.a.to_q.weight"
        ),
    ),
    _layout("LoRA factors beside weights of a model", _beside_weights),
    _layout("adapter of another kind (IA3)", _other_adapter),
)
