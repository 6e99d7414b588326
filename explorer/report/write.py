"""A report as a folder: `report.html`, `report.md`, and figures, numbers and citation beside."""

import json
from collections.abc import Sequence
from pathlib import Path

from dna_zoo.text import markdown
from explorer.report.contents import Report, gather
from explorer.report.markup import as_html, as_name, inline_svg, markdown_row
from explorer.report.methods import BIBTEX, CITATION
from explorer.source import Source
from explorer.style import THEMES, require_libraries
from library.folder import new_folder

__all__ = ["PAGE", "write_report"]

PAGE = "report.html"


def write_report(
    source: Source, names: Sequence[str], out: Path, *, force: bool = False, kinds: Sequence[str] | None = None
) -> Report:
    """Write the report of these models, of a run's, or of all, into the folder `out`, whole or not at all.

    Raises what `gather`, `new_folder` and `require_libraries` do; `force` replaces a folder that holds a report.
    """
    require_libraries("matplotlib", "cmcrameri", "jinja2")
    with new_folder(out, force=force, marker=PAGE) as folder:
        report = gather(source, names, kinds=kinds)
        _write_figures(report, folder)
        (folder / "citation.bib").write_text(BIBTEX)
        (folder / "report.md").write_text(_render("report.md.jinja", report))
        (folder / PAGE).write_text(_render("report.html.jinja", report))
    return report


def _write_figures(report: Report, folder: Path) -> None:
    for name in ("figures", "data"):
        (folder / name).mkdir()
    for figure in report.figures:
        (folder / "figures" / f"{figure.name}.svg").write_text(figure.svg)
        (folder / "data" / figure.csv_name).write_bytes(figure.csv)
        words = json.dumps(figure.words, indent=1, ensure_ascii=False)
        (folder / "data" / f"{figure.name}.json").write_text(f"{words}\n")


def _render(template: str, report: Report) -> str:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    is_html = ".html" in template
    environment = Environment(
        loader=PackageLoader("explorer.report", "templates"),
        autoescape=is_html,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    text = {"text": as_html, "name": as_name} if is_html else {"text": markdown, "name": markdown, "row": markdown_row}
    environment.filters |= {**text, "svg": inline_svg}
    page = environment.get_template(template)
    return page.render(report=report, citation=CITATION, bibtex=BIBTEX, themes=THEMES)
