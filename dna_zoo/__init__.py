"""The base of all packages.

Here: the version and the tree of errors.
Not here: anything that imports another package of this project.
"""

__all__ = ["__version__"]

__version__ = "0.1.0"
