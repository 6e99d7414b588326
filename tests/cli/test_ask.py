"""`dna-zoo ask`: a DNA by its file or key, and what it says in each format."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Invoke


def test_without_options_layers_and_roles_are_compared(dna_file: Path, ask: Callable[..., Any]) -> None:
    found = ask("ask", str(dna_file))
    assert sorted(pair["relation"] for pair in found["pairs"]) == ["layers", "layers", "roles", "roles"]
    assert found["peaks"] == found["places"] == [] and found["is_shared"] is False
    assert all(pair["p"] <= pair["q"] <= 1 for pair in found["pairs"])


def test_it_says_where_there_is_nothing_beyond_the_null(dna_file: Path, invoke: Invoke) -> None:
    result = invoke("ask", str(dna_file), "--roles")
    assert result.exit_code == 0 and "Correlation" in result.stdout
    assert "None of 2 pairs is more alike than their means, sizes and smoothness explain" in result.stderr


def test_pipes_get_names_and_bare_numbers(dna_file: Path, invoke: Invoke) -> None:
    result = invoke("ask", str(dna_file), "--tensors", "*0*query*", "--at", "1,-1", "--at", "0,0", "--format", "quiet")
    lines = [line.split("\t") for line in result.stdout.splitlines()]
    assert [line[1:3] for line in lines] == [["1", "-1"], ["0", "0"]] and len({line[0] for line in lines}) == 1
    assert all(abs(float(line[3])) < 10 for line in lines)


@pytest.mark.parametrize(
    ("arguments", "message", "hint"),
    [
        (("--at", "1"), "`--at` is '1'.", "Write a row and a column"),
        (("--at", "1,2,3,4"), "`--at` is", "Write a row and a column"),
        (("--at", "1.5,0"), "There is no place 1.5,0.", "in [-1, 1]"),
        (("--at", "0,0,0.5"), "`depth` is given", "--scope model"),
        (("--tensors", "nothing*"), "No tensor of the DNA has a name like 'nothing*'.", "There are 4"),
    ],
)
def test_what_cannot_be_asked_is_said_in_two_sentences(
    arguments: tuple[str, ...], message: str, hint: str, dna_file: Path, invoke: Invoke
) -> None:
    result = invoke("ask", str(dna_file), *arguments)
    assert result.exit_code in (1, 2) and message in result.stderr and hint in result.stderr and not result.stdout


def test_a_key_without_a_dna_says_so(invoke: Invoke) -> None:
    for key, message in (
        ("alpha", "does not say where the DNA of 'alpha' is"),
        ("nosuch", "There is no pattern of 'nosuch'"),
    ):
        result = invoke("ask", key)
        assert result.exit_code == 1 and message in result.stderr
