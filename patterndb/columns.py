"""Every column of every exported table: its type in pandas and its meaning, with the unit."""

from collections.abc import Mapping
from dataclasses import dataclass

from dna_zoo.errors import SettingsError

__all__ = [
    "COLUMNS",
    "COLUMN_MEANINGS",
    "READING_COLUMNS",
    "STATISTIC_SUFFIXES",
    "TABLES",
    "Column",
    "column_meaning",
    "require_table",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column: `dtype` as pandas names it, `meaning` with the unit."""

    dtype: str
    meaning: str


def _text(meaning: str) -> Column:
    return Column(dtype="string", meaning=meaning)


def _count(meaning: str) -> Column:
    return Column(dtype="Int64", meaning=meaning)


def _number(meaning: str) -> Column:
    return Column(dtype="float64", meaning=meaning)


def _truth(meaning: str) -> Column:
    return Column(dtype="boolean", meaning=meaning)


MODEL = _text("Name that the model is asked for by.")
PATTERN_KEY = _text("Content key of the pattern: weights, settings, seed, device kind and stage versions.")
CLASS = _text("Winning class: smooth, structured, noisy, sparse or dense; empty where none was given.")

SCORES = {
    f"score_{name}": _number(f"Score of the class {name}, from null-calibrated statistics; the highest wins.")
    for name in ("smooth", "structured", "noisy", "sparse", "dense")
}

FIT = {
    "fit_dna_type": _text("Kind of DNA: separable, spectral, hierarchical or adaptive. Empty if nothing was fitted."),
    "fit_scope": _text("tensor: one DNA for each tensor; model: one for all."),
    "fit_order": _text("Order of rows and columns in the fit: raw (as in the file) or seriated (canonical)."),
    "fit_precision": _text("Arithmetic of the fit: fp32, bf16 or fp16."),
    "fit_device": _text("Device of the fit."),
    "fit_num_weights": _count("Weights that the fit stands for."),
    "fit_parameters": _count("Parameters of the DNA, with the mean and scale of each tensor."),
    "fit_bits_per_weight": _number("All that must be stored for the DNA, in bits per weight."),
    "fit_order_bits_per_weight": _number("Share of permutations and signs in `fit_bits_per_weight`, bits per weight."),
    "fit_r2": _number("R2 of the fit on the original weights; 1 is perfect, 0 what the mean gives."),
    "fit_r2_low": _number("Lower end of the 95 % interval of `fit_r2`, where it was taken on a sample."),
    "fit_r2_high": _number("Upper end of the 95 % interval of `fit_r2`, where it was taken on a sample."),
    "fit_sampled_weights": _count("Weights in that sample; empty if R2 is over all."),
    "fit_null": _text("Null model that the same fit was put through."),
    "fit_num_nulls": _count("How many draws of the null were fitted."),
    "fit_null_r2": _number("Mean R2 of the fits of the null."),
    "fit_null_r2_std": _number("Standard deviation of the R2 of the null's fits."),
    "fit_gain": _number("Structure gain: `fit_r2` - `fit_null_r2`."),
    "fit_svd_r2": _number("R2 of truncated SVD with the same number of parameters."),
    "fit_svd_null_r2": _number("R2 of that SVD on the null."),
    "fit_svd_gain": _number("`fit_svd_r2` - `fit_svd_null_r2`."),
    "fit_dct_r2": _number(
        "R2 of the largest coefficients of the cosine transform, a place and a value each, with as many parameters."
    ),
    "fit_dct_null_r2": _number("R2 of those on the null."),
    "fit_ceiling_r2": _number("1 - 2^(-2 bits): the most that any code of this size reaches on iid Gaussian weights."),
    "fit_bits_per_weight_8bit": _number("`fit_bits_per_weight` with the DNA's weights at 8 bits, scales counted."),
    "fit_r2_8bit": _number("R2 of that DNA."),
    "fit_null_r2_8bit": _number("Mean R2 of the null's DNAs at 8 bits."),
    "fit_svd_r2_8bit": _number("R2 of truncated SVD with factors at 8 bits and as many bits in all."),
    "fit_svd_null_r2_8bit": _number("R2 of that SVD on the null."),
    "fit_ceiling_r2_8bit": _number("`fit_ceiling_r2` at `fit_bits_per_weight_8bit`."),
    "fit_mse": _number("Mean squared error, in squared units of the weights."),
    "fit_rmse": _number("Root mean squared error, in units of the weights."),
    "fit_mae": _number("Mean absolute error, in units of the weights."),
    "fit_smape": _number("Symmetric mean absolute percentage error, 0 to 200 %."),
    "fit_psnr": _number("Peak signal-to-noise ratio in dB, for the peak `fit_peak`."),
    "fit_peak": _number("max - min of the original weights."),
    "fit_mean_mse": _number("Mean squared error of the mean predictor (each tensor's own mean)."),
    "fit_mean_psnr": _number("PSNR of the mean predictor in dB: what explaining nothing scores."),
    "fit_steps": _count("Optimiser steps of the fit."),
    "fit_seconds": _number("Time of the fit in seconds."),
}

CATALOG = {
    "model": MODEL,
    "repo": _text("Repository on the Hugging Face hub; empty for a local directory."),
    "revision": _text("Commit in that repository, 40 hex digits."),
    "sha256": _text("sha256 of the weight file, or of the concatenated digests of its shards."),
    "tier": _count("Tier in the zoo, 1 to 4; empty for a model without a card."),
    "modality": _text("What the model was trained on: text, vision, audio, code, ..."),
    "family": _text("Family of architectures: bert, gpt2, vit, ..."),
    "architecture": _text("encoder, decoder, encoder-decoder, cnn or hybrid."),
    "specialty": _text("What it is made for: general, multilingual, code, science, ..."),
    "objective": _text("Training objective: masked-lm, causal-lm, classification, ..."),
    "is_distilled": _truth("Whether it was distilled from another model."),
    "shares_layers": _truth("Whether one stored layer serves for several, so that depth has no meaning."),
    "licence": _text("Licence of the weights as stated by their authors."),
    "parents": _text("Models it was made from, as stated, separated by semicolons."),
    "num_weights": _count("Trained weights in the file: tied ones once, buffers not."),
    "num_tensors": _count("Trained tensors in the file."),
    "run": _text("Run that saved the pattern."),
    "pattern_key": PATTERN_KEY,
    "confirmed_at": Column(
        dtype="datetime64[us, UTC]", meaning="When a run last ended with this pattern, UTC."
    ),
    "pattern_class": CLASS,
    "class_margin": _number("Score of the winning class minus that of the next."),
    **SCORES,
    "signature_version": _text("Version of the signature's dimensions; only equal versions compare."),
    **FIT,
}  # fmt: skip

TENSORS = {
    "model": MODEL,
    "pattern_key": PATTERN_KEY,
    "tensor": _text("Name of the tensor in the file, with [query] and the like for a part of a fused one."),
    "role": _text("What the tensor does in its network."),
    "block": _count("Index of its block in execution order, from 0; empty outside the blocks."),
    "depth": _number("(block + 0.5) / number of blocks; 0 for embeddings, 1 for heads, empty without meaning."),
    "rows": _count("Rows of its matrix view; 1 for vectors."),
    "cols": _count("Columns of its matrix view."),
    "num_weights": _count("rows times cols."),
    "pattern_class": CLASS,
    **SCORES,
    **FIT,
}

SIGNATURES = {
    "model": MODEL,
    "pattern_key": PATTERN_KEY,
    "version": _text("Version of the signature's dimensions; only equal versions compare."),
    "dimension": _text("Name of the dimension: role/third/statistic."),
    "role": _text("Role, or model for the model as a whole."),
    "third": _text("Third of the depth: early, middle, late, or all."),
    "statistic": _text("Statistic."),
    "value": _number("Value in the signature, a float32 in the dimension's own scale; rows without are left out."),
    "z": _number("(value - null mean) / null standard deviation; empty with fewer than two nulls."),
    "p": _number("Empirical p-value (k + 1) / (n + 1) against n nulls."),
    "q": _number("Benjamini-Hochberg q-value: `p` adjusted for all dimensions of the model's signature."),
}

DISTANCES = {
    "a": _text("First model, the earlier by name."),
    "b": _text("Second model."),
    "distance": _number("Root mean square difference of their signatures over the dimensions that both have."),
}

COLUMNS: Mapping[str, Mapping[str, Column]] = {
    "catalog": CATALOG,
    "tensors": TENSORS,
    "signatures": SIGNATURES,
    "distances": DISTANCES,
}
"""The columns that every table has, whatever is in the database."""
TABLES = tuple(COLUMNS)

STATISTIC_SUFFIXES: Mapping[str, str] = {
    "": "The statistic's value, in its own unit.",
    ".null_mean": "Mean of the statistic over the draws of its null, in the statistic's unit.",
    ".null_std": "Standard deviation over the draws of its null, in the statistic's unit.",
    ".z": "(value - null mean) / null standard deviation; empty with fewer than two nulls.",
    ".p": "Empirical p-value (k + 1) / (n + 1) against n draws of the null.",
    ".q": "Benjamini-Hochberg q-value: p adjusted for all statistics of all tensors of the model.",
    ".low": "Lower end of the 95 % interval over the choice of rows; empty where all rows were used.",
    ".high": "Upper end of the 95 % interval over the choice of rows; empty where all rows were used.",
}
"""`tensors` also has these columns for every statistic that was measured: the statistic's name and a suffix."""

COLUMN_MEANINGS: Mapping[str, Mapping[str, str]] = {
    table: {name: column.meaning for name, column in columns.items()}
    | (
        {f"<statistic>{suffix}": meaning for suffix, meaning in STATISTIC_SUFFIXES.items()}
        if table == "tensors"
        else {}
    )
    for table, columns in COLUMNS.items()
}
"""What each column of each table means; `<statistic>` stands for the name of any statistic."""

FIT_FOR_READING = ("fit_bits_per_weight", "fit_r2", "fit_null_r2", "fit_gain", "fit_svd_r2", "fit_r2_8bit")
READING_COLUMNS: Mapping[str, tuple[str, ...]] = {
    "catalog": ("model", "family", "architecture", "num_weights", "pattern_class", *FIT_FOR_READING),
    "tensors": ("model", "tensor", "role", "rows", "cols", "pattern_class", *FIT_FOR_READING),
    "signatures": ("model", "dimension", "value", "z", "p", "q"),
    "distances": ("a", "b", "distance"),
}
"""The columns that fit on a page: what Markdown and LaTeX get."""


def column_meaning(table: str, column: str) -> str:
    """What the column means; raises `KeyError` for one that nobody has written down."""
    meanings = COLUMN_MEANINGS[table]
    if column in meanings:
        return meanings[column]
    _, dot, suffix = column.rpartition(".")
    key = f"<statistic>{dot}{suffix}"
    return meanings[key] if key in meanings else meanings["<statistic>"]


def require_table(table: str) -> None:
    """Raise `SettingsError` for a name that is none of `TABLES`."""
    if table not in TABLES:
        raise SettingsError(f"There is no table {table!r} to export.", hint=f"Use one of: {', '.join(TABLES)}.")
