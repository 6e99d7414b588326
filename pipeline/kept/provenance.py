"""What computed a result: the versions that its numbers may depend on."""

import platform

import numpy as np

from dna_zoo import __version__

__all__ = ["versions"]


def versions() -> dict[str, str]:
    """Of what computes: dna-zoo, Python and the libraries that a number may depend on."""
    import torch

    return {
        "dna_zoo": __version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "torch": torch.__version__,
    }
