"""Make the population: `python -m benchmarks.population --out FOLDER`, from the repository's root.

About 400 models of 60 to 110 thousand weights, a fifth of an hour on one core, 150 MB. Members that are there are
kept, so that it goes on after an interruption; the same interpreter and the same libraries give the same weights.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from transformers import PreTrainedModel
from transformers.utils import logging as transformers_logging

from benchmarks.population.architectures import ARCHITECTURES, Architecture, new_model
from benchmarks.population.lessons import draw_from, mean_loss
from benchmarks.population.members import RELATIONS, Member, plan
from benchmarks.population.relations import MAKERS
from benchmarks.population.storage import is_made, save

__all__ = ["main", "make_all"]


def main(arguments: Sequence[str] | None = None) -> None:
    """Make who is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of the population")
    parser.add_argument("--only", nargs="+", choices=list(ARCHITECTURES), default=list(ARCHITECTURES))
    parser.add_argument("--relations", nargs="+", choices=list(RELATIONS), default=list(RELATIONS))
    parser.add_argument("--num-roots", type=int, help="of each architecture; 4 tuned and 3 held out when not given")
    parser.add_argument("--max-steps", type=int, help="cut every training short, to try the script out")
    options = parser.parse_args(arguments)
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    members = [m for m in plan(options.only, num_roots=options.num_roots) if m.relation in options.relations]
    began = time.perf_counter()
    make_all(members, options.out, max_steps=options.max_steps, say=lambda line: print(line, flush=True))
    print(f"{len(members)} models in {time.perf_counter() - began:.0f} s")


def make_all(
    members: Sequence[Member],
    folder: Path,
    *,
    max_steps: int | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> None:
    """Make all that are not in `folder` yet, parents before children, on one thread: more would change the last bit."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for member in members:
            if is_made(folder / member.name):
                continue
            began = time.perf_counter()
            architecture = ARCHITECTURES[member.architecture]
            if max_steps is not None:
                architecture = replace(architecture, steps=min(max_steps, architecture.steps))
            model = MAKERS[member.relation](member, architecture, folder)
            save(model, member, folder / member.name)
            reached = _reached(model, architecture) if member.relation == "root" else ""
            say(f"{member.name}: {time.perf_counter() - began:.1f} s{reached}")
    finally:
        torch.set_num_threads(threads)


def _reached(model: PreTrainedModel, architecture: Architecture) -> str:
    """What a root has learnt, beside what it knew before."""
    draw = draw_from(architecture, architecture.data)
    return f", loss {mean_loss(model, draw):.2f}, untrained {mean_loss(new_model(architecture, seed=0), draw):.2f}"


if __name__ == "__main__":
    main()
