"""`dna-zoo fetch`: download and verify, nothing else."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli import errors
from cli.documents import plan_document
from cli.numbers import byte_size
from cli.options import AllOption, FormatOption, NamesArgument, OfflineOption, TierOption, flag
from cli.output import Format, Output
from cli.progress import progress
from cli.session import Session, offline_mode, session_of
from cli.tables import Column, Columns, Table, escaped, make_table
from dna_zoo.errors import DnaZooError

if TYPE_CHECKING:
    from pipeline.fetch.request import FetchPlan, ModelRequest

__all__ = ["EXAMPLES", "fetch"]

EXAMPLES = (
    "dna-zoo fetch minilm-l6",
    "dna-zoo fetch --tier 1 --dry-run",
    "HF_HOME=/data/hub dna-zoo fetch albert/albert-base-v2",
)


def fetch(
    context: typer.Context,
    names: NamesArgument = None,
    tier: TierOption = None,
    everything: AllOption = False,
    dry_run: Annotated[bool, flag("--dry-run", help="Only show what would be downloaded.")] = False,
    offline: OfflineOption = False,
    output_format: FormatOption = Format.TABLE,
) -> int:
    """Download weights and verify their checksums, after showing what will be downloaded."""
    from cli.requests import model_requests
    from pipeline.fetch.plan import expand_all

    session = session_of(context)
    output = session.output(output_format)
    requests = model_requests(names or [], tier=tier, everything=everything)
    with offline_mode(offline):
        requests = expand_all(requests, home=session.make_home())
    plans = [plan for request in requests if (plan := _plan_one(request, session, output, offline=offline))]
    output.result(
        lambda: [plan_document(plan) for plan, _ in plans],
        bare=(plan.key for plan, _ in plans),
        draw=lambda: [_plan_table([plan for plan, _ in plans])] if plans else [],
    )
    done = plans if dry_run else [pair for pair in plans if _fetch_one(pair[1], session, output, offline=offline)]
    return errors.exit_code(num_models=len(requests), num_done=len(done))


def _plan_one(
    request: "ModelRequest", session: Session, output: Output, *, offline: bool
) -> "tuple[FetchPlan, ModelRequest] | None":
    """What fetching the model takes; None, and the reason on stderr, where that cannot be found out."""
    from cli.requests import mined_hub_ids
    from pipeline.fetch.plan import plan, require_known

    try:
        require_known(request, mined_hub_ids(session))
        return plan(request, home=session.home, offline=offline or None), request
    except DnaZooError as error:
        output.error(f"{request.name}: {error.message}", error.hint)
        return None


def _fetch_one(request: "ModelRequest", session: Session, output: Output, *, offline: bool) -> bool:
    """Fetch and verify the model; whether that worked."""
    from pipeline.fetch.stage import fetch as fetch_model

    try:
        with progress(session.verbosity) as on_event:
            files = fetch_model(request, home=session.home, on_event=on_event, offline=offline or None)
    except DnaZooError as error:
        output.error(f"{request.name}: {error.message}", error.hint)
        return False
    output.note(f"{files.key}: verified, {byte_size(files.num_bytes)} at {files.paths[0]}")
    return True


COLUMNS: Columns[Any] = (
    Column("Model", style="cyan", shrinks=True),
    Column("File", shrinks=True),
    Column("Size", right=True),
    Column("To download", right=True),
    Column("From", shrinks=True, optional=1),
)


def _plan_table(plans: "Sequence[FetchPlan]") -> Table:
    """One row a model, and what it comes to."""
    rows: list[Sequence[str] | None] = []
    for plan in plans:
        source = f"{plan.repo} @ {(plan.revision or '')[:12]}" if plan.missing else plan.origin
        names = " + ".join(file.name for file in plan.weights)
        rows.append(
            (escaped(plan.key), escaped(names), byte_size(plan.num_bytes), byte_size(plan.download_bytes), source)
        )
    total = byte_size(sum(plan.num_bytes for plan in plans))
    rows += [None, ("all", "", total, byte_size(sum(plan.download_bytes for plan in plans)), "")]
    return make_table(COLUMNS, rows)
