"""What keys the stages: a kind of device where its bits are its own, never its number."""

from dataclasses import replace
from pathlib import Path

from pipeline.analyse.signature import SIGNATURE_VERSION
from pipeline.analyse.stage import ANALYSE_VERSION
from pipeline.fetch.request import ModelRequest
from pipeline.fetch.stage import fetch
from pipeline.settings import MineSettings
from pipeline.stage_keys import StageKeys, stage_keys
from pipeline.stages import content_key
from tests.support.tiny_models import make_tiny_checkpoint


def keys_by_device(folder: Path) -> dict[str, StageKeys]:
    make_tiny_checkpoint("tinybert", folder / "model", 0)
    files = fetch(ModelRequest(name=str(folder / "model")), home=folder / "home")
    return {name: stage_keys(files, MineSettings(device=name)) for name in ("cpu", "cuda", "cuda:1")}


def test_fit_and_analysis_of_a_gpu_have_keys_of_their_own_and_the_rest_is_shared(tmp_path: Path) -> None:
    keys = keys_by_device(tmp_path)
    assert keys["cuda"] == keys["cuda:1"]
    assert keys["cuda"].fit != keys["cpu"].fit and keys["cuda"].analyse != keys["cpu"].analyse
    assert replace(keys["cuda"], fit=keys["cpu"].fit, analyse=keys["cpu"].analyse) == keys["cpu"]


def test_an_analysis_kept_before_a_gpu_could_take_one_is_still_found(tmp_path: Path) -> None:
    cpu, settings = keys_by_device(tmp_path)["cpu"], MineSettings()
    kept = (ANALYSE_VERSION, SIGNATURE_VERSION, cpu.order, {"num_nulls": 8, "max_rows": 4096}, settings.seed)
    assert cpu.analyse == content_key(*kept)
