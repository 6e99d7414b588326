"""Names of devices, what is there, and a device with too little memory."""

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest
import torch

from dna_zoo.errors import SettingsError
from pipeline.fit.footprint import slot_bytes, stack_bytes
from pipeline.fit.stacks import plan_stacks
from pipeline.fit.stage import resolve_precision
from pipeline.fit.trainer import Trainer
from pipeline.machine.devices import device_key, exact_products, has_bf16, resolve_device
from pipeline.settings import PRESETS, DnaType, MineSettings, preset
from tests.support.fitting import fit_matrices, gaussian, quick
from tests.support.memory import peak_of_fit
from tests.support.small_models import matrix_spec
from zoo.tensors import Role

KINDS = get_args(DnaType)

# Names.


@pytest.mark.parametrize("name", ["auto", "cpu", "cuda", "cuda:0", "cuda:12"])
def test_a_device_of_these_names_may_be_asked_for(name: str) -> None:
    assert MineSettings(device=name).device == name


@pytest.mark.parametrize("name", ["gpu", "cuda:", "cuda:x", "cuda:-1", "CUDA", "cpu:1", "xpu", ""])
def test_any_other_name_is_refused_with_those_there_are(name: str) -> None:
    with pytest.raises(SettingsError, match="`device` cannot be") as raised:
        MineSettings(device=name)
    assert "cuda:N" in raised.value.hint


def test_mps_is_refused_with_the_reason() -> None:
    with pytest.raises(SettingsError, match="float64, which MPS does not have"):
        MineSettings(device="mps")


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)


@pytest.mark.usefixtures("two_gpus")
def test_a_gpu_is_taken_if_it_is_there() -> None:
    assert [resolve_device(name) for name in ("auto", "cuda", "cuda:1", "cpu")] == ["cuda", "cuda", "cuda:1", "cpu"]
    with pytest.raises(SettingsError, match="`--device cuda:2` was asked for, and there are 2") as raised:
        resolve_device("cuda:2")
    assert raised.value.hint == "Use one of: cuda:0, cuda:1."


@pytest.mark.usefixtures("two_gpus")
def test_a_gpu_that_only_imitates_bf16_does_not_have_it(monkeypatch: pytest.MonkeyPatch) -> None:
    capabilities = {0: (7, 5), 1: (8, 0)}
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capabilities[device.index or 0])
    assert [has_bf16(name) for name in ("cuda", "cuda:0", "cuda:1")] == [False, False, True]
    asked = preset("reference")
    assert [resolve_precision(asked, name).precision for name in ("cuda", "cuda:1")] == ["fp32", "bf16"]


def test_without_a_gpu_auto_is_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert resolve_device("auto") == "cpu"
    with pytest.raises(SettingsError, match="there is no CUDA device"):
        resolve_device("cuda:1")


def test_all_gpus_of_a_machine_have_one_key_and_the_cpu_its_old_one() -> None:
    assert device_key("cuda:1") == device_key("cuda") != "cuda"
    assert device_key("cpu") == "cpu"


# The arithmetic of a preset.


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_trains_pointwise_kinds_in_bf16_on_a_gpu(name: str, kind: DnaType) -> None:
    expected = "fp32" if kind == "separable" else "bf16"
    assert resolve_precision(preset(name, dna_type=kind), "cuda").precision == expected
    assert resolve_precision(preset(name, dna_type=kind, precision="fp32"), "cuda").precision == "fp32"


@pytest.mark.parametrize("kind", ["spectral", "hierarchical", "adaptive"])
def test_on_a_cpu_the_preset_reference_is_what_it_was(kind: DnaType) -> None:
    before = replace(preset("reference", dna_type=kind), precision="fp32")
    assert resolve_precision(preset("reference", dna_type=kind), "cpu") == before


