"""Patterns as the pipeline would save them, made up from a seed."""

import hashlib
from dataclasses import replace
from typing import Any

import numpy as np

from patterndb.records import (
    ArtifactRecord,
    FitRecord,
    ModelRecord,
    PatternRecord,
    RoleRecord,
    RunModelRecord,
    SignatureRecord,
    StageRecord,
    Statistic,
    TensorRecord,
)
from patterndb.store import PatternDatabase

__all__ = ["make_fit", "make_pattern", "save_patterns"]

ROLES = ("token_embedding", "attention_query", "attention_value", "ffn_in", "ffn_out")
ABSENT_ROLES = ("convolution", "head")
THIRDS = ("early", "middle", "late")
DIMENSIONS = ("stable_rank", "spectral_entropy", "alpha", "low_frequency_share", "kurtosis")
CLASSES = ("smooth", "structured", "noisy", "sparse", "dense")


def make_fit(rng: np.random.Generator, num_weights: int = 4096) -> FitRecord:
    """A fit report whose figures agree with each other."""
    r2, null_r2, svd_r2, svd_null_r2 = (float(x) for x in rng.uniform(0.01, 0.4, 4))
    bits, mse, mean_mse, peak = 0.35, float(rng.uniform(1e-4, 1e-3)), 2e-3, 1.7
    return FitRecord(
        dna_type="separable", scope="tensor", order="seriated", precision="fp32", device="cpu",
        num_weights=num_weights, parameters=num_weights // 100, bits_per_weight=bits, order_bits_per_weight=0.03,
        r2=r2, num_nulls=2, null_r2=null_r2, null_r2_std=0.002, gain=r2 - null_r2,
        svd_r2=svd_r2, svd_null_r2=svd_null_r2, svd_gain=svd_r2 - svd_null_r2,
        additive_r2=0.01, additive_numbers=64, means_null_r2=null_r2 + 0.002, means_null_r2_std=0.002,
        gain_beyond_means=r2 - null_r2 - 0.002, svd_means_null_r2=svd_null_r2 + 0.002,
        svd_bits_width=4, svd_bits_r2=1.1 * svd_r2, svd_bits_null_r2=1.1 * svd_null_r2,
        dct_bits_r2=0.9 * svd_r2, dct_bits_null_r2=0.9 * svd_null_r2,
        dct_r2=0.8 * svd_r2, dct_null_r2=0.8 * svd_null_r2, ceiling_r2=1 - 2 ** (-2 * bits),
        bits_per_weight_8bit=0.4 * bits, r2_8bit=r2 - 0.001, null_r2_8bit=null_r2 - 0.001, svd_r2_8bit=0.9 * svd_r2,
        svd_null_r2_8bit=0.9 * svd_null_r2, ceiling_r2_8bit=1 - 2 ** (-0.8 * bits),
        mse=mse, rmse=mse**0.5, mae=0.8 * mse**0.5, smape=120.0, psnr=float(10 * np.log10(peak**2 / mse)), peak=peak,
        mean_mse=mean_mse, mean_psnr=float(10 * np.log10(peak**2 / mean_mse)), steps=1000, seconds=1.25,
    )  # fmt: skip


def make_statistics(rng: np.random.Generator) -> tuple[Statistic, ...]:
    """One calibrated statistic, one that no null was drawn for."""
    value, mean = (float(x) for x in rng.normal(size=2))
    calibrated = Statistic(
        name="spectral_entropy", value=value, null="shuffle", num_nulls=8, null_mean=mean, null_std=0.5,
        z=(value - mean) / 0.5, p=(1 + int(abs(100 * value)) % 9) / 9,
    )  # fmt: skip
    norm = float(rng.gamma(3.0))
    return (calibrated, Statistic(name="spectral_norm", value=norm, low=0.9 * norm, high=1.1 * norm))


def make_tensors(rng: np.random.Generator, num_blocks: int) -> tuple[TensorRecord, ...]:
    """One matrix of each role in each block, an embedding, and a norm that is not fitted."""
    places = [("token_embedding", None, 0.0), ("norm", None, 1.0)]
    places += [(role, block, (block + 0.5) / num_blocks) for block in range(num_blocks) for role in ROLES[1:]]
    return tuple(
        TensorRecord(
            name=f"encoder.{'' if block is None else f'layer.{block}.'}{role}.weight",
            role=role, block=block, depth=depth, rows=1 if role == "norm" else 64, cols=64,
            num_weights=64 if role == "norm" else 4096,
            pattern_class=None if role == "norm" else "structured",
            class_scores={} if role == "norm" else make_scores(rng),
            fit=None if role == "norm" else make_fit(rng),
            statistics=make_statistics(rng),
        )
        for role, block, depth in places
    )  # fmt: skip


