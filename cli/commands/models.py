"""`dna-zoo models`: the mined models, in order."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import RenderableType

from cli.completion import mined_keys
from cli.documents import model_entry_document
from cli.numbers import UNKNOWN, byte_size, count, fixed, moment, signed
from cli.options import FormatOption, ModelArgument, TierOption, finite, flag
from cli.output import Format, Output
from cli.session import session_of
from cli.tables import Column, Columns, escaped, table_of
from dna_zoo.errors import SettingsError, did_you_mean
from dna_zoo.text import shell_word
from patterndb.records import ModelEntry

if TYPE_CHECKING:
    from patterndb.models import Removed
    from pipeline.runs.prune import Unneeded

__all__ = [
    "EXAMPLES",
    "PRUNE_EXAMPLES",
    "TAG_EXAMPLES",
    "VERSIONS_EXAMPLES",
    "models",
    "note",
    "prune",
    "rename",
    "rm",
    "tag",
    "versions",
]

EXAMPLES = (
    "dna-zoo models",
    "dna-zoo models --modality text --sort gain --descending --limit 10",
    "dna-zoo models --tag paper --columns model,r2,null_r2,preset,seed",
    "dna-zoo models rename my-model bert-of-march",
)
TAG_EXAMPLES = ("dna-zoo models tag minilm-l6 paper baseline", "dna-zoo models tag minilm-l6 baseline --remove")
VERSIONS_EXAMPLES = ("dna-zoo models versions my-model",)
PRUNE_EXAMPLES = ("dna-zoo models prune", "dna-zoo models prune --delete")

MOST_DAYS = 36_500
"""More than any file is old."""
Class = Literal["smooth", "structured", "noisy", "sparse", "dense"]


def _text(value: object) -> str:
    return UNKNOWN if value is None else escaped(str(value))


COLUMNS: dict[str, Column[ModelEntry]] = {
    "model": Column("Model", lambda each: escaped(each.model.key), style="cyan", shrinks=True),
    "repo": Column("Repository", lambda each: _text(each.model.repo), shrinks=True, optional=3),
    "tier": Column("Tier", lambda each: _text(each.model.tier), right=True, optional=3),
    "modality": Column("Modality", lambda each: _text(each.model.modality), optional=2),
    "family": Column("Family", lambda each: _text(each.model.family), optional=3),
    "architecture": Column("Architecture", lambda each: _text(each.model.architecture), optional=2),
    "licence": Column("Licence", lambda each: _text(each.model.licence), optional=3, shrinks=True),
    "weights": Column("Weights", lambda each: count(each.model.num_weights), right=True, optional=1),
    "tensors": Column("Tensors", lambda each: count(each.model.num_tensors), right=True, optional=3),
    "class": Column("Class", lambda each: escaped(each.pattern_class)),
    "r2": Column("R²", lambda each: fixed(each.r2), right=True, style="bold"),
    "null_r2": Column("null R²", lambda each: fixed(each.null_r2), right=True),
    "gain": Column("Gain", lambda each: signed(each.gain, 3), right=True, style="green"),
    "bits": Column("Bits/w", lambda each: fixed(each.bits_per_weight, 2), right=True, optional=3),
    "preset": Column("Preset", lambda each: _text(each.chosen.preset), optional=2),
    "budget": Column("Budget", lambda each: _text(each.chosen.budget), right=True, optional=2),
    "epochs": Column("Epochs", lambda each: _text(each.chosen.epochs), right=True, optional=2),
    "seed": Column("Seed", lambda each: _text(each.chosen.seed), right=True, optional=2),
    "device": Column("Device", lambda each: _text(each.device), optional=3),
    "versions": Column("Versions", lambda each: str(each.versions), right=True, optional=3),
    "found": Column("Found (UTC)", lambda each: moment(each.confirmed_at), optional=1),
    "run": Column("Run", lambda each: escaped(each.run), optional=2),
    "digest": Column("Digest", lambda each: each.model.sha256[:12], style="dim"),
    "tags": Column("Tags", lambda each: escaped(" ".join(each.tags)), shrinks=True),
    "note": Column("Note", lambda each: escaped(each.note or ""), shrinks=True, optional=1),
}
"""What the list can show, by the names that `--columns` takes."""
USUAL = ("model", "modality", "architecture", "weights", "class", "r2", "null_r2", "gain", "found", "tags")
OF_VERSIONS = ("found", "digest", "class", "r2", "null_r2", "gain", "preset", "budget", "epochs", "seed", "run")


def models(
    context: typer.Context,
    modality: Annotated[str | None, typer.Option(metavar="M", help="Only this modality, such as vision.")] = None,
    architecture: Annotated[
        str | None, typer.Option(metavar="A", help="Only this architecture, such as encoder.")
    ] = None,
    family: Annotated[str | None, typer.Option(metavar="F", help="Only this family, such as bert.")] = None,
    tier: TierOption = None,
    tags: Annotated[
        list[str] | None,
        typer.Option("--tag", metavar="TAG", help="Only models with this tag; repeat for several."),
    ] = None,
    pattern_class: Annotated[Class | None, typer.Option("--class", help="Only models of this class.")] = None,
    text: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT",
            help="Only models with this text in their key, repository, family, licence, note or tags.",
        ),
    ] = None,
    sort: Annotated[str, typer.Option(metavar="COLUMN", help="Sort by this column; unknown values last.")] = "model",
    descending: Annotated[bool, flag("--descending", help="The largest first.")] = False,
    limit: Annotated[int | None, typer.Option(min=1, metavar="N", help="At most so many.")] = None,
    columns: Annotated[
        str | None,
        typer.Option(metavar="COLUMN,...", help="Which columns the table has, in this order."),
    ] = None,
    output_format: FormatOption = Format.TABLE,
) -> None:
    """List the mined models: filter them, sort them, choose columns."""
    if context.invoked_subcommand is not None:
        return
    from patterndb.models import ModelFilter

    names = _chosen(columns)
    which = ModelFilter(
        modality=modality,
        architecture=architecture,
        family=family,
        tier=tier,
        pattern_class=pattern_class,
        tags=tuple(tags or ()),
        text=text,
    )
    session = session_of(context)
    output = session.output(output_format)
    with session.database() as database:
        found = database.models(which, by=sort, descending=descending, limit=limit)
    output.result(
        lambda: [model_entry_document(each) for each in found],
        bare=(each.model.key for each in found),
        draw=lambda: _draw(found, names),
    )
    output.hint("Next: dna-zoo show KEY, dna-zoo models versions KEY" if found else "No mined model fits.")


def versions(context: typer.Context, key: ModelArgument, output_format: FormatOption = Format.TABLE) -> None:
    """Show the history of a model: every version of its weights and settings that is kept, the newest first."""
    session = session_of(context)
    with session.database() as database:
        found = database.model_versions(key)
    session.output(output_format).result(
        lambda: [model_entry_document(each) for each in found],
        bare=(each.pattern_key for each in found),
        draw=lambda: _draw_versions(key, found),
    )


def tag(
    context: typer.Context,
    key: ModelArgument,
    tags: Annotated[list[str], typer.Argument(metavar="TAG...", help="Words without spaces and commas.")],
    remove: Annotated[bool, flag("--remove", help="Take the tags away.")] = False,
) -> None:
    """Give a model tags, or take them away."""
    session = session_of(context)
    with session.database() as database:
        left = database.tag_model(key, tags, take_away=remove)
    session.output().note(f"{key}: {', '.join(left) if left else 'no tags'}.")


def note(
    context: typer.Context,
    key: ModelArgument,
    text: Annotated[str, typer.Argument(metavar="TEXT", help="One line, in place of the note it has; '' for none.")],
) -> None:
    """Keep a note on a model."""
    session = session_of(context)
    with session.database() as database:
        database.note_model(key, text)
    session.output().note(f"{key}: {'the note is kept' if text else 'no note'}.")


def rename(
    context: typer.Context,
    old: Annotated[str, typer.Argument(metavar="OLD", help="A mined model.", autocompletion=mined_keys)],
    new: Annotated[str, typer.Argument(metavar="NEW", help="A key that no model has.")],
) -> None:
    """Call a model otherwise, in all its versions."""
    from pipeline.fetch.plan import checked_key

    session = session_of(context)
    with session.database() as database:
        database.rename_model(old, checked_key(new))
    output = session.output()
    output.note(f"{old} is {new} now.")
    output.hint(f"Mine it again under this name with `dna-zoo mine --local PATH --name {shell_word(new)}`.")


def rm(
    context: typer.Context,
    keys: Annotated[list[str], typer.Argument(metavar="KEY...", help="Mined models.", autocompletion=mined_keys)],
    dry_run: Annotated[bool, flag("--dry-run", help="Only say what would be taken away.")] = False,
    output_format: FormatOption = Format.TABLE,
) -> None:
    """Take models out of the database, with their versions, tags, notes and files; files at URLs of artifacts stay."""
    from pipeline.runs.prune import remove

    session = session_of(context)
    output = session.output(output_format)
    found: list[tuple[Removed, int]] = []
    with session.database() as database:
        # All of them before anything is taken away: one that is not there raises.
        would = [database.removal_of(key) for key in dict.fromkeys(keys)]
        for each in would:
            size = sum(artifact.num_bytes for artifact in each.artifacts)
            found.append((each, size) if dry_run else remove(database, each.key, session.home))
            _tell_removed(*found[-1], output, dry_run=dry_run)
    output.result(
        lambda: [_removed_document(*each, dry_run=dry_run) for each in found],
        bare=(url for each, _ in found for url in each.urls),
        draw=lambda: (),
    )
    output.hint("Next: dna-zoo models prune, for the stages that nothing needs any more.")
    if any(each.urls for each, _ in found):
        output.hint("`--format quiet` prints the URLs of what stays, and nothing else.")


def _tell_removed(removed: "Removed", num_bytes: int, output: Output, *, dry_run: bool) -> None:
    """What went, and what stays elsewhere."""
    patterns, size = _patterns(removed.patterns), byte_size(num_bytes)
    went = f"{patterns} and {size} of files would be taken away" if dry_run else f"{patterns} taken away, {size} freed"
    output.note(f"{removed.key}: {went}.")
    if removed.urls:
        stores = ", ".join(sorted({url.partition("/sha256/")[0] for url in removed.urls}))
        files = f"{count(len(removed.urls))} file{'s' * (len(removed.urls) != 1)}"
        output.note(f"{removed.key}: {files} at {stores} stay: another database may need them.")


def _removed_document(removed: "Removed", num_bytes: int, *, dry_run: bool) -> dict[str, object]:
    return {
        "model": removed.key,
        "deleted": not dry_run,
        "patterns": removed.patterns,
        "num_bytes": num_bytes,
        "left": list(removed.urls),
    }


def prune(
    context: typer.Context,
    deletes: Annotated[bool, typer.Option("--delete/--dry-run", help="Delete them, or only show them.")] = False,
    days: Annotated[
        float,
        typer.Option(
            min=0, max=MOST_DAYS, callback=finite, metavar="N", help="Keep unfinished work of the last N days."
        ),
    ] = 7,
    output_format: FormatOption = Format.TABLE,
) -> None:
    """Show stages and runs on this disk that nothing needs, and delete them if asked to."""
    from pipeline.runs.prune import find_unneeded
    from pipeline.runs.prune import prune as prune_home

    session = session_of(context)
    output = session.output(output_format)
    with session.database() as database:
        found = (prune_home if deletes else find_unneeded)(database, session.home, days=days)
    total = sum(each.num_bytes for each in found)
    output.result(
        lambda: {"deleted": deletes, "num_bytes": total, "found": found},
        bare=(each.path for each in found),
        draw=lambda: [table_of(found, UNNEEDED)] if found else [],
    )
    folders = f"{count(len(found))} folder{'s' * (len(found) != 1)}"
    output.note(f"{folders} deleted, {byte_size(total)} freed." if deletes else _would(folders, total, session.home))


UNNEEDED: "Columns[Unneeded]" = (
    Column("Kind", lambda each: each.kind),
    Column("Folder", lambda each: escaped(each.name), shrinks=True),
    Column("Frees", lambda each: byte_size(each.num_bytes), right=True),
)


def _would(folders: str, total: int, home: Path) -> str:
    return f"{folders} in {home} would be deleted, {byte_size(total)} freed (--delete)."


def _patterns(number: int) -> str:
    return f"{count(number)} pattern{'s' * (number != 1)}"


def _chosen(columns: str | None) -> tuple[str, ...]:
    """The names of the columns. Raises `SettingsError` for one that there is not."""
    names = USUAL if columns is None else tuple(filter(None, (name.strip() for name in columns.split(","))))
    for name in names:
        if name not in COLUMNS:
            hint = did_you_mean(name, COLUMNS) or f"Use some of: {', '.join(COLUMNS)}."
            raise SettingsError(f"The list of models has no column {name!r}.", hint=hint)
    if not names:
        raise SettingsError("`--columns` names no column.", hint=f"Use some of: {', '.join(COLUMNS)}.")
    return names


def _draw(found: Sequence[ModelEntry], names: Sequence[str]) -> Iterator[RenderableType]:
    """A row for each entry."""
    if found:
        yield table_of(found, (COLUMNS[name] for name in names))


def _draw_versions(key: str, found: Sequence[ModelEntry]) -> Iterator[RenderableType]:
    """How many versions there are, and a row for each; the first is the current one."""
    different = len({each.model.sha256 for each in found})
    weights = "the same weights" if different == 1 else f"{count(different)} sets of weights"
    counted = f"{_patterns(len(found))} of {weights}"
    yield f"[bold cyan]{escaped(key)}[/bold cyan]  {counted}; the first is shown and compared"
    yield ""
    yield from _draw(found, OF_VERSIONS)
