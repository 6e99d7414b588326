"""The budget of a model goes where it gains, within what even shares would spend, and the same way after a kill."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from pipeline.fit import split as split_module
from pipeline.fit.split import LEVELS, split_budget
from pipeline.fit.stacks import plan_stacks
from pipeline.kept.sealed import save_json
from pipeline.nulls import ordinals_of
from pipeline.settings import FitSettings
from tests.support.fitting import Float32, fit_matrices, gaussian, low_rank, quick
from tests.support.small_models import matrix_spec
from zoo.tensors import Role, TensorSpec

SETTINGS = quick(budget=0.04)


def model() -> dict[TensorSpec, Float32]:
    """Noise twice, noise with a dozen strong directions, and a table outside the blocks."""
    table = matrix_spec("table", 192, 96, role=Role.TOKEN_EMBEDDING)
    return {
        matrix_spec("0.noise", 96, 96, block=0): gaussian(96, 96),
        matrix_spec("1.planted", 96, 96, block=1): gaussian(96, 96, 1) + 40 * low_rank(96, 96, 12),
        matrix_spec("2.noise", 96, 96, block=2): gaussian(96, 96, 3),
        table: gaussian(192, 96, 2),
    }


def split(tensors: Mapping[TensorSpec, Float32], settings: FitSettings = SETTINGS) -> dict[str, float]:
    by_name = {spec.name: matrix for spec, matrix in tensors.items()}
    return split_budget(
        list(tensors),
        lambda spec: by_name[spec.name],
        settings,
        seed=0,
        ordinals=ordinals_of(list(tensors)),
        bought=dict.fromkeys(by_name, 0),
    )


def test_what_has_structure_gets_more_than_noise() -> None:
    levels = split(model())
    assert levels["0.noise"] < 1 < levels["1.planted"]
    assert set(levels.values()) <= set(LEVELS)


def test_a_split_spends_no_more_than_even_shares() -> None:
    tensors = model()
    levels = split(tensors)
    spent = sum(split_module._point(spec, SETTINGS, levels[spec.name], 0)[0] for spec in tensors)
    assert spent <= sum(split_module._point(spec, SETTINGS, 1.0, 0)[0] for spec in tensors)


def test_what_the_blocks_have_does_not_depend_on_a_vocabulary() -> None:
    tensors = model()
    inside = {spec: matrix for spec, matrix in tensors.items() if spec.block is not None}
    assert split(inside).items() <= split(tensors).items()


def test_the_split_stays_when_a_tensor_and_its_null_are_exchanged(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise lucky noise would have the larger network, and its null too: a gain where there is no structure."""
    first, second = gaussian(96, 96, 5), 3 * gaussian(96, 96, 6) + 40 * low_rank(96, 96, 3)
    pairs = {"0.noise": (first, second), "1.planted": (gaussian(96, 96, 7), gaussian(96, 96, 8))}
    specs = [matrix_spec("0.noise", 96, 96, block=0), matrix_spec("1.planted", 96, 96, block=1)]

    def found(*, exchanged: bool) -> dict[str, float]:
        monkeypatch.setattr(split_module, "draw_null", lambda m, spec, *place: pairs[spec.name][not exchanged])
        return split({spec: pairs[spec.name][exchanged] for spec in specs})

    assert found(exchanged=False) == found(exchanged=True)


def test_tensors_of_one_shape_and_level_train_together() -> None:
    specs = [matrix_spec(f"{block}.ffn.in", 96, 96, block=block) for block in range(4)]
    stacks = plan_stacks(specs, SETTINGS, {"1.ffn.in": 4.0, "3.ffn.in": 4.0})
    assert [[spec.name for spec in stack.specs] for stack in stacks] == [
        ["0.ffn.in", "2.ffn.in"],
        ["1.ffn.in", "3.ffn.in"],
    ]
    assert stacks[0].size.hidden_dim < stacks[1].size.hidden_dim


def test_a_fit_that_goes_on_has_the_split_it_began_with(tmp_path: Path) -> None:
    kept = {"0.noise": 4.0, "1.planted": 0.5, "2.noise": 1.0, "table": 1.0}
    save_json(tmp_path / "split.json", kept)
    found = {
        item.name: item.parameters for item in fit_matrices(model(), quick(budget=0.04, epochs=2), tmp_path).tensors
    }
    assert found["0.noise"] > 4 * found["1.planted"]


def test_a_given_size_is_the_same_for_all(tmp_path: Path) -> None:
    tensors = model()
    fits = fit_matrices(tensors, quick(hidden_dim=8, rank=4, num_moves=0, epochs=2), tmp_path).tensors
    assert len({item.parameters for item in fits}) == 1 and not (tmp_path / "split.json").exists()
    assert np.isfinite([item.errors.sse for item in fits]).all()
