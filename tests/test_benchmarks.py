"""What the benchmarks rest on: their random models, their measure of memory, their table of goals."""

import importlib
import math
import pkgutil
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

import benchmarks
from benchmarks import hands
from benchmarks.bench import PARTS, Goal, kept, tell
from benchmarks.parts.peak_memory import PeakMemory
from benchmarks.parts.random_models import RandomModel, bert_model, write_model, zoo_model
from benchmarks.parts.scaffold import read_results, write_figures, write_results
from benchmarks.real_models import is_among
from pipeline.fetch.request import ModelRequest
from pipeline.fetch.stage import fetch
from pipeline.weights.inventory import extract
from zoo.registry import CARDS
from zoo.tensors import TensorHeader

MODEL = bert_model("tiny", width=8, layers=2, vocabulary=16)


def test_a_random_file_is_the_model_it_stands_for(tmp_path: Path) -> None:
    write_model(MODEL, tmp_path, 0)
    inventory = extract(fetch(ModelRequest(name=str(tmp_path)), home=tmp_path))
    assert inventory.num_weights == MODEL.num_values
    assert {spec.role.value for spec in inventory.specs} >= {"token_embedding", "attention_query", "ffn_out", "norm"}


def test_a_seed_gives_the_same_bytes_and_another_seed_others(tmp_path: Path) -> None:
    first, second, third = (write_model(MODEL, tmp_path / name, seed) for name, seed in (("a", 0), ("b", 0), ("c", 1)))
    assert first.read_bytes() == second.read_bytes() != third.read_bytes()


def test_a_tied_tensor_is_a_copy(tmp_path: Path) -> None:
    shape, name = (20, 8), "embeddings.word_embeddings.weight"
    headers = tuple(TensorHeader(name=each, shape=shape, dtype="F32") for each in (name, "decoder.weight"))
    write_model(RandomModel(key="tied", config={}, headers=headers, tied={"decoder.weight": name}), tmp_path, 0)
    values = load_file(tmp_path / "model.safetensors")
    assert np.array_equal(values[name], values["decoder.weight"])


@pytest.mark.parametrize("key", CARDS)
def test_every_model_of_the_zoo_has_its_headers(key: str) -> None:
    model = zoo_model(key)
    assert model.num_values >= 0.99 * CARDS[key].parameters and model.config


def test_a_peak_is_seen_and_forgotten_when_reset() -> None:
    memory = PeakMemory()
    memory.reset()
    before = memory.peak()
    ballast = b"x" * (256 << 20)
    high = memory.peak()
    del ballast
    memory.reset()
    assert high > before + 200 and memory.peak() < high - 200


@pytest.mark.parametrize(("value", "is_floor", "is_met"), [(2.0, True, False), (3.0, True, True), (2.0, False, True)])
def test_a_goal_is_met_on_its_own_side(value: float, is_floor: bool, is_met: bool) -> None:
    assert Goal(what="x", value=value, goal=3.0, is_floor=is_floor).is_met == is_met


def test_what_is_not_met_or_failed_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    tell([Goal(what="nothing", value=math.nan, goal=1.0), Goal(what="speed", value=2.0, goal=1.0)], ["order"])
    nothing, speed, order = capsys.readouterr().out.splitlines()[-3:]
    assert "NOT MET" in nothing and speed.endswith("  met") and "FAILED" in order


def test_figures_are_replaced_where_the_page_names_their_command(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- figures: make x -->\n\nold\n\n<!-- end of figures -->\nafter\n")
    for _ in range(2):
        write_figures(page, "make x", ["new", "ones"])
    expected = "before\n<!-- figures: make x -->\n\nnew\nones\n\n<!-- end of figures -->\nafter\n"
    assert page.read_text() == expected
    with pytest.raises(ValueError, match="figures: make y"):
        write_figures(page, "make y", [])
    assert page.read_text() == expected


def test_a_part_that_was_run_with_other_options_is_not_kept(tmp_path: Path) -> None:
    assert kept(tmp_path) == {}
    same, other = ({"options": options, "seconds": 1, "found": {}} for options in (PARTS["order"].options, "--old"))
    write_results("bench", {"parts": {"order": same, "fit": other, "gone": same}}, folder=tmp_path)
    assert kept(tmp_path) == {"order": same}


def test_results_have_no_nan(tmp_path: Path) -> None:
    write_results("x", {"a": math.nan, "b": [1.0, math.inf]}, folder=tmp_path)
    assert read_results("x", folder=tmp_path) == {"a": None, "b": [1.0, None]}
    assert read_results("y", folder=tmp_path) == {}


def test_no_dna_holds_more_than_its_ranks_can() -> None:
    limits = {row["model"]: row["limit"] for row in read_results("ranks")["rows"]}
    assert all(row["r2"] < limits[row["model"]] for row in read_results("real-models")["rows"])


@pytest.mark.slow
def test_what_a_dna_costs_is_measured_and_held_against_its_goals(tmp_path: Path) -> None:
    specimen = Path(__file__).parents[1] / "data" / "specimens" / "bert-a-distilled"
    rows = [*islice(hands.measured(str(specimen), tmp_path / "home"), 3)]  # Then it evaluates.
    assert [row["what"].split(",")[0] for row in rows] == ["open the DNA"] * 2 + ["rebuild"]
    assert all(0 < row["seconds"] and 10 << 20 < row["bytes"] for row in rows)
    assert rows[0]["seconds"] < rows[1]["seconds"] and (tmp_path / "home" / "rebuilt" / "config.json").exists()
    late = {**rows[2], "seconds": 11.0}
    assert "not met" in hands.line_of(late) and not hands.is_met(late) and hands.is_met({**late, "seconds": 1.0})
    tour = [{**late, "what": "tour: ask"}, {**late, "what": "the tour of the README", "goal": 300.0}]
    _, _, line, whole = hands.page_table({"model": "m", "cores": 2, "rows": [late], "tour": tour})
    assert whole.startswith("| the tour of the README | 11.00 | 300 |") and whole.endswith("| yes |")
    assert line.startswith("| rebuild | 11.00 | 10 |") and line.endswith("| 2048 | no |")


def test_a_seed_of_a_real_model_is_measured_once() -> None:
    rows = [{"model": "bert-a", "seed": 0, "nulls": 8}]
    assert is_among(rows, "bert-a", 0, 8)
    assert not any(is_among(rows, *other) for other in (("bert-b", 0, 8), ("bert-a", 1, 8), ("bert-a", 0, 2)))


def test_every_benchmark_can_be_imported_and_says_what_it_measures() -> None:
    """Those in folders of their own, too; `__main__` runs when it is imported."""
    found = [module.name for module in pkgutil.walk_packages(benchmarks.__path__, "benchmarks.")]
    assert {"benchmarks.hostile.judge", "benchmarks.layouts.models"} <= {*found}
    for name in found:
        if not name.endswith("__main__"):
            assert importlib.import_module(name).__doc__, name
