"""From a kind and a model to files: the same bytes again, nothing overwritten unasked, mistakes said in full."""

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
import pytest

from dna_zoo.errors import DnaFileError, DnaZooError, NotMinedError, OutputError, SettingsError, UnknownTensorError
from explorer.kinds import KINDS
from explorer.plotting import Look, default_tensor, file_of, make_view, plot_all, write_view
from explorer.source import Source
from explorer.style import DPI, WIDTHS
from explorer.view import View
from patterndb.store import PatternDatabase

MODEL, TENSOR = "gpt2-a", "transformer.h.0.mlp.c_fc.weight"


@pytest.fixture(autouse=True)
def _no_figure_stays_open() -> Iterator[None]:
    plt.close("all")
    yield
    assert not plt.get_fignums()


@pytest.fixture(scope="module")
def view(source: Source) -> View:
    return make_view(source, "singular-values", (MODEL,), tensor=TENSOR)


@pytest.mark.parametrize(("kind", "suffix"), [("matrix", ".png"), ("frequencies", ".pdf"), ("manifold", ".svg")])
def test_a_rerun_gives_the_same_bytes(kind: str, suffix: str, source: Source, tmp_path: Path) -> None:
    written = []
    for turn in range(2):
        again = make_view(source, kind, (MODEL,))
        paths = write_view(again, tmp_path / f"{turn}" / f"figure{suffix}", Look(dpi=72))
        written.append([path.read_bytes() for path in paths])
    assert written[0] == written[1] and all(written[0])


def test_numbers_and_words_lie_beside_the_picture(view: View, tmp_path: Path) -> None:
    picture, table, words = write_view(view, tmp_path / "new" / "figure.png", Look(width="icml", dpi=100))
    assert sorted(tmp_path.rglob("*.*")) == [table, words, picture]
    assert plt.imread(picture).shape[1] == pytest.approx(100 * WIDTHS["icml"], abs=1)
    assert pd.read_csv(table).equals(view.table()) or len(pd.read_csv(table)) == len(view.table())
    told = json.loads(words.read_text())
    assert told == view.words() and told["caption"] and told["alt"] and told["settings"]["null"] == "shuffle"


def test_a_name_is_no_formula_of_a_spreadsheet(source: Source, tmp_path: Path) -> None:
    view = make_view(source, "model-map")
    object.__setattr__(view, "names", ("=1+1", "@x", "plain"))
    _, table, _ = write_view(view, tmp_path / "map.png", Look(dpi=50))
    assert list(pd.read_csv(table)["name"]) == ["'=1+1", "'@x", "plain"]


def test_letters_of_a_pdf_and_an_svg_are_letters(view: View, tmp_path: Path) -> None:
    svg = write_view(view, tmp_path / "figure.svg")[0].read_text()
    assert f"{MODEL}: {TENSOR}" in svg and "<dc:date>" not in svg
    pdf = write_view(view, tmp_path / "figure.pdf", force=True)[0].read_bytes()
    assert b"/FontFile2" in pdf and b"/Type3" not in pdf and b"CreationDate" not in pdf


def test_what_is_there_is_not_replaced_unasked(view: View, source: Source, tmp_path: Path) -> None:
    path = tmp_path / "figure.png"
    write_view(view, path)
    before = {each: each.read_bytes() for each in tmp_path.iterdir()}
    with pytest.raises(OutputError, match=r"figure\.png' is there already") as caught:
        write_view(view, path)
    assert "--force" in caught.value.hint
    write_view(view, path.with_suffix(".svg"))  # Its numbers and words are the same: nothing is lost.
    other = make_view(source, "frequencies", (MODEL,), tensor=TENSOR)
    with pytest.raises(OutputError, match=r"figure\.csv' is there already"):
        write_view(other, path.with_suffix(".pdf"))
    assert all(each.read_bytes() == content for each, content in before.items())
    write_view(other, path, force=True)
    assert path.read_bytes() != before[path] and not list(tmp_path.glob(".*"))


