"""Exported tables: their columns, their files."""

import json
import math
import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from scipy.stats import false_discovery_control

from dna_zoo.errors import SettingsError, StoreError
from dna_zoo.text import is_printable
from patterndb.exports.columns import COLUMN_MEANINGS, COLUMNS, READING_COLUMNS, TABLES
from patterndb.exports.files import SUFFIXES, write_table
from patterndb.exports.latex import escape_latex
from patterndb.records import Statistic
from patterndb.store import PatternDatabase
from tests.support.patterns import make_pattern, save_patterns

AWKWARD = r"100%_of #1 {a}~b^c\d & <$5> | ö"


@pytest.fixture(scope="module")
def frames(migrated_sqlite: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, pd.DataFrame]:
    path = tmp_path_factory.mktemp("catalog") / "x.sqlite"
    shutil.copy(migrated_sqlite, path)
    statistics = (Statistic(name="norm", value=math.inf, z=math.nan), Statistic(name="lonely", value=1 / 3, z=-0.0))
    plain, awkward = make_pattern("plain"), make_pattern("awkward")
    tensors = (replace(awkward.tensors[0], statistics=statistics), *awkward.tensors[1:])
    awkward = replace(
        awkward, model=replace(awkward.model, key=AWKWARD, tier=None, repo=None), tensors=tensors, fit=None
    )
    with PatternDatabase.open(f"sqlite:///{path}") as database:
        save_patterns(database, plain, make_pattern("third"), awkward)
        return {table: database.export_catalog(table) for table in TABLES}


@pytest.mark.parametrize("table", TABLES)
def test_every_exported_column_is_documented(frames: dict[str, pd.DataFrame], table: str) -> None:
    meanings = COLUMN_MEANINGS[table]
    for column in frames[table].columns:
        _, dot, suffix = column.rpartition(".")
        of_statistic = f"<statistic>{dot}{suffix}"
        name = next((each for each in (column, of_statistic) if each in meanings), "<statistic>")
        assert len(meanings[name]) > 5


def test_every_table_says_what_its_columns_mean() -> None:
    assert set(COLUMN_MEANINGS) == set(TABLES)


@pytest.mark.parametrize("table", TABLES)
def test_columns_have_the_types_that_were_promised(frames: dict[str, pd.DataFrame], table: str) -> None:
    frame = frames[table]
    assert {name: str(frame[name].dtype) for name in COLUMNS[table]} == {
        name: column.dtype for name, column in COLUMNS[table].items()
    }


@pytest.mark.parametrize("table", TABLES)
def test_an_empty_database_exports_the_same_columns(table: str, migrated_sqlite: Path, tmp_path: Path) -> None:
    shutil.copy(migrated_sqlite, tmp_path / "x.sqlite")
    with PatternDatabase.open(f"sqlite:///{tmp_path / 'x.sqlite'}") as database:
        found = database.export_catalog(table)
    assert list(found.columns) == list(COLUMNS[table]) and len(found) == 0
    for suffix in SUFFIXES:
        write_table(found, tmp_path / f"empty{suffix}")


def test_catalog_says_what_the_pattern_says(frames: dict[str, pd.DataFrame]) -> None:
    pattern, row = make_pattern("plain"), frames["catalog"].set_index("model").loc["plain"]
    assert pattern.fit and row["fit_r2"] == pattern.fit.r2 and row["fit_null"] == "shuffle"
    assert row["parents"] == "someone/parent" and row["score_noisy"] == pattern.class_scores["noisy"]
    assert row["confirmed_at"].tzinfo is not None


def test_tensors_have_their_statistics(frames: dict[str, pd.DataFrame]) -> None:
    frame, tensor = frames["tensors"], make_pattern("plain").tensors[2]
    row = frame[(frame["model"] == "plain") & (frame["tensor"] == tensor.name)].iloc[0]
    entropy = tensor.statistics[0]
    assert (row["spectral_entropy"], row["spectral_entropy.z"]) == (entropy.value, entropy.z)
    assert row["spectral_norm.low"] == tensor.statistics[1].low and math.isnan(row["spectral_entropy.low"])
    assert row["fit_gain"] == (tensor.fit.gain if tensor.fit else None) and math.isnan(row["lonely"])


