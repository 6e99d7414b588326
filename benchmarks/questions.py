"""What do the catalog's questions find, from how many lineages on, and how often where there is nothing to find?

    python -m benchmarks.questions                                # simulated catalogs: minutes of one core
    python -m benchmarks.population --out /tmp/population --only bert gpt2 vit resnet --num-roots 7 \\
        --relations root fine-tuned distilled shuffled            # once, some minutes
    python -m benchmarks.questions --population /tmp/population   # small trained models as well: those of these kinds
    python -m benchmarks.questions --page                         # what is kept, as the table in docs/measurement.md

Power is the share of catalogs in which the test of a question has p <= 0.05. Beside it stand the two tests that it
replaces: an analysis of variance of distances over all dimensions (Anderson 2001), and the nearest neighbour of another
lineage. Calibration is the same where labels mean nothing, with an exact 95 % interval (Clopper and Pearson 1934).
Prints the tables and keeps them in `benchmarks/results/OUT.json`.
"""

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import binomtest

from benchmarks.parts.scaffold import filled, make_parser, read_results, write_figures, write_results
from benchmarks.relatedness.gallery import Member, read_members, signature_of
from patterndb.similarity import align
from pipeline.analyse.lineage_groups import leave_out_fingerprint
from pipeline.analyse.permutation_tests import deal_labels
from pipeline.analyse.questions.samples import Sample, make_sample
from pipeline.analyse.questions.separation import separate
from pipeline.settings import AnalysisSettings

Float64 = npt.NDArray[np.float64]
Labels = npt.NDArray[np.intp]
Row = dict[str, Any]
LEVELS = (0.01, 0.05, 0.2)
LABELLINGS = 499
DIMENSIONS, FACTORS = 300, 6
PER_LABEL = (4, 6, 8, 12, 20)
POWER = 0.8
PAGE = Path(__file__).parents[1] / "docs" / "measurement.md"
COMMAND = "python -m benchmarks.questions --page"


# Simulated catalogs.


def noise(rng: np.random.Generator, units: int) -> Float64:
    """What has nothing to do with labels (units, DIMENSIONS): half of the variance of each dimension is that of a few
    factors, half its own; the variance is 1."""
    factors = rng.normal(size=(units, FACTORS)) @ rng.normal(size=(FACTORS, DIMENSIONS)) / FACTORS**0.5
    return np.asarray((factors + rng.normal(size=(units, DIMENSIONS))) / 2**0.5)


def shifted(rng: np.random.Generator, groups: Labels, d: float, dimensions: int = DIMENSIONS) -> Float64:
    """Noise, and groups (units,) whose means differ by `d`, the root mean square over the first dimensions."""
    values = noise(rng, len(groups))
    values[:, :dimensions] += d / 2**0.5 * rng.normal(size=(groups.max() + 1, dimensions))[groups]
    # Dimensions have different units.
    return np.asarray(values * np.exp(rng.normal(size=DIMENSIONS)))


def in_families(rng: np.random.Generator, codes: Labels, d: float, count: int) -> Float64:
    """Each label has `count` families, each with a mean of its own: nothing is common to all of one label."""
    return shifted(rng, codes * count + np.arange(len(codes)) % count, d)


Make = Callable[[np.random.Generator, Labels, float], Float64]
EFFECTS: Mapping[str, tuple[Make, Sequence[float]]] = {
    "all 300 dimensions": (shifted, (0.3, 0.5)),
    "10 of 300 dimensions": (lambda rng, codes, d: shifted(rng, codes, d, 10), (1.5,)),
    "1 of 300 dimensions": (lambda rng, codes, d: shifted(rng, codes, d, 1), (3.0,)),
    "two families a label": (lambda rng, codes, d: in_families(rng, codes, d, 2), (0.5, 1.0)),
    "three families a label": (lambda rng, codes, d: in_families(rng, codes, d, 3), (1.0,)),
}
"""Kind of difference -> how to draw the signatures, and the d that are tried."""