def test_nothing_half_written_is_left(view: View, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object, **more: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("explorer.plotting.save_figure", full)
    with pytest.raises(OutputError, match="No space left"):
        write_view(view, tmp_path / "figure.png")
    assert list(tmp_path.iterdir()) == []


def test_the_default_tensor_has_the_largest_gain_of_those_that_show_something(source: Source) -> None:
    fits = {tensor.name: tensor for tensor in source.pattern(MODEL).tensors if tensor.fit is not None}
    gains = {name: each.fit.gain_beyond_means for name, each in fits.items() if min(each.rows, each.cols) >= 16}  # type: ignore[union-attr]
    chosen = default_tensor(source, MODEL)
    assert gains[chosen] == max(gain for gain in gains.values() if gain is not None)
    assert make_view(source, "frequencies", (MODEL,)).subtitle == f"{MODEL}: {chosen}"


def test_what_does_not_go_together_is_said(source: Source) -> None:
    cases = (
        ("spectrum", (), {}, "about one model, and none is named"),
        ("manifold", (MODEL, "vit-a"), {}, "about one model, and 2 are named"),
        ("manifold", (MODEL,), {"tensor": TENSOR}, "not about one tensor"),
        ("spectrum", (MODEL,), {"by": "role"}, "takes no 'by'"),
        ("manifold", (MODEL,), {"by": "size"}, "not coloured by 'size'"),
        ("model-map", (), {"by": "colour"}, "no facet 'colour'"),
        ("model-map", (MODEL,), {}, "needs three models"),
        ("spectra", (MODEL,), {}, "no kind of figure 'spectra'"),
    )
    for kind, models, more, message in cases:
        with pytest.raises(SettingsError, match=message) as caught:
            make_view(source, kind, models, **more)
        assert caught.value.hint
    with pytest.raises(NotMinedError) as unknown:
        make_view(source, "spectrum", ("gpt-a",))
    assert "gpt2-a" in unknown.value.hint
    with pytest.raises(UnknownTensorError) as mistyped:
        make_view(source, "spectrum", (MODEL,), tensor="transformer.h.0.mlp.c_fx.weight")
    assert TENSOR in mistyped.value.hint
    for look in ({"width": "a4"}, {"theme": "blue"}, {"dpi": 3}):
        with pytest.raises(SettingsError):
            Look(**look)  # type: ignore[arg-type]


def test_files_that_are_gone_are_named(mined_home: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    shutil.copytree(mined_home, home)
    (dna,) = [path for path in (home / "runs").rglob("dna.safetensors") if MODEL in str(path)]
    dna.unlink()
    with PatternDatabase.open(f"sqlite:///{home / 'dna-zoo.db'}", create=False) as database:
        gone = Source(database=database, home=home)
        with pytest.raises(DnaFileError, match="not in this home folder") as caught:
            make_view(gone, "frequencies", (MODEL,))
        assert "dna-zoo mine gpt2-a" in caught.value.hint
        assert make_view(gone, "layer-spectra", (MODEL,)).n  # It needs no DNA.


def test_a_missing_library_is_named_with_its_extra(view: View, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cmcrameri", None)
    with pytest.raises(DnaZooError, match="Pictures need cmcrameri") as caught:
        write_view(view, tmp_path / "figure.png")
    assert caught.value.hint == "Install it with `pip install 'dna-zoo[see]'`."
    assert list(tmp_path.iterdir()) == []


def test_names_of_files_are_names_of_files() -> None:
    assert file_of("matrix", ["org/model one"]) == Path("matrix-org-model-one.png")
    assert file_of("model-map", []) == Path("model-map.png")
    assert file_of("tensor-map", list("abcd"), ".pdf") == Path("tensor-map-a-b-c-and-more.pdf")


def test_every_kind_is_drawn_for_each_model_of_a_run_that_it_applies_to(
    source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    some = ("frequencies", "layer-spectra", "model-map")  # About a tensor, a model, and models.
    monkeypatch.setattr("explorer.plotting.KINDS", {name: KINDS[name] for name in some})
    (run,) = [record.run for record in source.database.runs()]
    found = list(plot_all(source, run, tmp_path, Look(dpi=50)))
    assert [each.error for each in found] == [None] * (2 * 3 + 1)
    drawn = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.png")}
    models = ("gpt2-a", "vit-a", "cnn-a")
    assert drawn == {*(f"{model}/{kind}.png" for model in models for kind in some[:2]), "model-map.png"}
    again = list(plot_all(source, run, tmp_path))
    assert all(isinstance(each.error, OutputError) for each in again)
    alone = list(plot_all(source, MODEL, tmp_path / "one", Look(dpi=50)))
    assert [each.kind for each in alone if each.error] == ["model-map"]
    with pytest.raises(NotMinedError, match="no mined model and no run"):
        list(plot_all(source, "nothing", tmp_path))


def test_a_look_has_sensible_defaults() -> None:
    assert Look() == Look(width="icml", theme="light", dpi=DPI)
