"""`dna-zoo library`: patterns that models share."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import RenderableType

from cli.completion import mined_keys
from cli.documents import library_document, shared_pattern_document
from cli.numbers import UNKNOWN, count, fixed
from cli.options import FormatOption, SeedOption, flag
from cli.output import Format, Output
from cli.progress import progress
from cli.session import session_of
from cli.signals import ended_in_order
from cli.tables import Column, Columns, escaped, make_facts, table_of
from dna_zoo.errors import DamagedFileError
from dna_zoo.text import shell_word

if TYPE_CHECKING:
    from library.patterns.records import Key, Part, SharedPattern

__all__ = ["EXAMPLES", "build", "combine", "export", "import_", "library", "list_", "show"]

EXAMPLES = (
    "dna-zoo library build text-encoder",
    "dna-zoo library build mine --where modality=text,architecture=decoder",
    "dna-zoo library list",
    "dna-zoo library show text-encoder",
    "dna-zoo library combine text-encoder mine --weights 0.7 0.3 --name both",
    "dna-zoo library export both both.safetensors",
    "dna-zoo library import both.safetensors --name theirs",
)
NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="Name of the pattern in the library.")]
ForceOption = Annotated[bool, flag("--force", help="Replace the pattern that has this name.")]


def library(context: typer.Context) -> None:
    """Build, list, combine and exchange patterns: what mined models of a kind have in common."""
    if context.invoked_subcommand is None:
        print(context.get_help())


def build(
    context: typer.Context,
    name: NameArgument,
    models: Annotated[
        list[str] | None,
        typer.Option(
            "--models",
            metavar="KEY",
            help="A mined model; repeat for several.",
            autocompletion=mined_keys,
        ),
    ] = None,
    where: Annotated[
        str | None,
        typer.Option(
            "--where",
            metavar="FACET=LABEL,...",
            help="All mined models with these labels. Default for text-encoder, text-decoder, vision-cnn,"
            " vision-transformer and universal: what the name says.",
        ),
    ] = None,
    draws: Annotated[int, typer.Option("--draws", min=1, metavar="N", help="Shuffled copies of each lineage.")] = 19,
    seed: SeedOption = 0,
    force: ForceOption = False,
    output_format: FormatOption = Format.TABLE,
) -> None:
    """Build a pattern from mined models, and test it on each lineage that is left out."""
    from dna_zoo.errors import SettingsError
    from library.patterns.mined import build_from_mined
    from library.patterns.selections import SELECTIONS
    from library.patterns.store import Library

    if models and where is not None:
        raise SettingsError("`--models` and `--where` exclude each other.", hint="Give one of them.")
    clause = SELECTIONS.get(name) if where is None else where
    if not models and clause is None:
        raise SettingsError(
            f"{name!r} is no built-in name ({', '.join(SELECTIONS)}), so its models have to be named.",
            hint="Name them with `--models KEY`, or describe them with `--where FACET=LABEL`.",
        )
    session = session_of(context)
    shelf = Library(session.home)
    shelf.require_free(name, replace=force)
    with ended_in_order(), session.database() as database, progress(session.verbosity) as on_event:
        found = build_from_mined(
            name, database, home=session.home, keys=models or (), where=clause or "", num_draws=draws, seed=seed,
            on_event=on_event,
        )  # fmt: skip
    shelf.save(found, replace=force)
    output = session.output(output_format)
    _tell(found, output)
    output.note(f"{name}: {count(len(found.parts))} parts from {count(len(found.lineages))} lineages. {found.verdict}")
    output.hint(f"Next: dna-zoo library show {shell_word(name)}")


def list_(context: typer.Context, output_format: FormatOption = Format.TABLE) -> None:
    """List the patterns of the library."""
    from library.patterns.store import Library

    session = session_of(context)
    output, shelf = session.output(output_format), Library(session.home)
    found = []
    for name in shelf.names:
        try:
            found.append(shelf.load(name))
        except DamagedFileError as error:  # It hides none of the others.
            output.warning(f"{error.message} {error.hint}")
    output.result(
        lambda: [library_document(each) for each in found],
        bare=(each.name for each in found),
        draw=lambda: [table_of(found, PATTERNS)] if found else [],
    )
    if not shelf.names:
        output.note("The library is empty: build a pattern with `dna-zoo library build`.")


def show(context: typer.Context, name: NameArgument, output_format: FormatOption = Format.TABLE) -> None:
    """Show what a pattern holds, from which lineages, and how much of a left-out lineage each part explains."""
    from library.patterns.store import Library

    session = session_of(context)
    found = Library(session.home).load(name)
    output = session.output(output_format)
    output.result(lambda: shared_pattern_document(found), bare=_parts(found), draw=lambda: _draw(found))


def combine(
    context: typer.Context,
    a: Annotated[str, typer.Argument(metavar="A", help="A pattern of the library.")],
    b: Annotated[str, typer.Argument(metavar="B", help="Another.")],
    name: Annotated[str, typer.Option("--name", metavar="NAME", help="Name of the combination.")],
    weights: Annotated[tuple[float, float], typer.Option("--weights", metavar="N N", help="Weights of A and of B.")] = (
        0.5,
        0.5,
    ),
    force: ForceOption = False,
    output_format: FormatOption = Format.TABLE,
) -> None:
    """Combine two patterns into their weighted mean."""
    from library.patterns.build import combine as combine_patterns
    from library.patterns.store import Library

    session = session_of(context)
    output, shelf = session.output(output_format), Library(session.home)
    shelf.require_free(name, replace=force)
    found = combine_patterns(name, [shelf.load(a), shelf.load(b)], weights)
    shelf.save(found, replace=force)
    _tell(found, output)
    output.note(f"{name}: {count(len(found.parts))} parts. {found.verdict}")


def export(
    context: typer.Context,
    name: NameArgument,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The safetensors file to write.")],
    force: Annotated[bool, flag("--force", help="Replace the file if it holds a pattern.")] = False,
) -> None:
    """Write a pattern to one safetensors file, to hand to others."""
    from library.patterns.store import Library, export_pattern

    session = session_of(context)
    export_pattern(Library(session.home).load(name), file.expanduser(), replace=force)
    session.output().note(f"{name} is in {file}.")


def import_(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A file that `library export` wrote.")],
    name: Annotated[str | None, typer.Option("--name", metavar="NAME", help="Another name for it.")] = None,
    force: ForceOption = False,
) -> None:
    """Take a pattern from a file into the library, after checking that it is whole."""
    from dataclasses import replace

    from library.patterns.store import Library, read_pattern

    session = session_of(context)
    found = read_pattern(file.expanduser())
    found = replace(found, name=name) if name else found
    path = Library(session.home).save(found, replace=force)
    session.output().note(f"{found.name} is in the library, at {path}.")


PATTERNS: "Columns[SharedPattern]" = (
    Column("Pattern", lambda each: escaped(each.name), style="cyan"),
    Column("Lineages", lambda each: count(len(each.lineages)), right=True),
    Column("Parts", lambda each: count(len(each.parts)), right=True),
    Column(
        "Explain", lambda each: f"{len(each.holding)} of {len(each.tested)}" if each.tested else UNKNOWN, right=True
    ),
    Column("From", lambda each: escaped(_origin(each)), shrinks=True, optional=1),
)


def _tell(pattern: "SharedPattern", output: Output) -> None:
    """What was made, for programs and pipes; people are told in a sentence, and have `show` for the table."""
    output.result(lambda: shared_pattern_document(pattern), bare=_parts(pattern), draw=lambda: [])


def _parts(pattern: "SharedPattern") -> Iterator[str]:
    return (f"{key.subject} {key.term}" for key in pattern.parts)


def _origin(pattern: "SharedPattern") -> str:
    if pattern.combined:
        return " + ".join(f"{weight:.2g} {name}" for name, weight in pattern.combined.items())
    return pattern.selection or "all models"


def _draw(pattern: "SharedPattern") -> Iterator[RenderableType]:
    """The facts of the pattern, then its parts."""
    yield make_facts(_facts(pattern))
    yield ""
    yield table_of(pattern.parts.items(), PARTS)


def _facts(pattern: "SharedPattern") -> Iterator[tuple[str, str]]:
    yield "Pattern", f"[bold cyan]{escaped(pattern.name)}[/bold cyan]"
    yield "Verdict", escaped(pattern.verdict)
    yield "From", escaped(_origin(pattern))
    yield "Lineages", escaped(", ".join(f"{each.name} ({', '.join(each.models)})" for each in pattern.lineages))
    if pattern.left_out:
        yield "Left out", escaped("; ".join(f"{key}: {reason}" for key, reason in pattern.left_out.items()))
    if not any(key.term == "canonical" for key in pattern.parts) and not pattern.combined:
        reason = "averaging over lineages leaves nothing above its null" if pattern.tested else "it could not be tested"
        yield "DNA", f"No canonical form is in it: {reason}."


PARTS: "Columns[tuple[Key, Part]]" = (
    Column("Subject", lambda named: escaped(named[0].subject), shrinks=True),
    Column("Term", lambda named: named[0].term),
    Column("Lineages", lambda named: count(named[1].lineages), right=True, optional=1),
    Column("Explained", lambda named: _figure(named[1], "explained"), right=True, style="bold"),
    Column("Null", lambda named: _figure(named[1], "null"), right=True),
    Column("q", lambda named: _figure(named[1], "q"), right=True),
    Column("Used", lambda named: "yes" if named[1].is_used else "no"),
)


def _figure(part: "Part", name: str) -> str:
    """A figure of its evidence."""
    return UNKNOWN if part.evidence is None else fixed(getattr(part.evidence, name))
