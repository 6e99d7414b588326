"""What the networks are trained on: coordinates, losses without a residual, predictions, samples."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pipeline.fit import pointwise as pointwise_module
from pipeline.fit import separable as separable_module
from pipeline.fit.draws import HostDraws
from pipeline.fit.networks import SeparableDna
from pipeline.fit.pointwise import PointwiseProblem
from pipeline.fit.prepare import place_tag, prepare
from pipeline.fit.problem import axis_coordinates, depth_coordinate, generator_for, role_coordinate
from pipeline.fit.separable import GridBlock, GridProblem
from pipeline.fit.sizing import NetworkSize
from pipeline.nulls import ordinals_of
from pipeline.settings import DnaType, FitSettings
from tests.support.fitting import Float32, gaussian, low_rank, quick, shuffled
from tests.support.small_models import matrix_spec
from tests.support.training import draw
from zoo.tensors import Axis, Role, TensorSpec

SIZE = NetworkSize(hidden_dim=8, num_layers=2, rank=3)
MIXED = (
    matrix_spec("a", 5, 4, role=Role.ATTENTION_QUERY, block=0, depth=0.25),
    matrix_spec("b", 3, 7, role=Role.FFN_IN, block=1, depth=0.75),
    matrix_spec("c", 3, 7, role=Role.FFN_OUT, block=1, depth=0.75),
)
"""Tensors of two shapes, with depth and role."""


def prepared(
    specs: Sequence[TensorSpec], settings: FitSettings, seed: int = 0
) -> tuple[GridProblem | PointwiseProblem, list[Float32]]:
    """The problem of fitting random matrices, and the matrices."""
    matrices = {spec.name: 2 * gaussian(spec.rows, spec.cols, number) + 1 for number, spec in enumerate(specs)}
    made = prepare(
        specs,
        lambda spec: matrices[spec.name],
        settings,
        seed=seed,
        ordinals=ordinals_of(specs),
        device=torch.device("cpu"),
    ).problem
    assert isinstance(made, GridProblem | PointwiseProblem)
    return made, list(matrices.values())


def build(problem: GridProblem | PointwiseProblem, settings: FitSettings) -> nn.Module:
    return problem.build(SIZE, settings, [generator_for(slot) for slot in range(problem.num_slots)])


def predicted(problem: GridProblem | PointwiseProblem, net: nn.Module, part: int = 0) -> tuple[Tensor, Tensor]:
    """Values and predictions of a tensor, (S, P) each."""
    with torch.no_grad():
        chunks = list(problem.predictions(net, part, 0))
    return torch.cat([values for values, _ in chunks], dim=1), torch.cat([guess for _, guess in chunks], dim=1)


def standardised(matrix: Float32) -> Float32:
    return (matrix - matrix.mean(dtype=np.float64)) / matrix.std(dtype=np.float64)


# Coordinates.


def naive_coordinates(specs: Sequence[TensorSpec]) -> list[list[float]]:
    """Weight by weight, as one would write it down."""
    return [
        [
            2 * row / (spec.rows - 1) - 1,
            2 * col / (spec.cols - 1) - 1,
            2 * (spec.depth or 0) - 1 if spec.depth is not None else 0,
            2 * list(Role).index(spec.role) / list(Role).index(Role.OTHER) - 1,
        ]
        for spec in specs
        for row in range(spec.rows)
        for col in range(spec.cols)
    ]


def test_coordinates_from_the_flat_index_are_those_of_a_loop_over_the_weights() -> None:
    problem, _ = prepared(MIXED, quick(dna_type="spectral", scope="model"))
    assert isinstance(problem, PointwiseProblem)
    coords = problem.coordinates(torch.arange(problem.num_weights))
    torch.testing.assert_close(coords, torch.tensor(naive_coordinates(MIXED)), atol=1e-6, rtol=0)


def test_one_tensor_alone_has_row_and_column_only() -> None:
    problem, _ = prepared(MIXED[:1], quick(dna_type="spectral"))
    assert isinstance(problem, PointwiseProblem)
    coords = problem.coordinates(torch.arange(20))
    torch.testing.assert_close(coords, torch.tensor(naive_coordinates(MIXED[:1]))[:, :2], atol=1e-6, rtol=0)


def test_coordinates_fill_the_cube() -> None:
    problem, _ = prepared([matrix_spec("a", 300, 200, depth=None)], quick(dna_type="spectral", scope="model"))
    assert isinstance(problem, PointwiseProblem)
    coords = problem.coordinates(torch.arange(300 * 200))
    assert coords.min() == -1 and coords[:, :2].max() == 1
    assert not coords[:, 2].any()
    assert len(coords.unique(dim=0)) == 300 * 200


def test_axes_grow_with_depth_and_roles_are_apart() -> None:
    depths = [depth_coordinate(matrix_spec("a", 2, 2, depth=depth)) for depth in (0.0, 0.5, 1.0)]
    assert depths == [-1, 0, 1]
    assert len({role_coordinate(matrix_spec("a", 2, 2, role=role)) for role in Role}) == len(Role)
    assert axis_coordinates(5, torch.device("cpu")).tolist() == [-1, -0.5, 0, 0.5, 1]


def test_grid_and_pointwise_see_the_same_coordinates() -> None:
    grid, _ = prepared(MIXED[1:], quick(scope="model"))
    points, _ = prepared(MIXED[1:], quick(scope="model", dna_type="spectral"))
    assert isinstance(grid, GridProblem) and isinstance(points, PointwiseProblem)
    block, coords = grid.blocks[0], points.coordinates(torch.arange(42)).reshape(2, 3, 7, 4)
    torch.testing.assert_close(block.row_coords, coords[:, :, 0, [0, 2, 3]])
    torch.testing.assert_close(block.col_coords, coords[:, 0, :, 1:])


# Values.


@pytest.mark.parametrize("kind", ["separable", "spectral"])
def test_the_first_slots_are_the_standardised_tensors_and_the_others_have_the_same_values(kind: DnaType) -> None:
    problem, matrices = prepared(MIXED[1:], quick(dna_type=kind, num_nulls=2))
    values, _ = predicted(problem, build(problem, quick(dna_type=kind)))
    assert values.shape == (6, 21)
    for slot, matrix in enumerate(matrices * 3):
        expected = standardised(matrix).ravel()
        same_place = np.allclose(values[slot], expected, atol=1e-6)
        assert same_place == (slot < 2)
        np.testing.assert_allclose(np.sort(values[slot]), np.sort(expected), atol=1e-6)


def test_nulls_are_drawn_by_place_not_by_name_prefix_or_order() -> None:
    specs = [matrix_spec("x.a", 4, 4), matrix_spec("x.b", 4, 4)]
    renamed = [matrix_spec("y.a", 4, 4), matrix_spec("y.b", 4, 4)]
    tags = [place_tag(spec, ordinals_of(specs)[spec.name]) for spec in specs]
    assert tags == [place_tag(spec, ordinals_of(renamed[::-1])[spec.name]) for spec in renamed]
    assert len(set(tags)) == 2


def test_a_constant_tensor_is_prepared_as_zeros() -> None:
    constant = np.full((4, 5), 0.1, dtype=np.float32)
    made = prepare(
        [matrix_spec("a", 4, 5)], lambda spec: constant, quick(), seed=0, ordinals={"a": 0}, device=torch.device("cpu")
    )
    assert isinstance(made.problem, GridProblem)
    assert not made.problem.blocks[0].values.any()


# Losses.


@pytest.mark.parametrize("scope", ["tensor", "model"])
@pytest.mark.parametrize("kind", ["separable", "spectral"])
def test_predictions_cover_every_weight_once(kind: DnaType, scope: str, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = quick(dna_type=kind, scope=scope)
    specs = MIXED if scope == "model" else MIXED[:1]
    problem, matrices = prepared(specs, settings)
    monkeypatch.setattr(separable_module, "POINTS_PER_CHUNK", 64)
    monkeypatch.setattr(pointwise_module, "POINTS_PER_CHUNK", 8)
    net = build(problem, settings)
    for part in range(problem.num_parts):
        values, guess = predicted(problem, net, part)
        assert values.shape == guess.shape == (2, problem.part_size(part))
        np.testing.assert_allclose(values[0], standardised(matrices[part]).ravel(), atol=1e-6)


@pytest.mark.parametrize("scope", ["tensor", "model"])
def test_the_grid_loss_is_the_mean_square_of_the_residual(scope: str) -> None:
    settings = quick(scope=scope)
    problem, _ = prepared(MIXED if scope == "model" else MIXED[1:], settings)
    net = build(problem, settings)
    residuals = [
        values - guess for values, guess in (predicted(problem, net, part) for part in range(problem.num_parts))
    ]
    expected = torch.cat(residuals, dim=1).square().mean(dim=1)
    torch.testing.assert_close(problem.loss(net, draw(0)).detach(), expected, atol=1e-5, rtol=1e-5)


def test_the_grid_loss_has_the_gradient_of_the_residual() -> None:
    problem, _ = prepared(MIXED[:1], quick())
    net = build(problem, quick())
    assert isinstance(problem, GridProblem) and isinstance(net, SeparableDna)
    problem.loss(net, draw(0)).sum().backward()
    short = [parameter.grad.clone() for parameter in net.parameters() if parameter.grad is not None]
    net.zero_grad()
    rows, cols = problem._factors(net, problem.blocks[0], None)
    (problem.blocks[0].values - rows @ cols.mT).square().mean(dim=(1, 2, 3)).sum().backward()
    for parameter, gradient in zip(net.parameters(), short, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_the_grid_loss_is_close_in_half_precision(precision: str) -> None:
    exact, halved = prepared(MIXED[:1], quick())[0], prepared(MIXED[:1], quick(precision=precision))[0]
    net = build(exact, quick())
    torch.testing.assert_close(
        halved.loss(net, draw(0)).detach(), exact.loss(net, draw(0)).detach(), atol=0.02, rtol=0.02
    )


class Constant(nn.Module):
    """Says the same of every weight."""

    def forward(self, coords: Tensor) -> Tensor:
        return torch.full(coords.shape[:2], 0.5)


def test_the_pointwise_loss_is_an_unbiased_sample_of_the_mean_square_error() -> None:
    problem, _ = prepared(MIXED, quick(dna_type="spectral", scope="model", batch_size=16))
    assert isinstance(problem, PointwiseProblem)
    expected = (problem.values - 0.5).square().mean(dim=1)
    draws = torch.stack([problem.loss(Constant(), draw(step)) for step in range(1000)])
    error = draws.std(dim=0) / math.sqrt(len(draws))
    assert ((draws.mean(dim=0) - expected).abs() < 4 * error).all()


def test_an_epoch_of_batches_is_as_many_weights_as_there_are() -> None:
    problem, _ = prepared([matrix_spec("a", 10, 13)], quick(dna_type="spectral", batch_size=64))
    assert problem.steps_per_epoch == 3
    problem, _ = prepared([matrix_spec("a", 5, 5)], quick(dna_type="spectral", batch_size=64))
    assert isinstance(problem, PointwiseProblem)
    assert (problem.steps_per_epoch, problem.batch_size) == (1, 25)


# Samples of long axes.


@pytest.fixture
def short_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Axes of 16 indices or more are sampled, 8 at a step."""
    monkeypatch.setattr(separable_module, "INDICES_PER_STEP", 8)


