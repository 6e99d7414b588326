"""What `config.json` may hold beside numbers: used where it means something, else as if it were not there."""

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.layouts.layout import Layout, Must
from benchmarks.layouts.models import CONFIG, llama, save

__all__ = ["LAYOUTS"]


def _changed(folder: Path, change: Mapping[str, Any]) -> Must:
    save(folder, llama(), {**CONFIG, **change})
    return Must(model=llama())


def _text(folder: Path, text: str, refused: str = "") -> Must:
    save(folder, llama(), None)
    (folder / "config.json").write_text(text)
    return Must(refused=refused) if refused else Must(model=llama())


def _layout(name: str, **change: Any) -> Layout:
    return Layout(group="configs", name=name, write=partial(_changed, change=change))


LAYOUTS = (
    _layout("Infinity and NaN", time_step_limit=[0.0, float("inf")], num_attention_heads=float("nan")),
    _layout("lists for numbers", num_attention_heads=[4, 4], num_key_value_heads=[2, 2], hidden_size=[32, 32]),
    _layout("booleans for numbers", num_attention_heads=True, hidden_size=False),
    _layout("no heads", num_attention_heads=0, num_key_value_heads=0),
    _layout("a list for `model_type`", model_type=["llama"], architectures="LlamaForCausalLM"),
    _layout("nothing in parts", text_config=None, vision_config=[], quantization_config=3),
    Layout(group="configs", name="an empty object", write=partial(_text, text="{}")),
    Layout(
        group="configs",
        name="a byte order mark",
        write=partial(_text, text="\ufeff" + json.dumps(dict(CONFIG))),
    ),
    Layout(group="configs", name="no object", write=partial(_text, text="[1]", refused="is not a JSON object")),
)
