"""Folders of several models, asked for as one."""

import json
from collections.abc import Iterator
from pathlib import Path

import huggingface_hub
import pytest
import torch
from huggingface_hub.utils import _detect_agent
from safetensors.torch import save, save_file

from cli.requests import model_requests
from dna_zoo.errors import SettingsError
from pipeline.fetch.plan import expand, expand_all, key_of
from pipeline.fetch.request import ModelRequest
from pipeline.fetch.stage import fetch
from pipeline.lineage.mined import find_weights
from tests.support.loopback_hub import Fault, LoopbackHub
from tests.support.mining import database_of, mine_into


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
    assert [key_of(each) for each in expand_all(model_requests([str(folder)]))] == ["sd/unet", "sd/vae"]
    requests = expand_all(model_requests([], local=[folder], local_names=["mine"], state_dict="ema"))
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


# Repositories of the Hub.

REPO = "someone/pipeline"


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LoopbackHub]:
    # The client asks the public Hub, once a process, for a list it puts in its user agent: not from here.
    monkeypatch.setattr(_detect_agent, "_registry", {"standardEnvVars": [], "harnesses": {}})
    with LoopbackHub() as hub:
        for name, value in hub.environment(tmp_path / "hf").items():
            monkeypatch.setenv(name, value)
        yield hub
        huggingface_hub.close_session()


def weights(size: int) -> bytes:
    return save({"a.weight": torch.randn(size, size, generator=torch.Generator().manual_seed(size))})


def diffusers_files() -> dict[str, bytes]:
    index = {
        "_class_name": "P",
        "unet": ["diffusers", "U"],
        "text_encoder": ["t", "C"],
        "scheduler": ["diffusers", "S"],
    }
    return {
        "model_index.json": json.dumps(index).encode(),
        "unet/diffusion_pytorch_model.safetensors": weights(3),
        "unet/config.json": b'{"_class_name": "U"}',
        "text_encoder/model.safetensors": weights(4),
        "text_encoder/config.json": b'{"model_type": "clip_text_model"}',
        "scheduler/scheduler_config.json": b"{}",
        "other/model.safetensors": weights(5),
    }


def test_components_of_a_repository_are_models_of_the_run(server: LoopbackHub, tmp_path: Path) -> None:
    server.add(REPO, diffusers_files())
    home = tmp_path / "home"
    requests = expand_all([ModelRequest(name=REPO)], home=home)
    assert [key_of(each) for each in requests] == [f"{REPO}/text_encoder", f"{REPO}/unet"]
    text, unet = (fetch(each, home=home) for each in requests)
    assert text.config == {"model_type": "clip_text_model"} and unet.config == {"_class_name": "U"}
    assert (unet.repo, unet.revision, unet.paths[0].name) == (REPO, "c" * 40, "diffusion_pytorch_model.safetensors")
    # All of them are of one commit, and a second look asks for nothing.
    server.requests.clear()
    again = expand_all([ModelRequest(name=REPO)], home=home)
    assert [fetch(each, home=home).digest for each in again] == [text.digest, unet.digest]
    assert again == expand_all(again, home=home) == requests and server.requests == []


def test_modules_of_a_repository_beside_the_model_itself(server: LoopbackHub, tmp_path: Path) -> None:
    modules = [{"path": ""}, {"path": "1_Pooling"}, {"path": "2_Dense"}]
    files = {
        "modules.json": json.dumps(modules).encode(),
        "model.safetensors": weights(3),
        "1_Pooling/config.json": b"{}",
    }
    server.add(REPO, files | {"2_Dense/model.safetensors": weights(2)})
    requests = expand_all([ModelRequest(name=REPO)], home=tmp_path)
    assert [key_of(each) for each in requests] == [REPO, f"{REPO}/2_Dense"]
    assert [fetch(each, home=tmp_path).num_bytes for each in requests] == [len(weights(3)), len(weights(2))]


def test_one_module_in_a_folder_is_the_repository(server: LoopbackHub, tmp_path: Path) -> None:
    index = json.dumps({"weight_map": {"a.weight": "model-1.safetensors"}}).encode()
    files = {"modules.json": b'[{"path": "0_Transformer"}]', "0_Transformer/model.safetensors.index.json": index}
    server.add(REPO, files | {"0_Transformer/model-1.safetensors": weights(3)})
    (request,) = expand_all([ModelRequest(name=REPO)], home=tmp_path)
    assert key_of(request) == REPO
    assert fetch(request, home=tmp_path).paths[0].name == "model-1.safetensors"


@pytest.mark.parametrize("fault", [*list(Fault)[:6], Fault.PLAIN_404, Fault.NOT_A_HUB])
def test_a_hub_that_does_not_answer_leaves_one_model(server: LoopbackHub, tmp_path: Path, fault: Fault) -> None:
    server.add(REPO, diffusers_files())
    server.fault = fault
    assert expand_all([ModelRequest(name=REPO)], home=tmp_path) == (ModelRequest(name=REPO),)


def test_a_card_and_a_switched_off_network_cost_no_request(
    server: LoopbackHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert len(expand_all([ModelRequest(name="albert-base"), ModelRequest(name=REPO)], home=tmp_path)) == 2
    assert server.requests == []


def test_two_models_of_one_key_are_refused(tmp_path: Path) -> None:
    folders = [pipeline(tmp_path / side / "sd", "unet", "vae") for side in ("a", "b")]
    with pytest.raises(SettingsError, match=r"would both be kept as 'mine/unet'"):
        expand_all([ModelRequest(name=str(folder), key="mine") for folder in folders])


def test_two_pipelines_of_one_name_get_keys_of_their_own(tmp_path: Path) -> None:
    folders = [pipeline(tmp_path / side / "sd", "unet", "vae") for side in ("a", "b")]
    requests = expand_all([ModelRequest(name=str(folder)) for folder in folders])
    assert [key_of(each) for each in requests] == ["sd/unet", "sd/vae", "b/sd/unet", "b/sd/vae"]


@pytest.mark.slow
def test_a_run_mines_each_component_and_a_second_one_finds_them_done(server: LoopbackHub, tmp_path: Path) -> None:
    files = diffusers_files()
    server.add(REPO, files | {name: weights(12) for name in files if name.endswith(".safetensors")})
    home = tmp_path / "home"
    run = mine_into(home, [ModelRequest(name=REPO)])
    assert {each.key: each.status for each in run.models} == {f"{REPO}/text_encoder": "done", f"{REPO}/unet": "done"}
    server.requests.clear()
    with database_of(home) as database:
        found = {each.model.key: find_weights(each, database, home=home).digest for each in database.patterns()}
        assert found == {each.model.key: each.model.sha256 for each in database.patterns()}
    again = mine_into(home, [ModelRequest(name=REPO)])
    assert again.request_key == run.request_key and again.counts["reused"] == 2 and server.requests == []
