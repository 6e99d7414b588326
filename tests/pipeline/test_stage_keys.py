"""Keys of the stages: what the results of a model depend on; a kind of device where its bits are its own."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from pipeline import stage_keys as module
from pipeline.analyse.measures.host import ANALYSE_VERSION
from pipeline.analyse.signature import SIGNATURE_VERSION
from pipeline.fit.stage import resolve_precision
from pipeline.kept.stages import content_key
from pipeline.settings import MineSettings, preset
from pipeline.stage_keys import EXTRACT_VERSION, stage_keys
from pipeline.weights.files import WeightFiles
from tests.support.weight_files import files_of

FILES = WeightFiles(
    key="any", repo=None, revision=None, paths=(), sha256=(), digest="d" * 64, num_bytes=0, origin="local"
)
CPU, CUDA, SECOND = (stage_keys(FILES, MineSettings(device=name)) for name in ("cpu", "cuda", "cuda:1"))


def test_fit_and_analysis_of_a_gpu_have_keys_of_their_own_and_the_rest_is_shared() -> None:
    assert CUDA == SECOND
    assert CUDA.fit != CPU.fit and CUDA.analyse != CPU.analyse
    assert replace(CUDA, fit=CPU.fit, analyse=CPU.analyse) == CPU


def test_an_analysis_kept_before_a_gpu_could_take_one_is_still_found() -> None:
    settings = MineSettings()
    kept = (ANALYSE_VERSION, SIGNATURE_VERSION, CPU.order, {"num_nulls": 8, "max_rows": 4096}, settings.seed)
    assert CPU.analyse == content_key(*kept)


def test_what_the_device_decides_of_the_preset_reference_changes_no_key_of_a_cpu() -> None:
    """Keys are made of settings whose precision is resolved, as `mine` makes them."""
    asked = preset("reference")
    keys = [
        stage_keys(FILES, MineSettings(preset="reference", fit=each))
        for each in (resolve_precision(asked, "cpu"), replace(asked, precision="fp32"))
    ]
    assert keys[0] == keys[1]


@pytest.mark.parametrize(
    ("config", "is_as_before"),
    [({"model_type": "bert"}, True), ({"model_type": "gpt2"}, True), ({"model_type": "cohere"}, False), ({}, False)],
)
def test_only_what_names_and_tracing_now_say_otherwise_is_extracted_again(
    config: dict[str, Any], is_as_before: bool, tmp_path: Path
) -> None:
    torch.save({"a.weight": torch.randn(4, 4)}, tmp_path / "a.bin")
    files = files_of(tmp_path / "a.bin", config=config)
    settings = MineSettings(device="cpu")
    before = content_key(EXTRACT_VERSION, files.digest, config, settings.allow_nonfinite, settings.allow_partial)
    assert (stage_keys(files, settings).extract == before) is is_as_before


def test_a_new_version_of_the_wiring_is_a_new_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save({"a.weight": torch.randn(4, 4)}, tmp_path / "a.bin")
    files, settings = files_of(tmp_path / "a.bin"), MineSettings(device="cpu")
    before = stage_keys(files, settings).extract
    monkeypatch.setattr(module, "wiring_version", lambda config: ("wiring", "of tomorrow"))
    assert stage_keys(files, settings).extract != before
