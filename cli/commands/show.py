"""`dna-zoo show`: one mined model."""

import typer

from cli.documents import pattern_document
from cli.findings import draw_pattern
from cli.options import FormatOption, ModelArgument, RunOption
from cli.output import Format
from cli.session import session_of
from cli.whereabouts import find_pattern
from dna_zoo.text import shell_word

__all__ = ["EXAMPLES", "show"]

EXAMPLES = (
    "dna-zoo show minilm-l6",
    "dna-zoo show minilm-l6 --format json | jq .fit.gain",
    "dna-zoo show minilm-l6 --format quiet",
)


def show(
    context: typer.Context, key: ModelArgument, run: RunOption = None, output_format: FormatOption = Format.TABLE
) -> None:
    """Show what was found in a model, when, and where the files are."""
    session = session_of(context)
    output = session.output(output_format)
    with session.database() as database:
        pattern = database.load_pattern(key, run=run, with_tensors=False)
        whereabouts = find_pattern(pattern, database, session.home)
    output.result(
        lambda: pattern_document(pattern, whereabouts),
        bare=(pattern.pattern_class,),
        draw=lambda: draw_pattern(pattern, whereabouts),
    )
    word = shell_word(key)
    output.hint(
        f"Next: dna-zoo similar {word}, dna-zoo compare {word} OTHER, dna-zoo export tensors.csv --table tensors"
    )
