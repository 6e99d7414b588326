"""`dna-zoo init`: a new model that starts from a pattern."""

from pathlib import Path
from typing import Annotated

import typer

from cli.numbers import count
from cli.options import flag
from cli.session import session_of

__all__ = ["EXAMPLES", "init"]

EXAMPLES = (
    "dna-zoo init config.json --pattern text-encoder --out new-model",
    "dna-zoo init ./my-vit --pattern vision-transformer --out new-vit --seed 1",
)


def init(
    context: typer.Context,
    source: Annotated[
        Path, typer.Argument(metavar="CONFIG_OR_DIR", help="A config.json of transformers, or a directory with one.")
    ],
    pattern: Annotated[str, typer.Option("--pattern", metavar="NAME", help="A pattern of the library.")],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="The directory to write.")],
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="Random seed.")] = 0,
    force: Annotated[bool, flag("--force", help="Replace the directory if it is there.")] = False,
) -> None:
    """Make a new model of any width and depth, started from a pattern, as a directory that transformers loads."""
    from library.new_model import make_model
    from library.patterns.store import Library

    session = session_of(context)
    found = make_model(source, Library(session.home).load(pattern), out, seed=seed, force=force)
    output = session.output()
    output.note(
        f"{out}: {count(len(found.terms))} tensors start from {pattern}, {count(len(found.default))} as by default."
    )
    if found.untested:
        output.warning(f"Never tested on a left-out lineage: {', '.join(found.untested)}.")
