"""`dna-zoo compare`: two mined models."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import RenderableType

from cli.completion import mined_keys
from cli.documents import comparison_document
from cli.findings import draw_partial, marked
from cli.lineage import draw_lineage, lineage_in_a_line
from cli.numbers import UNKNOWN, count, fixed
from cli.options import FormatOption, flag
from cli.output import Format
from cli.progress import progress
from cli.session import session_of
from cli.tables import Column, Columns, make_facts, make_table
from patterndb.records import RELATED

if TYPE_CHECKING:
    from patterndb.comparison import Comparison, RoleComparison, Side
    from pipeline.lineage import Lineage

__all__ = ["EXAMPLES", "compare"]

EXAMPLES = (
    "dna-zoo compare minilm-l6 distilbert",
    "dna-zoo compare minilm-l6 distilbert --no-lineage --format json",
)


def compare(
    context: typer.Context,
    a: Annotated[str, typer.Argument(metavar="A", help="A mined model, by its key.", autocompletion=mined_keys)],
    b: Annotated[str, typer.Argument(metavar="B", help="Another.", autocompletion=mined_keys)],
    no_lineage: Annotated[
        bool, flag("--no-lineage", help="Do not compare the weights themselves, only what is in the database.")
    ] = False,
    output_format: FormatOption = Format.TABLE,
) -> None:
    """Compare two models: distances, frequency profiles, clusters, each role, and whether their weights are related."""
    session = session_of(context)
    output = session.output(output_format)
    with session.database() as database:
        found = database.compare_patterns(a, b)
        partial = database.partial_models()
        mixed = database.mixed_settings(keys=[a, b])
        lineage = None
        if not no_lineage:
            from pipeline.lineage.mined import MinedLineage

            with progress(session.verbosity) as on_event:
                lineage = MinedLineage.of(database, home=session.home, on_event=on_event).compare(a, b)
    output.result(
        lambda: comparison_document(found, lineage, partial, mixed),
        bare=(_bare(found.weights), _bare(found.kind)),
        draw=lambda: _draw(found, lineage, partial),
    )
    output.mixed(mixed)


def _bare(value: float | None) -> str:
    """A bare number for pipes."""
    return "-" if value is None else f"{value:.6g}"


def _draw(found: "Comparison", lineage: "Lineage | None", partial: frozenset[str]) -> Iterator[RenderableType]:
    """The figures of the pair, then the tables by role."""
    names = [marked(key, partial) for key in (found.a, found.b)]
    yield f"A [bold cyan]{names[0]}[/bold cyan]   B [bold cyan]{names[1]}[/bold cyan]"
    yield from draw_partial(partial, (found.a, found.b))
    yield ""
    yield make_facts(_facts(found, lineage))
    yield ""
    columns: Columns[Any] = (
        Column("Role", shrinks=True),
        Column("Distance", right=True, style="bold"),
        Column("Dims", right=True, optional=3),
        Column("Clusters", right=True, optional=2),
        *(
            Column(f"{figure} {side}", right=True, optional=optional)
            for side in "AB"
            for figure, optional in (("R²", 0), ("null", 1), ("gain", 0))
        ),
    )
    yield make_table(columns, (_role_row(role) for role in found.roles))
    if lineage is not None and lineage.roles:
        yield ""
        yield draw_lineage(lineage)


def _facts(found: "Comparison", lineage: "Lineage | None") -> Iterator[tuple[str, str]]:
    """The figures of the pair."""
    yield "Weights", _weights(found)
    ranked = _rank(found.kind_percentile, found.kind_percentile_error)
    yield "Kind", f"{fixed(found.kind)} apart, over {count(found.dimensions)} statistics that both have; {ranked}"
    yield "Cosine", f"{fixed(found.cosine)} (0 the same direction, 1 unrelated, 2 opposite)"
    yield "Frequencies", f"{fixed(found.frequency_correlation)} correlation of the band energies"
    yield "Clusters", _overlap(found)
    if lineage is not None:
        yield "Lineage", lineage_in_a_line(lineage)


def _weights(found: "Comparison") -> str:
    """The distance of the weights in words."""
    if found.is_same_file:
        return "[bold]the same file[/bold]: its digest is the same"
    if found.weights is None:
        return f"{UNKNOWN} (no tensors of the same role, or of the same name and shape)"
    meaning = f"0 a copy, up to {RELATED:g} related, 1 unrelated"
    return (
        f"{fixed(found.weights)} apart ({meaning}); {_rank(found.weights_percentile, found.weights_percentile_error)}"
    )


def _rank(percentile: float | None, error: float | None) -> str:
    """Where a distance lies among all pairs, or among a sample of them."""
    if percentile is None:
        return "no percentile, there is no other pair"
    if error is not None:
        return f"percentile {fixed(percentile, 1)} ± {fixed(error, 1)} of all pairs, by a sample (0 the nearest)"
    return f"percentile {fixed(percentile, 1)} of all pairs (0 the nearest)"


def _overlap(found: "Comparison") -> str:
    """The overlap of the clusters, and what it was taken on."""
    if found.cluster_overlap is None:
        return f"{UNKNOWN} (no role has comparable clusters in both)"
    kinds = {
        "adjusted_rand": "adjusted Rand of the labels, 0 by chance",
        "wasserstein": "of the centroids (Wasserstein)",
    }
    return f"{fixed(found.cluster_overlap.value)} overlap, {kinds[found.cluster_overlap.kind]}"


def _role_row(role: "RoleComparison") -> tuple[str, ...]:
    """The cells of a role."""
    sides = [figure for side in (role.a, role.b) for figure in (side.r2, *_beyond_means(side))]
    clusters = role.cluster_overlap.value if role.cluster_overlap else None
    return (role.role, fixed(role.distance), count(role.dimensions), fixed(clusters), *map(fixed, sides))


def _beyond_means(side: "Side") -> tuple[float | None, float | None]:
    """R2 of the null that keeps the means and the gain over it; over the other null in old fits."""
    if side.gain_beyond_means is None:
        return side.null_r2, side.gain
    return side.means_null_r2, side.gain_beyond_means