def test_signature_rows_leave_out_what_a_model_lacks(frames: dict[str, pd.DataFrame]) -> None:
    frame = frames["signatures"]
    assert not frame["dimension"].str.startswith("head/").any()
    row = frame[frame["dimension"] == "ffn_in/late/alpha"].iloc[0]
    assert (row["role"], row["third"], row["statistic"]) == ("ffn_in", "late", "alpha")


def test_q_is_adjusted_within_each_model(frames: dict[str, pd.DataFrame]) -> None:
    signatures, tensors = frames["signatures"], frames["tensors"]
    for model in ("plain", "third"):
        rows = signatures[signatures["model"] == model]
        assert rows["q"].tolist() == pytest.approx(false_discovery_control(rows["p"]))
        rows = tensors[tensors["model"] == model]
        assert rows["spectral_entropy.q"].tolist() == pytest.approx(false_discovery_control(rows["spectral_entropy.p"]))
    assert tensors["spectral_norm.q"].isna().all()


def test_distances_hold_each_pair_once(frames: dict[str, pd.DataFrame]) -> None:
    frame = frames["distances"]
    assert list(frame.columns) == ["a", "b", "is_same_file", "is_partial", "weights", "kind"]
    assert len(frame) == 3 and (frame["a"] < frame["b"]).all()


@pytest.mark.parametrize("table", TABLES)
def test_csv_parquet_and_jsonl_hold_every_bit(frames: dict[str, pd.DataFrame], table: str, tmp_path: Path) -> None:
    frame = frames[table]
    for suffix in (".csv", ".parquet", ".jsonl"):
        write_table(frames[table], tmp_path / f"x{suffix}")
    floats = [name for name in frame.columns if str(frame[name].dtype) == "float64"]
    csv, parquet = (
        pd.read_csv(tmp_path / "x.csv"),
        pd.read_parquet(tmp_path / "x.parquet"),
    )
    pd.testing.assert_frame_equal(csv[floats], frame[floats], check_exact=True)
    pd.testing.assert_frame_equal(parquet, frame, check_exact=True)
    lines = [json.loads(line) for line in (tmp_path / "x.jsonl").read_text().splitlines()]
    assert [list(line) for line in lines] == [list(frame.columns)] * len(frame)
    assert [line[floats[0]] for line in lines] == [None if math.isnan(x) else x for x in frame[floats[0]]]


def test_jsonl_is_strict_json(frames: dict[str, pd.DataFrame], tmp_path: Path) -> None:
    write_table(frames["tensors"], tmp_path / "x.jsonl")
    text = (tmp_path / "x.jsonl").read_text()
    assert "NaN" not in text and "Infinity" not in text and '"norm": null' in text


def test_markdown_is_one_table(frames: dict[str, pd.DataFrame], tmp_path: Path) -> None:
    write_table(frames["catalog"], tmp_path / "x.md")
    header, rule, *rows = (tmp_path / "x.md").read_text().splitlines()
    assert header == f"| {' | '.join(READING_COLUMNS['catalog'])} |"
    assert rule.count("---:") == 7 and len(rows) == 3
    assert {row.replace(r"\|", "").count("|") for row in (header, rule, *rows)} == {12}


def test_latex_is_a_booktabs_table(frames: dict[str, pd.DataFrame], tmp_path: Path) -> None:
    write_table(frames["catalog"], tmp_path / "x.tex")
    text = (tmp_path / "x.tex").read_text()
    assert text.startswith("% Needs \\usepackage{booktabs}")
    order = [text.index(f"\\{rule}rule") for rule in ("top", "mid", "bottom")]
    assert order == sorted(order) and text.count(r"\begin{") == text.count(r"\end{") == 2
    assert text.count("\\\\\n") == 4 and "Class & Bits/w & $R^2$ & null $R^2$ & Gain & SVD $R^2$" in text


