"""`dna-zoo init`: a new model that starts from a pattern."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import RenderableType

from cli.documents import initialisation_document
from cli.numbers import count
from cli.options import FormatOption, SeedOption, flag
from cli.output import Format
from cli.session import session_of
from cli.signals import ended_in_order
from cli.tables import Column, escaped, make_table

if TYPE_CHECKING:
    from library.initialise import Initialisation

__all__ = ["EXAMPLES", "init"]

EXAMPLES = (
    "dna-zoo init config.json --pattern text-encoder --out new-model",
    "dna-zoo init ./my-vit --pattern vision-transformer --out new-vit --seed 1",
    "dna-zoo init config.json --pattern universal --out new --format json",
)


def init(
    context: typer.Context,
    source: Annotated[
        Path, typer.Argument(metavar="CONFIG_OR_DIR", help="A config.json of transformers, or a directory with one.")
    ],
    pattern: Annotated[str, typer.Option("--pattern", metavar="NAME", help="A pattern of the library.")],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="The directory to write.")],
    seed: SeedOption = 0,
    force: Annotated[bool, flag("--force", help="Replace the directory if it holds a model.")] = False,
    output_format: FormatOption = Format.TABLE,
) -> None:
    """Make a new model of any width and depth, started from a pattern, as a directory that transformers loads."""
    from library.new_model import make_model
    from library.patterns.store import Library

    session = session_of(context)
    output, folder = session.output(output_format), out.expanduser()
    with ended_in_order():
        found = make_model(source.expanduser(), Library(session.home).load(pattern), folder, seed=seed, force=force)
    output.result(
        lambda: initialisation_document(found, pattern, seed, folder),
        bare=(folder.absolute(),),
        draw=lambda: _draw(found),
    )
    output.note(
        f"{out}: {count(len(found.terms))} tensors start from {pattern}, {count(len(found.default))} as by default."
    )
    if found.untested:
        output.warning(f"Never tested on a left-out lineage: {', '.join(found.untested)}.")


def _draw(found: "Initialisation") -> Iterator[RenderableType]:
    """How many tensors got each term."""
    names = dict.fromkeys(term for terms in found.terms.values() for term in terms)
    rows = (
        (escaped(name), count(sum(name in terms for terms in found.terms.values())), _tested(name, found))
        for name in names
    )
    yield make_table((Column("Term"), Column("Tensors", right=True), Column("Tested")), rows)


def _tested(term: str, found: "Initialisation") -> str:
    return "no" if term in found.untested else "yes"
