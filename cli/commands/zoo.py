"""`dna-zoo zoo`: the cards."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from typing import Annotated, Any

import typer
from rich.console import RenderableType

from cli.completion import card_keys
from cli.documents import cards_document
from cli.numbers import UNKNOWN, count
from cli.options import FormatOption, TierOption
from cli.output import Format
from cli.session import session_of
from cli.tables import Column, Columns, Table, make_facts, make_table
from zoo.cards import ModelCard
from zoo.registry import find_card, select_cards

__all__ = ["EXAMPLES", "SHOW_EXAMPLES", "show", "zoo"]

EXAMPLES = ("dna-zoo zoo", "dna-zoo zoo --tier 1 --format quiet", "dna-zoo zoo show minilm-l6")
SHOW_EXAMPLES = ("dna-zoo zoo show minilm-l6", "dna-zoo zoo show minilm-l6 --format json")


def zoo(
    context: typer.Context,
    tier: TierOption = None,
    family: Annotated[str | None, typer.Option(metavar="F", help="Only this family, such as bert.")] = None,
    modality: Annotated[str | None, typer.Option(metavar="M", help="Only this modality, such as vision.")] = None,
    output_format: FormatOption = Format.TABLE,
) -> None:
    """List the models of the zoo, by tier."""
    if context.invoked_subcommand is not None:
        return
    output = session_of(context).output(output_format)
    cards = sorted(select_cards(tier=tier, family=family, modality=modality), key=lambda card: (card.tier, card.key))
    output.result(lambda: cards_document(cards), bare=(card.key for card in cards), draw=lambda: [_card_table(cards)])
    output.hint("Next: dna-zoo zoo show KEY. Any other Hub id or directory can be mined too.")


def show(
    context: typer.Context,
    key: Annotated[
        str, typer.Argument(metavar="KEY", help="A model of the zoo, by key or Hub id.", autocompletion=card_keys)
    ],
    output_format: FormatOption = Format.TABLE,
) -> None:
    """Show everything that is known about a model before it is downloaded."""
    card = find_card(key)
    output = session_of(context).output(output_format)
    output.result(lambda: card, bare=(card.key,), draw=lambda: _draw_card(card))


COLUMNS: Columns[Any] = (
    Column("Tier", right=True),
    Column("Key", style="cyan"),
    Column("Modality", optional=1),
    Column("Family", optional=2),
    Column("Architecture", optional=1),
    Column("Parameters", right=True),
    Column("Licence", optional=3),
)


def _card_table(cards: Sequence[ModelCard]) -> Table:
    """One row a card, a line between tiers."""
    rows: list[Iterable[str] | None] = []
    tier = None
    for card in cards:
        if tier not in (None, card.tier):
            rows.append(None)
        first = str(card.tier) if card.tier != tier else ""
        tier = card.tier
        kind = (card.modality, card.family, card.architecture or UNKNOWN)
        rows.append((first, card.key, *kind, count(card.parameters), card.licence or UNKNOWN))
    return make_table(COLUMNS, rows)


def _draw_card(card: ModelCard) -> Iterator[RenderableType]:
    """Name and value of every field; what is not known says when it will be."""
    late = {"revision": "resolved at the first download", "weight_file": "found at the first download"}
    rows = []
    for name, value in asdict(card).items():
        if name == "packaged":
            value = f"PyPI package {value['distribution']}" if value else None
        rows.append((name.replace("_", " "), _written(value, late.get(name, ""))))
    yield f"[bold cyan]{card.key}[/bold cyan]"
    yield ""
    yield make_facts(rows)


def _written(value: object, otherwise: str) -> str:
    """A field of a card in words."""
    match value:
        case None | ():
            return f"[dim]{otherwise}[/dim]" if otherwise else UNKNOWN
        case bool():
            return "yes" if value else "no"
        case int():
            return count(value)
        case tuple() | list():
            return ", ".join(map(str, value))
    return str(value)
