"""`dna-zoo explore`: the weights of models as points in space, in one file for a browser."""

from pathlib import Path
from typing import Annotated

import typer

from cli.completion import mined_keys
from cli.numbers import count
from cli.options import FormatOption, flag
from cli.output import Format
from cli.session import session_of
from cli.tables import escaped
from dna_zoo.errors import SettingsError

__all__ = ["EXAMPLES", "explore"]

EXAMPLES = (
    "dna-zoo explore minilm-l6",
    "dna-zoo explore bert-a bert-a-finetuned --difference --out pair.html",
    "dna-zoo explore minilm-l6 --points 1000000 --theme dark",
)


def explore(
    context: typer.Context,
    models: Annotated[
        list[str],
        typer.Argument(
            metavar="MODEL...",
            help="One to four mined models, by their keys, to stand side by side.",
            autocompletion=mined_keys,
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="Where to write. Default: explore-MODEL.html."),
    ] = None,
    points: Annotated[int, typer.Option("--points", metavar="N", help="Weights to show of each model.")] = 50_000,
    difference: Annotated[
        bool, flag("--difference", help="Of two models, show also the first less the second, where shapes agree.")
    ] = False,
    theme: Annotated[
        str, typer.Option("--theme", metavar="auto|light|dark", help="Colours; auto is as the browser prefers.")
    ] = "auto",
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="Of the sample of weights.")] = 0,
    force: Annotated[bool, flag("--force", help="Replace the file if it is there.")] = False,
    output_format: FormatOption = Format.TABLE,
) -> None:
    """Write a page that shows the weights of models in space. It opens offline, and sends nothing anywhere."""
    from explorer.file_names import default_name
    from explorer.page.file import require_page, write_page
    from explorer.page.scene import scene_view
    from explorer.page.write import explorer_html
    from explorer.source import Source
    from explorer.style import require_libraries

    require_libraries("matplotlib", "cmcrameri")
    if theme not in ("auto", "light", "dark"):
        raise SettingsError(f"There is no theme {theme!r}.", hint="Choose auto, light or dark.")
    session = session_of(context)
    path = (out or Path(f"{default_name('explore', models)}.html")).expanduser()
    require_page(path, force=force)
    with session.database() as database:
        source = Source(database=database, home=session.home)
        view = scene_view(source, models, num_points=points, seed=seed, difference=difference)
    html = explorer_html(view, theme=theme)  # type: ignore[arg-type]
    write_page(html, path, force=force)
    total = sum(model.total for model in view.models)
    output = session.output(output_format)
    output.result(
        lambda: {**view.words(), "file": str(path), "bytes": len(html.encode()), "weights": total},
        bare=(str(path),),
        draw=lambda: [f"{escaped(str(path))}: {count(view.n)} of {count(total)} weights, {len(html) / 1e6:.1f} MB"],
    )
    output.hint("Open it in a browser; the address keeps what you see, so that a link shows it again.")
