"""What keys the stages: a kind of device where its bits are its own, never its number."""

from dataclasses import replace

from pipeline.analyse.signature import SIGNATURE_VERSION
from pipeline.analyse.stage import ANALYSE_VERSION
from pipeline.kept.stages import content_key
from pipeline.settings import MineSettings
from pipeline.stage_keys import stage_keys
from pipeline.weights.files import WeightFiles

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
