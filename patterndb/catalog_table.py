"""A table by its columns, as plain values: what becomes a frame for pandas or a file for papers."""

import math
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from patterndb.columns import COLUMNS

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["NUMBERS", "CatalogTable", "is_missing"]

NUMBERS = ("float64", "Int64")
"""Types of columns that hold numbers, as pandas names them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogTable:
    """One of the tables of `patterndb.columns.COLUMNS`, or a part of it.

    `columns` are of one length and in order; None, or NaN in a column of floats, is what is missing. `dtypes` are as
    pandas names them: string, Int64, float64, boolean and datetime64[us, UTC].
    """

    name: str
    columns: Mapping[str, Sequence[Any]]
    dtypes: Mapping[str, str]

    @classmethod
    def of_rows(
        cls, name: str, rows: Iterable[Mapping[str, Any]], extra: "Mapping[str, array[float]] | None" = None
    ) -> "CatalogTable":
        """The table with all its columns, also when there are no rows; `extra` columns of floats come after them."""
        rows = list(rows)
        declared = COLUMNS[name]
        columns: dict[str, Sequence[Any]] = {column: [row.get(column) for row in rows] for column in declared}
        dtypes = {column: known.dtype for column, known in declared.items()}
        return cls(
            name=name,
            columns={**columns, **(extra or {})},
            dtypes=dtypes | dict.fromkeys(extra or {}, "float64"),
        )

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def rows(self, names: Sequence[str] | None = None) -> Iterator[tuple[Any, ...]]:
        """The rows, of all columns or of some, in order."""
        return zip(*(self.columns[name] for name in (self.columns if names is None else names)), strict=True)

    def to_pandas(self) -> "pd.DataFrame":
        """A frame with these columns and types; `attrs["table"]` names the table."""
        import pandas as pd

        frame = pd.DataFrame(
            {name: pd.Series(column, dtype=self.dtypes[name]) for name, column in self.columns.items()}
        )
        frame.attrs["table"] = self.name
        return frame


def is_missing(value: Any) -> bool:
    """None and NaN."""
    return value is None or (isinstance(value, float) and math.isnan(value))
