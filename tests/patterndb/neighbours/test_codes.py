"""Bounds by codes, and distances row by row, against the distances themselves."""

import warnings
from dataclasses import replace

import numpy as np
import pytest

from patterndb.neighbours.code_rows import pack_rows, unpack_rows
from patterndb.neighbours.codes import Query, encode
from patterndb.neighbours.row_distances import Layout, row_distances
from patterndb.similarity import kind_distance, weights_distance
from tests.support.signatures import NAMES, draw_short

LAYOUT = Layout(NAMES)
VALUES = np.stack([model.values for model in draw_short(120)]).astype(np.float64)


def known(distances: list[float | None]) -> np.ndarray:
    return np.array([np.nan if each is None else each for each in distances])


def test_rows_are_as_far_apart_as_pairs() -> None:
    found = row_distances(LAYOUT, VALUES[:1], VALUES)
    weights, kind = (known([f(NAMES, VALUES[0], b) for b in VALUES]) for f in (weights_distance, kind_distance))
    np.testing.assert_allclose(found.weights, weights, rtol=1e-10)
    np.testing.assert_allclose(found.kind, kind, rtol=1e-10)
    assert np.isnan(weights).any() and (weights < 1).any() and found.weights[0] == found.kind[0] == 0


def bounds(values: np.ndarray, own: int) -> tuple[np.ndarray, np.ndarray]:
    coded = encode(LAYOUT, np.arange(len(values)), np.zeros(len(values), dtype=np.int64), values)
    query = Query(LAYOUT, values[own])
    return query.weights(coded), query.kind(coded)


def test_the_first_byte_of_statistics_gives_a_bound_too_and_rows_survive_as_bytes() -> None:
    coded = encode(LAYOUT, np.arange(120), np.zeros(120, dtype=np.int64), VALUES)
    first = replace(coded, codes={part: codes for part, codes in coded.codes.items() if part != "fine"})
    query, exact = Query(LAYOUT, VALUES[3]), row_distances(LAYOUT, VALUES[3:4], VALUES).kind
    rough, close = query.kind(first), query.kind(coded)
    known = np.isfinite(exact)
    assert (rough[known] <= exact[known]).all() and (rough != close).any()
    assert np.nanmax(exact[known] - close[known]) < np.nanmax(exact[known] - rough[known]) < 0.1
    for by, measure in (("weights", query.weights), ("kind", query.kind)):
        again = unpack_rows(LAYOUT, pack_rows(LAYOUT, coded, by), by)  # type: ignore[arg-type]
        np.testing.assert_array_equal(measure(again), measure(coded))


@pytest.mark.parametrize("own", [0, 50, 119])
def test_no_model_is_nearer_than_its_bound_and_few_are_much_farther(own: int) -> None:
    found = row_distances(LAYOUT, VALUES[own : own + 1], VALUES)
    for least, exact in zip(bounds(VALUES, own), (found.weights, found.kind), strict=True):
        comparable = np.isfinite(exact)
        assert np.array_equal(np.isfinite(least), comparable)
        assert (least[comparable] <= exact[comparable]).all()
    weights, kind = bounds(VALUES, own)
    assert np.nanmax((found.kind - kind)[1:]) < 0.02
    assert np.nanmedian(found.weights - weights) < 0.05


def test_values_that_rounding_swallows_only_make_the_bound_lower() -> None:
    values = VALUES[:40].copy()
    values[::2, 3] *= 1e30
    values[5, 130:200] = 1e38
    values[6] = 0
    values[7, :130] = np.inf
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for own in (0, 1, 5, 6, 7):
            least = bounds(values, own)
            for row, other in enumerate(np.where(np.isfinite(values), values, np.nan)):
                mine = np.where(np.isfinite(values[own]), values[own], np.nan)
                for low, exact in zip(
                    (least[0][row], least[1][row]),
                    (weights_distance(NAMES, mine, other), kind_distance(NAMES, mine, other)),
                    strict=True,
                ):
                    assert exact is None or low <= exact


def test_codes_do_not_keep_the_values_that_they_were_made_of() -> None:
    values = VALUES.copy()
    ids = np.arange(len(values))
    coded = encode(LAYOUT, ids, ids, values)
    kept = [coded.rows, coded.masks, coded.keys, *coded.codes.values()]
    assert not any(np.shares_memory(each, values) for each in kept)