def sampled_and_whole(problem: GridProblem, settings: FitSettings) -> tuple[Tensor, Tensor]:
    """The losses of many steps (steps, S), and the loss over every row (S,)."""
    net, source = build(problem, settings), HostDraws(0, torch.device("cpu"))
    with torch.no_grad():
        draws = torch.stack([problem.loss(net, source.at(step, torch.tensor(step))) for step in range(500)])
        squares = [(v - p).square() for v, p in (predicted(problem, net, part) for part in range(problem.num_parts))]
    return draws, torch.cat(squares, dim=1).mean(dim=1)


@pytest.mark.slow
@pytest.mark.usefixtures("short_steps")
@pytest.mark.parametrize("shape", [(50, 6), (6, 50), (20, 50)])
def test_a_long_axis_is_sampled_without_bias(shape: tuple[int, int]) -> None:
    problem, _ = prepared([matrix_spec("a", *shape)], quick())
    assert isinstance(problem, GridProblem)
    draws, whole = sampled_and_whole(problem, quick())
    assert problem.steps_per_epoch == 7 and draws.std() > 0
    torch.testing.assert_close(draws.mean(dim=0), whole, rtol=0.02, atol=0)


@pytest.mark.usefixtures("short_steps")
def test_the_samples_of_an_epoch_are_all_of_a_long_axis() -> None:
    problem, _ = prepared([matrix_spec("a", 6, 48)], quick())
    assert isinstance(problem, GridProblem)
    draws, whole = sampled_and_whole(problem, quick())
    torch.testing.assert_close(draws[:6].mean(dim=0), whole, rtol=1e-4, atol=0)


