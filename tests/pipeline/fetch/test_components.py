"""Folders of several models, asked for as one."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from cli.requests import model_requests
from pipeline.fetch.plan import expand, key_of
from pipeline.fetch.request import ModelRequest


def pipeline(folder: Path, *names: str) -> Path:
    """A diffusers pipeline of these components, all with weights."""
    for name in names:
        (folder / name).mkdir(parents=True)
        save_file({"a.weight": torch.ones(3, 3)}, folder / name / "diffusion_pytorch_model.safetensors")
    index = {"_class_name": "Pipeline", **{name: ["diffusers", "Model"] for name in names}}
    (folder / "model_index.json").write_text(json.dumps(index))
    return folder


def test_each_component_is_a_model_of_the_run(tmp_path: Path) -> None:
    folder = pipeline(tmp_path / "sd", "unet", "vae")
    assert [key_of(each) for each in model_requests([str(folder)])] == ["sd/unet", "sd/vae"]
    requests = model_requests([], local=[folder], local_names=["mine"], state_dict="ema")
    assert [(each.key, each.state_dict) for each in requests] == [("mine/unet", "ema"), ("mine/vae", "ema")]


def test_a_component_that_is_alone_is_the_folder(tmp_path: Path) -> None:
    folder = pipeline(tmp_path / "sd", "unet")
    for request in (ModelRequest(name=str(folder)), ModelRequest(name="x", weights=folder, key="sd")):
        (found,) = expand(request)
        assert key_of(found) == "sd" and (found.weights or Path(found.name)) == folder / "unet"


def test_a_component_in_the_folder_itself_keeps_its_card(tmp_path: Path) -> None:
    folder = pipeline(tmp_path / "st", "2_Dense")
    save_file({"a.weight": torch.ones(3, 3)}, folder / "model.safetensors")
    (folder / "modules.json").write_text(json.dumps([{"path": ""}, {"path": "2_Dense"}, {"path": 3}, "x"]))
    own, dense = sorted(expand(ModelRequest(name="minilm-l6", weights=folder)), key=key_of)
    assert (own.name, own.weights, key_of(own)) == ("minilm-l6", folder, "minilm-l6")
    assert (dense.name, dense.weights, key_of(dense)) == (str(folder / "2_Dense"), None, "minilm-l6/2_Dense")


@pytest.mark.parametrize("text", ["", "[", "[1]", '{"../other": ["diffusers", "Model"]}', '{"unet": 3}'])
def test_an_index_that_says_nothing_useful_leaves_the_folder_as_it_is(tmp_path: Path, text: str) -> None:
    pipeline(tmp_path / "other", "unet")
    folder = pipeline(tmp_path / "sd", "unet")
    (folder / "model_index.json").write_text(text)
    request = ModelRequest(name=str(folder))
    assert expand(request) == (request,)


@pytest.mark.parametrize("name", ["albert-base", "someone/model", "./not-here"])
def test_what_is_no_folder_is_itself(name: str) -> None:
    assert expand(ModelRequest(name=name)) == (ModelRequest(name=name),)
