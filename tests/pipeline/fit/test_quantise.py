"""A DNA at 8 bits: by hand, bit by bit, and on weights that were really trained."""

import math
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from pipeline.fetch.request import ModelRequest
from pipeline.fetch.stage import fetch
from pipeline.fit.networks import HIDDEN_OMEGA, SeparableDna, Siren, make_pointwise
from pipeline.fit.problem import generator_for
from pipeline.fit.quantise import Codes, decoded, quantise, stored_bits
from pipeline.fit.report import rate_point, report
from pipeline.fit.stage import FitResult
from pipeline.settings import DnaType, FitSettings, preset
from pipeline.weights.inventory import extract
from pipeline.weights.reader import WeightReader
from tests.support.fitting import fit_matrices

pytestmark = pytest.mark.slow

SPECIMEN = Path(__file__).parents[3] / "data" / "specimens" / "bert-a"
MOST_LOST = 0.01
"""R2 that 8 bits may cost, in any tensor."""
KINDS: list[DnaType] = ["separable", "spectral", "hierarchical", "adaptive"]


def siren(*, count: int = 1, hidden_dim: int = 3, omega: float = 20.0) -> Siren:
    generators = [generator_for(slot) for slot in range(count)]
    return Siren(generators, in_dim=1, hidden_dim=hidden_dim, num_layers=2, out_dim=2, omega=omega)


def make(kind: DnaType, count: int = 2) -> nn.Module:
    generators = [generator_for(slot) for slot in range(count)]
    if kind == "separable":
        return SeparableDna(generators, in_dim=1, hidden_dim=8, num_layers=2, rank=3, row_omega=50.0, col_omega=80.0)
    return make_pointwise(kind, generators, in_dim=2, hidden_dim=8, num_layers=3, omega=30.0)


def outputs(net: nn.Module, count: int = 2) -> Tensor:
    """What the stack says of 200 points."""
    points = torch.rand(count, 200, 2, generator=generator_for(7)) * 2 - 1
    with torch.no_grad():
        if isinstance(net, SeparableDna):
            left, right = net(points[..., :1], points[..., 1:])
            return torch.cat([left, right], dim=-1)
        found = net(points)
        assert isinstance(found, Tensor)
        return found


def rounded_outputs(net: nn.Module, bits: int) -> Tensor:
    """The same with its weights rounded."""
    with decoded(net, quantise(net, bits)) as rounded:
        return outputs(rounded)


# By hand.


def test_weights_are_whole_steps_with_a_scale_for_each_output() -> None:
    net = siren()
    net.weights[1].data = torch.tensor([[[127.0, 0.5], [-64.0, 0.25], [0.4, -1.0]]])
    codes = quantise(net)["weights.1"]
    assert codes.steps.flatten().tolist() == [1.0, 130 / 2**14]  # The first bfloat16 above 1 / 127.
    assert codes.codes.tolist() == [[[127, 63], [-64, 32], [0, -126]]]


@settings(max_examples=50)
@given(st.floats(1e-6, 1e6), st.sampled_from([4, 8, 16]))
def test_no_weight_is_clipped_however_its_scale_is_rounded(largest: float, bits: int) -> None:
    net = siren()
    net.weights[1].data.fill_(largest)
    codes = quantise(net, bits)["weights.1"]
    assert float((codes.values - largest).abs().max()) <= 0.51 * float(codes.steps.max())
    assert int(codes.codes.min()) >= 0.98 * (2 ** (bits - 1) - 1) - 1


def test_a_layer_of_zeros_stays_one() -> None:
    net = siren()
    net.out_weight.data.zero_()
    with decoded(net, quantise(net)):
        assert net.out_weight.abs().max() == 0


def test_a_phase_is_known_up_to_a_turn() -> None:
    """256 steps a turn of 2 pi / omega; three quarters of a turn are minus a quarter."""
    net, turn = siren(omega=20.0), 2 * math.pi / 20
    net.biases[0].data = torch.tensor([[[turn / 4, 0.75 * turn, 5.5 * turn + turn / 1024]]])
    codes = quantise(net)["biases.0"]
    assert codes.codes.tolist() == [[[64, -64, -128]]]
    torch.testing.assert_close(codes.values, torch.tensor([[[turn / 4, -turn / 4, -turn / 2]]]))


def test_whole_turns_of_a_phase_change_nothing() -> None:
    net = siren()
    before = net(torch.linspace(-1, 1, 50)[None, :, None])
    net.biases[0].data += 3 * 2 * math.pi / net.omega
    net.biases[1].data -= 2 * math.pi / HIDDEN_OMEGA
    with decoded(net, quantise(net, 16)):
        after = net(torch.linspace(-1, 1, 50)[None, :, None])
    torch.testing.assert_close(after, before, atol=2e-3, rtol=0)


def test_frequencies_have_16_bits_whatever_the_rest_has() -> None:
    net = siren()
    for bits in (4, 8, 16):
        assert quantise(net, bits)["weights.0"].bits == 16
    assert (quantise(net)["weights.0"].values - net.weights[0]).abs().max() < net.weights[0].abs().max() / 60_000


def test_gates_and_mixtures_have_16_bits() -> None:
    assert {name: part.bits for name, part in quantise(make("hierarchical")).items()}["mixture"] == 16
    adaptive = quantise(make("adaptive"))
    gates = {name for name, part in adaptive.items() if part.bits == 16}
    # The first layer's phase too: its frequency changes with the point, so there is no turn to know it up to.
    assert gates == {"net.weights.0", "net.biases.0", "in_weight", "in_bias", "out_weight", "out_bias"}


