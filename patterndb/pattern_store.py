"""Patterns: saved in one transaction, loaded exactly as saved."""

from collections.abc import Callable, Mapping

from dna_zoo.errors import NotMinedError, StoreError
from patterndb.loading import (
    not_mined,
    read_model_statistics,
    read_pattern,
    read_signatures,
    read_summaries,
    read_tensors,
)
from patterndb.records import PatternRecord, PatternSummary, SignatureEntry, Statistic, TensorEntry
from patterndb.transactions import Transactions

__all__ = ["PatternStore"]


def _ignore_step(step: str) -> None:
    """For callers that do not watch."""


class PatternStore(Transactions):
    """The part of the database that keeps patterns."""

    def save_pattern(self, pattern: PatternRecord, on_step: Callable[[str], None] | None = None) -> None:
        """Keep the pattern, in place of one with the same `pattern_key`, in one transaction.

        It becomes the current pattern of its model key. `on_step` is told each of `saving.SAVE_STEPS` once it is
        written; a process killed there leaves nothing of it. Raises `StoreError` if the run was never started, or
        if the record holds what no database keeps.
        """
        from patterndb.saving import write_pattern

        try:
            with self._writing() as connection:
                write_pattern(connection, pattern, on_step or _ignore_step)
        except (TypeError, ValueError) as error:
            raise StoreError(
                f"The pattern of {pattern.model.key!r} cannot be kept: {error}.",
                hint="Settings, provenance and clusters must be finite JSON; a signature as long as its names.",
            ) from error

    def load_pattern(self, name: str, *, run: str | None = None, with_tensors: bool = True) -> PatternRecord:
        """The current pattern of the model key `name`, or the one that `run` ended with, exactly as saved.

        Single tensors are nearly all of a pattern: without `with_tensors` they are left out, and `tensors` is empty.
        Raises `NotMinedError` if there is none.
        """
        with self._reading() as reader:
            return read_pattern(reader, name, run, with_tensors=with_tensors)

    def patterns(self) -> tuple[PatternSummary, ...]:
        """Every pattern in short, by model key, the current one of each key first."""
        with self._reading() as reader:
            return read_summaries(reader)

    def signatures(self, *, with_nulls: bool = True) -> tuple[SignatureEntry, ...]:
        """The signature of every model key's current pattern, by key; its `z` and `p` only `with_nulls`."""
        with self._reading() as reader:
            return read_signatures(reader, with_nulls=with_nulls)

    def model_statistics(self) -> Mapping[str, tuple[Statistic, ...]]:
        """Pattern key -> statistics of the model as a whole, for every model key's current pattern."""
        with self._reading() as reader:
            return read_model_statistics(reader)

    def tensors(self) -> tuple[TensorEntry, ...]:
        """Every tensor of every model key's current pattern, by key and in the order of the pattern."""
        with self._reading() as reader:
            return read_tensors(reader, with_statistics=True)

    def _not_mined(self, name: str) -> NotMinedError:
        """The error to raise for a key that has no pattern."""
        with self._reading() as reader:
            return not_mined(reader, name, None)
