"""What keys the stages of a model: the weights' digest, the settings, the seed, the kind of device, the versions."""

from dataclasses import asdict, dataclass

from pipeline.analyse.measures.host import ANALYSE_VERSION
from pipeline.analyse.signature import SIGNATURE_VERSION
from pipeline.fit.stage import fit_version
from pipeline.kept.stages import content_key
from pipeline.machine.devices import device_key
from pipeline.order import ORDER_VERSION
from pipeline.settings import MineSettings
from pipeline.weights.files import WeightFiles
from zoo.tracing.held import wiring_version

__all__ = ["EXTRACT_VERSION", "StageKeys", "stage_keys"]

EXTRACT_VERSION = "8"
"""Raised when extract gives something else for files that their digest and config.json do not tell from others.

All later keys depend on it, so that fits are made anew too. 8: a fused projection that repeats another, an average
beside raw weights in safetensors or in shards, names behind wrappers in safetensors, experts in two dimensions, NVFP4,
ChatGLM's gate.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class StageKeys:
    """The key of each stage that is kept."""

    extract: str
    order: str
    fit: str
    analyse: str


def stage_keys(files: WeightFiles, settings: MineSettings) -> StageKeys:
    """The keys under which the stages of these files are done with these settings, whose device is resolved."""
    allowed = (settings.allow_nonfinite, settings.allow_partial)
    extract = content_key(EXTRACT_VERSION, files.digest, dict(files.config), *allowed, *wiring_version(files.config))
    order = content_key(ORDER_VERSION, extract)
    device = device_key(settings.device)
    fit_parts = (order, asdict(settings.fit), device, settings.seed)
    # A GPU's statistics are the CPU's but for rounding, and one key has one set of bits: so the kind of device is in
    # it. It is left out for a CPU, whose analyses were kept before a GPU could take any.
    analyse_parts = (order, asdict(settings.analysis), settings.seed, *([] if device == "cpu" else [device]))
    return StageKeys(
        extract=extract,
        order=order,
        fit=content_key(fit_version(settings.fit), *fit_parts),
        analyse=content_key(ANALYSE_VERSION, SIGNATURE_VERSION, *analyse_parts),
    )
