"""A hub on this machine with one repository, asked through the real client."""

from collections.abc import Iterator
from pathlib import Path

import huggingface_hub
import numpy as np
import pytest
from huggingface_hub.utils import _detect_agent
from safetensors.numpy import save

from tests.support.loopback_hub import LoopbackHub

REPO = "someone/some-model"
COMMIT = "c" * 40


def weights(seed: int = 0, rows: int = 200) -> bytes:
    values = np.random.default_rng(seed).standard_normal((rows, 50), dtype=np.float32)
    return save({f"layer.{seed}.weight": values})


FILES = {"model.safetensors": weights(), "config.json": b'{"model_type": "bert"}', "README.md": b"not wanted"}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LoopbackHub]:
    # The client asks the public Hub, once a process, for a list it puts in its user agent: not from here.
    monkeypatch.setattr(_detect_agent, "_registry", {"standardEnvVars": [], "harnesses": {}})
    monkeypatch.delenv("HF_TOKEN", raising=False)
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    with LoopbackHub() as hub:
        hub.add(REPO, FILES, COMMIT)
        for name, value in hub.environment(tmp_path / "hf").items():
            monkeypatch.setenv(name, value)
        yield hub
        huggingface_hub.close_session()
