"""Related models are told from unrelated ones by tchild weights, whatever a symmetry did to them."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import PreTrainedModel

from benchmarks.population.symmetries import permutation
from pipeline.fetch.request import ModelRequest
from pipeline.fetch.stage import fetch
from pipeline.lineage import Lineage, ModelWeights
from pipeline.lineage.alignment import Alignment
from pipeline.lineage.compare import compare_by_role, compare_weights
from pipeline.lineage.context import Context
from pipeline.lineage.evidence import Nulls, decide
from pipeline.lineage.pairing import by_block, pair_specs
from pipeline.lineage.projections import attention_tests, feed_forward_tests
from pipeline.lineage.records import Matrix
from pipeline.weights.inventory import extract
from pipeline.weights.reader import WeightReader
from tests.support.symmetries import KINDS, copy_with, make_model
from zoo.tensors import Role, TensorSpec

pytestmark = pytest.mark.slow

SPECIMENS = Path(__file__).parents[3] / "data" / "specimens"
RELATED = [
    ("bert-a", "bert-a-finetuned"),
    ("bert-a", "bert-a-permuted"),
    ("bert-a", "bert-a-distilled"),
    ("bert-a-permuted", "bert-a-distilled"),
    ("gpt2-a", "gpt2-a-finetuned"),
    ("vit-a", "vit-a-finetuned"),
    ("cnn-a", "cnn-a-finetuned"),
]
UNRELATED = [
    ("bert-a", "bert-b"),
    ("bert-a-finetuned", "bert-b"),
    ("bert-a-permuted", "bert-b"),
    ("bert-a", "bert-untrained"),
    ("bert-a", "gpt2-a"),
    ("gpt2-a", "vit-a"),
]
FEW = 39
"""Wrong alignments: enough for z."""
Change = Callable[[TensorSpec, Matrix], Matrix]


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def read(folder: Path, home: Path) -> ModelWeights:
    """All weights of a model in memory."""
    files = fetch(ModelRequest(name=str(folder)), home=home, offline=True)
    specs = extract(files).specs
    with WeightReader(files) as reader:
        matrices = {spec.name: reader.matrix(spec) for spec in specs if spec.role is not Role.OTHER}
    return ModelWeights(specs=specs, load=lambda spec: matrices[spec.name].copy(), config=files.config)


@pytest.fixture(scope="module")
def specimen(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], ModelWeights]:
    home = tmp_path_factory.mktemp("home")
    return cache(lambda name: read(SPECIMENS / name, home))


def changed(model: ModelWeights, change: Change) -> ModelWeights:
    return replace(model, load=lambda spec: change(spec, model.load(spec)))


def shuffled(spec: TensorSpec, values: Matrix) -> Matrix:
    rng = np.random.default_rng(sum(spec.name.encode()))
    mixed: Matrix = rng.permutation(values.ravel()).reshape(values.shape)
    return mixed


def noised(share: float) -> Change:
    def change(spec: TensorSpec, values: Matrix) -> Matrix:
        rng = np.random.default_rng(sum(spec.name.encode()))
        return values + share * values.std() * rng.standard_normal(values.shape, dtype=np.float32)

    return change


def without_anchors(seed: int) -> Change:
    """With random embeddings, heads, norms and biases, so that no anchor is left."""
    anchors = (Role.TOKEN_EMBEDDING, Role.POSITION_EMBEDDING, Role.PATCH_EMBEDDING, Role.HEAD, Role.NORM, Role.BIAS)

    def change(spec: TensorSpec, values: Matrix) -> Matrix:
        rng = np.random.default_rng([seed, *spec.name.encode()])
        return rng.standard_normal(values.shape, dtype=np.float32) if spec.role in anchors else values

    return change


def with_half_width(spec: TensorSpec) -> TensorSpec:
    """The spec in a child that kept every other inner unit."""
    rows = spec.rows // 2 if spec.role is Role.FFN_IN else spec.rows
    return replace(spec, rows=rows, cols=spec.cols // 2 if spec.role is Role.FFN_OUT else spec.cols)


def kept_half(model: ModelWeights, spec: TensorSpec) -> Matrix:
    whole = next(each for each in model.specs if each.name == spec.name)
    values = model.load(whole)
    return values[::2] if spec.role is Role.FFN_IN else values[:, ::2] if spec.role is Role.FFN_OUT else values


def compared(a: ModelWeights, b: ModelWeights) -> Lineage:
    return compare_weights(a, b, num_nulls=FEW)


@pytest.mark.parametrize(("a", "b"), RELATED)
def test_related_models_are_of_one_lineage(a: str, b: str, specimen: Callable[[str], ModelWeights]) -> None:
    found = compared(specimen(a), specimen(b))
    assert found.verdict == "same lineage"
    assert found.correlation is not None and found.correlation > 0.9
    assert found.z is not None and found.z > 50
    assert found.p == 1 / (FEW + 1)


@pytest.mark.parametrize(("a", "b"), UNRELATED)
def test_unrelated_models_are_not(a: str, b: str, specimen: Callable[[str], ModelWeights]) -> None:
    found = compared(specimen(a), specimen(b))
    assert found.verdict == "no evidence"
    assert found.correlation is not None and abs(found.correlation) < 0.05


@pytest.mark.parametrize("name", ["bert-a", "gpt2-a", "vit-a", "cnn-a"])
def test_a_shuffled_copy_is_unrelated(name: str, specimen: Callable[[str], ModelWeights]) -> None:
    found = compared(specimen(name), changed(specimen(name), shuffled))
    assert found.verdict == "no evidence"
    assert found.z is not None and abs(found.z) < 5


def test_a_text_model_and_a_cnn_have_no_axis_in_common(specimen: Callable[[str], ModelWeights]) -> None:
    found = compared(specimen("bert-a"), specimen("cnn-a"))
    assert (found.verdict, found.reason, found.z) == (
        "cannot say",
        "no axis in common, nor a matrix of equal name and shape",
        None,
    )


def test_too_few_weights_cannot_be_tested(specimen: Callable[[str], ModelWeights]) -> None:
    model = specimen("gpt2-a")
    one_head = [s for s in model.specs if s.block is None or (s.block == 0 and s.role is Role.FFN_IN)]
    found = compare_by_role(replace(model, specs=one_head), model, num_nulls=FEW, seed=0)
    assert found.verdict == "cannot say"


def test_one_null_gives_no_z(specimen: Callable[[str], ModelWeights]) -> None:
    found = compare_weights(specimen("bert-a"), specimen("bert-a-finetuned"), num_nulls=1)
    assert (found.verdict, found.z) == ("cannot say", None)


def test_the_order_of_the_models_hardly_matters_and_a_rerun_not_at_all(specimen: Callable[[str], ModelWeights]) -> None:
    a, b = specimen("bert-a"), specimen("bert-a-permuted")
    one, two = compared(a, b), compared(b, a)
    assert one == compared(a, b)
    assert one.correlation == pytest.approx(two.correlation, abs=0.01)


def test_file_order_is_recognised(specimen: Callable[[str], ModelWeights]) -> None:
    assert compared(specimen("bert-a"), specimen("bert-a-finetuned")).in_file_order
    assert not compared(specimen("bert-a"), specimen("bert-a-permuted")).in_file_order


@pytest.mark.parametrize("other", ["bert-a", "bert-a-finetuned", "bert-a-distilled"])
def test_blocks_show_file_order_where_no_anchor_does(other: str, specimen: Callable[[str], ModelWeights]) -> None:
    """The distilled model has fewer blocks, and which is which is not known."""
    found = compared(specimen("bert-a"), changed(specimen(other), without_anchors(0)))
    assert found.verdict == "same lineage" and found.correlation is not None and found.correlation > 0.9


def test_half_of_the_inner_units_show_file_order_too(specimen: Callable[[str], ModelWeights]) -> None:
    model = changed(specimen("bert-a"), without_anchors(0))
    child = replace(
        model, specs=[with_half_width(spec) for spec in model.specs], load=lambda spec: kept_half(model, spec)
    )
    found = compared(specimen("bert-a"), child)
    assert found.verdict == "same lineage" and found.correlation is not None and found.correlation > 0.9


@pytest.mark.parametrize("other", ["bert-b", "bert-a-permuted"])
def test_without_anchors_another_seed_and_another_order_are_no_evidence(
    other: str, specimen: Callable[[str], ModelWeights]
) -> None:
    found = compared(specimen("bert-a"), changed(specimen(other), without_anchors(0)))
    assert found.verdict == "no evidence"


def test_much_noise_hides_a_permuted_copy_but_not_one_in_file_order(specimen: Callable[[str], ModelWeights]) -> None:
    noisy = changed(specimen("bert-a"), noised(4.0))
    assert compared(specimen("bert-a"), noisy).verdict == "same lineage"
    assert compared(specimen("bert-a-permuted"), noisy).verdict == "no evidence"


def test_products_of_queries_and_keys_do_not_make_a_verdict(specimen: Callable[[str], ModelWeights]) -> None:
    """Heads that attend by position make those of two unrelated models agree."""
    found = compared(specimen("bert-a"), specimen("bert-b"))
    by_role = {role.role: role for role in found.roles}
    assert by_role["attention_key"].correlation > 0.2 > 0.05 > abs(by_role["ffn_out"].correlation)
    assert found.tensors == sum(role.tensors for role in found.roles) - by_role["attention_key"].tensors


def refitted(a: ModelWeights, b: ModelWeights, seed: int) -> float:
    """The correlation under a wrong order of the residual stream, with inner units aligned anew under it."""
    wrong = Alignment(a=np.arange(48), b=np.random.default_rng(seed).permutation(48))
    context = Context(a, b, {(("", 48), ("", 48)): wrong}, Nulls(FEW, 0), 0)
    blocks_a, blocks_b = by_block(a.specs), by_block(b.specs)
    pairs = [pair_specs(blocks_a[block], blocks_b[block]) for block in range(3)]
    tests = [
        test for found in pairs for test in (*feed_forward_tests(found, context), *attention_tests(found, context))
    ]
    return decide(tests, num_nulls=FEW).correlation or 0.0


@pytest.mark.parametrize("other", ["bert-a-permuted", "bert-b"])
def test_fitting_anew_under_wrong_orders_is_within_the_null(
    other: str, specimen: Callable[[str], ModelWeights]
) -> None:
    """Nothing is fitted on what is tested, so the null need not fit again."""
    a, b = specimen("bert-a"), specimen(other)
    found, again = compared(a, b), [refitted(a, b, seed) for seed in range(12)]
    assert found.correlation is not None and found.z is not None
    spread = found.correlation / found.z
    assert abs(np.mean(again)) < 2 * spread and np.std(again) < 2 * spread


def weights_of(model: PreTrainedModel, folder: Path) -> ModelWeights:
    model.save_pretrained(folder / "model")
    return read(folder / "model", folder / "home")


def disturbed(model: PreTrainedModel, share: float, generator: torch.Generator) -> None:
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.add_(share * parameter.std() * torch.randn(parameter.shape, generator=generator))


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "narrow-encoder"])
def test_orders_and_signs_are_undone_in_every_kind_of_network(kind: str, tmp_path: Path) -> None:
    model, generator = make_model(kind), torch.Generator().manual_seed(1)
    copy = copy_with(model, permutation().permuted(model, generator=generator))
    disturbed(copy, 0.2, generator)
    found = compared(weights_of(model, tmp_path / "a"), weights_of(copy, tmp_path / "b"))
    assert found.verdict == "same lineage" and not found.in_file_order
    assert found.correlation is not None and found.correlation > 0.85


def test_permuted_streams_inside_a_block_are_not_aligned(tmp_path: Path) -> None:
    """The limit that docs/lineage.md states for MobileBERT and its like."""
    model = make_model("narrow-encoder")
    copy = copy_with(model, permutation().permuted(model, generator=torch.Generator().manual_seed(1)))
    assert compared(weights_of(model, tmp_path / "a"), weights_of(model, tmp_path / "b")).verdict == "the same weights"
    assert compared(weights_of(model, tmp_path / "a"), weights_of(copy, tmp_path / "c")).verdict == "no evidence"


@pytest.mark.parametrize("kind", KINDS)
def test_another_seed_is_unrelated_in_every_kind_of_network(kind: str, tmp_path: Path) -> None:
    found = compared(weights_of(make_model(kind), tmp_path / "a"), weights_of(make_model(kind, 1), tmp_path / "b"))
    assert found.verdict == "no evidence"


@pytest.mark.parametrize("kind", ["encoder", "decoder", "vit", "encoder-decoder"])
def test_rotated_heads_are_undone(kind: str, tmp_path: Path) -> None:
    model = make_model(kind)
    copy = copy_with(model, permutation().rotated_heads(model, generator=torch.Generator().manual_seed(1)))
    found = compared(weights_of(model, tmp_path / "a"), weights_of(copy, tmp_path / "b"))
    assert found.verdict == "same lineage"
    assert all(role.correlation > 0.9 for role in found.roles)


@pytest.mark.parametrize("kind", ["relu-decoder", "encoder-decoder", "cnn"])
def test_rescaled_units_are_undone(kind: str, tmp_path: Path) -> None:
    model = make_model(kind)
    copy = copy_with(model, permutation().rescaled_units(model, generator=torch.Generator().manual_seed(1)))
    found = compared(weights_of(model, tmp_path / "a"), weights_of(copy, tmp_path / "b"))
    assert found.verdict == "same lineage"
    assert found.correlation is not None and found.correlation > 0.95


def test_a_model_without_blocks_can_be_compared(specimen: Callable[[str], ModelWeights]) -> None:
    bert = specimen("bert-a")
    bare = replace(bert, specs=[spec for spec in bert.specs if spec.block is None])
    assert compare_by_role(bare, bert, num_nulls=FEW, seed=0).verdict == "cannot say"
    assert compared(bare, bert).verdict == compared(bert, bare).verdict == "same lineage"
