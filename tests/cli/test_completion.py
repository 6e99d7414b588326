"""What the shell is told when Tab is pressed, by the protocol of bash."""

from pathlib import Path

import pytest

from tests.cli.conftest import MODELS, PARTIAL, Start

pytestmark = pytest.mark.slow

OFFERS = [
    (("show", ""), set(MODELS)),
    (("show", "al"), {"alpha"}),
    (("compare", "alpha", "b"), {"beta"}),
    (("questions", "--without", "g"), {"gamma"}),
    (("mine", "minilm-l6"), {"minilm-l6", "minilm-l6-base"}),
    (("zoo", "show", "minilm-l12"), {"minilm-l12", "minilm-l12-sentence"}),
    (("mine", "./spec"), set()),  # The shell offers files where nothing is found.
    (("runs", "run-p"), {PARTIAL}),
    (("similar", "--by", ""), {"weights", "kind", "lineage"}),
    (("taxo",), {"taxonomy"}),
    (("-q", "--home", "{absent}", "show", ""), set()),
    (("show", "--home", "{absent}", ""), set()),
    (("show", "--db", "nonsense", ""), set()),
    (("show", "--db", "postgresql://me@127.0.0.1:1/zoo", ""), set()),
]


@pytest.mark.parametrize(("words", "expected"), OFFERS, ids=[" ".join(words) for words, _ in OFFERS])
def test_tab_offers_names_and_is_silent_otherwise(
    words: tuple[str, ...], expected: set[str], start: Start, tmp_path: Path
) -> None:
    absent = tmp_path / "absent"
    line = " ".join(("dna-zoo", *(word.format(absent=absent) for word in words)))
    process = start(COMP_WORDS=line, COMP_CWORD=str(len(words)), _DNA_ZOO_COMPLETE="complete_bash")
    stdout, stderr = process.communicate(timeout=60)
    assert (set(stdout.split()), stderr, absent.exists()) == (expected, "", False)


def test_completion_can_be_shown(start: Start) -> None:
    stdout, _ = start("--show-completion", "bash", _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1").communicate()
    assert "complete -o default -F _dna_zoo_completion dna-zoo" in stdout
