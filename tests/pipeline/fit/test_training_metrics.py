"""What the history says of errors: the units of the weights, numpy's own figures, and what is a sample."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pipeline.fit.prepare import PreparedProblem
from pipeline.fit.problem import Permutable, generator_for
from pipeline.fit.report import report
from pipeline.fit.separable import INDICES_PER_STEP
from pipeline.fit.training_metrics import TrainingMetrics
from pipeline.settings import FitSettings
from tests.support.fitting import Float32, fit_matrices, gaussian, low_rank, quick
from tests.support.small_models import matrix_spec
from tests.support.training import SIZE, assert_same, draw, prepare_all, state, trainer

FIGURES = {"r2", "mse", "rmse", "psnr", "mae", "smape", "mape", "mape_left_out", "points", "weights", "is_sample"}


def scaled(*matrices: Float32) -> list[Float32]:
    """Each with a mean and a spread of its own."""
    return [(0.1 * (k + 1) * matrix + 0.3 * k).astype(np.float32) for k, matrix in enumerate(matrices)]


def measured_metrics(
    settings: FitSettings, matrices: Sequence[Float32]
) -> tuple[dict[str, float], PreparedProblem, torch.nn.Module]:
    """The figures of networks that have learnt nothing yet, by all their losses."""
    prepared = prepare_all(settings, *matrices)
    slots = range(prepared.problem.num_slots)
    net = prepared.problem.build(SIZE, settings, [generator_for(0, slot) for slot in slots])
    num_real = 1 if settings.scope == "model" else len(matrices)
    with torch.no_grad():
        losses = prepared.problem.loss(net, draw(0))
    return figures(TrainingMetrics(prepared, num_real=num_real, seed=0), net, losses), prepared, net


def figures(metrics: TrainingMetrics, net: torch.nn.Module, losses: torch.Tensor) -> dict[str, float]:
    """All at once, as the trainer has them at a check."""
    taken = metrics.take(net)
    assert taken.shape == (metrics.num_sums,)
    return metrics.tell(taken.tolist(), losses.tolist())


def predictions(prepared: PreparedProblem, net: torch.nn.Module, index: int, is_shared: bool) -> Float32:
    """Tensor `index` as the networks have it, original units, flat."""
    part, slot, moment = (index, 0, prepared.moments[index]) if is_shared else (0, index, prepared.moments[index])
    with torch.no_grad():
        chunks = [predicted[slot] for _, predicted in prepared.problem.predictions(net, part, 0)]
    return (torch.cat(chunks).numpy() * moment.std + moment.mean).astype(np.float32)


def by_numpy(matrices: Sequence[Float32], guesses: Sequence[Float32]) -> dict[str, float]:
    weights = np.concatenate([matrix.ravel().astype(np.float64) for matrix in matrices])
    error = np.abs(np.concatenate(guesses) - weights)
    total = sum(((matrix - matrix.mean(dtype=np.float64)) ** 2).sum() for matrix in matrices)
    kept = np.concatenate([np.abs(matrix.ravel()) > 0.01 * matrix.std(dtype=np.float64) for matrix in matrices])
    mse = float((error**2).mean())
    return {
        "mse": mse,
        "rmse": math.sqrt(mse),
        "r2": 1 - float((error**2).sum() / total),
        "psnr": 10 * math.log10((weights.max() - weights.min()) ** 2 / mse),
        "mae": float(error.mean()),
        "smape": float((200 * error / (np.abs(weights) + np.abs(np.concatenate(guesses)))).mean()),
        "mape": float((100 * error[kept] / np.abs(weights[kept])).mean()),
        "mape_left_out": 1 - float(kept.mean()),
    }


@pytest.mark.parametrize(("kind", "scope"), [("separable", "tensor"), ("separable", "model"), ("spectral", "model")])
def test_figures_of_small_matrices_are_numpys(kind: Any, scope: Any) -> None:
    """Small enough that every weight is seen; two tensors of different mean and scale, one of them with zeros."""
    matrices = scaled(gaussian(24, 20), gaussian(24, 20, 1))
    matrices[0][:2] = 0
    settings = quick(dna_type=kind, scope=scope, num_nulls=1, batch_size=10**6)
    found, prepared, net = measured_metrics(settings, matrices)
    guesses = [predictions(prepared, net, index, scope == "model") for index in range(2)]
    expected = by_numpy(matrices, guesses)
    assert {name: found[name] for name in expected} == pytest.approx(expected, rel=1e-4, abs=1e-6)
    assert found["mape_left_out"] > 40 / 960
    assert found["points"] == found["weights"] == 960 and set(found) == FIGURES | {"null_r2"}


def test_one_network_a_tensor_says_of_its_squares_what_the_loss_says_of_all_weights() -> None:
    matrices = scaled(gaussian(200, 100), gaussian(200, 100, 1))
    found, prepared, net = measured_metrics(quick(num_nulls=0), matrices)
    expected = by_numpy(matrices, [predictions(prepared, net, index, False) for index in range(2)])
    assert found["points"] == 2 * 64 * 64 < found["weights"] and not found["is_sample"]
    for name in ("mse", "rmse", "r2", "psnr"):
        assert found[name] == pytest.approx(expected[name], rel=1e-4, abs=1e-4)
    for name in ("mae", "smape"):
        assert found[name] == pytest.approx(expected[name], rel=0.1)
    assert set(found) == FIGURES


def test_a_row_says_whether_it_is_of_a_sample() -> None:
    long = gaussian(2 * INDICES_PER_STEP + 1, 2)
    for settings, matrix, is_sample in (
        (quick(), gaussian(9, 8), False),
        (quick(dna_type="spectral"), gaussian(9, 8), True),
        (quick(num_nulls=0), long, True),
    ):
        assert measured_metrics(settings, [matrix])[0]["is_sample"] is is_sample


def test_of_one_network_for_many_tensors_all_is_of_a_sample_and_near_the_truth() -> None:
    matrices = scaled(gaussian(200, 100), gaussian(200, 100, 1))
    found, prepared, net = measured_metrics(quick(scope="model", num_nulls=0), matrices)
    expected = by_numpy(matrices, [predictions(prepared, net, index, True) for index in range(2)])
    assert found["is_sample"] and found["r2"] == pytest.approx(expected["r2"], abs=0.02)
    assert found["mse"] == pytest.approx(expected["mse"], rel=0.02)


def test_rows_and_columns_that_moved_are_measured_where_they_are() -> None:
    prepared = prepare_all(quick(num_nulls=0), gaussian(24, 20))
    assert isinstance(prepared.problem, Permutable)
    net = prepared.problem.build(SIZE, quick(), [generator_for(0)])
    metrics, losses, std = (
        TrainingMetrics(prepared, num_real=1, seed=0),
        torch.ones(1),
        prepared.moments[0].std,
    )
    first = figures(metrics, net, losses)["mae"]
    prepared.problem.move(net)
    ((values, guess),) = prepared.problem.predictions(net, 0, 0)
    assert figures(metrics, net, losses)["mae"] == pytest.approx(
        std * float((values - guess).abs().mean().detach()), rel=1e-4
    )
    assert figures(metrics, net, losses)["mae"] != pytest.approx(first, rel=1e-4)


def test_weights_at_zero_leave_every_figure_finite() -> None:
    found, *_ = measured_metrics(quick(num_nulls=0), [np.zeros((9, 8), dtype=np.float32)])
    assert "mape" not in found and found["mape_left_out"] == 1
    assert all(math.isfinite(value) for name, value in found.items() if name != "psnr")


def test_the_history_ends_where_the_report_begins(tmp_path: Path) -> None:
    settings = quick(epochs=40, num_moves=0)
    specs = [matrix_spec("a", 24, 20), matrix_spec("b", 24, 20)]
    result = fit_matrices(
        dict(zip(specs, scaled(low_rank(24, 20, 2), gaussian(24, 20)), strict=True)), settings, tmp_path
    )
    last, found = result.history[0]["points"][-1], report(result.tensors, settings, result.cost)
    for name in ("r2", "mse", "rmse", "mae", "smape", "psnr"):
        assert last[name] == pytest.approx(getattr(found, name), rel=1e-3), name
    assert last["null_r2"] == pytest.approx(found.null_r2, rel=1e-3)


def test_measuring_changes_no_bit_of_the_fit() -> None:
    prepared = prepare_all(quick(), gaussian(9, 8))
    metrics = TrainingMetrics(prepared, num_real=1, seed=0)
    plain, measured = trainer(quick(), gaussian(9, 8)), trainer(quick(), gaussian(9, 8), measure=metrics)
    assert plain.run().losses == measured.run().losses
    assert_same(state(plain.net), state(measured.net))
