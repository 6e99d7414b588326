"""Every column of every exported table: its type in pandas and its meaning, with the unit."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from dna_zoo.errors import SettingsError, did_you_mean
from patterndb.fields import describe
from patterndb.records import ChosenSettings, FitRecord, ModelRecord, RoleRecord, Statistic, TensorRecord

__all__ = [
    "COLUMNS",
    "COLUMN_MEANINGS",
    "PAPER_COLUMNS",
    "READING_COLUMNS",
    "STATISTIC_SUFFIXES",
    "TABLES",
    "WITH_STATISTICS",
    "Column",
    "require_columns",
    "require_table",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column: `dtype` as pandas names it, `meaning` with the unit."""

    dtype: str
    meaning: str


DTYPES = {str: "string", int: "Int64", float: "float64", bool: "boolean", tuple: "string"}


def _text(meaning: str) -> Column:
    return Column(dtype="string", meaning=meaning)


def _number(meaning: str) -> Column:
    return Column(dtype="float64", meaning=meaning)


def _of_record(record: type, prefix: str = "") -> dict[str, Column]:
    """A column for each described field."""
    return {f"{prefix}{each.name}": Column(dtype=DTYPES[each.kind], meaning=each.meaning) for each in describe(record)}


MODEL_FIELDS = _of_record(ModelRecord)
MODEL = MODEL_FIELDS.pop("key")
TENSOR_FIELDS = _of_record(TensorRecord)
TENSOR = TENSOR_FIELDS.pop("name")
PATTERN_KEY = _text("Content key of the pattern: weights, settings, seed, device kind and stage versions.")
VERSION = _text("Version of the signature's dimensions; only equal versions compare.")
SCORES = {
    f"score_{name}": _number(f"Score of the class {name}, from null-calibrated statistics; the highest wins.")
    for name in ("smooth", "structured", "noisy", "sparse", "dense")
}
FIT = _of_record(FitRecord, "fit_")
CHOSEN = _of_record(ChosenSettings)

CATALOG = {
    "model": MODEL,
    **{name: MODEL_FIELDS.pop(name) for name in ("repo", "revision")},
    **MODEL_FIELDS,
    "run": _text("Run that saved the pattern."),
    "pattern_key": PATTERN_KEY,
    "confirmed_at": Column(dtype="datetime64[us, UTC]", meaning="When a run last ended with this pattern, UTC."),
    "pattern_class": TENSOR_FIELDS["pattern_class"],
    "class_margin": _number("Score of the winning class minus that of the next."),
    **SCORES,
    "signature_version": VERSION,
    **CHOSEN,
    **FIT,
}

TENSORS = {"model": MODEL, "pattern_key": PATTERN_KEY, "tensor": TENSOR, **TENSOR_FIELDS, **SCORES, **CHOSEN, **FIT}

ROLES = {"model": MODEL, "pattern_key": PATTERN_KEY, **_of_record(RoleRecord), **CHOSEN, **FIT}

SIGNATURES = {
    "model": MODEL,
    "pattern_key": PATTERN_KEY,
    "version": VERSION,
    "dimension": _text("Name of the dimension: role/third/statistic."),
    "role": _text("Role, or model for the model as a whole."),
    "third": _text("Third of the depth: early, middle, late, or all."),
    "statistic": _text("Name of the statistic; the glossary has its formula."),
    "value": _number("Value in the signature, a float32 in the dimension's own scale; rows without are left out."),
    "z": _number("(value - null mean) / null standard deviation; empty with fewer than two nulls."),
    "p": _number("Two-sided p-value: the rank of the value among recombinations of values and null draws."),
    "q": _number("Benjamini-Hochberg q-value: `p` adjusted for all dimensions of the model's signature."),
}

DISTANCES = {
    "a": _text("First model, the earlier by name."),
    "b": _text("Second model."),
    "is_same_file": Column(dtype="boolean", meaning="Whether their files of weights are equal."),
    "is_partial": Column(dtype="boolean", meaning="Whether a considerable share of one of them could not be read."),
    "weights": _number("Distance of their weights: 0 for copies, 1 for unrelated ones; empty if not comparable."),
    "kind": _number("Distance of their kinds: root mean square difference of the statistics that both have."),
}

