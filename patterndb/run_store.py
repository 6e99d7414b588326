"""Runs: what was asked, how far each model came, how it ended."""

from collections.abc import Iterable, Mapping
from typing import Any

from patterndb.records import RunModelRecord, RunRecord, StageRecord
from patterndb.run_loading import not_run, read_runs
from patterndb.transactions import Transactions

__all__ = ["RunStore"]


class RunStore(Transactions):
    """The part of the database that keeps runs. Every method may be repeated without harm."""

    # What writes is loaded when something is written.

    def start_run(self, run: str, request: Mapping[str, Any]) -> None:
        """Begin the run, or go on with the one of that name: its start, models and stages stay."""
        from patterndb.run_saving import write_run

        with self._writing() as connection:
            write_run(connection, run, request)

    def set_run_models(self, run: str, keys: Iterable[str]) -> None:
        """Say which models the run is about, in this order; those it knows already keep what is known of them."""
        from patterndb.run_saving import write_model_keys

        with self._writing() as connection:
            write_model_keys(connection, run, keys)

    def record_stage(self, run: str, model_key: str, stage: StageRecord) -> None:
        """Keep how a stage went, in place of what was known of that stage of that model in that run."""
        from patterndb.run_saving import write_stage

        with self._writing() as connection:
            write_stage(connection, run, model_key, stage)

    def finish_model(self, run: str, record: RunModelRecord) -> None:
        """Keep how the model fared. Its pattern becomes the model's current one; `record.stages` are added."""
        from patterndb.run_saving import write_model

        with self._writing() as connection:
            write_model(connection, run, record)

    def finish_run(self, run: str, status: str, exit_code: int) -> None:
        """Keep how the run ended: `done`, `failed`, `partial` or `interrupted`."""
        from patterndb.run_saving import write_run_end

        with self._writing() as connection:
            write_run_end(connection, run, status, exit_code)

    def runs(self) -> tuple[RunRecord, ...]:
        """Every run, the latest first."""
        with self._reading() as reader:
            return read_runs(reader)

    def run(self, run: str) -> RunRecord:
        """One run; raises `NotMinedError` if there is none of that name."""
        with self._reading() as reader:
            found = read_runs(reader, run)
        if not found:
            raise not_run(run)
        return found[0]
