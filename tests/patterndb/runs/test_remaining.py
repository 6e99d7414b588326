"""How long a run will still take: what stages took before, and how fast one at work is."""

import datetime as dt
from typing import Any

import pytest

from patterndb.records import Activity, RunModelRecord, RunRecord, StageRecord
from patterndb.runs.remaining import STAGES, seconds_left

TIMES = {stage: {"": 10.0} for stage in STAGES}


def run(*models: RunModelRecord, **more: Any) -> RunRecord:
    now = dt.datetime(2026, 11, 28, tzinfo=dt.UTC)
    return RunRecord(
        run="r", status="running", request={}, started=now, finished=None, exit_code=None, models=models, **more
    )


def pending(key: str, *ended: str) -> RunModelRecord:
    stages = tuple(StageRecord(stage=stage, key="k", status="done") for stage in ended)
    return RunModelRecord(key=key, status="pending", stages=stages)


def test_a_model_that_has_not_begun_takes_what_stages_took() -> None:
    assert seconds_left(run(pending("a"), RunModelRecord(key="b", status="done")), TIMES) == 60


def test_what_the_model_itself_took_counts_more() -> None:
    times = {**TIMES, "fit": {"": 10.0, "a": 100.0}}
    assert seconds_left(run(pending("a"), pending("b")), times) == 150 + 60


@pytest.mark.parametrize(
    ("activity", "left"),
    [({"done": 25, "total": 100, "seconds": 5.0}, 15 + 20), ({"seconds": 4.0}, 6 + 20), ({"seconds": 99.0}, 0 + 20)],
)
def test_a_stage_at_work_goes_on_as_it_did(activity: dict[str, float], left: float) -> None:
    at_work = (Activity(model="a", stage="fit", **activity),)  # type: ignore[arg-type]
    assert seconds_left(run(pending("a", "fetch", "extract", "order"), at_work=at_work), TIMES) == left


def test_models_at_work_together_share_it() -> None:
    at_work = tuple(Activity(model=key, stage="fetch", seconds=0.0) for key in "ab")
    assert seconds_left(run(pending("a"), pending("b"), at_work=at_work), TIMES) == 60


def test_a_stage_that_was_never_timed_makes_it_unknown() -> None:
    assert seconds_left(run(pending("a")), {**TIMES, "fit": {}}) is None
    assert seconds_left(run(), {}) == 0
