"""`dna-zoo similar`: the models nearest to one."""

from typing import Annotated

import typer

from cli.documents import neighbours_document
from cli.findings import draw_neighbours
from cli.options import FormatOption, ModelArgument
from cli.output import Format, Output
from cli.session import session_of

__all__ = ["EXAMPLES", "similar"]

EXAMPLES = ("dna-zoo similar minilm-l6", "dna-zoo similar minilm-l6 --top-k 1 --format quiet")


def similar(
    context: typer.Context,
    key: ModelArgument,
    top_k: Annotated[int, typer.Option("--top-k", "-k", min=1, metavar="N", help="How many.")] = 5,
    output_format: FormatOption = Format.TABLE,
) -> None:
    """Rank the other models by the distance of their signatures, the nearest first."""
    session = session_of(context)
    output = Output(output_format, verbosity=session.verbosity)
    with session.database() as database:
        neighbours = database.get_similar_models(key, top_k)
    output.result(
        neighbours_document(key, neighbours),
        bare=(neighbour.model for neighbour in neighbours),
        draw=lambda: draw_neighbours(key, neighbours) if neighbours else (),
    )
    if neighbours:
        output.hint(f"Ask on: dna-zoo compare {key} {neighbours[0].model}")
    else:
        output.note(f"{key} is alone in this database: mine another model to compare it with.")