COLUMNS: Mapping[str, Mapping[str, Column]] = {
    "catalog": CATALOG,
    "tensors": TENSORS,
    "roles": ROLES,
    "signatures": SIGNATURES,
    "distances": DISTANCES,
}
"""The columns that every table has, whatever is in the database."""
TABLES = tuple(COLUMNS)


def _statistic_suffixes() -> Iterator[tuple[str, str]]:
    for each in describe(Statistic):
        if each.kind is float:
            yield "" if each.name == "value" else f".{each.name}", each.meaning
        if each.name == "p":
            yield ".q", "Benjamini-Hochberg q-value: p adjusted for all statistics of all rows of the model."


STATISTIC_SUFFIXES: Mapping[str, str] = dict(_statistic_suffixes())
"""`tensors` and `roles` also have these columns for every statistic that was measured: its name and a suffix."""
WITH_STATISTICS = ("tensors", "roles")

COLUMN_MEANINGS: Mapping[str, Mapping[str, str]] = {
    table: {name: column.meaning for name, column in columns.items()}
    | (
        {f"<statistic>{suffix}": meaning for suffix, meaning in STATISTIC_SUFFIXES.items()}
        if table in WITH_STATISTICS
        else {}
    )
    for table, columns in COLUMNS.items()
}
"""What each column of each table means; `<statistic>` stands for the name of any statistic."""

FIT_FOR_READING = (
    "fit_bits_per_weight",
    "fit_r2",
    "fit_means_null_r2",
    "fit_gain_beyond_means",
    "fit_svd_r2",
    "fit_r2_8bit",
)
READING_COLUMNS: Mapping[str, tuple[str, ...]] = {
    "catalog": ("model", "family", "architecture", "num_weights", "pattern_class", *FIT_FOR_READING),
    "tensors": ("model", "tensor", "role", "rows", "cols", "pattern_class", *FIT_FOR_READING),
    "roles": ("model", "role", "tensors", "weights", "pattern_class", *FIT_FOR_READING),
    "signatures": ("model", "dimension", "value", "z", "p", "q"),
    "distances": ("a", "b", "weights", "kind"),
}
"""The columns that fit on a page: what Markdown gets."""

FIT_FOR_PAPERS = FIT_FOR_READING[:-1]
PAPER_COLUMNS: Mapping[str, tuple[str, ...]] = {
    **READING_COLUMNS,
    "catalog": ("model", "architecture", "num_weights", "pattern_class", *FIT_FOR_PAPERS),
    "tensors": ("model", "tensor", "pattern_class", *FIT_FOR_PAPERS),
    "roles": ("model", "role", "weights", "pattern_class", *FIT_FOR_PAPERS),
}
"""The columns that LaTeX gets, which fit into the lines of an article."""


MOST_NAMED = 12
"""Columns that an error names; a table with statistics has hundreds."""


def require_table(table: str) -> None:
    """Raise `SettingsError` for a name that is none of `TABLES`."""
    if table not in TABLES:
        raise SettingsError(f"There is no table {table!r} to export.", hint=f"Use one of: {', '.join(TABLES)}.")


def require_columns(table: str, names: Sequence[str], known: Sequence[str]) -> None:
    """Raise `SettingsError` for a name that is none of the columns `known` of the table, for one that comes twice (not
    every format can hold that), and where there is none."""
    if not names:
        raise SettingsError(
            "No column is named.", hint=f"`dna-zoo export --list --table {table}` says which there are."
        )
    for name in names:
        if name not in known:
            parts = [each for each in known if name.lower() in each.lower()][:MOST_NAMED]
            hint = f"Columns with that in their name: {', '.join(parts)}." if parts else did_you_mean(name, known)
            hint = hint or f"`dna-zoo export --list --table {table}` says which it has."
            raise SettingsError(f"The table {table!r} has no column {name!r}.", hint=hint)
        if names.count(name) > 1:
            raise SettingsError(f"The column {name!r} is named more than once.", hint="Name each column once.")
