"""`dna-zoo taxonomy`: the tree of the models' cards, the tree of their signatures, and how well they agree."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import typer
from rich.console import RenderableType
from rich.tree import Tree

from cli.documents import taxonomy_document
from cli.findings import draw_partial, marked
from cli.numbers import count, fixed, p_value
from cli.options import FormatOption
from cli.output import Format
from cli.session import session_of
from cli.tables import Column, Columns, escaped, make_facts, table_of

if TYPE_CHECKING:
    from pipeline.analyse.taxonomy import LevelAgreement, Merge, Taxonomy

__all__ = ["EXAMPLES", "taxonomy"]

EXAMPLES = ("dna-zoo taxonomy", "dna-zoo taxonomy --format json | jq .cophenetic")


def taxonomy(context: typer.Context, output_format: FormatOption = Format.TABLE) -> None:
    """Draw the declared tree and the tree found in the signatures, and show how well they agree."""
    session = session_of(context)
    output = session.output(output_format)
    from pipeline.analyse.representatives import classify_all

    with session.database() as database:
        found = classify_all(database)
        partial = database.partial_models()
        mixed = database.mixed_settings(signatures_only=True)
    document = taxonomy_document(found, partial, mixed)
    output.result(lambda: document, bare=found.models, draw=lambda: _draw(found, partial))
    output.mixed(mixed)


def _draw(found: "Taxonomy", partial: frozenset[str]) -> Iterator[RenderableType]:
    """Both trees, then their agreement; the models of `partial` are marked."""
    if found.sample:
        yield f"[bold]A sample[/bold]: {found.sample}"
        yield ""
    yield _declared_tree(found, partial)
    yield ""
    if found.merges:
        yield _found_tree(found, partial)
        yield ""
    yield from draw_partial(partial, found.models)
    yield _cophenetic_line(found)
    yield table_of(found.agreement, AGREEMENT)
    notes = [(level.level, escaped(level.note)) for level in found.agreement if level.note]
    if notes:
        yield ""
        yield make_facts(notes)


def _declared_tree(found: "Taxonomy", partial: frozenset[str]) -> Tree:
    """modality, architecture, profile, models."""
    tree = Tree("[bold]Declared[/bold] [dim](modality / architecture / frequency profile)[/dim]")
    for modality, architectures in found.declared.items():
        branch = tree.add(modality)
        for architecture, profiles in architectures.items():
            twig = branch.add(architecture)
            for profile, keys in profiles.items():
                twig.add(f"{profile}  [cyan]{'  '.join(marked(key, partial) for key in keys)}[/cyan]")
    return tree


def _found_tree(found: "Taxonomy", partial: frozenset[str]) -> Tree:
    """The merges from the last, which joins all, down to single models, each with its height."""
    nodes = {frozenset((*merge.left, *merge.right)): merge for merge in found.merges}
    tree = Tree("[bold]Found in the signatures[/bold] [dim](average linkage; distance where groups join)[/dim]")
    _grow(tree, nodes, found.merges[-1], partial)
    return tree


def _grow(tree: Tree, nodes: "dict[frozenset[str], Merge]", merge: "Merge", partial: frozenset[str]) -> None:
    """Hang a merge and all below it onto the tree."""
    branch = tree.add(f"[dim]{fixed(merge.height)}[/dim]")
    for side in (merge.left, merge.right):
        if len(side) == 1:
            branch.add(f"[cyan]{marked(side[0], partial)}[/cyan]")
        else:
            _grow(branch, nodes, nodes[frozenset(side)], partial)


def _cophenetic_line(found: "Taxonomy") -> str:
    """How well a tree fits the distances at all."""
    if found.cophenetic is None:
        models = "model" if len(found.models) == 1 else "models"
        why = found.note or "all distances are the same"
        return f"Cophenetic correlation: unknown, {why} ({count(len(found.models))} {models})."
    return f"Cophenetic correlation: {fixed(found.cophenetic)} (1: the distances are a tree)."


AGREEMENT: "Columns[LevelAgreement]" = (
    Column("Level", lambda each: each.level),
    Column("Models", lambda each: count(each.num_models), right=True),
    Column("Lineages", lambda each: count(each.num_lineages), right=True),
    Column("Labels", lambda each: count(each.num_labels), right=True),
    Column("Adjusted Rand", lambda each: fixed(each.adjusted_rand), right=True),
    Column("p", lambda each: p_value(each.p), right=True),
    Column("q", lambda each: p_value(each.q), right=True),
)
