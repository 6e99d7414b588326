"""What the reading commands print, in each format, and where."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from scipy.stats import false_discovery_control

from patterndb.exports.columns import COLUMN_MEANINGS
from patterndb.store import PatternDatabase
from tests.cli.conftest import MODELS, PARTIAL, Invoke
from tests.support.patterns import make_pattern, save_patterns
from zoo.registry import ALL_CARDS, select_cards

READING = [
    ("zoo",),
    ("zoo", "show", "minilm-l6"),
    ("show", "alpha"),
    ("compare", "alpha", "beta"),
    ("similar", "alpha"),
    ("taxonomy",),
    ("questions",),
    ("runs",),
    ("runs", PARTIAL),
    ("runs", "--diff", "run-1", PARTIAL),
    ("db", "current"),
]


@pytest.mark.parametrize("width", [80, 100])
@pytest.mark.parametrize("arguments", [*READING, ("similar", "alpha", "--by", "lineage")], ids=" ".join)
def test_tables_fit_the_terminal_and_keep_to_stdout(arguments: tuple[str, ...], width: int, invoke: Invoke) -> None:
    result = invoke(*arguments, COLUMNS=str(width))
    assert result.exit_code == 0
    assert result.stdout.strip() and max(map(len, result.stdout.splitlines())) <= width
    assert "\x1b" not in result.stdout and ("…" not in result.stdout or arguments == ("runs",))  # A list of models.


def test_wide_and_pipes_have_all_columns(invoke: Invoke) -> None:
    narrow, wide = (invoke("show", "alpha", *flag, COLUMNS="70") for flag in ((), ("--wide",)))
    assert "Bits/w" not in narrow.stdout and "columns with --wide." in narrow.stderr
    assert "Bits/w" in wide.stdout and "--wide" not in wide.stderr
    assert "Bits/w" in invoke("show", "alpha", COLUMNS="").stdout


@pytest.mark.parametrize("arguments", READING, ids=" ".join)
def test_quiet_prints_bare_values_and_nothing_else(arguments: tuple[str, ...], invoke: Invoke) -> None:
    result = invoke(*arguments, "--format", "quiet")
    assert result.exit_code == 0
    assert result.stderr == ""
    assert all(re.fullmatch(r"[\w.-]+", line) for line in result.stdout.splitlines())


def test_zoo_lists_the_cards_by_tier(ask: Callable[..., Any]) -> None:
    listed = ask("zoo")
    assert [card["tier"] for card in listed] == sorted(card.tier for card in ALL_CARDS.values())
    assert {card["key"] for card in listed} == set(ALL_CARDS)


def test_zoo_can_be_narrowed(invoke: Invoke) -> None:
    result = invoke("zoo", "--modality", "vision", "--format", "quiet")
    assert set(result.stdout.split()) == {card.key for card in select_cards(modality="vision")}


def test_show_states_the_mean_predictor_beside_the_fit(ask: Callable[..., Any], invoke: Invoke) -> None:
    fit, text = ask("show", "alpha")["fit"], invoke("show", "alpha").stdout
    assert f"PSNR     {fit['psnr']:.1f} dB; the mean predictor {fit['mean_psnr']:.1f} dB" in text


def test_show_states_the_fit_at_8_bits_beside_svd_of_as_many(ask: Callable[..., Any], invoke: Invoke) -> None:
    shown = ask("show", "alpha")
    fit, text = shown["fit"], re.sub(r"\s+", " ", invoke("show", "alpha").stdout)
    dna = f"R² {fit['r2_8bit']:.3f}, null {fit['null_r2_8bit']:.3f}, {fit['bits_per_weight_8bit']:.3f} bits per weight"
    svd = f"SVD at {fit['svd_bits_width']} bits, its best width, {fit['svd_bits_r2']:.3f}, null"
    dct = f"DCT of the canonical order {fit['dct_bits_r2']:.3f}, null {fit['dct_bits_null_r2']:.3f}"
    assert f"8 bits {dna}; with as many bits: {svd} {fit['svd_bits_null_r2']:.3f}; {dct}" in text
    assert f"DCT R² {fit['dct_r2']:.3f} at as many parameters, {fit['dct_null_r2']:.3f} on the null" in text
    assert all(role["r2_8bit"] is not None for role in shown["roles"] if role["r2"] is not None)


def test_show_gives_the_gain_beyond_the_means_beside_the_other(ask: Callable[..., Any], invoke: Invoke) -> None:
    shown = ask("show", "alpha")
    fit, text = shown["fit"], re.sub(r"\s+", " ", invoke("show", "alpha", COLUMNS="200").stdout)
    assert f"Means R² {fit['additive_r2']:.3f} with the {fit['additive_numbers']} row and column means that pay" in text
    assert f"fitted alike: gain {fit['gain']:+.3f};" in text
    assert f"; with the means kept: gain {fit['gain_beyond_means']:+.3f};" in text
    (role,) = (each for each in shown["roles"] if each["role"] == "ffn_in")
    row = f"{role['r2']:.3f} {role['additive_r2']:.3f} {role['means_null_r2']:.3f} {role['gain_beyond_means']:+.3f}"
    assert row in text


def test_q_stands_beside_every_p(ask: Callable[..., Any], invoke: Invoke) -> None:
    signature = ask("show", "alpha")["signature"]
    tested = [each for each in signature if each["p"] is not None]
    assert len(tested) < len(signature) and all((each["p"] is None) == (each["q"] is None) for each in signature)
    assert [each["q"] for each in tested] == pytest.approx(false_discovery_control([each["p"] for each in tested]))
    assert re.search(r"^Farthest from chance +Value +z +p +q$", invoke("show", "alpha").stdout, flags=re.MULTILINE)


def test_show_says_in_words_what_no_single_tensor_can_reach(ask: Callable[..., Any], invoke: Invoke) -> None:
    text = re.sub(r"\s+", " ", invoke("show", "alpha").stdout)
    assert text.count("With 8 nulls no figure of a single tensor has p below 0.222") == 1
    assert "`--nulls 39`" in text
    assert ask("show", "alpha")["least_tensor_p"] == 2 / 9


def test_show_aligns_numbers_to_the_right_with_equal_digits(invoke: Invoke) -> None:
    lines = invoke("show", "alpha").stdout.splitlines()
    rows = [line for line in lines if re.match(r"(token_embedding|attention_\w+|ffn_\w+) ", line)]
    assert len({re.search(r"\d\.\d{3}", line).start() for line in rows if re.search(r"\d\.\d{3}", line)}) == 1  # type: ignore[union-attr]


def test_a_narrow_terminal_cuts_no_digits(invoke: Invoke) -> None:
    assert not re.search(r"\d…|…\d", invoke("show", "alpha", COLUMNS="50").stdout)


def test_show_says_when_from_what_and_where_the_files_are(ask: Callable[..., Any], invoke: Invoke) -> None:
    shown = ask("show", "alpha")
    (file,) = shown["files"]
    assert file["state"] == "missing" and shown["folder"] == str(Path(file["path"]).parent)
    assert "(missing)" in invoke("show", "alpha").stdout and shown["found"][:10] in invoke("show", "alpha").stdout
    Path(file["path"]).parent.mkdir(parents=True)
    for num_bytes, state in ((file["num_bytes"], "intact"), (1, "changed")):
        Path(file["path"]).write_bytes(bytes(num_bytes))
        assert ask("show", "alpha")["files"] == [file | {"state": state}]
    assert [run["folder_exists"] for run in ask("runs")] == [False, True]


def test_show_gives_what_an_earlier_run_found(ask: Callable[..., Any]) -> None:
    assert ask("show", "alpha", "--run", PARTIAL)["model"] == "alpha"


def test_similar_ranks_the_others_from_near_to_far(ask: Callable[..., Any], invoke: Invoke) -> None:
    neighbours = ask("similar", "alpha", "--top-k", "10")["neighbours"]
    assert {each["model"] for each in neighbours} == set(MODELS) - {"alpha"}
    assert [each["kind"] for each in neighbours] == sorted(each["kind"] for each in neighbours)
    assert invoke("similar", "alpha", "-k", "1", "--format", "quiet").stdout == f"{neighbours[0]['model']}\n"


def test_compare_agrees_with_similar(ask: Callable[..., Any]) -> None:
    nearest = ask("similar", "alpha", "--top-k", "1")["neighbours"][0]
    pair = ask("compare", "alpha", nearest["model"])
    for name in ("is_same_file", "weights", "weights_percentile", "kind", "kind_percentile"):
        assert pair[name] == nearest[name]


def test_equal_files_are_called_the_same_file(
    ask: Callable[..., Any], invoke: Invoke, environment: dict[str, str]
) -> None:
    alpha = make_pattern("alpha", 0)
    twin = make_pattern("twin", run="run-2", model=replace(alpha.model, key="twin"), signature=alpha.signature)
    with PatternDatabase.open(f"sqlite:///{environment['DNA_ZOO_HOME']}/dna-zoo.db") as database:
        save_patterns(database, twin)
    nearest = ask("similar", "alpha")["neighbours"][0]
    assert (nearest["model"], nearest["is_same_file"], nearest["weights"]) == ("twin", True, 0)
    first = invoke("similar", "alpha", COLUMNS="80").stdout.splitlines()[2]
    assert first.split()[:3] == ["twin", "same", "file"] and len(first) <= 80
    assert "the same file" in invoke("compare", "alpha", "twin", "--no-lineage").stdout


def test_taxonomy_draws_every_model_in_both_trees(invoke: Invoke) -> None:
    text = invoke("taxonomy").stdout
    assert all(len(re.findall(rf"\b{key}\b", text)) == 2 for key in MODELS)
    assert "Cophenetic correlation: 0." in text and "one label for all" in text


def test_run_shows_stages_and_why_a_model_failed(invoke: Invoke) -> None:
    text = invoke("runs", PARTIAL).stdout
    assert "1 min 34 s" in text
    assert "nosuch: Unknown model 'nosuch'. See `dna-zoo zoo`." in text


def test_runs_come_latest_first(invoke: Invoke) -> None:
    assert invoke("runs", "--format", "quiet").stdout == f"{PARTIAL}\nrun-1\n"


def test_columns_of_tables_are_listed_with_what_they_mean(invoke: Invoke) -> None:
    told = " ".join(invoke("export", "--list", "--table", "roles").stdout.split())
    for name, meaning in COLUMN_MEANINGS["roles"].items():
        assert f"{name} {meaning}" in told
    without = invoke("export")
    assert without.exit_code == 2 and len(without.stderr.splitlines()) == 2


@pytest.mark.parametrize("table", ["catalog", "tensors", "signatures", "distances"])
def test_export_writes_every_table(table: str, invoke: Invoke, tmp_path: Path) -> None:
    path = tmp_path / f"{table}.csv"
    result = invoke("export", str(path), "--table", table)
    assert (result.exit_code, result.stdout) == (0, "")
    frame = pd.read_csv(path)
    assert f"{len(frame):,} rows of {table}" in result.stderr


def test_distances_are_exported_as_documented(invoke: Invoke, tmp_path: Path) -> None:
    invoke("export", str(tmp_path / "d.jsonl"), "--table", "distances")
    frame = pd.read_json(tmp_path / "d.jsonl", lines=True)
    assert list(frame.columns) == ["a", "b", "is_same_file", "is_partial", "weights", "kind"] and len(frame) == 10


def test_no_colour_without_a_terminal_and_hints_only_with_tables(invoke: Invoke) -> None:
    assert "dna-zoo similar alpha" in invoke("show", "alpha").stderr
    assert invoke("show", "alpha", "--format", "json").stderr == ""
    assert invoke("-q", "show", "alpha").stderr == ""


def test_upgrade_makes_a_database_where_there_is_none(invoke: Invoke, tmp_path: Path) -> None:
    path = tmp_path / "new" / "home"
    assert invoke("--home", str(path), "db", "upgrade").exit_code == 0
    assert invoke("--home", str(path), "db", "check").exit_code == 0
    assert (path / "dna-zoo.db").exists()


# Partial models.


@pytest.fixture
def with_partial(tmp_path: Path) -> str:
    """A database in which much of the file of `beta` could not be read."""
    url = f"sqlite:///{tmp_path / 'partial.db'}"
    with PatternDatabase.open(url) as database:
        patterns = [make_pattern(key, seed) for seed, key in enumerate(MODELS)]
        patterns[1] = replace(patterns[1], model=replace(patterns[1].model, is_partial=True, unreadable_bytes=10))
        save_patterns(database, *patterns)
    return url


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "keys"),
    [
        (("compare", "alpha", "beta", "--no-lineage"), ["beta"]),
        (("compare", "alpha", "gamma", "--no-lineage"), []),
        (("similar", "alpha"), ["beta"]),
        (("similar", "beta", "-k", "1"), ["beta"]),
        (("taxonomy",), ["beta"]),
    ],
)
def test_whatever_rests_on_a_partial_model_says_so(
    with_partial: str, invoke: Invoke, arguments: tuple[str, ...], keys: list[str]
) -> None:
    document = json.loads(invoke(*arguments, "--db", with_partial, "--format", "json").stdout)
    assert document["partial"] == keys
    text = " ".join(invoke(*arguments, "--db", with_partial).stdout.split())
    assert ("Partial: beta: much of the file could not be read" in text) == bool(keys)
    assert ("beta (partial)" in text) == (bool(keys) and arguments[:2] != ("similar", "beta"))


def test_exports_say_which_models_are_partial(with_partial: str) -> None:
    with PatternDatabase.open(with_partial) as database:
        catalog, distances = database.export_catalog(), database.export_catalog("distances")
    assert set(catalog["model"][catalog["is_partial"].fillna(False)]) == {"beta"}
    pairs = distances[distances["is_partial"]]
    assert len(pairs) == len(MODELS) - 1 and ("beta" == pairs[["a", "b"]]).any(axis=1).all()
