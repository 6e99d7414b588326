"""`dna-zoo transplant`: layers of one model in another."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import RenderableType

from cli.documents import transplant_document
from cli.numbers import fixed
from cli.options import ForceOption, FormatOption, SeedOption, TextsOption, flag
from cli.output import Format
from cli.session import session_of
from cli.signals import ended_in_order
from cli.surgery import donor_dna, opened
from cli.tables import Column, escaped, make_facts, make_table

if TYPE_CHECKING:
    from library.surgery import Transplant

__all__ = ["EXAMPLES", "transplant"]

EXAMPLES = (
    "dna-zoo transplant --from bert-b:1 --to bert-a:1 --align --out ./grafted",
    "dna-zoo transplant --from bert-a:0-1 --to bert-b:0-1 --steps 0 --out ./grafted",
)


def transplant(
    context: typer.Context,
    source: Annotated[
        str,
        typer.Option(
            "--from", metavar="A:LAYERS", help="The donor, a mined key or a folder, and its layers: 1,3 or 0-2."
        ),
    ],
    target: Annotated[
        str, typer.Option("--to", metavar="B:LAYERS", help="The host, and the layers whose places they take.")
    ],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for the model.")],
    align: Annotated[bool, flag("--align", help="Reorder the donor's residual stream as the host's first.")] = False,
    resample: Annotated[
        bool, flag("--resample", help="Bring tensors of other shapes to the host's through the donor's DNA.")
    ] = False,
    steps: Annotated[
        int, typer.Option("--steps", min=0, metavar="N", help="Steps of the fine-tune of all weights.")
    ] = 100,
    texts: TextsOption = None,
    seed: SeedOption = 0,
    force: ForceOption = False,
    output_format: FormatOption = Format.TABLE,
) -> None:
    """Put layers of one model into another; the loss before and after a fine-tune, beside random layers' there."""
    session = session_of(context)
    output = session.output(output_format)
    from library.folder import new_folder
    from library.surgery import task_of
    from library.surgery import transplant as transplanted
    from library.surgery.cards import transplant_card
    from library.surgery.layers import parse_layers
    from library.surgery.writing import write_model

    (a, donor_layers), (b, host_layers) = parse_layers(source), parse_layers(target)
    out = out.expanduser()
    with ended_in_order(), new_folder(out, force=force) as folder:
        donor, host = opened(session, a, b)
        found = transplanted(
            donor,
            host,
            donor_layers=donor_layers,
            host_layers=host_layers,
            task=task_of(host, texts=texts),
            aligned=align,
            resample=donor_dna(session, a, donor) if resample else None,
            steps=steps,
            seed=seed,
        )
        write_model(folder, found.model, source=host.folder, card=transplant_card(found))
    output.result(
        lambda: transplant_document(found, out),
        bare=(f"{found.variants[0].after.loss:.6g}",),
        draw=lambda: _draw(found),
    )
    output.note(f"Wrote the model to {out}.")


def _draw(found: "Transplant") -> Iterator[RenderableType]:
    """What was put where, then the host with each kind of layers."""
    pairs = ", ".join(f"{one} as {other}" for one, other in found.pairs)
    facts = [
        ("Layers", f"{pairs} (of {escaped(found.donor)}, in {escaped(found.host)})"),
        ("Task", f"{escaped(found.task.name)}, held out; losses in nats"),
    ]
    if found.alignment is not None:
        match = found.alignment.match
        facts += [("Cosine", f"{fixed(match.after)} of the weights after the alignment, {fixed(match.before)} before")]
    if found.resampled:
        facts += [("Resampled", f"{len(found.resampled)} tensors")]
    yield make_facts(facts)
    yield ""
    has_accuracy = found.variants[0].before.accuracy is not None
    headings = ["Loss before", f"after {found.steps} steps"]
    headings += ["Accuracy before", f"after {found.steps} steps"] if has_accuracy else []
    yield make_table([Column("Layers"), *(Column(each, right=True) for each in headings)], _rows(found, has_accuracy))


def _rows(found: "Transplant", has_accuracy: bool) -> Iterator[tuple[str, ...]]:
    for each in found.variants:
        accuracies = [fixed(score.accuracy) for score in (each.before, each.after)] if has_accuracy else []
        yield (each.layers, fixed(each.before.loss), fixed(each.after.loss), *accuracies)
