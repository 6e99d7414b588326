"""`dna-zoo rebuild`: a model whose weights are what its DNA says."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import RenderableType

from cli.numbers import count, fixed
from cli.options import FormatOption, ModelArgument, flag
from cli.output import Format
from cli.session import session_of
from cli.signals import ended_in_order
from cli.tables import Column, Columns, escaped, make_facts, table_of
from dna_zoo.text import shell_word

if TYPE_CHECKING:
    from library.rebuild.rebuild import Rebuilt, RoleOfRebuilt

__all__ = ["EXAMPLES", "BitsOption", "ResidualOption", "TensorsOption", "rebuild"]

EXAMPLES = (
    "dna-zoo rebuild minilm-l6 --out ./minilm-rebuilt",
    "dna-zoo rebuild minilm-l6 --out ./minilm-4bit --bits 8 --residual-bits 4",
    "dna-zoo rebuild minilm-l6 --out ./ffn --tensors '*intermediate*'",
)

TensorsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--tensors",
        metavar="GLOB",
        help="Replace only matrices whose names match, such as '*query*'; repeat for several.",
    ),
]
BitsOption = Annotated[
    int | None,
    typer.Option("--bits", metavar="N", help="Round the DNA's numbers to N bits, 2 to 16."),
]
ResidualOption = Annotated[
    int | None,
    typer.Option(
        "--residual-bits",
        metavar="R",
        help="Add what the DNA leaves, rounded to R bits a weight (1 to 8), a scale for each row.",
    ),
]


def rebuild(
    context: typer.Context,
    key: ModelArgument,
    out: Annotated[
        Path,
        typer.Option("--out", metavar="DIR", help="Folder to write. It appears when it is complete."),
    ],
    tensors: TensorsOption = None,
    budget: Annotated[
        float | None,
        typer.Option(
            "--budget",
            metavar="B",
            help="The DNA that was fitted with this budget; default: the newest.",
        ),
    ] = None,
    bits: BitsOption = None,
    residual_bits: ResidualOption = None,
    force: Annotated[bool, flag("--force", help="Replace a model's folder that is there already.")] = False,
    output_format: FormatOption = Format.TABLE,
) -> None:
    """Write a model whose matrices are what its DNA says, as a folder that transformers loads."""
    from library.rebuild.matrices import Request
    from library.rebuild.rebuild import rebuild as write
    from library.rebuild.rebuild import summary_of
    from library.rebuild.source import find_model

    session = session_of(context)
    output = session.output(output_format)
    request = Request(tensors=tuple(tensors or ()), bits=bits, residual_bits=residual_bits)
    with ended_in_order(), session.database() as database:
        model = find_model(database, key, home=session.home, budget=budget)
        found = write(model, out.expanduser(), request, force=force)
    output.result(lambda: summary_of(found), bare=(found.folder,), draw=lambda: _draw(found))
    output.hint(f"Load it: AutoModel.from_pretrained({str(out)!r}). Next: dna-zoo evaluate {shell_word(key)}")


def _draw(found: "Rebuilt") -> Iterator[RenderableType]:
    """What was written, then a row for each role."""
    yield f"[bold cyan]{escaped(found.model)}[/bold cyan]  rebuilt in {escaped(str(found.folder))}"
    yield ""
    yield make_facts(_facts(found))
    yield ""
    yield table_of(found.roles, ROLES)


def _facts(found: "Rebuilt") -> Iterator[tuple[str, str]]:
    yield "Replaced", f"{count(len(found.tensors))} matrices, {count(found.num_weights)} weights"
    yield "Copied", f"{count(len(found.copied))} tensors, {count(found.copied_weights)} numbers"
    yield "Size", f"{found.bits_per_weight:.4f} bits a weight, all counted; the files hold decoded weights"
    yield "R²", f"{fixed(found.r2)} of the replaced weights; the DNA of shuffled copies {fixed(found.null_r2)}"


ROLES: "Columns[RoleOfRebuilt]" = (
    Column("Role", lambda each: each.role, shrinks=True),
    Column("Matrices", lambda each: count(each.matrices), right=True, optional=2),
    Column("Weights", lambda each: count(each.weights), right=True),
    Column("Bits/w", lambda each: f"{each.bits / each.weights:.4f}", right=True),
    Column("R²", lambda each: fixed(each.r2), right=True, style="bold"),
    Column("null R²", lambda each: fixed(each.null_r2), right=True, optional=1),
)
