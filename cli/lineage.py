"""Weight-level evidence on the terminal."""

from collections.abc import Collection, Iterable, Iterator
from typing import TYPE_CHECKING

from rich.console import RenderableType

from cli.findings import draw_partial, marked
from cli.numbers import count, fixed, z_score
from cli.tables import Column, Table, escaped, make_table
from patterndb.records import Neighbour

if TYPE_CHECKING:
    from pipeline.lineage import Lineage

__all__ = ["draw_lineage", "draw_relatives", "lineage_in_a_line"]


def lineage_in_a_line(lineage: "Lineage") -> str:
    """The verdict, what it rests on, and which model came first."""
    verdict = f"[bold]{lineage.verdict}[/bold]"
    if lineage.correlation is None:
        return f"{verdict}: {escaped(lineage.reason)}"
    z = z_score(lineage.z, lineage.num_nulls)
    return (
        f"{verdict}: {escaped(lineage.reason)}; correlation {fixed(lineage.correlation)}, z {z}"
        f" against {count(lineage.num_nulls)} wrong alignments{_direction(lineage)}"
    )


def _direction(lineage: "Lineage") -> str:
    """Which model came first, and how often such an answer may be wrong."""
    if lineage.direction is None:
        return ""
    if lineage.older is None or lineage.direction_error is None:
        return f"; {lineage.direction}"
    wrong = f"wrong in at most {100 * lineage.direction_error:.0f} of 100 such pairs"
    return f"; {escaped(lineage.older)} is older: {lineage.direction} ({wrong})"


def draw_lineage(lineage: "Lineage") -> Table:
    """The held-out weights, role by role."""
    columns = (
        Column("Held-out weights of"),
        Column("Tensors", right=True),
        Column("Weights", right=True, optional=1),
        Column("Correlation", right=True, style="bold"),
        Column("z", right=True),
    )
    rows = (
        (
            role.role,
            count(role.tensors),
            count(role.weights),
            fixed(role.correlation),
            z_score(role.z, lineage.num_nulls),
        )
        for role in lineage.roles
    )
    return make_table(columns, rows)


def draw_relatives(
    model: str, relatives: "Iterable[tuple[Neighbour, Lineage]]", partial: Collection[str] = ()
) -> Iterator[RenderableType]:
    """The models ranked by their lineage with `model`, and the reason where nothing can be said; `partial` marked."""
    columns = (
        Column(f"By lineage with {escaped(model)}", shrinks=True),
        Column("Verdict"),
        Column("z", right=True),
        Column("Correlation", right=True, optional=2),
        Column("Weights", right=True, optional=1),
        Column("Kind", right=True, optional=3),
    )
    relatives = list(relatives)
    yield make_table(columns, (_row(neighbour, lineage, partial) for neighbour, lineage in relatives))
    yield from draw_partial(partial, (model, *(neighbour.model for neighbour, _ in relatives)))
    yield ""
    unknown = [(neighbour.model, lineage) for neighbour, lineage in relatives if lineage.correlation is None]
    for name, lineage in unknown:
        yield f"{escaped(name)}: {escaped(lineage.reason)}"
    if unknown:
        yield ""


def _row(neighbour: Neighbour, lineage: "Lineage", partial: Collection[str]) -> tuple[str, ...]:
    """The cells of a relative."""
    return (
        marked(neighbour.model, partial),
        lineage.verdict,
        z_score(lineage.z, lineage.num_nulls),
        fixed(lineage.correlation),
        fixed(neighbour.weights),
        fixed(neighbour.kind),
    )