# Bits.


def test_bits_are_counted_by_hand() -> None:
    frequencies = 3 * 16 + 16
    phases = 2 * 3 * 8  # Their steps follow from the frequency.
    hidden, out = 9 * 8 + 3 * 16, 6 * 8 + 2 * 16
    bias = 2 * 8 + 16
    assert stored_bits(quantise(siren())) == frequencies + phases + hidden + out + bias


def test_narrower_weights_cost_less_and_phases_at_least_8_bits() -> None:
    weights = 9 + 6
    sizes = [stored_bits(quantise(siren(), bits)) for bits in (4, 6, 8)]
    assert sizes[2] - sizes[1] == sizes[1] - sizes[0] == 2 * weights


def test_a_stack_costs_each_network_the_same() -> None:
    assert stored_bits(quantise(siren(count=5))) == stored_bits(quantise(siren()))


@pytest.mark.parametrize("bits", [2, 8, 16])
@pytest.mark.parametrize("kind", KINDS)
def test_every_parameter_has_a_code_within_its_bits(kind: DnaType, bits: int) -> None:
    net = make(kind)
    codes = quantise(net, bits)
    assert list(codes) == [name for name, _ in net.named_parameters()]
    for name, parameter in net.named_parameters():
        part: Codes = codes[name]
        assert part.codes.shape == parameter.shape
        whole = part.codes.long()
        assert -(2 ** (part.bits - 1)) <= whole.min() and whole.max() < 2 ** (part.bits - 1)


# What is lost.


@pytest.mark.parametrize("kind", KINDS)
def test_8_bits_hardly_change_what_a_network_says(kind: DnaType) -> None:
    net = make(kind)
    exact = outputs(net)
    errors = [float((rounded_outputs(net, bits) - exact).std() / exact.std()) for bits in (4, 8, 16)]
    assert errors[0] > errors[1] > errors[2]
    assert errors[1] < 0.1 and errors[2] < 0.01


def test_networks_of_a_stack_are_rounded_apart() -> None:
    pair, alone = quantise(siren(count=2)), quantise(siren())
    assert all(torch.equal(pair[name].codes[:1], alone[name].codes) for name in alone)


def test_the_parameters_are_put_back_even_after_a_failure() -> None:
    net = make("separable")
    before = {name: value.clone() for name, value in net.state_dict().items()}
    with pytest.raises(KeyError), decoded(net, quantise(net, 4)):
        assert not torch.equal(net.get_parameter("rows.0.out_weight"), before["rows.0.out_weight"])
        raise KeyError
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


@pytest.mark.parametrize("kind", KINDS)
def test_a_rerun_gives_the_same_bits(kind: DnaType) -> None:
    first, second = (quantise(make(kind)) for _ in range(2))
    assert all(torch.equal(first[name].codes, second[name].codes) for name in first)
    assert all(torch.equal(first[name].steps, second[name].steps) for name in first)


@pytest.fixture(scope="module", params=["separable", "hierarchical", "adaptive"])
def trained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[FitSettings, FitResult]:
    """DNAs of the first block of a BERT that was really trained."""
    files = fetch(ModelRequest(name=str(SPECIMEN)), home=tmp_path_factory.mktemp("home"))
    specs = [spec for spec in extract(files).specs if spec.is_matrix and spec.block == 0]
    changes = {"epochs": 150} if request.param == "separable" else {"epochs": 5, "batch_size": 512, "hidden_dim": 12}
    asked = preset("quick", dna_type=request.param, budget=0.1, **changes)
    with WeightReader(files) as reader:
        matrices = {spec: reader.matrix(spec) for spec in specs}
    return asked, fit_matrices(matrices, asked, tmp_path_factory.mktemp("fit"), widths=(4, 8, 16))


def test_8_bits_cost_at_most_a_hundredth_of_r2(trained: tuple[FitSettings, FitResult]) -> None:
    asked, result = trained
    for item in result.tensors:
        record = report([item], asked, result.cost)
        assert record.r2_8bit is not None and record.null_r2_8bit is not None and record.null_r2 is not None
        assert abs(record.r2 - record.r2_8bit) <= MOST_LOST, item.name
        assert abs(record.null_r2 - record.null_r2_8bit) <= MOST_LOST, item.name


def test_wider_weights_cost_more_and_lose_less(trained: tuple[FitSettings, FitResult]) -> None:
    """In what is lost of R2, whatever its sign: a network may gain by chance from being rounded."""
    asked, result = trained
    r2 = report(result.tensors, asked, result.cost).r2
    points = [rate_point(result.tensors, width) for width in (4, 8, 16)]
    bits, losses = zip(*((p.network_bits, abs(r2 - p.r2)) for p in points if p is not None), strict=True)
    assert len(bits) == 3 and list(bits) == sorted(bits) and list(losses) == sorted(losses, reverse=True)
    assert rate_point(result.tensors, 6) is None


def test_8_bits_are_fewer_than_32(trained: tuple[FitSettings, FitResult]) -> None:
    asked, result = trained
    record = report(result.tensors, asked, result.cost)
    assert record.bits_per_weight_8bit is not None
    networks = record.bits_per_weight - record.order_bits_per_weight
    assert 0.25 < (record.bits_per_weight_8bit - record.order_bits_per_weight) / networks < 0.5
    assert record.r2_8bit is not None and record.ceiling_r2_8bit is not None
    assert record.r2_8bit < record.ceiling_r2_8bit < record.ceiling_r2
