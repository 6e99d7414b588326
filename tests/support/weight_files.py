"""Files of weights as fetching hands them on, without a fetch."""

from pathlib import Path
from typing import Any

from pipeline.weights.files import WeightFiles
from zoo.registry import ALL_CARDS

__all__ = ["files_of"]


def files_of(*paths: Path, config: dict[str, Any] | None = None, card: str | None = None) -> WeightFiles:
    """Of a model called `tiny`; the paths need not be there. `card` is the key of one of ours."""
    digests = ("0" * 64,) * len(paths)
    return WeightFiles(
        key="tiny",
        repo=None,
        revision=None,
        paths=paths,
        sha256=digests,
        digest="0" * 64,
        num_bytes=sum(path.stat().st_size for path in paths if path.exists()),
        origin="local",
        config=config or {},
        card=ALL_CARDS[card] if card else None,
    )
