"""The report: it says what is significant and nothing else, escapes what comes from outside, and can be read by all."""

import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest

from dna_zoo.errors import NotMinedError, OutputError
from dna_zoo.text import markdown
from explorer.report import write_report
from explorer.report.contents import gather, named_patterns
from explorer.report.findings import ModelFindings, shared_sentences
from explorer.report.markup import as_html, inline_svg
from explorer.source import Source
from patterndb.records import Statistic
from patterndb.store import PatternDatabase
from pipeline.analyse.sentences import ALPHA, MEANINGS, Sentence, flatter_than_chance, judge, sentences_of
from tests.support.patterns import make_pattern, save_patterns

EVIL = '</title><script>alert(1)</script><img src=x onerror=alert(2)>"\u202e[x](javascript:y) | `*_$a$ https://evil.example'
LARGEST = 5_000_000
QUICK = ("class-scores", "tree", "rate")
DRAWN = ("class-scores", "gain", "similarity", "tree", "questions", "rate", "training", "reconstruction")
VOID = {"meta", "img", "br", "hr", "input", "link"}


class Elements(HTMLParser):
    """Every element of a page with its attributes, and how deep it stands in others."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.within: list[tuple[str, ...]] = []
        self._open: list[str] = []
        self.feed(text)
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        self.within.append(tuple(self._open))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        self.within.append(tuple(self._open))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.found if name == tag]


@pytest.fixture(scope="module")
def folder(source: Source, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report on a CNN and a decoder."""
    out = tmp_path_factory.mktemp("report") / "out"
    write_report(source, ["cnn-a", "gpt2-a"], out, kinds=DRAWN)
    return out


@pytest.fixture(scope="module")
def page(folder: Path) -> Elements:
    return Elements((folder / "report.html").read_text())


def statistic(name: str, value: float, p: float | None) -> Statistic:
    return Statistic(name=name, value=value, null="shuffle", num_nulls=8, null_mean=0.5, null_std=0.01, z=1.0, p=p)


# What is said.


def test_a_sentence_is_a_finding_with_the_q_of_its_family() -> None:
    statistics = [statistic("sizes.rows", 0.9, 0.001), statistic("sizes.cols", 0.2, 0.002)]
    others = [statistic(f"other.{number}", 0.5, 0.9) for number in range(8)]
    pattern = replace(make_pattern("m", 0), statistics=(*statistics, *others))
    rows, cols = sentences_of(pattern)
    assert (rows.q, cols.q) == pytest.approx((0.01, 0.01))
    assert rows.text.startswith("Rows differ more in length than in shuffled copies. sizes.rows is 0.9, its null 0.5")
    assert cols.claim == "Columns differ less in length than in shuffled copies"


@pytest.mark.parametrize("p", [0.9, 0.051, None])
def test_nothing_is_said_that_is_not_significant(p: float | None) -> None:
    statistics = tuple(statistic(name, 0.9, p) for name in MEANINGS)
    assert sentences_of(replace(make_pattern("m", 0), statistics=statistics)) == ()
    assert flatter_than_chance(judge(statistics)) is None


@pytest.mark.parametrize(("value", "is_said"), [(0.9, True), (0.1, False)])
def test_clusters_are_a_finding_above_their_null_alone(value: float, is_said: bool) -> None:
    pattern = replace(make_pattern("m", 0), statistics=(statistic("clusters.separation", value, 0.001),))
    assert bool(sentences_of(pattern)) == is_said


def test_a_p_that_its_family_makes_chance_is_no_finding() -> None:
    family = [statistic("sizes.rows", 0.9, 0.04), *(statistic(f"other.{number}", 0.5, 0.5) for number in range(60))]
    assert sentences_of(replace(make_pattern("m", 0), statistics=tuple(family))) == ()


def test_n_is_the_matrices_that_have_the_statistic(source: Source) -> None:
    pattern = source.pattern("vit-a")
    judged = judge([replace(each, p=0.0001) for each in pattern.statistics if each.p is not None])
    told = sentences_of(replace(pattern, statistics=tuple(each.statistic for each in judged.values())))
    fitted = sum(tensor.fit is not None for tensor in pattern.tensors)
    vectors = sum(tensor.rows == 1 for tensor in pattern.tensors)
    assert told and {each.n for each in told} <= set(range(1, fitted + 1)) and vectors > fitted