def test_the_log_says_in_what_a_fit_is_trained(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    settings = replace(preset("reference", epochs=1, hidden_dim=8, num_layers=2), num_nulls=0)
    with caplog.at_level(logging.INFO):
        found = fit_matrices({matrix_spec("a", 12, 10): gaussian(12, 10)}, settings, tmp_path)
    assert "DNAs are trained in fp32 on cpu; sums of products are in fp32, and TF32 is off." in caplog.messages
    assert len(found.tensors) == 1


# Products.


def test_products_are_exact_in_a_fit_and_as_they_were_after_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    seen: list[tuple[bool, bool]] = []
    run = Trainer.run

    def watched(self: Trainer) -> Any:
        matmul = torch.backends.cuda.matmul
        seen.append((matmul.allow_tf32, matmul.allow_bf16_reduced_precision_reduction))
        return run(self)

    monkeypatch.setattr(Trainer, "run", watched)
    torch.backends.cuda.matmul.allow_tf32 = True
    try:
        fit_matrices({matrix_spec("a", 9, 8): gaussian(9, 8)}, quick(epochs=2), tmp_path)
        assert torch.backends.cuda.matmul.allow_tf32
        with exact_products():
            assert not torch.backends.cuda.matmul.allow_tf32
    finally:
        torch.backends.cuda.matmul.allow_tf32 = False
    assert seen == [(False, False)]
    assert torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction


# Memory.

DEBERTA = matrix_spec("embedding", 128_100, 768, role=Role.TOKEN_EMBEDDING)
ALIKE = {matrix_spec(name, 12, 10): gaussian(12, 10, seed) for seed, name in enumerate("abcde")}


def test_the_largest_table_of_the_zoo_with_a_null_fits_into_8_gb() -> None:
    """With the null that keeps the means too, so three of it; by the count of `footprint.py`, not measured."""
    (stack,) = plan_stacks([DEBERTA], preset("quick"), free=8 * 10**9)
    needed = stack_bytes([DEBERTA], preset("quick"), stack.size, 3)
    assert 3 * 4 * DEBERTA.num_weights < needed < 0.8 * 8e9


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["separable", "spectral", "hierarchical", "adaptive"])
def test_a_footprint_is_no_less_than_what_is_there_at_once(kind: DnaType) -> None:
    """The arrays of a problem and of a step, counted as torch allocates them on a CPU."""
    settings = quick(dna_type=kind, epochs=2, batch_size=512, num_nulls=1)
    spec = matrix_spec("a", 300, 260)
    (stack,) = plan_stacks([spec], settings)
    found = peak_of_fit(spec, settings, stack.size)
    expected = stack_bytes([spec], settings, stack.size, 2)
    assert expected / 4 < found < expected


def test_stacks_are_cut_to_what_is_free() -> None:
    settings, specs = quick(), [matrix_spec(f"t{number:02d}", 300, 200) for number in range(16)]
    (whole,) = plan_stacks(specs, settings)
    alone = 2 * slot_bytes(specs[:1], settings, whole.size)
    stacks = plan_stacks(specs, settings, free=int(5.1 * alone / 0.8))
    assert [len(stack.specs) for stack in stacks] == [5, 5, 5, 1]
    assert [len(stack.specs) for stack in plan_stacks(specs, settings, free=1)] == [1] * 16


@pytest.fixture
def small_device(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A device that holds two tensors of a stack at once; the list has the sizes that were tried."""
    tried: list[int] = []
    run = Trainer.run

    def run_if_small(self: Trainer) -> Any:
        tried.append(self.num_real)
        if self.num_real > 2:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return run(self)

    monkeypatch.setattr(Trainer, "run", run_if_small)
    return tried


def test_a_stack_that_is_too_large_is_halved_and_nothing_is_lost(
    small_device: list[int], tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[int] = []
    with caplog.at_level(logging.WARNING):
        found = fit_matrices(ALIKE, quick(epochs=4), tmp_path / "a", on_event=lambda event: done.append(event.done))
    assert small_device == [5, 2, 3, 1, 2]
    assert [message.split(":")[0] for message in caplog.messages] == [
        "cpu has too little memory for stack-000 (5 tensors, about 0.0 GB)",
        "cpu has too little memory for stack-000b (3 tensors, about 0.0 GB)",
    ]
    assert done == sorted(done) and done[-1] == 4
    monkeypatch.undo()
    whole = fit_matrices(ALIKE, quick(epochs=4), tmp_path / "b")
    assert [each.name for each in found.tensors] == [each.name for each in whole.tensors] == list("abcde")
    for ours, theirs in zip(found.tensors, whole.tensors, strict=True):
        assert ours.errors.sse == pytest.approx(theirs.errors.sse, rel=1e-4)
        assert ours.parameters == theirs.parameters
    assert sorted(name for part in found.history for name in part["tensors"]) == list("abcde")
    assert sum(len(each["tensors"]) for each in found.networks) == 5


def test_a_fit_that_goes_on_does_not_try_the_whole_again(small_device: list[int], tmp_path: Path) -> None:
    fit_matrices(ALIKE, quick(epochs=4), tmp_path)
    small_device.clear()
    again = fit_matrices(ALIKE, quick(epochs=4), tmp_path)
    assert small_device == [2, 1, 2] and len(again.tensors) == 5


def test_one_tensor_that_is_too_large_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(self: Trainer) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(Trainer, "run", fail)
    with pytest.raises(SettingsError, match="cpu has too little memory to fit a, which takes about") as raised:
        fit_matrices(ALIKE, quick(epochs=4), tmp_path)
    assert "--device cpu" in raised.value.hint
    with pytest.raises(SettingsError, match="to fit the model"):
        fit_matrices(ALIKE, quick(epochs=4, scope="model"), tmp_path / "model")
