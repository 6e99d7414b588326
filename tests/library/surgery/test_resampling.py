"""Layers of a model of another width, through its DNA."""

from pathlib import Path

import pytest
import torch

from library.models import open_model
from library.surgery.alignment import values_of
from library.surgery.layers import layers_of
from library.surgery.resampling import resampler
from pipeline.dna.dna import Dna
from tests.support.mining import database_of, mine_into, request
from tests.support.symmetries import make_model

SIZES = {24: 36, 72: 108, 40: 60, 96: 144}
"""Widths of the small models, and those of a host half as wide again."""


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["decoder", pytest.param("vit", marks=pytest.mark.slow)])
def test_layers_come_at_the_hosts_shapes_by_the_names_of_the_file(kind: str, tmp_path: Path) -> None:
    make_model(kind).save_pretrained(tmp_path / "narrow")
    home = tmp_path / "home"
    mine_into(home, [request(tmp_path / "narrow", "narrow")])
    loaded = open_model(tmp_path / "narrow")
    state = values_of(loaded.model)
    with database_of(home) as database:
        kept = next(each for each in database.load_pattern("narrow").artifacts if each.kind == "checkpoint")
        resample = resampler(database, "narrow", loaded, home=home)
    dna = Dna.load(home / kept.path)
    for name in layers_of(loaded)[0].names.values():
        shape = tuple(SIZES[size] for size in state[name].shape)
        found = resample(name, state[name], shape)
        assert found.shape == shape and found.isfinite().all()
    enter = "transformer.h.0.mlp.c_fc.weight" if kind == "decoder" else "vit.layers.0.mlp.fc1.weight"
    same = resample(enter, state[enter], tuple(state[enter].shape))
    own = dna[
        "transformer.h.0.mlp.c_fc.weight" if kind == "decoder" else "vit.encoder.layer.0.intermediate.dense.weight"
    ]
    assert torch.equal(same, own.canonical().T if kind == "decoder" else own.canonical())
