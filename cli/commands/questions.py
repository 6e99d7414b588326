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
from cli.tables import Column, Columns, Table, escaped, make_facts, table_of
from dna_zoo.errors import SettingsError, did_you_mean

if TYPE_CHECKING:
    from patterndb.store import PatternDatabase
    from pipeline.analyse.questions import Answer, Finding, QuestionsAnswered

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
    yield table_of(answers, ANSWERS)
    yield ""
    yield make_facts((answer.name, f"[bold]{answer.question}[/bold] {escaped(answer.sentence)}") for answer in answers)
    yield ""
    for answer in answers:
        if answer.verdict == "yes" and answer.findings:
            yield _findings_table(answer)
            yield ""


ANSWERS: "Columns[Answer]" = (
    Column("Question", lambda answer: answer.name),
    Column("Answer", lambda answer: answer.verdict, style="bold"),
    Column("Effect", lambda answer: _effect(answer), right=True),
    Column("p", lambda answer: p_value(answer.p), right=True),
    Column("q", lambda answer: p_value(answer.q), right=True),
    Column("Models", lambda answer: count(answer.models), right=True, optional=1),
    Column("Lineages", lambda answer: count(answer.lineages), right=True),
)


def _effect(answer: "Answer") -> str:
    """The effect with what it is."""
    if answer.effect is None:
        return fixed(None)
    short = "share" if answer.measure == "share of statistics" else answer.measure
    return f"{short} {signed(answer.effect, 3)}"


def _findings_table(answer: "Answer") -> Table:
    """The strongest findings; columns are what was measured of them."""
    measured = list(dict.fromkeys(name for finding in answer.findings for name in finding.values))
    columns: Columns[Finding] = (
        Column(escaped(answer.name), lambda finding: finding.name, shrinks=True),
        Column("Effect", lambda finding: fixed(finding.effect), right=True),
        Column("p", lambda finding: p_value(finding.p), right=True),
        Column("q", lambda finding: p_value(finding.q), right=True),
        *(_measured_column(name, optional=number) for number, name in enumerate(measured, start=1)),
    )
    return table_of(answer.findings[:SHOWN], columns)


def _measured_column(name: str, optional: int) -> "Column[Finding]":
    return Column(escaped(name), lambda finding: fixed(finding.values.get(name)), right=True, optional=optional)
