"""What `show` says of statistics that are in no class and in no signature."""

import datetime as dt
import io
from dataclasses import replace

import pytest
from rich.console import Console

from cli.findings import draw_pattern
from cli.whereabouts import Whereabouts
from patterndb.records import PatternRecord, SignatureRecord, Statistic
from tests.support.patterns import make_pattern

NOWHERE = Whereabouts(found=dt.datetime(2026, 1, 1, tzinfo=dt.UTC), command=None, source=None, folder=None, files=())


def of_null(name: str, value: float, null_mean: float, p: float) -> Statistic:
    z = (value - null_mean) / 0.01
    return Statistic(
        name=name, value=value, null="shuffle", num_nulls=8, null_mean=null_mean, null_std=0.01, z=z, p=p
    )  # fmt: skip


def shown(*statistics: Statistic) -> str:
    return page_of(make_pattern(statistics=statistics))


def page_of(pattern: PatternRecord) -> str:
    console = Console(file=io.StringIO(), width=80)
    for part in draw_pattern(pattern, NOWHERE):
        console.print(part)
    return console.file.getvalue()  # type: ignore[attr-defined, no-any-return]


@pytest.mark.parametrize(
    ("value", "p", "is_said"), [(0.99, 0.001, True), (0.3, 0.001, False), (0.99, 0.2, False)]
)  # fmt: skip
def test_a_spectrum_flatter_than_chance_is_said(value: float, p: float, is_said: bool) -> None:
    page = shown(of_null("dimension.participation", value, 0.5, p))
    assert ("flatter than chance" in page) == is_said


def test_what_is_not_in_the_signature_is_shown_with_its_null_and_q() -> None:
    page = shown(of_null("products.output_value_trace_size", 0.21, 0.02, 0.001), of_null("alpha", 3.0, 2.0, 0.002))
    line = next(each for each in page.splitlines() if "products" in each)
    assert line.split() == ["products.output_value_trace_size", "0.210", "0.020", "+19.0", "0.001", "0.002"]
    assert "alpha" not in "".join(each for each in page.splitlines() if "0.002" in each and "products" not in each)


@pytest.mark.parametrize("name", ["clusters.separation", "dimension.participation"])
def test_which_side_of_its_null_counts_is_said_where_a_figure_of_clusters_is_shown(name: str) -> None:
    signature = SignatureRecord(version="9", names=(f"ffn_in/all/{name}",), values=(0.3,), z=(9.0,), p=(0.0002,))
    page = " ".join(page_of(replace(make_pattern(), signature=signature)).split())
    assert ("Clusters are a finding above their null alone" in page) == name.startswith("clusters")
