"""Weight-level evidence on the terminal."""

from collections.abc import Collection, Iterable, Iterator
from typing import TYPE_CHECKING

from rich.console import RenderableType

from cli.findings import draw_partial, marked
from cli.numbers import count, fixed, z_score
from cli.tables import Column, Columns, Table, escaped, table_of
from patterndb.records import Neighbour

if TYPE_CHECKING:
    from pipeline.lineage import Lineage, RoleEvidence

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
    columns: Columns[RoleEvidence] = (
        Column("Held-out weights of", lambda role: role.role),
        Column("Tensors", lambda role: count(role.tensors), right=True),
        Column("Weights", lambda role: count(role.weights), right=True, optional=1),
        Column("Correlation", lambda role: fixed(role.correlation), right=True, style="bold"),
        Column("z", lambda role: z_score(role.z, lineage.num_nulls), right=True),
    )
    return table_of(lineage.roles, columns)


def draw_relatives(
    model: str, relatives: "Iterable[tuple[Neighbour, Lineage]]", partial: Collection[str] = ()
) -> Iterator[RenderableType]:
    """The models ranked by their lineage with `model`, and the reason where nothing can be said; `partial` marked."""
    columns: Columns[tuple[Neighbour, Lineage]] = (
        Column(f"By lineage with {escaped(model)}", lambda pair: marked(pair[0].model, partial), shrinks=True),
        Column("Verdict", lambda pair: pair[1].verdict),
        Column("z", lambda pair: z_score(pair[1].z, pair[1].num_nulls), right=True),
        Column("Correlation", lambda pair: fixed(pair[1].correlation), right=True, optional=2),
        Column("Weights", lambda pair: fixed(pair[0].weights), right=True, optional=1),
        Column("Kind", lambda pair: fixed(pair[0].kind), right=True, optional=3),
    )
    relatives = list(relatives)
    yield table_of(relatives, columns)
    yield from draw_partial(partial, (model, *(neighbour.model for neighbour, _ in relatives)))
    yield ""
    unknown = [(neighbour.model, lineage) for neighbour, lineage in relatives if lineage.correlation is None]
    for name, lineage in unknown:
        yield f"{escaped(name)}: {escaped(lineage.reason)}"
    if unknown:
        yield ""