def test_what_many_models_share_is_said_once_with_the_largest_q() -> None:
    def said(model: str, *told: tuple[str, float, int]) -> ModelFindings:
        sentences = tuple(Sentence(text="", q=q, n=n, claim=claim) for claim, q, n in told)
        return ModelFindings(model=model, tested=9, found=len(told), sentences=sentences)

    findings = [said("a", ("Rows", 0.01, 4)), said("b", ("Rows", 0.03, 9), ("Cols", 0.02, 9)), said("c")]
    rows, cols = shared_sentences(findings)
    assert (rows.q, rows.text) == (
        0.03, "Rows. So in 2 of 3 models, not of c (each with q at most 0.030, n = 4 to 9 matrices).",
    )  # fmt: skip
    assert "in 1 of 3 models, of b" in cols.text


def test_every_finding_of_a_report_has_a_q_that_is_small(source: Source) -> None:
    report = gather(source, kinds=["class-scores"])
    told = [*report.together, *(each for model in report.findings for each in model.sentences)]
    assert all(each.q <= ALPHA and each.n > 0 for each in told)
    for model in report.findings:
        q = judge(source.pattern(model.model).statistics)
        assert model.found == sum(each.q is not None and each.q <= ALPHA for each in q.values())


def test_what_could_not_be_said_names_its_reason(source: Source) -> None:
    sentences = dict(gather(source, kinds=["class-scores"]).limits)
    text = " ".join(sentences)
    assert "1 fitted draw, which is too few for a p-value" in text and "Encoder or decoder? Not enough models" in text
    assert "figures of their own in a report of at most" in text


# Who reads it.


def test_a_page_needs_no_script_and_asks_for_nothing(page: Elements) -> None:
    assert page.named("script") == page.named("iframe") == page.named("link") == []
    references = [
        value for _, each in page.found for key, value in each.items() if key in ("src", "href", "xlink:href")
    ]
    outside = [each for each in references if each and not each.startswith(("#", "data:image/png;base64,", "data/"))]
    assert outside == ["report.md", "citation.bib"]


def test_a_page_has_landmarks_and_a_way_past_them(page: Elements) -> None:
    tags = Counter(tag for tag, _ in page.found)
    assert [tags[tag] for tag in ("header", "nav", "main", "footer", "h1")] == [1] * 5
    ids = [each["id"] for _, each in page.found if "id" in each]
    assert len(ids) == len(set(ids))
    links = [each["href"] for each in page.named("a") if str(each.get("href")).startswith("#")]
    assert links[0] == "#content" and {str(link)[1:] for link in links} <= set(ids)
    labels = {part for _, each in page.found for part in str(each.get("aria-labelledby") or "").split()}
    assert labels <= set(ids)


def test_every_figure_has_words_and_its_numbers(page: Elements, folder: Path) -> None:
    drawn = [each for each in page.named("svg") if each.get("role") == "img"]
    counts = Counter(tag for tag, _ in page.found)
    assert len(drawn) == counts["figure"] == counts["figcaption"] > 10
    assert all(str(each["aria-label"]).endswith(".") for each in drawn)
    tables = [within for (tag, _), within in zip(page.found, page.within, strict=True) if tag == "table"]
    assert sum("figure" in within for within in tables) == len(drawn)
    assert all("scope" in each for each in page.named("th"))
    names = {path.name.partition(".csv")[0] for path in (folder / "data").glob("*.csv*")}
    assert names == {path.stem for path in (folder / "figures").glob("*.svg")} and len(names) == len(drawn)
    assert all(json.loads((folder / "data" / f"{name}.json").read_text())["alt"] for name in names)


def test_a_page_is_dark_where_its_reader_is(folder: Path) -> None:
    text = (folder / "report.html").read_text()
    assert "prefers-color-scheme: dark" in text and "prefers-reduced-motion: reduce" in text
    drawings = re.findall(r"<svg.*?</svg>", text, flags=re.DOTALL)
    assert all("var(--ink)" in each and "fill: #ffffff" not in each for each in drawings)


def test_a_report_is_the_same_again(source: Source, tmp_path: Path) -> None:
    written = []
    for turn in ("once", "again"):
        write_report(source, ["cnn-a"], tmp_path / turn, kinds=["gain", "rate", "reconstruction"])
        files = [path for path in sorted((tmp_path / turn).rglob("*")) if path.is_file()]
        written.append({path.relative_to(tmp_path / turn): path.read_bytes() for path in files})
    assert written[0] == written[1] and len(written[0]) == 12


@pytest.mark.slow
def test_a_report_with_all_figures_is_small(source: Source, tmp_path: Path) -> None:
    report = write_report(source, ["vit-a"], tmp_path / "out")
    assert len(report.figures) == 10 and not any("could not be drawn" in sentence for sentence, _ in report.limits)
    assert sum(path.stat().st_size for path in (tmp_path / "out").rglob("*") if path.is_file()) < LARGEST


