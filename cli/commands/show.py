"""`dna-zoo show`: one mined model."""

import typer

from cli.documents import pattern_document
from cli.findings import draw_pattern
from cli.options import FormatOption, ModelArgument, RunOption
from cli.output import Format, Output
from cli.session import session_of

__all__ = ["EXAMPLES", "show"]

EXAMPLES = (
    "dna-zoo show minilm-l6",
    "dna-zoo show minilm-l6 --format json | jq .fit.gain",
    "dna-zoo show minilm-l6 --format quiet",
)


def show(
    context: typer.Context, key: ModelArgument, run: RunOption = None, output_format: FormatOption = Format.TABLE
) -> None:
    """Show what was found in one model."""
    session = session_of(context)
    output = Output(output_format, verbosity=session.verbosity)
    with session.database() as database:
        pattern = database.load_pattern(key, run=run, with_tensors=False)
    output.result(lambda: pattern_document(pattern), bare=(pattern.pattern_class,), draw=lambda: draw_pattern(pattern))
    output.hint(
        f"Ask on: dna-zoo similar {key}, dna-zoo compare {key} OTHER, dna-zoo export tensors.csv --table tensors"
    )