@pytest.mark.usefixtures("short_steps")
def test_a_sampled_tensor_keeps_its_weight_among_the_others() -> None:
    """An embedding is most of a model: sampling its rows must not make it count for less."""
    settings = quick(scope="model")
    tensors = {"embedding": gaussian(200, 6), "layer": gaussian(6, 6)}
    tensors["embedding"][:, 3:] = 0
    specs = [matrix_spec("embedding", 200, 6), matrix_spec("layer", 6, 6)]
    problem = prepare(
        specs,
        lambda spec: tensors[spec.name],
        settings,
        seed=0,
        ordinals=ordinals_of(specs),
        device=torch.device("cpu"),
    ).problem
    assert isinstance(problem, GridProblem)
    problem.energies[1].mul_(9)  # The layer is fitted nine times worse.
    draws, _ = sampled_and_whole(problem, settings)
    energy = sum(energies[0].sum() for energies in problem.energies) / (206 * 6)
    assert float(draws[:, 0].mean()) == pytest.approx(float(energy), rel=0.05)


def test_pointwise_evaluation_of_a_large_tensor_is_a_sample_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pointwise_module, "POINTS_PER_EVALUATION", 100)
    problem, _ = prepared([matrix_spec("a", 20, 10)], quick(dna_type="spectral"))
    values, _ = predicted(problem, build(problem, quick(dna_type="spectral")))
    assert values.shape == (2, 100)
    assert isinstance(problem, PointwiseProblem) and torch.isin(values, problem.values).all()
    torch.testing.assert_close(predicted(problem, Constant())[0], values)