def simulated_power(repeats: int) -> Iterator[Row]:
    """For each kind, size and number of lineages of each of two labels."""
    for kind, (make, sizes) in EFFECTS.items():
        for d in sizes:
            for count in PER_LABEL:
                codes = np.repeat(np.arange(2), count)
                found = []
                for seed in range(repeats):
                    values = make(np.random.default_rng([seed, count]), codes, d)
                    found.append(compare(make_sample(values, labels(codes), np.arange(2 * count)), seed))
                yield row(found, 0.05, difference=kind, d=d, per_label=count)


def simulated_nulls(repeats: int) -> Iterator[Row]:
    """Labels that mean nothing: of equal and of unequal sizes, of three kinds, in families, within lineages."""
    single = {"8 and 8": (8, 8), "4 and 16": (4, 16), "5, 5 and 10": (5, 5, 10)}
    for name, counts in single.items():
        codes = np.repeat(np.arange(len(counts)), counts)
        for families in (0, 4):
            found = []
            for seed in range(repeats):
                rng = np.random.default_rng([seed, len(codes), families])
                values = (
                    shifted(rng, rng.integers(families, size=len(codes)), 2.0) if families else noise(rng, len(codes))
                )
                found.append(compare(make_sample(values, labels(codes), np.arange(len(codes))), seed))
            yield from rows(found, labels=name, lineages="in 4 families" if families else "unrelated")
    found = []
    for seed in range(repeats):
        rng = np.random.default_rng([seed, 1])
        # Eight teachers with their students, four models alone; one to ten models of each; half of the dimensions of
        # students are missing.
        lineages = np.repeat(np.arange(12), [2] * 8 + [1] * 4)
        codes = np.array([0, 1] * 8 + [0, 1, 0, 0])
        copies = rng.integers(1, 11, size=20)
        values = 3 * noise(rng, 12)[lineages] + noise(rng, 20)
        values[codes == 1, : DIMENSIONS // 2] = np.nan
        models = np.repeat(values, copies, axis=0) + 0.1 * rng.normal(size=(copies.sum(), DIMENSIONS))
        sample = make_sample(models, labels(np.repeat(codes, copies)), np.repeat(lineages, copies))
        found.append(compare(sample, seed))
    yield from rows(found, labels="8 pairs and 4", lineages="of 1 to 10 copies")


# Small trained models.


FAMILIES: Mapping[str, Mapping[str, str]] = {
    "bert": {"modality": "text", "architecture": "encoder", "objective": "masked-lm"},
    "gpt2": {"modality": "text", "architecture": "decoder", "objective": "causal-lm"},
    "vit": {"modality": "vision", "architecture": "encoder", "objective": "classification"},
    "resnet": {"modality": "vision", "objective": "classification"},
}
"""What is true of the families, by facet; a CNN is neither an encoder nor a decoder."""
FACETS = ("architecture", "modality", "objective", "distillation", "specialisation")
RELATIONS = ("root", "fine-tuned", "distilled", "shuffled")
"""Kinds of models that are taken; a merge of two roots would belong to two lineages."""
TRIED = (3, 4, 5, 7)
"""Lineages of each family, as far as the population has so many."""


def is_taken(member: Member) -> bool:
    """Whether its family and its kind are among those that are asked about."""
    return member.architecture in FAMILIES and member.relation in RELATIONS


def label_of(member: Member, facet: str) -> str | None:
    """A shuffled copy has the labels of the model that it was shuffled from, though nothing of it is left."""
    if facet == "distillation":
        return "distilled" if member.relation == "distilled" else "not-distilled"
    if facet == "specialisation":
        return "specialised" if member.relation == "fine-tuned" else "general"
    return FAMILIES[member.architecture].get(facet)


def trained_power(members: Sequence[Member], values: Float64, repeats: int) -> Iterator[Row]:
    """For each question, with and without shuffled copies, as lineages of their own, and each number of lineages."""
    origins = sorted({member.origin for member in members})
    most = min(sum(origin.startswith(f"{family}-") for origin in origins) for family in FAMILIES)
    for facet in FACETS:
        for shuffled in (False, True):
            for count in (count for count in TRIED if count <= most):
                found = []
                for seed in range(repeats):
                    chosen = choose(np.random.default_rng([seed, count]), members, origins, count, shuffled=shuffled)
                    sample = sample_of(members, values, chosen, facet)
                    found.append(compare(sample, seed))
                yield row(found, 0.05, question=facet, shuffled_copies=shuffled, per_family=count)


def trained_nulls(members: Sequence[Member], values: Float64, repeats: int) -> Iterator[Row]:
    """The same signatures with labels dealt at random to whole lineages: half and half, and one in five."""
    trained = [index for index, member in enumerate(members) if member.relation != "shuffled"]
    origins, lineages = np.unique([members[index].origin for index in trained], return_inverse=True)
    for name, share in (("half and half", 0.5), ("one in five", 0.2)):
        found = []
        for seed in range(repeats):
            codes = np.random.default_rng(seed).permutation(len(origins)) < share * len(origins)
            sample = make_sample(values[trained], labels(codes[lineages].astype(np.intp)), lineages)
            found.append(compare(sample, seed))
        yield from rows(found, labels=name, lineages=f"{len(origins)} trained")


def choose(
    rng: np.random.Generator, members: Sequence[Member], origins: Sequence[str], count: int, *, shuffled: bool
) -> list[int]:
    """The members of `count` lineages of each family."""
    kept: set[str] = set()
    for family in FAMILIES:
        own = [origin for origin in origins if origin.startswith(f"{family}-")]
        kept |= set(rng.choice(own, size=count, replace=False).tolist())
    return [
        index
        for index, member in enumerate(members)
        if member.origin in kept and (shuffled or member.relation != "shuffled")
    ]


def sample_of(members: Sequence[Member], values: Float64, chosen: Sequence[int], facet: str) -> Sample:
    """The units of the chosen members under a question."""
    own = [members[index] for index in chosen]
    families = [member.name if member.relation == "shuffled" else member.origin for member in own]
    lineages = np.unique(families, return_inverse=True)[1]
    return make_sample(values[list(chosen)], [label_of(member, facet) for member in own], lineages)


# What is measured.


def labels(codes: Labels) -> list[str]:
    return ["abc"[code] for code in codes]


def compare(sample: Sample, seed: int) -> dict[str, float]:
    """p of the test, and of those it replaces; the skill."""
    dealt = deal_labels(sample.codes, sample.blocks, rng=np.random.default_rng(seed), max_labellings=LABELLINGS)
    common = sample.values[:, sample.is_common]
    squares = ((common[:, None] - common) ** 2).mean(axis=2)
    is_label = [(dealt.codes == code).astype(np.float64) for code in range(len(sample.labels))]
    within = np.sum([((own @ squares) * own).sum(axis=1) / own.sum(axis=1) for own in is_label], axis=0)
    nearest = np.where(sample.lineages[:, None] == sample.lineages, np.inf, squares).argmin(axis=1)
    hits = dealt.codes[:, nearest] == dealt.codes
    recalls = np.mean([(hits * own).sum(axis=1) / own.sum(axis=1) for own in is_label], axis=0)
    found = separate(sample, dealt)
    return {
        "test": found.p,
        "distances": dealt.p_value(-within),
        "nearest": dealt.p_value(recalls),
        "skill": found.skill,
    }


def row(found: Sequence[Mapping[str, float]], level: float, **facts: Any) -> Row:
    """How often each p was at or below a level, with the interval of the test's; and the median skill."""
    share = {
        name: float(np.mean([p[name] <= level + 1e-9 for p in found])) for name in ("test", "distances", "nearest")
    }
    low, high = binomtest(round(share["test"] * len(found)), len(found)).proportion_ci(0.95)
    skill = float(np.median([each["skill"] for each in found]))
    return {**facts, "level": level, **share, "low": low, "high": high, "skill": skill}


def rows(found: Sequence[Mapping[str, float]], **facts: Any) -> Iterator[Row]:
    """One for each level."""
    for level in LEVELS:
        yield row(found, level, **facts)


def table(found: Sequence[Row]) -> str:
    """As Markdown."""
    lines = [f"| {' | '.join(found[0])} |", "|" + "---|" * len(found[0])]
    for each in found:
        cells = (f"{value:.2f}" if isinstance(value, float) else str(value) for value in each.values())
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def page_lines(kept: Mapping[str, Any]) -> Iterator[str]:
    """The table of docs/measurement.md: from how many lineages on a difference is found, and how often one that is not
    there."""
    yield f"| the labels differ in | d | lineages, of {', '.join(map(str, PER_LABEL))} |"
    yield "|---|---|---|"
    tried = [(each["difference"], each["d"]) for each in kept["simulated_power"]]
    for difference, d in dict.fromkeys(tried):
        shares = {
            each["per_label"]: each["test"]
            for each in kept["simulated_power"]
            if (each["difference"], each["d"]) == (difference, d)
        }
        found = min((count for count in shares if shares[count] >= POWER), default="more")
        yield f"| {difference} | {d:g} | {found} |"
    nulls = (*kept["simulated_nulls"], *kept["trained_nulls"])
    means = [float(np.mean([each["test"] for each in nulls if each["level"] == level])) for level in LEVELS]
    rates = ", ".join(f"{level:g} in {100 * mean:.1f} %" for level, mean in zip(LEVELS, means, strict=True))
    trained = kept["trained_power"]
    least = max((each["per_family"] for each in trained if each["test"] < 1), default=0)
    first = min(each["per_family"] for each in trained if each["per_family"] > least)
    yield ""
    yield filled(
        f"Where labels mean nothing ({6 * kept['repeats']} catalogs of each kind), p is at or below {rates}.",
        f"On small trained models every question has p <= 0.05 in {kept['repeats']} of {kept['repeats']} catalogs",
        f"from {first} lineages of each of four families on; there the family decides the label.",
    )


def signatures(members: Sequence[Member], home: Path) -> Float64:
    """The statistics (members, dimensions) that questions are about; mined unless `home` has them."""
    mined = [signature_of(member, home, AnalysisSettings(num_nulls=2), 0) for member in members]
    return leave_out_fingerprint(*align(mined))[1]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print everything."""
    options = parse(arguments)
    if options.page:
        write_figures(PAGE, COMMAND, page_lines(read_results("questions")))
        return
    parts = {
        "simulated_power": lambda: simulated_power(options.repeats),
        "simulated_nulls": lambda: simulated_nulls(6 * options.repeats),
    }
    if options.population:
        members = [member for member in read_members(options.population) if is_taken(member)]
        home = options.home or options.population.with_name(f"{options.population.name}-mined")
        values = signatures(members, home)
        parts["trained_power"] = lambda: trained_power(members, values, options.repeats)
        parts["trained_nulls"] = lambda: trained_nulls(members, values, 6 * options.repeats)
    found: dict[str, Any] = {"repeats": options.repeats, "labellings": LABELLINGS}
    for name, measure in parts.items():
        found[name] = list(measure())
        print(f"{name}\n\n{table(found[name])}\n", flush=True)
    if options.out:
        write_results(options.out, found)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = make_parser(__doc__, out="questions")
    parser.add_argument("--population", type=Path, help="folder that benchmarks.population made")
    parser.add_argument("--home", type=Path, help="where mined signatures are kept; beside the population if not given")
    parser.add_argument("--page", action="store_true", help="measure nothing: write the table of what is kept")
    parser.add_argument("--repeats", type=int, default=40, help="catalogs behind each power; six times as many nulls")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
