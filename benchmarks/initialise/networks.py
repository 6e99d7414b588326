"""The kinds of models that are trained: those of the population, and one whose kernels are large.

A start can say most about kernels where these have many places: the second moments over 7 x 7 places are what
Trockman et al. (2022) start networks of large depthwise kernels from. The population has 3 x 3 alone.
"""

from collections.abc import Mapping

from transformers import ConvNextConfig, PreTrainedConfig

from benchmarks.population.architectures import ARCHITECTURES, INITIALISER_RANGE, Architecture

__all__ = ["NETWORKS"]


def _convnext() -> PreTrainedConfig:
    return ConvNextConfig(
        num_channels=1,
        image_size=16,
        patch_size=2,
        num_stages=1,
        hidden_sizes=[32],
        depths=[3],
        # Without the factors of 1e-6 that let very deep networks start as the identity.
        layer_scale_init_value=0.0,
        drop_path_rate=0.0,
        num_labels=10,
        initializer_range=INITIALISER_RANGE,
    )


NETWORKS: Mapping[str, Architecture] = {
    **ARCHITECTURES,
    "convnext": Architecture(
        name="convnext",
        split="tuned",
        objective="classification",
        model_class="ConvNextForImageClassification",
        config=_convnext,
        steps=400,
        learning_rate=4e-3,
        image_side=16,
        half_width={"hidden_sizes": [16]},
        half_depth={"depths": [2]},
    ),
}
"""Name -> network; the sources have its sizes."""
