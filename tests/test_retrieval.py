"""The retrieval benchmark: its metrics by hand and against scikit-learn, its counting, and a run from end to end."""

import json
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from benchmarks import retrieval
from benchmarks.population.__main__ import make_all
from benchmarks.population.members import RELATIONS, Relation, plan
from benchmarks.relatedness import baselines
from benchmarks.relatedness.baselines import Weights
from benchmarks.relatedness.gallery import Member, read_members, signature_of, weight_files
from benchmarks.relatedness.lineage import choose_pairs
from benchmarks.relatedness.metrics import area_under_curve, average_precision, precision_at_1, rates_at, threshold_at
from benchmarks.relatedness.scoring import Evaluation, evaluate, rates_within
from pipeline.analyse.stage import analyse_model
from pipeline.order import Rows, canonicalise, seriate_tensor
from pipeline.settings import AnalysisSettings
from pipeline.weights.inventory import extract
from pipeline.weights.reader import WeightReader
from zoo.tensors import Axis, Role, TensorSpec

pytestmark = pytest.mark.slow

EXACT = 1e-12
NAN = float("nan")


def draws(seed: int, *, with_ties: bool) -> tuple[np.ndarray, np.ndarray]:
    """Forty distances, and which of them are of related pairs."""
    rng = np.random.default_rng(seed)
    distances = rng.integers(8, size=40).astype(float) if with_ties else rng.random(40)
    return distances, rng.random(40) < 0.3


# Metrics.


def test_average_precision_by_hand() -> None:
    # Related ones at ranks 1, 3 and 4: (1/1 + 2/3 + 3/4) / 3.
    found = average_precision(np.array([0.1, 0.2, 0.3, 0.4, 0.5]), np.array([True, False, True, True, False]))
    assert found == pytest.approx((1 + 2 / 3 + 3 / 4) / 3, abs=EXACT)


