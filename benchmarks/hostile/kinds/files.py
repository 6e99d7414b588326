"""Damaged files of other formats: GGUF, DNA, shared patterns."""

import shutil
from pathlib import Path

import numpy as np

from benchmarks.hostile.place import Place, Trial, Wrong
from benchmarks.hostile.product import asked, checked, command, met
from benchmarks.hostile.sound import dna_file, gguf_file, pattern_file
from benchmarks.hostile.strange import damaged, pick

__all__ = ["damaged_dna", "damaged_gguf", "damaged_pattern"]


def damaged_gguf(place: Place, rng: np.random.Generator) -> Trial:
    """A GGUF file with bytes changed, mostly of what stands before its values."""
    path, plain = gguf_file()
    data = path.read_bytes()
    stop = len(data) if rng.integers(4) == 0 else len(data) - 8 * 34 - 320
    changed = damaged(data, rng, stop=stop)
    (place.model / "model.gguf").write_bytes(changed)
    return met(place, plain if changed == data else None)


def damaged_dna(place: Place, rng: np.random.Generator) -> Trial:
    """A DNA with bytes changed; what is read of it must be what the whole one says."""
    from pipeline.dna.dna import Dna

    data = dna_file().read_bytes()
    length = int.from_bytes(data[:8], "little")
    stop = int(pick(rng, (8, 8 + length, len(data))))
    path = place.model / str(pick(rng, ("dna.safetensors", "dna.safetensors", "dna.safetensors", "dna.pt")))
    path.write_bytes(damaged(data, rng, stop=stop))
    _sound_dna()

    def trial() -> str:
        found = asked(lambda: _weights(Dna.load(path)))
        if found is None:
            return "refused"
        if found != _sound_dna():
            raise Wrong("wrong", "a damaged DNA gives other weights")
        return "answered"

    return trial


def _weights(dna: "object") -> dict[str, bytes]:
    return {name: each.contiguous().numpy().tobytes() for name, each in dna.state_dict().items()}  # type: ignore[attr-defined]


def _sound_dna() -> dict[str, bytes]:
    from pipeline.dna.dna import Dna

    if not _KEPT:
        _KEPT.update(_weights(Dna.load(dna_file())))
    return _KEPT


_KEPT: dict[str, bytes] = {}


def damaged_pattern(place: Place, rng: np.random.Generator) -> Trial:
    """A shared pattern with bytes changed, imported and shown, or put into the library by hand and shown."""
    data = pattern_file().read_bytes()
    stop = int(pick(rng, (8, 8 + int.from_bytes(data[:8], "little"), len(data))))
    path = place.model / "pattern.safetensors"
    path.write_bytes(damaged(data, rng, stop=stop))
    by_hand = bool(rng.integers(2))
    whole = _shown_pattern(place.root / "whole", pattern_file(), False)

    def trial() -> str:
        shown = _shown_pattern(place.home, path, by_hand)
        if shown and shown != whole:
            raise Wrong("wrong", f"a damaged pattern is shown as {shown[:500]!r}")
        return "answered" if shown else "refused"

    return trial


def _shown_pattern(home: Path, path: Path, by_hand: bool) -> str:
    """What `library show` says of the pattern; nothing where it was refused."""
    if by_hand:
        (home / "library").mkdir(parents=True)
        shutil.copy(path, home / "library" / "shared.safetensors")
    elif checked(command(home, "library", "import", str(path), "--name", "shared")).code:
        return ""
    listed = checked(command(home, "library", "list"))
    said = checked(command(home, "library", "show", "shared", "--format", "json"))
    return "" if said.code or listed.code else said.out
