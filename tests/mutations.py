"""Break a control, and see which test turns red: `python tests/mutations.py [NUMBER ...]`.

Each mutation takes away what makes a figure evidence: a null, its order, a sign, a subtraction. The working tree is
copied into a temporary folder, the mutation is made there, and the tests named with it are run, before and after.
Prints a Markdown table, which docs/controls.md keeps; exit code 1 if a mutation survives.
"""

import argparse
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
SHOWN = 5
"""Failing tests that the table names; the others it counts."""
FAILED = re.compile(r"^FAILED (\S+?)(?:\[.*)?(?: - .*)?$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Mutation:
    """A change of one place in one file, and the tests to run under it, as arguments of pytest."""

    title: str
    path: str
    old: str
    new: str
    tests: str

    def applied(self, source: str) -> str:
        """The source with the change; ValueError if the place is not there exactly once."""
        if source.count(self.old) != 1:
            raise ValueError(f"{self.path} has {source.count(self.old)} places like {self.old!r}, not one.")
        return source.replace(self.old, self.new)


_ANALYSIS = (
    "tests/pipeline/test_nulls.py tests/pipeline/analyse/test_evidence.py tests/pipeline/analyse/test_stage.py"
    " tests/pipeline/analyse/test_classes.py"
    " -k 'test_nulls or noise or noisy or planted or evidence or their_nulls'"
)
_FIT = (
    "tests/pipeline/fit/test_stage.py tests/pipeline/fit/test_report.py tests/pipeline/fit/test_prepare.py"
    " tests/pipeline/fit/test_means.py"
    " -k 'noise or planted or null or gain or svd or bit'"
)
_ORDER = "tests/pipeline/test_order.py tests/pipeline/test_invariance.py -k 'not (signature or mobile or narrow)'"
_SIGNS = "tests/zoo/test_signs.py tests/pipeline/test_invariance.py -k 'test_signs or canonical'"
_MEANS = (
    "tests/pipeline/test_nulls.py tests/pipeline/analyse/test_evidence.py tests/pipeline/analyse/test_classes.py"
    " -k means"
)
_SIGNATURE = "tests/pipeline/analyse/test_signature.py"
_REORDER = "tests/pipeline/analyse/test_products.py tests/pipeline/analyse/test_stage.py -k 'products or places'"

MUTATIONS: Sequence[Mutation] = (
    Mutation(
        "the shuffle null is the matrix itself",
        "pipeline/nulls.py",
        "np.ascontiguousarray(rng.permutation(matrix.ravel()).reshape(matrix.shape))",
        "matrix.copy()",
        _ANALYSIS,
    ),
    Mutation(
        "the rotate null is the matrix itself",
        "pipeline/nulls.py",
        "np.ascontiguousarray((left * values.astype(np.float32)) @ right.T + mean)",
        "matrix.copy()",
        _ANALYSIS,
    ),
    Mutation(
        "the gaussian null is the matrix itself",
        "pipeline/nulls.py",
        "rng.standard_normal(matrix.shape, dtype=np.float32) * np.float32(std) + np.float32(mean)",
        "matrix.copy()",
        _ANALYSIS,
    ),
    Mutation(
        "the null of the frequencies is not put into order",
        "pipeline/analyse/measures/host.py",
        "matrix, singular = put_in_order(matrix, spec)",
        "singular = singular_values(matrix)",
        _ANALYSIS,
    ),
    Mutation(
        "all tensors meet the same null",
        "pipeline/nulls.py",
        '[seed, place["role"], block, place["ordinal"], *place["shape"], stream, draw]',
        "[seed, stream, draw]",
        _ANALYSIS,
    ),
    Mutation(
        "p is k / n, so that no draw beyond the value is certainty",
        "pipeline/analyse/evidence.py",
        "return min(1.0, 2 * min(above, below) / (len(finite) + 1))",
        "return min(1.0, 2 * (min(above, below) - 1) / len(finite))",
        _ANALYSIS,
    ),
    Mutation(
        "p looks at one side",
        "pipeline/analyse/evidence.py",
        "return min(1.0, 2 * min(above, below) / (len(finite) + 1))",
        "return above / (len(finite) + 1)",
        _ANALYSIS,
    ),
    Mutation(
        "a class needs no certainty",
        "pipeline/analyse/classes.py",
        "return min(max((z - POSSIBLE_Z) / (CERTAIN_Z - POSSIBLE_Z), 0.0), 1.0)",
        "return 1.0",
        _ANALYSIS,
    ),
    Mutation(
        "the signature takes values for effects over the null",
        "pipeline/analyse/aggregation.py",
        "return value - null_mean",
        "return value",
        _SIGNATURE,
    ),
    Mutation(
        "the signature takes band energies for ratios to the null",
        "pipeline/analyse/aggregation.py",
        "return math.log2(value / null_mean) if value > 0 and null_mean > 0 else math.nan",
        "return math.log2(value) if value > 0 else math.nan",
        _SIGNATURE,
    ),
    Mutation(
        "odd moments stay where signs are free",
        "pipeline/analyse/tensor.py",
        "if not (name in ODD_MOMENTS and is_sign_free(spec))",
        "if name",
        _SIGNATURE,
    ),
    Mutation(
        "the null of a fit is the tensor itself",
        "pipeline/fit/prepare.py",
        "return DRAWN_BY[kind](matrix, null_rng(kind, draw, seed=seed, **place_of(spec, ordinal)))",
        "return matrix",
        _FIT,
    ),
    Mutation(
        "the null of a fit is not put into order",
        "pipeline/fit/prepare.py",
        "return canonicalise(drawn, order), order",
        "return drawn, None",
        _FIT,
    ),
    Mutation(
        "the null's fit counts as 0",
        "pipeline/fit/report.py",
        "1 - math.fsum(errors.sse for errors, _ in draw) / _positive(math.fsum(base.energy for _, base in draw))",
        "0.0",
        _FIT,
    ),
    Mutation(
        "the gain subtracts nothing",
        "pipeline/fit/report.py",
        '"gain": r2 - float(np.mean(nulls)) if nulls else None',
        '"gain": r2 if nulls else None',
        _FIT,
    ),
    Mutation(
        "SVD has no null of its own",
        "pipeline/fit/report.py",
        "r2_of([baseline for _, baseline in draw])",
        "r2_of([fit.baseline for fit in fits])",
        _FIT,
    ),
    Mutation(
        "the order costs no bits",
        "pipeline/fit/report.py",
        "bits = parameters * STORED_BITS / weights + order_bits",
        "bits = parameters * STORED_BITS / weights",
        _FIT,
    ),
    Mutation(
        "the canonical order is the file's",
        "pipeline/order.py",
        "perm = by_norm[_chain(unit[by_norm], 0, sign_free=sign_free)]",
        "perm = np.arange(count)",
        _ORDER,
    ),
    Mutation(
        "free signs stay as they are in the file",
        "pipeline/order.py",
        "    if not sign_free:\n        return perm.astype(np.int32), None",
        "    if True:\n        return perm.astype(np.int32), None",
        _ORDER,
    ),
    Mutation(
        "only attention is free in sign",
        "zoo/signs.py",
        "return replace(spec, free_row_signs=rows, free_col_signs=cols)",
        "return spec",
        _SIGNS,
    ),
    Mutation(
        "the units of a product keep their order under the null",
        "pipeline/analyse/statistics/products.py",
        "order = rng.permutation(size)",
        "order = units",
        _REORDER,
    ),
    Mutation(
        "a product is not scaled, so that large units count for more",
        "pipeline/analyse/statistics/products.py",
        "rows, cols = _balanced(product**2)",
        "rows = cols = np.ones(len(product))",
        _REORDER,
    ),
    Mutation(
        "places keep their order under the null",
        "pipeline/analyse/tensor.py",
        "measure_places(vectors[:, rng.permutation(size)])",
        "measure_places(vectors)",
        _REORDER,
    ),
    Mutation(
        "the means null is a shuffle",
        "pipeline/nulls.py",
        "return model.plus(permuted * np.float32((energy / kept) ** 0.5 if kept else 1.0))",
        "return shuffle(matrix, rng)",
        _MEANS,
    ),
    Mutation(
        "a class rests on what the means explain",
        "pipeline/analyse/classes.py",
        "for name in criterion.statistics]",
        "for name in criterion.statistics[:1]]",
        _MEANS,
    ),
    Mutation(
        "the null that keeps the means does not",
        "pipeline/fit/prepare.py",
        '"means": keep_means',
        '"means": shuffle',
        _FIT,
    ),
)


def main(numbers: Sequence[int]) -> int:
    chosen = [(number, MUTATIONS[number - 1]) for number in numbers or range(1, len(MUTATIONS) + 1)]
    survived = 0
    with tempfile.TemporaryDirectory(prefix="dna-zoo-mutation-") as folder:
        copy = Path(folder)
        _copy_into(copy)
        for tests in dict.fromkeys(mutation.tests for _, mutation in chosen):
            if red := failures(tests, copy):
                raise RuntimeError(f"These fail without any mutation: {', '.join(red)}.")
        print("| | mutation | in | turned red |\n|---|---|---|---|", flush=True)
        for number, mutation in chosen:
            red = failures_under(mutation, copy)
            survived += not red
            shown = ", ".join(f"`{name}`" for name in red[:SHOWN]) or "**nothing**"
            rest = f" and {len(red) - SHOWN} more" if len(red) > SHOWN else ""
            print(f"| {number} | {mutation.title} | `{mutation.path}` | {shown}{rest} |", flush=True)
    return 1 if survived else 0


def failures_under(mutation: Mutation, copy: Path) -> list[str]:
    """Names of the tests that fail while the mutation is in the copy."""
    target = copy / mutation.path
    source = target.read_text()
    target.write_text(mutation.applied(source))
    try:
        return failures(mutation.tests, copy)
    finally:
        target.write_text(source)


def failures(tests: str, copy: Path) -> list[str]:
    """Names of the tests that fail in the copy, in the order they ran, each once."""
    # Bytecode is told from its source by second and size: a mutation may share both with what it replaces.
    command = [sys.executable, "-B", "-m", "pytest", "-q", "--no-header", "--tb=no", "-p", "no:cacheprovider"]
    ended = subprocess.run([*command, *shlex.split(tests)], cwd=copy, capture_output=True, text=True, check=False)
    if ended.returncode not in (0, 1):
        raise RuntimeError(f"pytest could not run {tests}:\n{ended.stdout}{ended.stderr}")
    return list(dict.fromkeys(name.rpartition("::")[2] for name in FAILED.findall(ended.stdout)))


def _copy_into(copy: Path) -> None:
    """What git knows of or would add. pytest's `pythonpath` puts the copy before the installed package."""
    listing = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    files = subprocess.run(listing, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    for name in files:
        if (ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, copy / name)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("numbers", nargs="*", type=int, help="which mutations; all by default")
    sys.exit(main(parser.parse_args().numbers))
