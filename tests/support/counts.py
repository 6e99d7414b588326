"""The number of parameters in a checkpoint, counted as model cards and papers do."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from zoo.tensors import Role, TensorKind, TensorSpec

__all__ = ["ParameterCount", "count_parameters"]

_SCAFFOLDING = re.compile(r"^(?:fit_denses|lm_predictions|mask_predictions)\.")
"""TinyBERT's projections onto its teacher, DeBERTa-v3's pre-training heads: in the file, in no class of the model."""

_HEAD = re.compile(
    r"^(?:cls|lm_head|proj_out|predictions|sop_classifier|discriminator_predictions|generator_\w+|vocab_\w+"
    r"|pre_classifier|classifier|qa_outputs|score|fc|head|embed_out|quantizer|project_(?:hid|q))(?:\.|$)"
)
"""Modules that classes with a head add to the encoder or decoder. A pooler belongs to the encoder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ParameterCount:
    """Parameters of a checkpoint by where they belong; tied tensors count once."""

    base: int
    """Of the plain encoder or decoder."""
    head: int
    """Added by the class with a head."""
    scaffolding: int
    """Left over from training and part of neither."""
    frozen: int
    """Embeddings that were computed and never trained (Whisper's sinusoid); frameworks count them as parameters."""

    @property
    def trained(self) -> int:
        """All trained weights in the file."""
        return self.base + self.head + self.scaffolding


def count_parameters(specs: Iterable[TensorSpec]) -> ParameterCount:
    """The parameters that `specs` stand for; masks, positions and running statistics are none."""
    base = head = scaffolding = frozen = 0
    for spec in specs:
        if spec.kind is TensorKind.BUFFER and spec.role is Role.POSITION_EMBEDDING:
            frozen += spec.num_weights
        elif spec.kind is not TensorKind.WEIGHT:
            continue
        elif _SCAFFOLDING.match(spec.tensor):
            scaffolding += spec.num_weights
        elif _HEAD.match(spec.tensor):
            head += spec.num_weights
        else:
            base += spec.num_weights
    return ParameterCount(base=base, head=head, scaffolding=scaffolding, frozen=frozen)
