"""One model through the product's stages in a process of its own: seconds and peak memory of each, as JSON.

    python -m benchmarks.parts.one_model tinybert --folder /tmp/tinybert --epochs 20 --fit-nulls 0 --analysis-nulls 1

`benchmarks/architectures.py` starts it. Nothing but torch is imported before the memory that torch takes by itself is
known; the stages are those of `dna-zoo mine`, told apart by the events that it sends.
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.parts.peak_memory import PeakMemory, resident_mib

if TYPE_CHECKING:
    from pipeline.events import Event

STAGES = ("fetch", "extract", "order", "fit", "analyse", "persist")


def main() -> None:
    """Mine the model in the folder into a home that is deleted, and print what each stage took."""
    options = parse()
    import torch

    torch.zeros(1)
    watch = Watch(torch_mib=resident_mib())
    mine_model(options, watch)
    found = {"torch_mib": watch.torch_mib, "method": watch.memory.method, "stages": watch.found}
    json.dump(found, sys.stdout)


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="key of the card")
    parser.add_argument("--folder", type=Path, required=True, help="where its weights are")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--moves", type=int, default=1)
    parser.add_argument("--fit-nulls", type=int, default=0)
    parser.add_argument("--analysis-nulls", type=int, default=1)
    return parser.parse_args()


class Watch:
    """Listens to the runner, and notes seconds and peak memory above torch's own between two events of a stage."""

    def __init__(self, torch_mib: float) -> None:
        self.torch_mib = torch_mib
        self.memory = PeakMemory()
        self.found: dict[str, dict[str, float]] = {}
        self.started = 0.0

    def __call__(self, event: "Event") -> None:
        if event.kind == "failed":
            raise SystemExit(f"{event.model} failed: {event.message}")
        # Fetching tells its end alone when there is nothing to download.
        if event.kind == "start":
            self.memory.reset()
            self.started = time.perf_counter()
        elif event.kind in ("done", "reused") and event.stage in STAGES:
            seconds = time.perf_counter() - self.started
            self.found.setdefault(event.stage, {"seconds": seconds, "mib": self.memory.peak() - self.torch_mib})


def mine_model(options: argparse.Namespace, watch: Watch) -> None:
    """`dna-zoo mine`, with the settings asked for."""
    from patterndb.store import PatternDatabase
    from pipeline.fetch.request import ModelRequest
    from pipeline.runs.runner import mine
    from pipeline.settings import AnalysisSettings, MineSettings, preset

    settings: Any = MineSettings(
        fit=preset("quick", epochs=options.epochs, num_moves=options.moves, num_nulls=options.fit_nulls),
        analysis=AnalysisSettings(num_nulls=options.analysis_nulls),
        device="cpu",
    )
    request = ModelRequest(name=options.model, weights=options.folder)
    with (
        tempfile.TemporaryDirectory(dir=options.folder) as home,
        PatternDatabase.open(f"sqlite:///{home}/model.db") as database,
    ):
        mine([request], settings, database=database, home=Path(home), on_event=watch)


if __name__ == "__main__":
    main()
