"""Lineage on the command line: of what is kept, of real models, and where nothing can be said."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from patterndb.store import PatternDatabase
from tests.cli.conftest import MODELS, Invoke
from tests.support.lineages import SPECIMENS, save_as_mined


def test_compare_prints_the_verdict_and_its_figures(invoke: Invoke) -> None:
    text = " ".join(invoke("compare", "alpha", "beta").stdout.split())
    assert "Lineage same lineage: the weights agree; correlation 0.750, z +41.0 against 199 wrong" in text
    assert "ffn_out 2 4,096 0.750 +41.0" in text


def test_no_page_shows_a_p_that_is_of_chance_alone(invoke: Invoke) -> None:
    """Unrelated models of a kind agree more than by chance: it is too small for them (docs/lineage.md)."""
    for arguments in (("compare", "alpha", "beta"), ("similar", "alpha", "--by", "lineage")):
        assert "0.005" not in invoke(*arguments).stdout


def test_compare_says_in_either_order_what_is_kept(ask: Callable[..., Any]) -> None:
    assert ask("compare", "alpha", "beta")["lineage"] == ask("compare", "beta", "alpha")["lineage"]


def test_compare_without_weights_cannot_say(ask: Callable[..., Any], invoke: Invoke) -> None:
    found = ask("compare", "alpha", "gamma")["lineage"]
    assert (found["verdict"], found["z"]) == ("cannot say", None)
    assert found["reason"].endswith("are not on this machine")
    assert "cannot say: the weights of" in " ".join(invoke("compare", "alpha", "gamma").stdout.split())


def test_compare_can_leave_the_weights_alone(ask: Callable[..., Any], invoke: Invoke) -> None:
    assert ask("compare", "alpha", "beta", "--no-lineage")["lineage"] is None
    assert "Lineage" not in invoke("compare", "alpha", "beta", "--no-lineage").stdout


def test_similar_by_lineage_puts_the_strongest_evidence_first(ask: Callable[..., Any], invoke: Invoke) -> None:
    found = ask("similar", "alpha", "--by", "lineage")["neighbours"]
    assert found[0]["model"] == "beta" and found[0]["lineage"]["verdict"] == "same lineage"
    assert {each["lineage"]["verdict"] for each in found[1:]} == {"cannot say"}
    assert invoke("similar", "alpha", "--by", "lineage", "-k", "1", "--format", "quiet").stdout == "beta\n"


def test_similar_compares_weights_with_the_shortlist_alone(ask: Callable[..., Any]) -> None:
    nearest = ask("similar", "alpha", "--top-k", "2")["neighbours"]
    found = ask("similar", "alpha", "--by", "lineage", "--shortlist", "2")["neighbours"]
    assert {each["model"] for each in found} == {each["model"] for each in nearest}
    assert all(each["lineage"] is None for each in nearest)


def test_similar_draws_verdict_z_and_distance(invoke: Invoke) -> None:
    lines = invoke("similar", "alpha", "--by", "lineage").stdout.splitlines()
    assert lines[0].split() == [
        "By",
        "lineage",
        "with",
        "alpha",
        "Verdict",
        "z",
        "Correlation",
        "Weights",
        "Kind",
    ]
    assert lines[2].split()[:5] == ["beta", "same", "lineage", "+41.0", "0.750"]
    assert not any(lines[2 + len(MODELS) - 1].split())


def test_similar_says_why_nothing_can_be_said(invoke: Invoke) -> None:
    text = " ".join(invoke("similar", "alpha", "--by", "lineage").stdout.split())
    assert text.count("are not on this machine") == len(MODELS) - 2
    assert "gamma: the weights of '" in text


def test_real_weights_are_ranked_by_lineage(tmp_path: Path, migrated_sqlite: Path, ask: Callable[..., Any]) -> None:
    url = f"sqlite:///{shutil.copy(migrated_sqlite, tmp_path / 'real.sqlite')}"
    with PatternDatabase.open(url) as database:
        save_as_mined(database, [SPECIMENS / name for name in ("bert-a", "bert-a-permuted", "bert-b")])
    found = ask("--db", url, "similar", "bert-a", "--by", "lineage")["neighbours"]
    assert [(each["model"], each["lineage"]["verdict"]) for each in found] == [
        ("bert-a-permuted", "same lineage"),
        ("bert-b", "no evidence"),
    ]
