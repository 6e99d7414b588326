"""Files with their own digest: what a killed stage goes on from is as it was written, or counts as not there."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from pipeline.kept.sealed import load_json, load_tensors, save_json, save_tensors
from tests.support.damage import DAMAGES

damages = pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
Damage = Callable[[bytes], bytes]


def test_what_was_kept_is_there_again(tmp_path: Path) -> None:
    save_tensors({"value": torch.arange(4.0), "step": 3}, tmp_path / "a" / "x.pt")
    save_json(tmp_path / "a" / "x.json", {"r2": [0.1, float("inf")], "ö": None})
    found = load_tensors(tmp_path / "a" / "x.pt")
    assert found is not None and (found["value"].tolist(), found["step"]) == ([0.0, 1.0, 2.0, 3.0], 3)
    assert load_json(tmp_path / "a" / "x.json") == {"r2": [0.1, float("inf")], "ö": None}
    assert load_tensors(tmp_path / "none.pt") is load_json(tmp_path / "none.json") is None


@damages
def test_a_damaged_file_of_tensors_counts_as_not_there(damage: Damage, tmp_path: Path) -> None:
    save_tensors({"value": torch.arange(1000.0)}, tmp_path / "x.pt")
    (tmp_path / "x.pt").write_bytes(damage((tmp_path / "x.pt").read_bytes()))
    assert load_tensors(tmp_path / "x.pt") is None


@damages
def test_damaged_json_counts_as_not_there(damage: Damage, tmp_path: Path) -> None:
    save_json(tmp_path / "x.json", {"numbers": [number / 7 for number in range(100)]})
    (tmp_path / "x.json").write_bytes(damage((tmp_path / "x.json").read_bytes()))
    assert load_json(tmp_path / "x.json") is None
