"""The Python door: what a notebook begins with.

    import dna_zoo

    zoo = dna_zoo.open()                      # the database of the command line; never created by accident
    zoo["minilm-l6"].roles                    # a frame of pandas, each number beside its null
    dna = zoo["minilm-l6"].dna()              # or dna_zoo.load_dna("dna.safetensors"), which needs no database
    dna_zoo.mine(["./my-model"])              # the whole chain
    dna_zoo.initialise_(model, pattern, rng)  # start a new model from what others share

What stands here is imported when it is first used: `import dna_zoo` loads no other package, and the packages below may
take their errors from here.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dna_zoo.dna import Dna, DnaTensor, load_dna
    from dna_zoo.mining import mine
    from dna_zoo.pattern import Pattern
    from dna_zoo.zoo import Zoo, open
    from library.initialise import initialise_

__all__ = ["Dna", "DnaTensor", "Pattern", "Zoo", "__version__", "initialise_", "load_dna", "mine", "open"]

__version__ = "0.1.0"

_HOMES = {
    "Dna": "dna_zoo.dna",
    "DnaTensor": "dna_zoo.dna",
    "Pattern": "dna_zoo.pattern",
    "Zoo": "dna_zoo.zoo",
    "initialise_": "library.initialise",
    "load_dna": "dna_zoo.dna",
    "mine": "dna_zoo.mining",
    "open": "dna_zoo.zoo",
}
"""Name -> the module that it comes from."""


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
