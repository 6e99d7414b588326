"""Keys of the stages: what the results of a model depend on."""

from pathlib import Path
from typing import Any

import pytest
import torch

from pipeline import stage_keys as module
from pipeline.kept.stages import content_key
from pipeline.settings import MineSettings
from pipeline.stage_keys import EXTRACT_VERSION, stage_keys
from tests.support.weight_files import files_of


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
