"""`dna-zoo similar`: the models nearest to one."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import RenderableType

from cli.documents import neighbours_document
from cli.findings import draw_neighbours
from cli.lineage import draw_relatives
from cli.options import FormatOption, ModelArgument
from cli.output import Format
from cli.progress import progress
from cli.session import Session, session_of
from dna_zoo.text import shell_word
from patterndb.records import Neighbour

if TYPE_CHECKING:
    from patterndb.store import PatternDatabase
    from pipeline.lineage import Lineage

__all__ = ["EXAMPLES", "similar"]

EXAMPLES = (
    "dna-zoo similar minilm-l6",
    "dna-zoo similar minilm-l6 --by kind",
    "dna-zoo similar minilm-l6 --by lineage --shortlist 50",
    "dna-zoo similar minilm-l6 --top-k 1 --format quiet",
)


def similar(
    context: typer.Context,
    key: ModelArgument,
    top_k: Annotated[int, typer.Option("--top-k", "-k", min=1, metavar="N", help="How many models to show.")] = 5,
    by: Annotated[
        Literal["weights", "kind", "lineage"],
        typer.Option(
            "--by",
            help="weights: relatives first, then models of a kind. kind: how alike the statistics are."
            " lineage: a test on the weights.",
        ),
    ] = "weights",
    shortlist: Annotated[
        int,
        typer.Option(
            "--shortlist",
            min=1,
            metavar="N",
            help="With `--by lineage`: how many models, the nearest by weights, to compare with.",
        ),
    ] = 20,
    output_format: FormatOption = Format.TABLE,
) -> None:
    """Rank the other models: relatives first and then those of a kind, or by kind alone, or by lineage."""
    session = session_of(context)
    output = session.output(output_format)
    relatives: list[tuple[Neighbour, Lineage]] = []
    with session.database() as database:
        count = shortlist if by == "lineage" else top_k
        neighbours = database.get_similar_models(key, count, by="kind" if by == "kind" else "weights")
        partial = database.partial_models()
        if by == "lineage":
            relatives = _ranked(key, neighbours, database, session)[:top_k]
            neighbours = tuple(neighbour for neighbour, _ in relatives)
        shown = [key, *(neighbour.model for neighbour in neighbours)]
        mixed = database.mixed_settings(keys=shown, signatures_only=True)
    output.result(
        lambda: neighbours_document(key, relatives or [(neighbour, None) for neighbour in neighbours], partial, mixed),
        bare=(neighbour.model for neighbour in neighbours),
        draw=lambda: _draw(key, neighbours, relatives, partial),
    )
    output.mixed(mixed)
    if neighbours:
        output.hint(f"Next: dna-zoo compare {shell_word(key)} {shell_word(neighbours[0].model)}")
    else:
        output.note(f"{key} is the only model in this database: mine another one to compare it with.")


def _draw(
    key: str,
    neighbours: tuple[Neighbour, ...],
    relatives: "list[tuple[Neighbour, Lineage]]",
    partial: frozenset[str],
) -> Iterable[RenderableType]:
    """The table, if there is a neighbour to show."""
    if relatives:
        return draw_relatives(key, relatives, partial)
    return draw_neighbours(key, neighbours, partial) if neighbours else ()


def _ranked(
    key: str, neighbours: tuple[Neighbour, ...], database: "PatternDatabase", session: Session
) -> "list[tuple[Neighbour, Lineage]]":
    """The neighbours and their lineage, the strongest evidence first."""
    from pipeline.lineage.mined import MinedLineage

    with progress(session.verbosity) as on_event:
        mined = MinedLineage.of(database, home=session.home, on_event=on_event)
        found = [(neighbour, mined.compare(key, neighbour.model)) for neighbour in neighbours]
    return sorted(found, key=lambda pair: pair[1].rank)
