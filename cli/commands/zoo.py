"""`dna-zoo zoo`: the cards."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from cli.documents import card_document, cards_document
from cli.numbers import UNKNOWN, count
from cli.options import FormatOption, TierOption
from cli.output import Column, Format, Output, make_table
from cli.session import session_of
from zoo.cards import ModelCard
from zoo.registry import find_card, select_cards

if TYPE_CHECKING:
    from rich.console import RenderableType

__all__ = ["EXAMPLES", "SHOW_EXAMPLES", "show", "zoo"]

EXAMPLES = ("dna-zoo zoo", "dna-zoo zoo --tier 1 --format quiet", "dna-zoo zoo show minilm-l6")
SHOW_EXAMPLES = ("dna-zoo zoo show minilm-l6", "dna-zoo zoo show minilm-l6 --format json")


def zoo(
    context: typer.Context,
    tier: TierOption = None,
    family: Annotated[
        str | None, typer.Option(metavar="F", help="Only this family, such as bert.", show_default=False)
    ] = None,
    modality: Annotated[
        str | None, typer.Option(metavar="M", help="Only this modality, such as vision.", show_default=False)
    ] = None,
    output_format: FormatOption = Format.TABLE,
) -> None:
    """List the models of the zoo, by tier."""
    if context.invoked_subcommand is not None:
        return
    output = Output(output_format, verbosity=session_of(context).verbosity)
    cards = sorted(select_cards(tier=tier, family=family, modality=modality), key=lambda card: (card.tier, card.key))
    output.result(lambda: cards_document(cards), bare=(card.key for card in cards), draw=lambda: [_card_table(cards)])
    output.hint("More about one: dna-zoo zoo show KEY. Any other Hub id or directory is mined the same way.")


def show(
    context: typer.Context,
    key: Annotated[
        str, typer.Argument(metavar="KEY", help="A model of the zoo, by key or Hub id.", show_default=False)
    ],
    output_format: FormatOption = Format.TABLE,
) -> None:
    """Show all that is known of one model before a byte of it is fetched."""
    card = find_card(key)
    output = Output(output_format, verbosity=session_of(context).verbosity)
    output.result(lambda: card_document(card), bare=(card.key,), draw=lambda: _draw_card(card))


COLUMNS = (
    Column("Tier", right=True),
    Column("Key", style="cyan"),
    Column("Modality"),
    Column("Family"),
    Column("Architecture"),
    Column("Parameters", right=True),
    Column("Licence"),
)


def _card_table(cards: Sequence[ModelCard]) -> "RenderableType":
    """One row a card, a line between tiers."""
    rows: list[Iterable[str] | None] = []
    tier = None
    for card in cards:
        if tier not in (None, card.tier):
            rows.append(None)
        first = str(card.tier) if card.tier != tier else ""
        tier = card.tier
        kind = (card.modality, card.family, card.architecture)
        rows.append((first, card.key, *kind, count(card.parameters), card.licence))
    return make_table(COLUMNS, rows)


def _draw_card(card: ModelCard) -> Iterator["RenderableType"]:
    """Name and value of every field; what is not known says when it will be."""
    late = {"revision": "resolved at the first download", "weight_file": "found at the first download"}
    rows = []
    for name, value in asdict(card).items():
        if name == "packaged":
            value = f"PyPI package {value['distribution']}" if value else None
        rows.append((name.replace("_", " "), _written(value, late.get(name, ""))))
    yield make_table((Column("Card", style="dim"), Column(card.key, wraps=True)), rows)


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
