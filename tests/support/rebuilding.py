"""Specimens, mined with fits that cost little, as rebuilding and evaluating find them."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from library.rebuild.source import MinedModel, find_model
from pipeline.settings import AnalysisSettings, FitSettings, MineSettings
from tests.support.mining import database_of, mine_into, request

SPECIMENS = Path(__file__).parents[2] / "data" / "specimens"
FIT: Mapping[str, Any] = {"epochs": 12, "hidden_dim": 8, "rank": 2, "num_nulls": 1}


def mined(home: Path, folder: Path, *, budget: float | None = None, **fit: Any) -> MinedModel:
    """The model in `folder` under its name, mined in `home` with these settings and found there again."""
    settings = FitSettings(**{**FIT, **fit})
    if budget is not None:
        settings = replace(settings, budget=budget, hidden_dim=None, rank=None)
    done = MineSettings(fit=settings, analysis=AnalysisSettings(num_nulls=0))
    run = mine_into(home, [request(folder, folder.name)], done)
    assert run.status == "done", run
    with database_of(home) as database:
        return find_model(database, folder.name, home=home, budget=budget)
