"""`dna-zoo questions`: tests of what the project was started to find out, on all mined models."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import RenderableType

from cli.completion import mined_keys
from cli.documents import questions_document
from cli.numbers import count, fixed, p_value, signed
from cli.options import FormatOption
from cli.output import Format
from cli.session import session_of
from cli.tables import Column, Table, escaped, make_facts, make_table
from dna_zoo.errors import SettingsError, did_you_mean

if TYPE_CHECKING:
    from patterndb.store import PatternDatabase
    from pipeline.analyse.questions import Answer, QuestionsAnswered

__all__ = ["EXAMPLES", "questions"]

EXAMPLES = (
    "dna-zoo questions",
    "dna-zoo questions modality distillation",
    "dna-zoo questions --without bert-untrained --format json | jq .answers[].q",
)
SHOWN = 5
"""Findings that the table shows of an answer."""


def questions(
    context: typer.Context,
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="NAMES...",
            help="Questions to show: architecture, modality, sharing, distillation, objective, specialisation, "
            "universal. Default: all.",
        ),
    ] = None,
    without: Annotated[
        list[str] | None,
        typer.Option(
            "--without", metavar="KEY", help="Leave this model out; may be given again.", autocompletion=mined_keys
        ),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, metavar="N", help="Random seed of the permuted labels.")] = 0,
    output_format: FormatOption = Format.TABLE,
) -> None:
    """Test whether the patterns of the mined models depend on what the models are: kind, data, training."""
    session = session_of(context)
    output = session.output(output_format)
    chosen = _chosen(names or ())
    with session.database() as database:
        found = _ask(database, without or (), seed)
    answers = [answer for answer in found.answers if answer.name in chosen]
    output.result(
        lambda: questions_document(found, answers),
        bare=(answer.verdict.replace(" ", "-") for answer in answers),
        draw=lambda: _draw(found, answers),
    )
    output.hint("Each lineage counts once, however many of its models are mined: see docs/measurement.md.")


def _chosen(names: "Sequence[str]") -> set[str]:
    """The questions asked for, all if none is named; raises `SettingsError` for one that there is not."""
    from pipeline.analyse.questions import QUESTIONS

    for name in names:
        if name not in QUESTIONS:
            hint = did_you_mean(name, QUESTIONS) or f"Use one of: {', '.join(QUESTIONS)}."
            raise SettingsError(f"There is no question {name!r}.", hint=hint)
    return set(names or QUESTIONS)


def _ask(database: "PatternDatabase", without: "Sequence[str]", seed: int) -> "QuestionsAnswered":
    """All answers; raises `NotMinedError` for a model that is not there to be left out."""
    from pipeline.analyse.representatives import ask_all

    known = database.model_keys() if without else ()
    for key in without:
        if key not in known:
            database.load_pattern(key)  # Raises, naming near misses.
    return ask_all(database, without=without, seed=seed)


def _draw(found: "QuestionsAnswered", answers: "Sequence[Answer]") -> Iterator[RenderableType]:
    """One table of all, then what each answer rests on."""
    nouns = "model" if found.models == 1 else "models"
    lineages = "lineage" if len(found.lineages) == 1 else "lineages"
    yield f"{count(found.models)} {nouns} in {count(len(found.lineages))} independent {lineages}"
    if found.sample:
        yield f"[bold]A sample[/bold]: {found.sample}"
    yield ""
    columns = (
        Column("Question"),
        Column("Answer", style="bold"),
        *(Column(heading, right=True) for heading in ("Effect", "p", "q")),
        Column("Models", right=True, optional=1),
        Column("Lineages", right=True),
    )
    yield make_table(columns, [_row(answer) for answer in answers])
    yield ""
    yield make_facts((answer.name, f"[bold]{answer.question}[/bold] {escaped(answer.sentence)}") for answer in answers)
    yield ""
    for answer in answers:
        if answer.verdict == "yes" and answer.findings:
            yield _findings_table(answer)
            yield ""


def _row(answer: "Answer") -> Sequence[str]:
    numbers = (p_value(answer.p), p_value(answer.q), count(answer.models), count(answer.lineages))
    return answer.name, answer.verdict, _effect(answer), *numbers


def _effect(answer: "Answer") -> str:
    """The effect with what it is."""
    if answer.effect is None:
        return fixed(None)
    short = "share" if answer.measure == "share of statistics" else answer.measure
    return f"{short} {signed(answer.effect, 3)}"


def _findings_table(answer: "Answer") -> Table:
    """The strongest findings; columns are what was measured of them."""
    measured = list(dict.fromkeys(name for finding in answer.findings for name in finding.values))
    columns = (
        Column(escaped(answer.name), shrinks=True),
        *(Column(heading, right=True) for heading in ("Effect", "p", "q")),
        *(Column(escaped(heading), right=True, optional=number) for number, heading in enumerate(measured, start=1)),
    )
    rows = [
        (
            finding.name,
            fixed(finding.effect),
            p_value(finding.p),
            p_value(finding.q),
            *(fixed(finding.values.get(name)) for name in measured),
        )
        for finding in answer.findings[:SHOWN]
    ]
    return make_table(columns, rows)
