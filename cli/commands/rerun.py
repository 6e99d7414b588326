"""`dna-zoo rerun`: a run repeated, and what differs."""

from typing import Annotated

import typer

from cli import errors
from cli.completion import run_names
from cli.differences import show_differences
from cli.options import FormatOption, OfflineOption, ToleranceOption
from cli.output import Format
from cli.progress import progress
from cli.session import offline_mode, session_of
from cli.signals import ended_in_order
from patterndb.runs.differences import TOLERANCE

__all__ = ["EXAMPLES", "rerun"]

EXAMPLES = (
    "dna-zoo rerun 20261128-221503-9f3a1c",
    "dna-zoo rerun 20261128-221503-9f3a1c --tolerance 1e-3",
)


def rerun(
    context: typer.Context,
    run: Annotated[
        str, typer.Argument(metavar="RUN", help="The run to repeat, by its name.", autocompletion=run_names)
    ],
    tolerance: ToleranceOption = TOLERANCE,
    offline: OfflineOption = False,
    output_format: FormatOption = Format.TABLE,
) -> int:
    """Repeat a run from the weights, apart from what it left, and report what differs: exit code 0 if nothing does."""
    session = session_of(context)
    output = session.output(output_format)
    from pipeline.runs.rerun import rerun as repeat

    with ended_in_order(), session.database() as database, offline_mode(offline):
        record = database.run(run)
        with progress(session.verbosity) as on_event:
            found = repeat(record, database=database, home=session.home, on_event=on_event, tolerance=tolerance)
    show_differences(found, output)
    return errors.DONE if found.are_equal else errors.FAILED
