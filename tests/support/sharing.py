"""Models for tests of shared patterns: lineages that have planted properties in common, and live modules."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import transformers

from library.live import LiveTensors
from library.patterns.build import build_pattern
from library.patterns.measure import Measures, measure_model
from library.patterns.records import Evidence, Key, Lineage, Part, SharedPattern
from library.patterns.views import View
from tests.support.small_models import matrix_spec
from zoo.tensors import Axis, Role

__all__ = ["bert", "build", "gpt2", "kernel_view", "pattern_of", "resnet", "view_of", "vit"]

Float64 = npt.NDArray[np.float64]
SMALL: Mapping[str, Any] = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}


def view_of(values: Float64, role: Role = Role.FFN_IN, **axes: Axis) -> View:
    """A matrix as a term sees it."""
    spec = matrix_spec("a", *values.shape, role=role, **axes)
    return View(subject=str(role), spec=spec, values=values)


def kernel_view(values: Float64) -> View:
    """Kernels (out, in, height, width)."""
    matrix = values.reshape(len(values), -1)
    spec = matrix_spec("a", *matrix.shape, role=Role.CONVOLUTION)
    return View(subject="convolution", spec=spec, values=matrix, kernel=values.shape[2:])


def bert(seed: int = 0, *, width: int = 32, depth: int = 2, **more: Any) -> Any:
    return _seeded(
        seed,
        lambda: transformers.BertForMaskedLM(
            transformers.BertConfig(
                vocab_size=60, hidden_size=width, num_hidden_layers=depth, num_attention_heads=4,
                intermediate_size=3 * width, max_position_embeddings=16, type_vocab_size=1, **SMALL, **more,
            )
        ),
    )  # fmt: skip


def gpt2(seed: int = 0, *, width: int = 32, depth: int = 2) -> Any:
    config = transformers.GPT2Config(
        vocab_size=60, n_embd=width, n_layer=depth, n_head=4, n_positions=16, bos_token_id=None, eos_token_id=None
    )
    return _seeded(seed, lambda: transformers.GPT2LMHeadModel(config))


def vit(seed: int = 0, *, width: int = 32, depth: int = 2) -> Any:
    config = transformers.ViTConfig(
        image_size=16, patch_size=4, num_channels=1, hidden_size=width, num_hidden_layers=depth, num_attention_heads=4,
        intermediate_size=3 * width, num_labels=5, **SMALL,
    )  # fmt: skip
    return _seeded(seed, lambda: transformers.ViTForImageClassification(config))


def resnet(seed: int = 0, *, width: int = 8, depth: int = 1) -> Any:
    config = transformers.ResNetConfig(
        num_channels=1, embedding_size=width, hidden_sizes=[width, 2 * width], depths=[depth, depth],
        layer_type="basic", num_labels=5,
    )  # fmt: skip
    return _seeded(seed, lambda: transformers.ResNetForImageClassification(config))


def _seeded(seed: int, make: Callable[[], Any]) -> Any:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make().eval()


def build(models: list[Any], *, num_draws: int = 19, seed: int = 0, name: str = "some") -> SharedPattern:
    """The pattern of live models, each a lineage of its own."""
    tensors = [LiveTensors(model).tensors for model in models]
    measured: list[Measures] = [measure_model(each) for each in tensors]
    shuffled = [[measure_model(each, draw=draw, seed=seed) for draw in range(num_draws)] for each in tensors]
    lineages = [Lineage(name=f"model-{i}", models=(f"model-{i}",)) for i in range(len(models))]
    return build_pattern(name, lineages, measured, shuffled, seed=seed)


def pattern_of(
    parts: Mapping[Key, list[float]], *, name: str = "some", explained: float | None = None
) -> SharedPattern:
    """A pattern that has these values at every depth; tested, if it explains something or nothing."""
    evidence = None
    if explained is not None:
        q = 0.01 if explained > 0 else 1.0
        evidence = Evidence(lineages=3, explained=explained, null=0.0, p=q, q=q)
    made = {
        key: Part(values=np.tile(np.array(values, dtype=np.float32), (5, 1)), lineages=3, evidence=evidence)
        for key, values in parts.items()
    }
    return SharedPattern(name=name, parts=made, lineages=(Lineage(name="a", models=("a",)),), selection="universal")
