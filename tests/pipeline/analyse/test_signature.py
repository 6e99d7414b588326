"""The signature: fixed length, invariant, bit-identical, masked."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from patterndb.records import SignatureRecord
from patterndb.similarity import align, weights_distances
from pipeline.analyse.aggregation import Measured, TensorAnalysis
from pipeline.analyse.evidence import smallest_p
from pipeline.analyse.signature import SIGNATURE_NAMES, make_signature
from pipeline.fingerprint.fingerprint import FAMILIES, NUM_DIMENSIONS
from tests.support.small_models import analysed, analysed_once, matrix_spec, permuted, shuffled, trained_model
from zoo.tensors import Axis, Role

TOLERANCE = 1e-4
"""What the product promises for a copy that computes the same function."""


def differences(first: SignatureRecord, second: SignatureRecord) -> np.ndarray:
    """Of all dimensions but those that compare in the order of the file."""
    assert [value is None for value in first.values] == [value is None for value in second.values]
    pairs = [
        (a, b)
        for name, a, b in zip(first.names, first.values, second.values, strict=True)
        if a is not None and b is not None and "/names_" not in name
    ]
    return np.abs(np.diff(np.array(pairs), axis=1))


@pytest.mark.slow
@settings(max_examples=3)
@given(st.integers(0, 2**31))
def test_a_permuted_copy_has_the_same_signature(seed: int) -> None:
    model = trained_model(seed)
    original, copy = (analysed(each, num_nulls=2).signature for each in (model, permuted(model, seed + 1)))
    assert differences(original, copy).max() <= TOLERANCE


def test_names_are_unique_and_read_role_third_statistic() -> None:
    assert len(set(SIGNATURE_NAMES)) == len(SIGNATURE_NAMES)
    assert {name.split("/")[0] for name in SIGNATURE_NAMES} == {*(role.value for role in Role), "model", "fingerprint"}
    assert {name.split("/")[1] for name in SIGNATURE_NAMES} == {"all", "early", "middle", "late"}


def test_the_length_is_the_same_for_every_architecture() -> None:
    model = trained_model(0)
    part = {spec: values for spec, values in model.items() if spec.role is Role.FFN_IN}
    signatures = [analysed(each, num_nulls=2).signature for each in (model, part)]
    assert {signature.names for signature in signatures} == {SIGNATURE_NAMES}
    assert {len(signature.values) for signature in signatures} == {len(SIGNATURE_NAMES)}


def test_the_signature_knows_nothing_of_what_lies_beyond_the_means() -> None:
    found = analysed_once(0)
    without = [
        replace(item, measured=tuple(each for each in item.measured if each.kind != "means")) for item in found.tensors
    ]
    assert without != list(found.tensors)
    assert make_signature(without) == make_signature(found.tensors)


def test_statistics_of_positions_enter_as_effects_over_their_null() -> None:
    measured = [("spectra.low_share", 0.3, (0.1, 0.3)), ("spectra.band_0", 0.4, (0.1, 0.1))]
    item = TensorAnalysis(
        spec=matrix_spec("a", 8, 8),
        rows_used=8,
        measured=tuple(Measured(name=name, value=value, kind="shuffle", draws=ds) for name, value, ds in measured),
    )
    signature = make_signature([item])
    values = dict(zip(signature.names, signature.values, strict=True))
    # A rise of 0.1 in units of 0.4, and a ratio of 4 in units of 4 octaves.
    assert values["model/all/spectra.low_share"] == pytest.approx(0.25)
    assert values["model/all/spectra.band_0"] == pytest.approx(0.5)


def test_what_a_model_lacks_is_masked() -> None:
    signature = analysed_once(0).signature
    values = dict(zip(signature.names, signature.values, strict=True))
    assert values["convolution/all/dimension.participation"] is None
    assert values["ffn_in/middle/dimension.participation"] is None
    assert values["ffn_in/early/dimension.participation"] is not None
    assert values["model/all/lipschitz.log_block_bound"] is not None


def test_odd_moments_are_masked_where_signs_are_free() -> None:
    signature = analysed_once(0).signature
    values = dict(zip(signature.names, signature.values, strict=True))
    assert values["attention_query/all/distribution.skewness"] is None
    assert values["ffn_in/all/distribution.skewness"] is not None


@pytest.mark.slow
def test_values_are_finite_float32_of_order_one() -> None:
    values = [value for value in analysed(trained_model(0)).signature.values if value is not None]
    assert all(math.isfinite(value) and float(np.float32(value)) == value for value in values)
    assert np.median(np.abs(values)) < 3


@pytest.mark.slow
def test_the_number_of_nulls_hardly_changes_a_signature() -> None:
    few, many = (analysed(trained_model(0), num_nulls=count).signature for count in (4, 12))
    other = analysed(trained_model(1), num_nulls=4).signature
    assert np.sqrt(np.mean(differences(few, many) ** 2)) < 0.3 * np.sqrt(np.mean(differences(few, other) ** 2))


@pytest.mark.slow
def test_a_shuffled_copy_is_unrelated() -> None:
    models = (trained_model(0), trained_model(1), shuffled(trained_model(0), 2))
    distances = weights_distances(*align([analysed(model).signature for model in models]))
    assert distances[0, 1] == distances[0, 2] == distances[1, 2] == 1


def test_the_fingerprint_has_values_and_no_p() -> None:
    signature = analysed_once(0).signature
    rows = zip(signature.names, signature.values, signature.z, signature.p, strict=True)
    early = [row[1:] for row in rows if row[0].startswith("fingerprint/early/")]
    assert len(early) == len(FAMILIES) * NUM_DIMENSIONS and {row[1:] for row in early} == {(None, None)}
    assert np.mean([value**2 for value, _, _ in early if value is not None]) == pytest.approx(1)


def test_statistics_have_z_and_p() -> None:
    signature = analysed(trained_model(0)).signature
    index = signature.names.index("model/all/dimension.participation")
    z, p = signature.z[index], signature.p[index]
    assert z is not None and z < -10
    assert p == pytest.approx(smallest_p(4, 11)) == 2 / 10_000


def test_an_unknown_architecture_tells_a_fine_tuned_copy_from_an_unrelated_model() -> None:
    specs = [
        matrix_spec(f"message.{i}", 40 + i, 48, role=Role.OTHER, row_axis=Axis.CHANNEL, col_axis=Axis.CHANNEL)
        for i in range(4)
    ]
    one, other, change = (
        {spec: rng.normal(size=(spec.rows, spec.cols)).astype(np.float32) for spec in specs}
        for rng in map(np.random.default_rng, range(3))
    )
    tuned = {spec: one[spec] + 0.3 * change[spec] for spec in specs}
    names, values = align([analysed(model, num_nulls=0).signature for model in (one, tuned, other)])
    distances = weights_distances(names, values)
    assert distances[0, 1] < 0.2 and distances[0, 2] == distances[1, 2] == 1
    assert not np.isfinite(values[:, [name.startswith("fingerprint/all/inputs_") for name in names]]).any()