def test_numbers_beside_a_report_are_those_of_the_database(folder: Path, source: Source) -> None:
    gains = pd.read_csv(folder / "data" / "gain.csv")
    fits = [each.fit for key in ("cnn-a", "gpt2-a") for each in source.pattern(key).tensors if each.fit]
    assert gains["tensors"].sum() == len(fits)
    assert gains["gain"].max() == pytest.approx(max(fit.gain_beyond_means or -1 for fit in fits), rel=1e-6)


def test_the_twin_says_the_same(folder: Path, source: Source) -> None:
    text = (folder / "report.md").read_text()
    report = gather(source, ["cnn-a", "gpt2-a"], kinds=["class-scores"])
    assert all(markdown(each.text) in text for model in report.findings for each in model.sentences)
    assert re.findall(r"\]\((figures/[^)]+)\)", text) and all(
        (folder / path).is_file() for path in re.findall(r"\]\(((?:figures|data)/[^)]+)\)", text)
    )
    assert "@software{dna_zoo" in text and (folder / "citation.bib").read_text() in text


# Names from outside.


@pytest.fixture
def hostile(tmp_path: Path) -> Iterator[Source]:
    """Two models whose names, licences and tensors are markup; their files are nowhere."""
    with PatternDatabase.open(f"sqlite:///{tmp_path / 'hostile.db'}") as database:
        made = make_pattern(EVIL, 0)
        tensors = tuple(replace(each, name=f"{EVIL}{each.name}") for each in made.tensors)
        evil = replace(made, model=replace(made.model, licence=EVIL, family=EVIL, modality=EVIL), tensors=tensors)
        save_patterns(database, evil, make_pattern("plain", 1))
        yield Source(database=database, home=tmp_path)


def test_a_name_with_markup_is_inert(hostile: Source, tmp_path: Path) -> None:
    write_report(hostile, (), tmp_path / "out", kinds=QUICK)
    text = (tmp_path / "out" / "report.html").read_text()
    page = Elements(text)
    assert page.named("script") == page.named("img") == [] and "\u202e" not in text and "&lt;script&gt;" in text
    assert not any(key.startswith("on") for _, each in page.found for key in each)
    twin = (tmp_path / "out" / "report.md").read_text()
    assert "\u202e" not in twin and not re.search(r"(?<!\\)<(script|img)", twin) and "https://evil" not in twin
    assert not re.search(r"(?<!\\)\[x(?<!\\)\]\(javascript", twin)
    assert all(path.parent.parent == tmp_path / "out" for path in (tmp_path / "out").glob("*/*"))


def test_figures_that_cannot_be_had_are_told_in_the_report(hostile: Source) -> None:
    report = gather(hostile, ["plain"], kinds=QUICK)
    assert [figure.kind for figure in report.figures] == ["class-scores"]
    assert any(sentence.startswith("rate of plain could not be drawn") for sentence, _ in report.limits)


def test_text_and_names_are_escaped() -> None:
    assert as_html("<b> `--nulls 3` \u202ex") == "&lt;b&gt; <code>--nulls 3</code> \\u202ex"
    assert markdown("a_b [c](d) <e> | # $") == r"a\_b \[c\](d) \<e\> \| \# \$"
    drawn = inline_svg('<svg viewBox="0 0 1 1"><g id="a" clip-path="url(#a)"/></svg>', "f1", '"><script>')
    assert 'id="f1-a" clip-path="url(#f1-a)"' in drawn and "<script>" not in drawn


# Which models, and where.


def test_a_report_is_of_models_of_a_run_or_of_all(source: Source) -> None:
    (run,) = source.database.runs()
    everything = ["cnn-a", "gpt2-a", "vit-a"]
    assert sorted(each.model.key for each in named_patterns(source, [run.run])) == everything
    assert [each.model.key for each in named_patterns(source, ())] == everything
    assert [each.model.key for each in named_patterns(source, ["vit-a"])] == ["vit-a"]
    with pytest.raises(NotMinedError) as caught:
        named_patterns(source, ["vit-b"])
    assert "vit-a" in caught.value.hint


def test_only_a_report_is_replaced(source: Source, tmp_path: Path) -> None:
    out = tmp_path / "out"
    write_report(source, ["cnn-a"], out, kinds=["class-scores"])
    with pytest.raises(OutputError, match="there already"):
        write_report(source, ["cnn-a"], out, kinds=["class-scores"])
    (out / "old").touch()
    write_report(source, ["cnn-a"], out, kinds=["class-scores"], force=True)
    assert not (out / "old").exists()
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis").touch()
    with pytest.raises(OutputError, match="is not replaced"):
        write_report(source, ["cnn-a"], tmp_path / "home", kinds=["class-scores"], force=True)
    assert [path.name for path in tmp_path.glob("home/*")] == ["thesis"]
