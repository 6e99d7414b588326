"""How many matrices go together, and a device that holds fewer than was thought."""

import logging
from collections.abc import Sequence

import numpy as np
import pytest
import torch

import pipeline.dense.stacks as stacks
from dna_zoo.errors import SettingsError
from pipeline.analyse.measures.device import numbers_of
from pipeline.dense.stacks import halved_if_too_large, most_in_a_stack, read, version_bytes
from pipeline.nulls import NULLS
from tests.support.memory import peak_of
from tests.support.small_models import matrix_spec

CPU = torch.device("cpu")


def doubled(items: Sequence[int]) -> list[int]:
    """On a device that holds two."""
    if len(items) > 2:
        raise torch.OutOfMemoryError("CUDA out of memory.")
    return [2 * item for item in items]


def test_what_is_too_large_is_halved_and_nothing_is_lost(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert halved_if_too_large(range(7), doubled, CPU, "words") == [0, 2, 4, 6, 8, 10, 12]
    assert caplog.messages[0] == "cpu has too little memory for 7 versions of words: they are halved."
    assert len(caplog.messages) == 3


def test_one_matrix_that_is_too_large_says_what_to_do() -> None:
    def fail(items: Sequence[int]) -> list[int]:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    with pytest.raises(SettingsError, match="cpu has too little memory to analyse words") as raised:
        halved_if_too_large([1, 2], fail, CPU, "words")
    assert raised.value.hint == "Use `--device cpu`."


def test_stacks_are_cut_to_what_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    assert most_in_a_stack(1024, 1024, CPU) == 64
    monkeypatch.setattr(stacks, "free_bytes", lambda device: int(5.5 * version_bytes(1024, 1024) / 0.8))
    assert most_in_a_stack(1024, 1024, CPU) == 5
    monkeypatch.setattr(stacks, "free_bytes", lambda device: 1)
    assert most_in_a_stack(1024, 1024, CPU) == 1


@pytest.mark.parametrize(("rows", "cols"), [(256, 128), (64, 256), (160, 160)])
def test_a_stack_holds_no_more_than_was_worked_out(rows: int, cols: int) -> None:
    """As torch allocates it on a CPU; what the solver works on is not seen, and has a share of its own."""
    values = np.random.default_rng(0).standard_normal((3, rows, cols), dtype=np.float32)
    stack, spec = torch.from_numpy(values), matrix_spec("any", rows, cols)
    peak = peak_of(lambda: read(numbers_of(stack, spec, tuple(NULLS), needs_order=True))) + values.nbytes
    assert 3 * version_bytes(rows, cols) / 4 < peak < 3 * version_bytes(rows, cols)


def test_numbers_of_a_stack_are_read_in_one_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    copies: list[tuple[int, ...]] = []
    cpu = torch.Tensor.cpu
    monkeypatch.setattr(torch.Tensor, "cpu", lambda self: (copies.append(tuple(self.shape)), cpu(self))[1])
    found = read({"a": torch.tensor([1.0, 2.0]), "b": torch.arange(6).view(2, 3), "c": torch.tensor([True, False])})
    assert copies == [(2, 5)]
    assert found["a"].tolist() == [[1.0], [2.0]] and found["b"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert found["c"].tolist() == [[1.0], [0.0]]
