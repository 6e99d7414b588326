"""`dna-zoo evaluate`: how well a rebuilt model works, beside other codes of as many bits."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import RenderableType

from cli.commands.rebuild import ResidualOption, TensorsOption
from cli.numbers import byte_size, count, duration, fixed
from cli.options import FormatOption, ModelArgument, flag
from cli.output import Format
from cli.progress import progress
from cli.session import session_of
from cli.tables import Column, Columns, escaped, make_facts, make_table
from dna_zoo.errors import SettingsError

if TYPE_CHECKING:
    from library.evaluate.evaluate import Evaluation, Measured

__all__ = ["EXAMPLES", "evaluate"]

EXAMPLES = (
    "dna-zoo evaluate minilm-l6",
    "dna-zoo evaluate minilm-l6 --budgets all --format json",
    "dna-zoo evaluate minilm-l6 --texts sentences.txt --no-shuffled",
)
ALL = "all"
FLOAT32 = 32
"""As `--bits`: numbers as they are."""
HEADINGS = {
    "agreement": "Agree",
    "kl": "KL",
    "cosine": "Cosine",
    "cka": "CKA",
    "loss": "Loss",
    "perplexity": "Perplexity",
    "accuracy": "Accuracy",
    "spearman": "Spearman",
}
"""Figures in the order of the columns."""


def evaluate(
    context: typer.Context,
    key: ModelArgument,
    budgets: Annotated[
        str | None,
        typer.Option(
            "--budgets",
            metavar="B,...",
            help="The DNAs that were fitted with these budgets, or `all` that were; default: the newest.",
        ),
    ] = None,
    tensors: TensorsOption = None,
    bits: Annotated[
        int, typer.Option("--bits", metavar="N", help="Bits of the DNA's numbers, 2 to 16; 32 for float32.")
    ] = 8,
    residual_bits: ResidualOption = None,
    texts: Annotated[
        Path | None,
        typer.Option("--texts", metavar="FILE", help="A text on each line, for a model of text."),
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option("--images", metavar="DIR", help="Pictures, for a model of pictures."),
    ] = None,
    audio: Annotated[
        Path | None, typer.Option("--audio", metavar="DIR", help="WAV files, for a model of sound.")
    ] = None,
    no_shuffled: Annotated[
        bool,
        flag("--no-shuffled", help="Leave out the DNA of shuffled weights. It is fitted first where mining kept none."),
    ] = False,
    output_format: FormatOption = Format.TABLE,
) -> None:
    """Compare a rebuilt model with the original, beside SVD, rounding, means and shuffled weights at as many bits."""
    from library.evaluate.choice import GivenInputs
    from library.evaluate.evaluate import evaluate as measure
    from library.models import require_transformers
    from library.rebuild.matrices import Request
    from library.rebuild.source import all_budgets, find_model

    session = session_of(context)
    output = session.output(output_format)
    require_transformers()
    request = Request(tensors=tuple(tensors or ()), bits=None if bits == FLOAT32 else bits, residual_bits=residual_bits)
    with session.database() as database, progress(session.verbosity) as on_event:
        wanted: Sequence[float | None] = all_budgets(database, key) if budgets == ALL else _numbers(budgets)
        found = measure(
            [find_model(database, key, home=session.home, budget=budget) for budget in wanted],
            request=request,
            given=GivenInputs(texts=texts, images=images, audio=audio),
            with_shuffled=not no_shuffled,
            on_event=on_event,
        )
    bare = (f"{point.budget:g} {each.code} {each.bits_per_weight:.6g} {each.r2:.6g}"
            for point in found.points for each in point.measured)  # fmt: skip
    output.result(lambda: found, bare=bare, draw=lambda: _draw(found))
    output.hint("Each code has as many bits as the DNA in the first row of its group, or fewer. What the figures mean:")
    output.hint("docs/using.md.")


def _numbers(text: str | None) -> list[float | None]:
    """Budgets, commas between them; the newest without any."""
    if text is None:
        return [None]
    try:
        return [float(part) for part in text.split(",")]
    except ValueError as error:
        raise SettingsError(
            f"`--budgets` is {text!r}.", hint=f"Write numbers with commas between them, such as 0.01,0.045, or {ALL}."
        ) from error


def _draw(found: "Evaluation") -> Iterator[RenderableType]:
    """The original's own figures, then a group of rows for each budget."""
    from library.evaluate.evaluate import CODES

    yield f"[bold cyan]{escaped(found.model)}[/bold cyan]  {found.model_class}"
    yield ""
    yield make_facts(_facts(found))
    yield ""
    every = [each for point in found.points for each in point.measured]
    names = [name for name in HEADINGS if any(name in each.figures for each in every)]
    columns: Columns[Any] = (
        Column("Budget", right=True),
        Column("Weights are", shrinks=True),
        Column("Bits/w", right=True),
        Column("R²", right=True),
        *(Column(HEADINGS[name], right=True) for name in names),
        Column("How", shrinks=True, optional=1),
    )
    original = ("", "the original's", "", "1.000", *(fixed(found.original.get(name)) for name in names), "")
    rows: list[tuple[str, ...] | None] = [original]
    for point in found.points:
        rows.append(None)
        rows += [_row(f"{point.budget:g}", CODES[each.code], each, names) for each in point.measured]
    yield make_table(columns, rows)


def _row(budget: str, code: str, each: "Measured", names: Sequence[str]) -> tuple[str, ...]:
    style = "bold" if each.code == "dna" else ""
    figures = (fixed(each.figures.get(name)) for name in names)
    cells = (budget, code, f"{each.bits_per_weight:.4f}", fixed(each.r2), *figures, escaped(each.detail))
    return tuple(f"[{style}]{cell}[/{style}]" if style and cell else cell for cell in cells)


def _facts(found: "Evaluation") -> Iterator[tuple[str, str]]:
    numbers = "float32" if found.bits is None else f"{found.bits} bits"
    rest = f", a residual of {found.residual_bits} bits a weight" if found.residual_bits else ""
    yield "Replaced", f"{count(found.weights)} weights; the DNA's numbers at {numbers}{rest}"
    yield "Inputs", f"{count(found.num_inputs)}: {escaped(found.inputs)}"
    yield "Cost", f"{duration(found.seconds)}, at most {byte_size(found.peak_bytes)} of memory"
