"""`dna-zoo combine`: two models of one architecture, aligned and averaged."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import RenderableType

from cli.completion import mined_keys
from cli.documents import combination_document
from cli.numbers import fixed
from cli.options import ForceOption, FormatOption, SeedOption, TextsOption, finite, flag
from cli.output import Format
from cli.session import session_of
from cli.signals import ended_in_order
from cli.surgery import opened
from cli.tables import Column, escaped, make_facts, make_table

if TYPE_CHECKING:
    from library.surgery import Combination

__all__ = ["EXAMPLES", "combine"]

EXAMPLES = (
    "dna-zoo combine data/specimens/bert-a data/specimens/bert-b",
    "dna-zoo combine bert-a bert-b --weights 0.3 --out ./both",
    "dna-zoo combine bert-a bert-b --curve --format json",
)


def combine(
    context: typer.Context,
    a: Annotated[str, typer.Argument(metavar="A", help="A mined key or a folder.", autocompletion=mined_keys)],
    b: Annotated[
        str, typer.Argument(metavar="B", help="Another, of the same architecture.", autocompletion=mined_keys)
    ],
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="Folder for the combined model."),
    ] = None,
    weights: Annotated[
        float,
        typer.Option(
            "--weights", min=0, max=1, callback=finite, metavar="SHARE", help="Share of B in the combined model."
        ),
    ] = 0.5,
    curve: Annotated[bool, flag("--curve", help="Take the loss at 11 places of the line; else at 5.")] = False,
    no_rotations: Annotated[
        bool, flag("--no-rotations", help="Permute and flip dimensions within heads, do not rotate them.")
    ] = False,
    texts: TextsOption = None,
    seed: SeedOption = 0,
    force: ForceOption = False,
    output_format: FormatOption = Format.TABLE,
) -> None:
    """Average two models after their alignment; the loss along the line, beside that of the models as they are."""
    session = session_of(context)
    output = session.output(output_format)
    from library.folder import new_folder
    from library.surgery import combine as combined
    from library.surgery import task_of
    from library.surgery.cards import combination_card
    from library.surgery.combination import CURVE, LINE
    from library.surgery.writing import write_model

    out = None if out is None else out.expanduser()
    with ended_in_order(), ExitStack() as stack:
        folder = stack.enter_context(new_folder(out, force=force)) if out is not None else None
        first, second = opened(session, a, b)
        found = combined(
            first,
            second,
            task=task_of(first, texts=texts),
            share=weights,
            shares=CURVE if curve else LINE,
            turns=not no_rotations,
            seed=seed,
        )
        if folder is not None:
            write_model(folder, found.model, source=first.folder, card=combination_card(found))
    output.result(
        lambda: combination_document(found, out), bare=(f"{found.score.loss:.6g}",), draw=lambda: _draw(found)
    )
    if out is not None:
        output.note(f"Wrote the model to {out}.")


def _draw(found: "Combination") -> Iterator[RenderableType]:
    """The figures of the pair, then the line."""
    yield f"A [bold cyan]{escaped(found.a)}[/bold cyan]   B [bold cyan]{escaped(found.b)}[/bold cyan]"
    yield ""
    match = found.alignment.match
    yield make_facts(
        [
            ("Task", f"{escaped(found.task.name)}, held out; losses in nats"),
            ("Aligned", f"{len(found.alignment.groups)} groups of axes; cosine of the weights {fixed(match.after)}"),
            ("As they are", f"cosine of the weights {fixed(match.before)}"),
            ("Barrier", f"{fixed(found.aligned.barrier)} aligned, {fixed(found.unaligned.barrier)} as they are"),
            ("Combined", f"{found.share:g} of B: loss {fixed(found.score.loss)}"),
        ]
    )
    yield ""
    has_accuracy = found.score.accuracy is not None
    columns: list[Column[Any]] = [Column("Share of B", right=True), Column("Aligned", right=True, style="bold")]
    columns += [Column("As they are", right=True)]
    columns += [Column(f"Accuracy {kind}", right=True) for kind in ("aligned", "as they are") if has_accuracy]
    yield make_table(columns, _rows(found, has_accuracy))


def _rows(found: "Combination", has_accuracy: bool) -> Iterator[tuple[str, ...]]:
    pairs = zip(found.aligned.shares, found.aligned.scores, found.unaligned.scores, strict=True)
    for share, *scores in pairs:
        accuracies = [fixed(each.accuracy) for each in scores] if has_accuracy else []
        yield (fixed(share, 2), *(fixed(each.loss) for each in scores), *accuracies)