def make_roles(rng: np.random.Generator, tensors: tuple[TensorRecord, ...]) -> tuple[RoleRecord, ...]:
    """The roles that the tensors have, in order of appearance."""
    records = []
    for role in dict.fromkeys(tensor.role for tensor in tensors):
        ours = [tensor for tensor in tensors if tensor.role == role]
        weights = sum(tensor.num_weights for tensor in ours)
        is_fitted = role != "norm"
        records.append(
            RoleRecord(
                role=role, tensors=len(ours), weights=weights,
                pattern_class="structured" if is_fitted else None,
                fit=make_fit(rng, weights) if is_fitted else None,
                statistics=make_statistics(rng),
            )
        )  # fmt: skip
    return tuple(records)


def make_scores(rng: np.random.Generator) -> dict[str, float]:
    """A score for each of the five classes."""
    return dict(zip(CLASSES, (float(x) for x in rng.dirichlet(np.ones(5))), strict=True))


def make_signature(rng: np.random.Generator, version: str) -> SignatureRecord:
    """Float32 values per role, third and statistic; None for the roles that the model lacks."""
    names, values = [], []
    for role in (*ROLES, *ABSENT_ROLES):
        for third in THIRDS:
            for dimension in DIMENSIONS:
                names.append(f"{role}/{third}/{dimension}")
                values.append(None if role in ABSENT_ROLES else float(np.float32(rng.normal())))
    names += ["model/lipschitz_bound", "model/participation_ratio"]
    values += [float(np.float32(x)) for x in rng.normal(size=2)]
    z = tuple(None if value is None else 3 * value for value in values)
    p = tuple(None if value is None else (1 + int(abs(100 * value)) % 9) / 9 for value in values)
    return SignatureRecord(version=version, names=tuple(names), values=tuple(values), z=z, p=p)


def make_clusters(rng: np.random.Generator, num_rows: int = 64) -> dict[str, Any]:
    """K-means of each role's rows: labels, centroids and their weights."""
    return {
        role: {
            "labels": [int(x) for x in rng.integers(0, 4, num_rows)],
            "centroids": [[float(x) for x in row] for row in rng.normal(size=(4, 3))],
            "weights": [0.25] * 4,
        }
        for role in ROLES
    }


def make_model(key: str, sha256: str, tensors: tuple[TensorRecord, ...]) -> ModelRecord:
    """A small text encoder."""
    return ModelRecord(
        key=key, sha256=sha256, repo=f"someone/{key}", revision="0" * 40, tier=1, modality="text", family="bert",
        architecture="encoder", specialty="general", objective="masked-lm", is_distilled=False, shares_layers=False,
        licence="Apache-2.0", parents=("someone/parent",), num_weights=sum(t.num_weights for t in tensors),
        num_tensors=len(tensors),
    )  # fmt: skip


def make_pattern(
    key: str = "alpha", seed: int = 0, *, run: str = "run-1", version: str = "1", num_blocks: int = 2, **changes: Any
) -> PatternRecord:
    """A realistic pattern of a model called `key`; the same arguments give an equal record.

    `changes` replace fields of the finished record.
    """
    digest = hashlib.sha256(f"{key} {seed}".encode()).hexdigest()
    rng = np.random.default_rng(int(digest[:8], 16))
    tensors = make_tensors(rng, num_blocks)
    scores = make_scores(rng)
    ranked = sorted(scores.values(), reverse=True)
    record = PatternRecord(
        model=make_model(key, digest, tensors), pattern_key=f"pattern-{digest[:16]}-{version}", run=run,
        settings={"preset": "quick", "fit": {"dna_type": "separable", "budget": 0.01}, "seed": seed},
        provenance={"dna_zoo": "0.1.0", "device": "cpu", "seed": seed, "torch": None},
        pattern_class=max(scores, key=scores.__getitem__), class_scores=scores, class_margin=ranked[0] - ranked[1],
        fit=make_fit(rng, 4096 * (1 + 4 * num_blocks)), roles=make_roles(rng, tensors), tensors=tensors,
        signature=make_signature(rng, version), statistics=make_statistics(rng), clusters=make_clusters(rng),
        frequency_profile={role: tuple(float(x) for x in rng.normal(size=8)) for role in ROLES},
        artifacts=(ArtifactRecord(kind="summary", path=f"runs/{run}/{key}/summary.json", sha256=digest, num_bytes=99),),
    )  # fmt: skip
    return replace(record, **changes)


def save_patterns(database: PatternDatabase, *patterns: PatternRecord) -> None:
    """Keep the patterns as finished runs would have, one run for each `pattern.run`."""
    for run in dict.fromkeys(pattern.run for pattern in patterns):
        ours = [pattern for pattern in patterns if pattern.run == run]
        database.start_run(run, {"names": [pattern.model.key for pattern in ours]})
        database.set_run_models(run, [pattern.model.key for pattern in ours])
        for pattern in ours:
            key = pattern.model.key
            database.save_pattern(pattern)
            database.record_stage(run, key, StageRecord(stage="persist", key=pattern.pattern_key, status="done"))
            database.finish_model(run, RunModelRecord(key=key, status="done", pattern_key=pattern.pattern_key))
        database.finish_run(run, "done", 0)