@pytest.mark.parametrize("with_ties", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_average_precision_is_scikit_learns(seed: int, with_ties: bool) -> None:
    distances, related = draws(seed, with_ties=with_ties)
    assert average_precision(distances, related) == pytest.approx(
        average_precision_score(related, -distances), abs=EXACT
    )


@pytest.mark.parametrize("with_ties", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_area_under_the_curve_is_scikit_learns(seed: int, with_ties: bool) -> None:
    distances, related = draws(seed, with_ties=with_ties)
    assert area_under_curve(distances, related) == pytest.approx(roc_auc_score(related, -distances), abs=EXACT)


def test_a_weight_of_two_counts_as_two_pairs() -> None:
    distances, related = draws(0, with_ties=True)
    weights = np.random.default_rng(1).integers(3, size=40)
    repeated = np.repeat(distances, weights), np.repeat(related, weights)
    assert area_under_curve(distances, related, weights.astype(float)) == pytest.approx(area_under_curve(*repeated))
    assert threshold_at(distances, related, 0.5, weights.astype(float)) == threshold_at(*repeated, 0.5)


def test_ties_at_the_nearest_share_precision() -> None:
    assert precision_at_1(np.array([1.0, 1.0, 2.0]), np.array([True, False, True])) == 0.5


def test_nothing_related_gives_nan() -> None:
    assert np.isnan(average_precision(np.array([1.0, 2.0]), np.array([False, False])))
    assert np.isnan(area_under_curve(np.array([1.0, 2.0]), np.array([False, False])))


def test_the_threshold_lets_one_in_a_hundred_through() -> None:
    distances, related = np.arange(300) / 300, np.arange(300) % 3 == 0
    threshold = threshold_at(distances, related, 0.01)
    assert rates_at(threshold, distances, related) == (
        0.02,
        0.01,
    )  # 2 of 200 unrelated pairs, and the related ones before.


def test_a_tie_at_the_threshold_stays_outside() -> None:
    distances, related = np.array([0.0] + [1.0] * 5), np.array([True] + [False] * 5)
    assert rates_at(threshold_at(distances, related, 0.2), distances, related) == (1.0, 0.0)


def test_pairs_that_cannot_be_compared_are_never_called_related() -> None:
    distances, related = np.array([np.inf, np.inf]), np.array([True, False])
    assert rates_at(threshold_at(distances, related, 1.0), distances, related) == (0.0, 0.0)


# Counting.


def member(name: str, *roots: str, relation: Relation, split: str = "tuned", origin: str = "") -> Member:
    return Member(
        name=name,
        folder=Path(name),
        architecture="net" if split == "tuned" else "other",
        split=split,
        relation=relation,
        hardness=RELATIONS[relation],
        roots=frozenset(roots),
        origin=origin or roots[0],
    )


FAMILIES = (
    member("a", "a", relation="root"),
    member("a-permuted", "a", relation="permuted"),
    member("a-shuffled", "a-shuffled", relation="shuffled", origin="a"),
    member("b", "b", relation="root"),
    member("b-permuted", "b", relation="permuted"),
    member("ab", "a", "b", relation="merged-roots"),
    member("c", "c", relation="root", split="held-out"),
    member("c-permuted", "c", relation="permuted", split="held-out"),
    member("d", "d", relation="root", split="held-out"),
    member("d-permuted", "d", relation="permuted", split="held-out"),
)


def judge(distances: np.ndarray) -> Evaluation:
    return evaluate(FAMILIES, (distances + distances.T) / 2, num_bootstraps=5, seed=0)


def perfect() -> np.ndarray:
    return np.array([[0.1 if a.is_related(b) else 1.0 for b in FAMILIES] for a in FAMILIES])


def test_a_merge_of_two_roots_is_related_to_both() -> None:
    found = judge(perfect()).splits["all"]
    assert (found.models, found.queries, found.related_pairs, found.unrelated_pairs) == (10, 9, 8, 37)


def test_perfect_distances_score_one() -> None:
    found = judge(perfect())
    scores = found.splits["all"]
    assert (scores.mean_average_precision, scores.precision_at_1, scores.auc, scores.tpr) == (1, 1, 1, 1)
    assert (found.permutation_gap, found.shuffled_called_related, found.shuffled_nearest) == (0, 0, 0)
    assert scores.intervals["tpr"] == (1, 1)


def test_a_lost_permuted_copy_shows_as_a_gap() -> None:
    distances = perfect()
    distances[1], distances[:, 1] = 2.0, 2.0
    found = judge(distances)
    assert found.permutation_gap > 0
    assert found.relations["permuted"].tpr == pytest.approx(3 / 4)


def test_a_shuffled_copy_near_its_original_is_an_error() -> None:
    distances = perfect()
    distances[0, 2] = distances[2, 0] = 0.05
    found = judge(distances)
    assert found.shuffled_nearest == 1
    assert found.splits["all"].precision_at_1 == pytest.approx(8 / 9)


def test_the_threshold_of_the_tuned_is_applied_to_the_held_out() -> None:
    distances = perfect()
    distances[6, 7] = distances[7, 6] = 3.0
    found = judge(distances)
    assert found.splits["tuned"].tpr == 1.0
    assert found.transferred == (0.5, 0.0)


def test_one_threshold_is_counted_in_every_group_of_pairs() -> None:
    distances = perfect()
    distances[6, 7] = distances[7, 6] = 0.9
    distances[3, 0] = distances[0, 3] = NAN
    found = rates_within(FAMILIES, distances, 0.5)
    assert found["all"] == (7 / 8, 0.0, 8, 37)
    assert found["held-out"] == found["other"] == (1 / 2, 0.0, 2, 4)
    assert found["tuned"][2:] == (6, 9)


# Baselines.


def weights(matrix: np.ndarray, *, name: str = "embed", role: Role = Role.TOKEN_EMBEDDING) -> Weights:
    spec = TensorSpec(
        name=name, tensor=name, dtype="F32", rows=matrix.shape[0], cols=matrix.shape[1], role=role,
        row_axis=Axis.VOCABULARY, col_axis=Axis.RESIDUAL,
    )  # fmt: skip
    return Weights(specs=(spec,), matrices=(matrix.astype(np.float32),))


def test_raw_cosine_is_that_of_the_flat_weights() -> None:
    a, b = np.random.default_rng(0).standard_normal((2, 6, 4))
    found = baselines.raw_cosine([weights(a), weights(b)])[0, 1]
    assert found == pytest.approx(1 - a.ravel() @ b.ravel() / np.linalg.norm(a) / np.linalg.norm(b), abs=1e-6)


def test_other_shapes_cannot_be_compared() -> None:
    rng = np.random.default_rng(0)
    models = [weights(rng.standard_normal((6, 4))), weights(rng.standard_normal((5, 4)))]
    assert np.isinf(baselines.raw_cosine(models)[0, 1])
    assert np.isinf(baselines.gram_of_inputs(models)[0, 1])


def test_the_gram_matrix_does_not_depend_on_the_order_of_residual_units() -> None:
    rng = np.random.default_rng(0)
    matrix = rng.standard_normal((6, 4))
    models = [weights(matrix), weights(matrix[:, rng.permutation(4)]), weights(rng.standard_normal((6, 4)))]
    found = baselines.gram_of_inputs(models)
    assert found[0, 1] == pytest.approx(0, abs=1e-6)
    assert found[0, 2] > 0.1


def test_singular_values_do_not_depend_on_any_order() -> None:
    rng = np.random.default_rng(0)
    matrix = rng.standard_normal((6, 4))
    models = [weights(matrix), weights(matrix[rng.permutation(6)]), weights(2 * rng.standard_normal((6, 4)))]
    found = baselines.singular_values_by_role(models)
    assert found[0, 1] == pytest.approx(0, abs=1e-5)
    assert found[0, 2] > 0.1


# From end to end.


@pytest.fixture(scope="module")
def population(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two roots of a decoder, each trained for two steps, and some of their children."""
    folder = tmp_path_factory.mktemp("population")
    relations = ("root", "quantised-8", "permuted", "shuffled")
    members = [member for member in plan(("opt",), num_roots=2) if member.relation in relations]
    make_all(members, folder, max_steps=2)
    return folder


@pytest.mark.slow
def test_the_benchmark_runs(population: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = f"--population {population} --results {tmp_path} --nulls 0 --bootstraps 2"
    retrieval.main(arguments.split())
    found = json.loads((tmp_path / "retrieval.json").read_text())
    assert found["methods"].keys() >= {"similar", "its weights", "its kind", *baselines.BASELINES}
    assert found["related"]["all"][2:] == [6, 22]
    assert found["methods"]["similar"]["splits"]["all"]["queries"] == 6
    assert "quantised-8" in capsys.readouterr().out


def test_the_signature_is_the_one_that_mining_gives(population: Path, tmp_path: Path) -> None:
    settings = AnalysisSettings(num_nulls=1)
    one = read_members(population)[0]
    files = weight_files(one, tmp_path)
    with WeightReader(files) as reader:

        def load(spec: TensorSpec, rows: Rows) -> np.ndarray:
            matrix = reader.matrix(spec)
            return canonicalise(matrix, seriate_tensor(matrix, spec))[rows] if spec.is_matrix else matrix

        specs = extract(files).specs
        mined = analyse_model(specs, load, in_file_order=reader.pieces, settings=settings, seed=0).signature
    assert signature_of(one, tmp_path, settings, 0) == mined


def test_pairs_are_of_children_and_roots(population: Path) -> None:
    pairs = {(a.name, b.name) for a, b in choose_pairs(read_members(population))}
    assert ("opt-a-permuted", "opt-a") in pairs
    assert ("opt-a-permuted", "opt-b") in pairs
    assert ("opt-a-shuffled", "opt-a") in pairs
    assert len({frozenset(pair) for pair in pairs}) == len(pairs) == 13
