"""What every package of dna-zoo stands on: the version and the tree of errors."""

__all__ = ["__version__"]

__version__ = "0.1.0"