def test_blocks_keep_their_tensors_apart() -> None:
    values = torch.arange(24.0).reshape(1, 2, 3, 4)
    problem = GridProblem([GridBlock(values=values, row_coords=torch.zeros(2, 3, 1), col_coords=torch.zeros(2, 4, 1))])
    assert (problem.num_parts, problem.part_size(1), problem.num_slots) == (2, 12, 1)
    with pytest.raises(IndexError):
        problem.part_size(2)


def test_generators_depend_on_every_number() -> None:
    first = [
        int(torch.randint(1 << 62, (1,), generator=generator_for(*key))) for key in ((0, 1), (1, 0), (1, 1), (2, 0))
    ]
    assert len(set(first)) == 4
    assert first[0] == int(torch.randint(1 << 62, (1,), generator=generator_for(0, 1)))


# Leading directions.


@pytest.fixture
def few_directions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every matrix is trained on in its six leading directions."""
    monkeypatch.setattr(separable_module, "LEADING_DIRECTIONS", 6)
    monkeypatch.setattr(separable_module, "DIRECTIONS_PER_RANK", 1)


def losses_of(matrix: Float32, settings: FitSettings) -> tuple[Tensor, Tensor]:
    """The loss of a new network on its leading directions, and its mean squared error on all of the matrix."""
    spec = matrix_spec("a", *matrix.shape)
    problem = prepare(
        [spec], lambda _: matrix, settings, seed=0, ordinals=ordinals_of([spec]), device=torch.device("cpu")
    ).problem
    assert isinstance(problem, GridProblem)
    net = build(problem, settings)
    assert isinstance(problem.targets[0], separable_module.LowRankTarget)
    values, guess = predicted(problem, net)
    return problem.loss(net, draw(1)).detach(), (values - guess).square().mean(dim=1)


@pytest.mark.usefixtures("few_directions")
@pytest.mark.parametrize("shape", [(40, 30), (30, 40)])
def test_leading_directions_of_a_low_rank_are_all_of_it(shape: tuple[int, int]) -> None:
    loss, whole = losses_of(low_rank(*shape, rank=4), quick(num_nulls=0))
    torch.testing.assert_close(loss, whole, atol=1e-5, rtol=1e-5)


@pytest.mark.usefixtures("few_directions")
def test_what_is_left_out_of_the_leading_directions_still_counts_as_error() -> None:
    matrix = gaussian(40, 30)
    loss, whole = losses_of(matrix, quick(num_nulls=0))
    assert float(loss) == pytest.approx(float(whole), rel=0.05)


@pytest.mark.slow
@pytest.mark.usefixtures("few_directions", "short_steps")
@pytest.mark.parametrize("shape", [(50, 20), (20, 50)])
def test_leading_directions_of_a_long_axis_are_sampled_without_bias(shape: tuple[int, int]) -> None:
    problem, _ = prepared([matrix_spec("a", *shape)], quick())
    assert isinstance(problem, GridProblem)
    draws, whole = sampled_and_whole(problem, quick())
    assert isinstance(problem.targets[0], separable_module.LowRankTarget)
    torch.testing.assert_close(draws.mean(dim=0), whole, rtol=0.05, atol=0)


# Moves.


def trained_a_little(settings: FitSettings, *specs: TensorSpec) -> tuple[GridProblem, nn.Module]:
    """A problem of smooth matrices in an order that tells nothing, and networks after a few steps on it."""
    wave = np.sin(np.linspace(0, 5, 24))[:, None] * np.cos(np.linspace(0, 4, 18))
    matrix = shuffled(wave.astype(np.float32))
    problem = prepare(
        specs, lambda _: matrix, settings, seed=0, ordinals=ordinals_of(specs), device=torch.device("cpu")
    ).problem
    assert isinstance(problem, GridProblem)
    net = build(problem, settings)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    for step in range(30):
        optimizer.zero_grad()
        problem.loss(net, draw(step)).sum().backward()
        optimizer.step()
    return problem, net


def loss_of(problem: GridProblem, net: nn.Module) -> float:
    with torch.no_grad():
        return float(problem.loss(net, draw(0))[0])


@pytest.mark.parametrize("scope", ["tensor", "model"])
def test_a_move_makes_the_error_smaller(scope: str) -> None:
    problem, net = trained_a_little(quick(scope=scope), matrix_spec("a", 24, 18), matrix_spec("b", 24, 18))
    before = loss_of(problem, net)
    problem.move(net)
    after = loss_of(problem, net)
    assert after < 0.8 * before
    values, guess = predicted(problem, net)
    assert scope == "model" or after == pytest.approx(float((values - guess).square().mean(dim=1)[0]), rel=1e-4)


def test_a_long_axis_that_is_moved_in_combs_gains_most_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    after = {}
    for longest in (24, 17):  # Whole; both axes in two combs each.
        monkeypatch.setattr(separable_module, "LONGEST_MOVED", longest)
        monkeypatch.setattr(separable_module, "COMB", 12)
        problem, net = trained_a_little(quick(), matrix_spec("a", 24, 18))
        before = loss_of(problem, net)
        problem.move(net)
        after[longest] = loss_of(problem, net)
        for axis, length in enumerate((24, 18)):
            assert sorted(problem.permutations_of(0, 1)[axis].tolist()) == list(range(length))
    assert before - after[24] > before - after[17] > 2 / 3 * (before - after[24])


def test_a_move_is_the_permutation_it_says() -> None:
    problem, net = trained_a_little(quick(), matrix_spec("a", 24, 18))
    canonical = problem.blocks[0].values[1, 0]
    problem.move(net)
    rows, cols = problem.permutations_of(0, 1)
    assert sorted(rows.tolist()) == list(range(24)) != rows.tolist()
    assert torch.equal(problem.blocks[0].values[1, 0], canonical[rows][:, cols])


@pytest.mark.usefixtures("few_directions")
def test_leading_directions_move_with_the_matrix() -> None:
    problem, net = trained_a_little(quick(), matrix_spec("a", 24, 18))
    assert isinstance(problem.targets[0], separable_module.LowRankTarget)
    problem.move(net)
    values, guess = predicted(problem, net)
    assert loss_of(problem, net) == pytest.approx(float((values - guess).square().mean(dim=1)[0]), rel=1e-3)


def test_positions_are_not_moved_nor_is_what_is_fitted_in_file_order() -> None:
    real = matrix_spec("a", 24, 18, row_axis=Axis.POSITION)
    for settings, spec in ((quick(), real), (quick(order="raw"), matrix_spec("a", 24, 18))):
        problem, net = trained_a_little(settings, spec)
        problem.move(net)
        assert problem.permutations_of(0, 0)[0].tolist() == list(range(24))
    assert problem.permutations_of(0, 0)[1].tolist() == list(range(18))


def test_a_problem_takes_over_the_permutations_of_one_that_moved() -> None:
    problem, net = trained_a_little(quick(num_nulls=2), matrix_spec("a", 24, 18))
    fresh, _ = trained_a_little(quick(num_nulls=2), matrix_spec("a", 24, 18))
    problem.move(net)
    problem.move(net)
    fresh.arrange(problem.permutations)
    assert torch.equal(fresh.blocks[0].values, problem.blocks[0].values)
    assert loss_of(fresh, net) == loss_of(problem, net)


def test_networks_that_are_no_numbers_move_nothing() -> None:
    problem, net = trained_a_little(quick(), matrix_spec("a", 24, 18))
    with torch.no_grad():
        next(net.parameters()).fill_(math.nan)
    problem.move(net)
    assert problem.permutations_of(0, 0)[0].tolist() == list(range(24))
