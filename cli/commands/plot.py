"""`dna-zoo plot`: figures for papers, of what was mined."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.completion import mined_keys
from cli.errors import FAILED
from cli.numbers import count
from cli.options import flag
from cli.session import session_of
from cli.tables import Column, Columns, escaped, table_of
from dna_zoo.errors import SettingsError

if TYPE_CHECKING:
    from cli.output import Output
    from explorer.plotting import Look
    from explorer.source import Source

__all__ = ["EXAMPLES", "plot"]

EXAMPLES = (
    "dna-zoo plot --list",
    "dna-zoo plot spectrum minilm-l6 --out spectrum.pdf",
    "dna-zoo plot model-map --width neurips --theme dark --out map.svg",
    "dna-zoo plot --all minilm-l6 --out figures",
)


def plot(
    context: typer.Context,
    kind: Annotated[
        str | None,
        typer.Argument(metavar="KIND", help="Kind of figure; `--list` names them."),
    ] = None,
    models: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="MODEL...",
            help="Mined models, by their keys. Kinds about several models take all where none is named.",
            autocompletion=mined_keys,
        ),
    ] = None,
    tensor: Annotated[
        str | None,
        typer.Option(
            "--tensor",
            metavar="NAME",
            help="Which matrix. Default: the one in which the DNA found most structure.",
        ),
    ] = None,
    by: Annotated[
        str | None,
        typer.Option(
            "--by",
            metavar="NAME",
            help="What colours are about: value or role of a manifold, a facet of a model map.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="FILE",
            help="Where to write: .png, .pdf or .svg; a folder with `--all`. Default: KIND-MODEL.png.",
        ),
    ] = None,
    width: Annotated[
        str,
        typer.Option(
            "--width",
            metavar="NAME",
            help="As a venue prints it: icml, icml-double, neurips, iclr, cvpr, cvpr-double, tmlr, nature-single,"
            " nature-double, screen.",
        ),
    ] = "icml",
    theme: Annotated[str, typer.Option("--theme", metavar="light|dark", help="Colours of paper and ink.")] = "light",
    dpi: Annotated[
        int, typer.Option("--dpi", metavar="N", help="Dots per inch of .png, and of images in .pdf and .svg.")
    ] = 300,
    all_of: Annotated[
        str | None,
        typer.Option(
            "--all",
            metavar="RUN|MODEL",
            help="Draw every kind that applies to a model, or to the models of a run, into the folder `--out`."
            " A run without `--out` is drawn into its own folders, as `mine --figures` does.",
        ),
    ] = None,
    list_kinds: Annotated[bool, flag("--list", help="Name the kinds of figures, and draw none.")] = False,
    force: Annotated[bool, flag("--force", help="Replace files that are there already.")] = False,
) -> None:
    """Draw what was mined for a paper: a picture, its numbers as CSV, its caption and alt text as JSON."""
    from explorer.plotting import Look
    from explorer.source import Source
    from explorer.style import theme_of

    session = session_of(context)
    output = session.output()
    if list_kinds:
        _list(output)
        return
    look = Look(width=width, theme=theme_of(theme).name, dpi=dpi)
    if (all_of is None) == (kind is None):
        raise SettingsError(
            "Name a kind of figure and its models, or a model or run with `--all`.", hint="See `dna-zoo plot --list`."
        )
    with session.database() as database:
        source = Source(database=database, home=session.home)
        if all_of is not None:
            _draw_all(source, all_of, out, look, output, force=force)
        else:
            settings = {} if by is None else {"by": by}
            _draw_one(source, str(kind), models or [], tensor, settings, out, look, output, force=force)


def _list(output: "Output") -> None:
    from explorer.kinds import KINDS, FigureKind

    about = {"tensor": "a tensor", "model": "a model", "models": "models"}
    columns: Columns[FigureKind] = (
        Column("Kind", lambda kind: kind.name, style="bold"),
        Column("About", lambda kind: about[kind.subject]),
        Column("Shows", lambda kind: escaped(kind.summary), shrinks=True),
    )
    output.result(lambda: list(KINDS), bare=KINDS, draw=lambda: [table_of(KINDS.values(), columns)])


def _draw_one(
    source: "Source",
    kind: str,
    models: list[str],
    tensor: str | None,
    settings: dict[str, str],
    out: Path | None,
    look: "Look",
    output: "Output",
    *,
    force: bool,
) -> None:
    """One figure: where it goes is checked before anything is computed."""
    from explorer.kinds import find_kind
    from explorer.plotting import default_tensor, file_of, make_view, require_free, write_view
    from explorer.style import require_libraries

    found = find_kind(kind)
    path = (out or file_of(kind, models)).expanduser()
    require_libraries("matplotlib", "cmcrameri")
    require_free(path, force=force)
    is_chosen = found.subject == "tensor" and tensor is None and len(models) == 1
    if is_chosen:
        tensor = default_tensor(source, models[0])
    view = make_view(source, kind, models, tensor=tensor, **settings)
    picture, table, words = write_view(view, path, look, force=force)
    if is_chosen:
        output.note(f"It shows {tensor}, in which the DNA found most structure; name another with --tensor.")
    output.note(view.alt)
    output.note(f"Wrote {picture}, its numbers ({table.name}), its caption and alt text ({words.name}).")


def _draw_all(source: "Source", name: str, out: Path | None, look: "Look", output: "Output", *, force: bool) -> None:
    from explorer.plotting import plot_all
    from explorer.run_folder import draw_run_folders
    from explorer.style import require_libraries

    if out is None and not any(name in (record.run, record.request_key) for record in source.database.runs()):
        raise SettingsError("`--all` needs a folder to draw a model into.", hint="Name it with `--out DIR`.")
    require_libraries("matplotlib", "cmcrameri")
    drawn = 0
    if out is None:
        found, out = draw_run_folders(source, name), source.home / "runs" / source.database.run(name).folder
    else:
        found = plot_all(source, name, out.expanduser(), look, force=force)
    for each in found:
        drawn += each.error is None
        of = f" of {each.models[0]}" if len(each.models) == 1 else ""
        if each.error is None:
            output.note(f"{each.kind}{of}: {each.path}")
        else:
            output.warning(f"No {each.kind}{of}: {each.error.message} {each.error.hint}")
    output.note(f"Drew {count(drawn)} figure{'s' * (drawn != 1)} into {out}, numbers and words beside each.")
    if not drawn:
        raise typer.Exit(FAILED)