def test_every_special_character_of_latex_is_escaped() -> None:
    escaped = escape_latex(AWKWARD)
    assert escaped.startswith(r"100\%\_of \#1 \{a\}\textasciitilde{}b\textasciicircum{}c\textbackslash{}d \& ")
    assert escaped.endswith(r"\textless{}\$5\textgreater{} \textbar{} ö")


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
@pytest.mark.parametrize("table", ["catalog", "tensors", "distances"])
def test_latex_compiles(frames: dict[str, pd.DataFrame], table: str, tmp_path: Path) -> None:
    write_table(frames[table], tmp_path / "table.tex")
    document = (
        "\\documentclass{article}\\usepackage{booktabs,longtable,array}\\begin{document}\\input{table}\\end{document}"
    )
    (tmp_path / "main.tex").write_text(document)
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "main.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout


def test_an_unknown_suffix_lists_the_known(frames: dict[str, pd.DataFrame], tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"'x\.xlsx'") as caught:
        write_table(frames["catalog"], tmp_path / "x.xlsx")
    assert all(suffix in caught.value.hint for suffix in SUFFIXES)


def test_an_unknown_table_lists_the_known(database: PatternDatabase) -> None:
    with pytest.raises(SettingsError, match="no table 'cats'") as caught:
        database.export_catalog("cats")
    assert all(table in caught.value.hint for table in TABLES)


def test_a_failed_write_leaves_the_old_file(frames: dict[str, pd.DataFrame], tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text("old")
    unwritable = frames["catalog"].astype({"model": object})
    unwritable.loc[2, "model"] = {"third"}
    with pytest.raises(TypeError):
        write_table(unwritable, tmp_path / "x.jsonl", force=True)
    assert (tmp_path / "x.jsonl").read_text() == "old"
    assert os.listdir(tmp_path) == ["x.jsonl"]


@pytest.mark.parametrize("kind", ["file", "folder", "pipe", "link"])
def test_what_is_there_is_not_replaced_without_a_word(
    kind: str, frames: dict[str, pd.DataFrame], tmp_path: Path
) -> None:
    path = tmp_path / "x.csv"
    {
        "file": lambda: path.write_text("old"),
        "folder": path.mkdir,
        "pipe": lambda: os.mkfifo(path),
        "link": lambda: path.symlink_to(tmp_path / "nosuch"),
    }[kind]()
    before = path.lstat().st_ino
    with pytest.raises(SettingsError, match="is there already" if kind == "file" else "is no file"):
        write_table(frames["catalog"], path)
    assert path.lstat().st_ino == before
    if kind == "file":
        write_table(frames["catalog"], path, force=True)
        assert path.read_text() != "old"
    else:
        with pytest.raises(SettingsError, match="is no file"):
            write_table(frames["catalog"], path, force=True)


@pytest.mark.parametrize("text", ["=1+1", "@sum", "+1", "-1", "a\rb", "\x1b]8;;http://x\x07", "\u202eabc"])
def test_a_stranger_s_text_is_no_formula_and_steers_no_terminal(text: str, tmp_path: Path) -> None:
    frame = pd.DataFrame({"model": [text], "r2": [-1.0]})
    frame.attrs["table"] = "catalog"
    write_table(frame, tmp_path / "x.csv")
    _, row, *rest = (tmp_path / "x.csv").read_text().split("\n")
    assert not row.startswith(("=", "@", "+", "-")) and is_printable(row) and rest == [""]
    assert row.endswith(",-1.0"), "a number is one"


def test_markup_in_a_name_is_text_in_every_format(frames: dict[str, pd.DataFrame], tmp_path: Path) -> None:
    odd = frames["catalog"].copy()
    odd.loc[0, "model"] = "[x](javascript:alert(1)) <b>a</b> b\\|c"
    for suffix in (".md", ".tex"):
        write_table(odd, tmp_path / f"x{suffix}")
    markdown, latex = (tmp_path / "x.md").read_text(), (tmp_path / "x.tex").read_text()
    assert r"\[x\](javascript" in markdown and "<b>" not in markdown and r"b\\\|c" in markdown
    assert "{[}x{]}(javascript" in latex, r"behind \\ a [ would be the space between rows"


def test_a_missing_directory_is_an_error_of_ours(frames: dict[str, pd.DataFrame], tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="Cannot write"):
        write_table(frames["catalog"], tmp_path / "nosuch" / "x.csv")
