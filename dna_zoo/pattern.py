"""What was found in one model, as frames of pandas, with its null beside each number."""

from dataclasses import dataclass
from functools import cached_property
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from patterndb.records import FitRecord, ModelRecord, PatternRecord
from patterndb.store import PatternDatabase

if TYPE_CHECKING:
    import pandas as pd

    from pipeline.dna.dna import Dna

__all__ = ["Pattern"]


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Pattern:
    """One mined model. Frames are made anew each time they are asked for: keep what you change."""

    record: PatternRecord
    """Without its single tensors."""
    database: PatternDatabase
    home: Path

    @property
    def key(self) -> str:
        return self.record.model.key

    @property
    def model(self) -> ModelRecord:
        """What the model is."""
        return self.record.model

    @property
    def pattern_class(self) -> str:
        return self.record.pattern_class

    @property
    def fit(self) -> FitRecord | None:
        """The fit report of all matrices together; None where nothing was fitted."""
        return self.record.fit

    @cached_property
    def _whole(self) -> PatternRecord:
        return self.database.load_pattern(self.key, run=self.record.run)

    @property
    def tensors(self) -> "pd.DataFrame":
        """A row for each tensor, by name: what it is, its fit and its statistics.

        A statistic NAME is in `NAME`, `NAME.null_mean`, `NAME.null_std`, `NAME.z`, `NAME.p`, `NAME.q`; q is adjusted
        for all tests of the model's tensors. The fit's columns are `fit_r2`, `fit_null_r2` and so on
        (`patterndb.exports.columns.COLUMN_MEANINGS`).
        """
        from patterndb.exports.catalog import pattern_tensors_frame

        return pattern_tensors_frame(self._whole)

    @property
    def roles(self) -> "pd.DataFrame":
        """A row for each role, likewise; q is adjusted for all tests of the roles."""
        from patterndb.exports.catalog import roles_frame

        return roles_frame(self.record)

    @property
    def statistics(self) -> "pd.DataFrame":
        """A row for each statistic of the model as a whole, by name; they are one family of tests."""
        from patterndb.exports.catalog import statistics_frame

        return statistics_frame(self.record)

    @property
    def signature(self) -> "pd.DataFrame":
        """A row for each dimension of the signature that the model has, by name; they are one family of tests."""
        from patterndb.exports.catalog import signature_frame

        return signature_frame(self.record)

    def dna(self) -> "Dna":
        """The DNA that the fit left. Raises `DnaFileError` where there is none, or it is gone."""
        from pipeline.dna.mined import mined_dna

        return mined_dna(self.record, self.database, self.home)

    def __repr__(self) -> str:
        fit = self.fit
        null = None if fit is None else fit.strictest_null_r2
        fitted = "not fitted" if fit is None else f"R² {fit.r2:.3f} (null {'-' if null is None else f'{null:.3f}'})"
        return f"<Pattern of {self.key}: {self.model.num_weights:,} weights, {self.pattern_class}, {fitted}>"

    def _repr_html_(self) -> str:
        columns = ["tensors", "weights", "pattern_class", "fit_r2", "fit_null_r2", "fit_means_null_r2", "fit_svd_r2"]
        frame = self.roles
        shown = frame[[name for name in columns if name in frame]]
        table = shown.to_html(float_format=lambda value: f"{value:.3f}", na_rep="-")
        return f"<p>{escape(repr(self)[1:-1])}</p>{table}"
