"""How long a run will still take, from what its stages took before."""

from collections.abc import Mapping

from patterndb.records import Activity, RunModelRecord, RunRecord

__all__ = ["STAGES", "seconds_left"]

STAGES = ("fetch", "extract", "order", "fit", "analyse", "persist")
"""Of a model, in the order in which it goes through them."""

Times = Mapping[str, Mapping[str, float]]
"""Stage -> model key -> seconds; "" stands for all models together."""


def seconds_left(run: RunRecord, times: Times) -> float | None:
    """An estimate; None where nothing is known of a stage that is still to come.

    A stage at work goes on as fast as it did. One that is to come takes what it took with this model, or with all
    models on the average. Models that are at work at the same time share what is left.
    """
    pending = [model for model in run.models if model.status == "pending"]
    left = [_of_model(model, run, times) for model in pending]
    if any(each is None for each in left):
        return None
    return sum(each for each in left if each is not None) / max(1, len({each.model for each in run.at_work}))


def _of_model(model: RunModelRecord, run: RunRecord, times: Times) -> float | None:
    ended = {stage.stage for stage in model.stages}
    at_work = {each.stage: each for each in run.at_work if each.model == model.key}
    left = [_of_stage(stage, model.key, at_work.get(stage), times) for stage in STAGES if stage not in ended]
    return None if any(each is None for each in left) else sum(each for each in left if each is not None)


def _of_stage(stage: str, key: str, activity: Activity | None, times: Times) -> float | None:
    if activity is not None and activity.done and activity.total:
        return activity.seconds * max(activity.total - activity.done, 0) / activity.done
    known = times.get(stage, {})
    whole = known.get(key, known.get(""))
    if whole is None or activity is None:
        return whole
    return max(whole - activity.seconds, 0)
