"""What `questions` prints of a database, and how it is asked."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from patterndb.store import PatternDatabase
from tests.cli.conftest import MODELS, Invoke
from tests.cli.test_docs import documented, flatten
from tests.support.patterns import make_pattern, save_patterns


@pytest.fixture(scope="module")
def catalog_url(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Six encoders and six decoders that differ in most dimensions, and a fine-tuned child of each encoder."""
    url = f"sqlite:///{tmp_path_factory.mktemp('catalog') / 'dna-zoo.db'}"
    patterns = []
    for number in range(18):
        pattern = make_pattern(f"m{number}", number, num_blocks=1)
        architecture, shift = ("decoder", 5.0) if number % 3 == 0 else ("encoder", 0.0)
        parents = (f"m{number - 1}",) if number % 3 == 2 else ()
        model = replace(pattern.model, architecture=architecture, family=architecture, parents=parents)
        values = tuple(None if value is None else value + shift for value in pattern.signature.values)
        signature = replace(pattern.signature, values=values)
        patterns.append(replace(pattern, model=model, signature=signature))
    with PatternDatabase.open(url) as database:
        save_patterns(database, *patterns)
    return url


@pytest.mark.slow
def test_answers_are_as_documented(catalog_url: str, ask: Callable[..., Any]) -> None:
    types = documented("questions")
    free = {key for key, kind in types.items() if kind == "free"}
    found = set(flatten(ask("--db", catalog_url, "questions"), free))
    empty_lists = {f"answers[].{name}" for name in ("groups", "confounds", "findings")}
    assert found - empty_lists == set(types)


def test_the_table_says_what_differs_and_what_else_may_be_behind_it(catalog_url: str, invoke: Invoke) -> None:
    result = invoke("--db", catalog_url, "questions", "architecture")
    assert result.exit_code == 0 and max(map(len, result.stdout.splitlines())) <= 100
    text = " ".join(result.stdout.split())
    assert "18 models in 12 independent lineages" in text and "architecture yes" in text
    assert "But the same groups are made by family" in text and "…" not in text


def test_naming_questions_changes_no_answer(catalog_url: str, ask: Callable[..., Any]) -> None:
    everything = ask("--db", catalog_url, "questions")["answers"]
    named = ask("--db", catalog_url, "questions", "universal", "architecture")["answers"]
    assert named == [everything[0], everything[-1]]


def test_a_model_can_be_left_out(ask: Callable[..., Any]) -> None:
    assert ask("questions")["models"] == len(MODELS)
    assert ask("questions", "--without", "alpha", "--without", "beta")["models"] == len(MODELS) - 2


@pytest.mark.parametrize(
    ("arguments", "exit_code", "message"),
    [(("modalty",), 2, "Did you mean 'modality'?"), (("--without", "alpa"), 1, "Did you mean 'alpha'?")],
)
def test_what_is_not_there_is_refused(arguments: tuple[str, ...], exit_code: int, message: str, invoke: Invoke) -> None:
    result = invoke("questions", *arguments)
    assert (result.exit_code, result.stdout) == (exit_code, "") and message in result.stderr


def test_an_empty_database_answers_that_it_is_empty(tmp_path: Path, invoke: Invoke) -> None:
    invoke("--home", str(tmp_path), "db", "upgrade")
    result = invoke("--home", str(tmp_path), "questions")
    assert result.exit_code == 0 and "0 models in 0 independent lineages" in result.stdout
